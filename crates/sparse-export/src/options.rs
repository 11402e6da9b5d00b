//! What an export is to be.

use std::sync::Arc;

use crate::engine::{Engine, Keys, Weights};
use crate::error::{Error, Result};
use crate::impacts::Impacts;
use crate::vocabulary::Vocabulary;

/// Whose vectors they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Of queries.
    Query,
    /// Of documents.
    Document,
}

/// Settings of an [`Exporter`](crate::Exporter).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Dimensions of the vectors.
    pub n_dims: usize,
    /// Name of the collection, index or table.
    pub collection: String,
    /// Name of the field or column of the vectors.
    pub field: String,
    /// Names of the dimensions, for engines that store tokens.
    pub vocabulary: Option<Arc<Vocabulary>>,
    /// How weights become whole numbers, for engines that store impacts.
    pub impacts: Option<Impacts>,
    /// Documents that a query asks for.
    pub k: usize,
}

impl Options {
    /// Vectors of `n_dims` dimensions, in the field `vector` of the collection `documents`.
    pub fn new(n_dims: usize) -> Self {
        Self {
            n_dims,
            collection: "documents".to_owned(),
            field: "vector".to_owned(),
            vocabulary: None,
            impacts: None,
            k: 10,
        }
    }

    /// Names the collection, index or table.
    #[must_use]
    pub fn with_collection(mut self, collection: impl Into<String>) -> Self {
        self.collection = collection.into();
        self
    }

    /// Names the field or column of the vectors.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// Names the dimensions.
    #[must_use]
    pub fn with_vocabulary(mut self, vocabulary: impl Into<Arc<Vocabulary>>) -> Self {
        self.vocabulary = Some(vocabulary.into());
        self
    }

    /// Says how weights become whole numbers.
    #[must_use]
    pub fn with_impacts(mut self, impacts: Impacts) -> Self {
        self.impacts = Some(impacts);
        self
    }

    /// Sets how many documents a query asks for.
    #[must_use]
    pub fn with_k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    pub(crate) fn check(&self, engine: Engine) -> Result<()> {
        check_name("collection", &self.collection)?;
        check_name("field", &self.field)?;
        let profile = engine.profile();
        match (&self.vocabulary, profile.keys) {
            (None, Keys::Token { .. }) => return Err(Error::NoVocabulary { engine }),
            (Some(vocabulary), _) if vocabulary.len() != self.n_dims => {
                return Err(Error::VocabularySize {
                    expected: self.n_dims,
                    actual: vocabulary.len(),
                });
            }
            _ => {}
        }
        match (profile.weights, self.impacts) {
            (Weights::Impacts { .. }, None) => Err(Error::NoScale { engine }),
            (Weights::Impacts { .. }, Some(_)) | (_, None) => Ok(()),
            (_, Some(_)) => Err(Error::NeedlessScale { engine }),
        }
    }
}

/// A name that all engines take without quotes.
fn check_name(what: &'static str, name: &str) -> Result<()> {
    let mut characters = name.chars();
    let is_known = characters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_');
    if is_known {
        Ok(())
    } else {
        Err(Error::Name {
            what,
            name: name.to_owned(),
        })
    }
}
