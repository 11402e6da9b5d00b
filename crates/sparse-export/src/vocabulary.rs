//! Names of dimensions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The token of each dimension, as it stands in the vocabulary of the model.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    tokens: Vec<String>,
}

impl Vocabulary {
    /// Takes the tokens in the order of their dimensions.
    pub fn new(tokens: Vec<String>) -> Self {
        Self { tokens }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// What stands for each dimension in an engine that stores tokens; no two are equal.
#[derive(Debug, Default)]
pub(crate) struct TokenKeys {
    vocabulary: Arc<Vocabulary>,
    renamed: BTreeMap<u32, String>,
}

impl TokenKeys {
    /// A token that the engine would refuse, cut or take for another becomes `#` and its number. Mapping its characters
    /// instead, as Python's sentence-transformers maps `.` to `_`, adds the weights of different tokens up.
    pub(crate) fn new(vocabulary: Arc<Vocabulary>, refused: &[char], longest: usize) -> Self {
        let is_kept = |token: &str| {
            !token.is_empty()
                && token.len() <= longest
                && !token.contains(refused)
                && !token.contains('\0')
        };
        let taken: BTreeSet<&str> = vocabulary.tokens.iter().map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        let mut renamed = BTreeMap::new();
        for (index, token) in (0..).zip(&vocabulary.tokens) {
            if is_kept(token) && seen.insert(token.as_str()) {
                continue;
            }
            let mut key = format!("#{index}");
            while taken.contains(key.as_str()) {
                key.insert(0, '#');
            }
            renamed.insert(index, key);
        }
        Self {
            vocabulary,
            renamed,
        }
    }

    /// What stands for a dimension; empty where numbers do.
    pub(crate) fn get(&self, index: u32) -> &str {
        self.renamed
            .get(&index)
            .or_else(|| self.vocabulary.tokens.get(index as usize))
            .map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_become_one() {
        let tokens = ["a", "a.b", "a_b", "", "#1", "##1", "a", "x y", "tab\t"];
        let vocabulary = Vocabulary::new(tokens.map(str::to_owned).to_vec());
        let keys = TokenKeys::new(Arc::new(vocabulary), &['.', '\t'], 100);
        let all: Vec<&str> = (0..9).map(|index| keys.get(index)).collect();
        assert_eq!(
            all,
            ["a", "###1", "a_b", "#3", "#1", "##1", "#6", "x y", "#8"]
        );
    }

    #[test]
    fn a_long_token_keeps_its_own_key() {
        let long = "x".repeat(101);
        let vocabulary = Vocabulary::new(vec![long.clone(), format!("{long}y")]);
        let keys = TokenKeys::new(Arc::new(vocabulary), &[], 100);
        assert_eq!([keys.get(0), keys.get(1)], ["#0", "#1"]);
    }
}
