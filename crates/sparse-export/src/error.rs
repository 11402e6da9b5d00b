//! What can go wrong.

use crate::engine::Engine;

/// Result of the fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Vectors that an engine does not take, or files that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] sparse_files::Error),
    /// Vectors that cannot be built.
    #[error(transparent)]
    Vector(#[from] sparse_index::Error),
    /// An engine whose keys are tokens, and vectors whose dimensions have no names.
    #[error(
        "{engine} stores tokens, and the dimensions of these vectors have no names: a vocabulary is needed"
    )]
    NoVocabulary {
        /// The engine.
        engine: Engine,
    },
    /// A vocabulary of another size.
    #[error("the vocabulary has {actual} tokens, the vectors have {expected} dimensions")]
    VocabularySize {
        /// Dimensions of the vectors.
        expected: usize,
        /// Tokens of the vocabulary.
        actual: usize,
    },
    /// A name of a collection or field that an engine refuses.
    #[error(
        "{what} `{name}`: expected lower-case letters, digits and `_`, beginning with a letter"
    )]
    Name {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More active dimensions than an engine stores.
    #[error(
        "vector `{id}` has {actual} active dimensions, {engine} takes at most {limit}: set a maximum of active dimensions"
    )]
    TooManyActive {
        /// The engine.
        engine: Engine,
        /// Whose vector it is.
        id: String,
        /// Active dimensions of the vector.
        actual: usize,
        /// Most that the engine takes.
        limit: usize,
    },
    /// A weight that an engine refuses.
    #[error("vector `{id}`, dimension {index}: {engine} takes weights above 0{}, got {value}", up_to(*.limit))]
    Weight {
        /// The engine.
        engine: Engine,
        /// Whose vector it is.
        id: String,
        /// Dimension of the weight.
        index: u32,
        /// The weight.
        value: f32,
        /// Largest weight that the engine takes, if there is one.
        limit: Option<f32>,
    },
    /// A weight whose integer does not fit.
    #[error(
        "vector `{id}`, dimension {index}: the weight {value} times {scale} is above {max}, the largest impact: the largest \
         scale for it is {}",
        max.to_owned() as f32 / value
    )]
    ImpactOverflow {
        /// Whose vector it is.
        id: String,
        /// Dimension of the weight.
        index: u32,
        /// The weight.
        value: f32,
        /// What it was multiplied by.
        scale: f32,
        /// Largest impact.
        max: u32,
    },
    /// A scale of impacts that is not a positive number.
    #[error("the scale of impacts must be a positive finite number, got {scale}")]
    Scale {
        /// The scale.
        scale: f32,
    },
    /// An engine with integer impacts, and no scale for them.
    #[error("{engine} stores integer impacts: a scale is needed")]
    NoScale {
        /// The engine.
        engine: Engine,
    },
    /// An engine with floating-point weights, and a scale for integers.
    #[error("{engine} stores floating-point weights, and takes no scale of impacts")]
    NeedlessScale {
        /// The engine.
        engine: Engine,
    },
    /// An id that an engine refuses.
    #[error("id `{id}`: {engine} takes ids {expected}")]
    Id {
        /// The engine.
        engine: Engine,
        /// The id.
        id: String,
        /// What it takes.
        expected: &'static str,
    },
    /// An id that occurs twice, of which an engine keeps one vector.
    #[error("id `{id}` occurs twice")]
    DuplicateId {
        /// The id.
        id: String,
    },
    /// Ids and vectors that do not belong together.
    #[error("{ids} ids for {vectors} vectors")]
    Length {
        /// Number of ids.
        ids: usize,
        /// Number of vectors.
        vectors: usize,
    },
    /// Vectors of another number of dimensions.
    #[error("vectors of {actual} dimensions, expected {expected}")]
    Dimensions {
        /// Dimensions of the export.
        expected: usize,
        /// Dimensions of the vectors.
        actual: usize,
    },
    /// Nothing to write.
    #[error("no vector to export")]
    Empty,
}

impl Error {
    /// Whether the caller's input is at fault (rather than the machine).
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Write(error) => error.is_user_error(),
            Self::Vector(error) => error.is_user_error(),
            _ => true,
        }
    }
}

fn up_to(limit: Option<f32>) -> String {
    limit.map_or_else(String::new, |limit| format!(" and up to {limit}"))
}
