//! The engines, and what their formats take.

use std::fmt;
use std::str::FromStr;

/// A search engine, and one of its fields for sparse vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// Points of a Qdrant collection.
    Qdrant,
    /// Elasticsearch, field type `sparse_vector`.
    Elasticsearch,
    /// Elasticsearch, field type `rank_features`.
    ElasticsearchRankFeatures,
    /// OpenSearch, field type `rank_features`.
    Opensearch,
    /// OpenSearch, field type `sparse_vector` of the neural-search plugin.
    OpensearchSparseVector,
    /// Rows of a Milvus collection.
    Milvus,
    /// PostgreSQL with pgvector, column type `sparsevec`.
    Pgvector,
    /// A mapped tensor of Vespa.
    Vespa,
    /// JSON lines of Seismic.
    Seismic,
    /// Anserini and Pyserini: `JsonVectorCollection`.
    Anserini,
    /// The Common Index File Format, which Lucene, PISA, JASS and others read.
    Ciff,
    /// BMP (block-max pruning), which reads the Common Index File Format.
    Bmp,
}

/// What stands for a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Its number, counted from `first`.
    Index {
        /// Number of the first dimension.
        first: u32,
    },
    /// Its token. Two tokens must not become one: where a token holds one of `refused`, or is longer than `longest` bytes, its
    /// number stands for it.
    Token {
        /// Characters that the engine refuses or takes for a separator.
        refused: &'static [char],
        /// Most bytes of a token that the engine tells apart.
        longest: usize,
    },
}

/// How an engine stores the weights of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weights {
    /// In 32 bits.
    Float,
    /// With 9 significant bits, cut off (Lucene's `FeatureField`).
    NineBits,
    /// In 8 bits over fixed ranges, with dimensions folded modulo 32,768 (`SparseVector` of OpenSearch's neural-search plugin).
    Byte,
    /// As whole numbers up to `max`.
    Impacts {
        /// Largest impact.
        max: u32,
    },
}

/// What the format of an engine takes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// Name of the engine and of the type of its field.
    pub title: &'static str,
    /// What stands for a dimension.
    pub keys: Keys,
    /// How weights are stored.
    pub weights: Weights,
    /// Whether weights must be above 0.
    pub is_positive: bool,
    /// Largest weight of a query.
    pub largest_query_weight: Option<f32>,
    /// Most active dimensions of a vector.
    pub most_active: Option<usize>,
    /// Whether a vector without active dimensions can be stored.
    pub takes_empty: bool,
    /// Most bytes of an id.
    pub longest_id: Option<usize>,
    /// Whether an id may hold blanks.
    pub takes_blank_id: bool,
}

const INDEX: Keys = Keys::Index { first: 0 };

const TOKEN: Keys = Keys::Token {
    refused: &[],
    longest: usize::MAX,
};

impl Profile {
    const fn new(title: &'static str, keys: Keys, weights: Weights) -> Self {
        Self {
            title,
            keys,
            weights,
            is_positive: true,
            largest_query_weight: None,
            most_active: None,
            takes_empty: true,
            longest_id: None,
            takes_blank_id: true,
        }
    }

    /// Lucene's features: the weight of a query goes up to 64, and an id has at most 512 bytes.
    const fn features(title: &'static str, keys: Keys) -> Self {
        Self {
            largest_query_weight: Some(64.0),
            longest_id: Some(512),
            ..Self::new(title, keys, Weights::NineBits)
        }
    }

    /// Formats of integer impacts come with TREC's files, whose columns are separated by blanks.
    const fn impacts(title: &'static str, keys: Keys, max: u32) -> Self {
        Self {
            takes_blank_id: false,
            ..Self::new(title, keys, Weights::Impacts { max })
        }
    }
}

impl Engine {
    /// All engines.
    pub const ALL: &'static [Self] = &[
        Self::Qdrant,
        Self::Elasticsearch,
        Self::ElasticsearchRankFeatures,
        Self::Opensearch,
        Self::OpensearchSparseVector,
        Self::Milvus,
        Self::Pgvector,
        Self::Vespa,
        Self::Seismic,
        Self::Anserini,
        Self::Ciff,
        Self::Bmp,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qdrant => "qdrant",
            Self::Elasticsearch => "elasticsearch",
            Self::ElasticsearchRankFeatures => "elasticsearch-rank-features",
            Self::Opensearch => "opensearch",
            Self::OpensearchSparseVector => "opensearch-sparse-vector",
            Self::Milvus => "milvus",
            Self::Pgvector => "pgvector",
            Self::Vespa => "vespa",
            Self::Seismic => "seismic",
            Self::Anserini => "anserini",
            Self::Ciff => "ciff",
            Self::Bmp => "bmp",
        }
    }

    /// The names of all engines, separated by commas.
    pub fn names() -> String {
        let names: Vec<&str> = Self::ALL.iter().map(|engine| engine.name()).collect();
        names.join(", ")
    }

    /// What its format takes.
    pub const fn profile(self) -> Profile {
        match self {
            Self::Qdrant => Profile {
                is_positive: false,
                ..Profile::new("Qdrant, sparse vector", INDEX, Weights::Float)
            },
            Self::Elasticsearch => Profile::features("Elasticsearch, `sparse_vector`", TOKEN),
            Self::ElasticsearchRankFeatures => Profile::features(
                "Elasticsearch, `rank_features`",
                Keys::Token {
                    refused: &['.'],
                    longest: usize::MAX,
                },
            ),
            Self::Opensearch => Profile::features(
                "OpenSearch, `rank_features`",
                Keys::Token {
                    refused: &['.'],
                    longest: usize::MAX,
                },
            ),
            Self::OpensearchSparseVector => Profile {
                longest_id: Some(512),
                ..Profile::new("OpenSearch, `sparse_vector`", INDEX, Weights::Byte)
            },
            Self::Milvus => Profile {
                takes_empty: false,
                longest_id: Some(65_535),
                ..Profile::new("Milvus, `SPARSE_FLOAT_VECTOR`", INDEX, Weights::Float)
            },
            Self::Pgvector => Profile {
                is_positive: false,
                most_active: Some(16_000),
                ..Profile::new(
                    "PostgreSQL, pgvector's `sparsevec`",
                    Keys::Index { first: 1 },
                    Weights::Float,
                )
            },
            Self::Vespa => Profile {
                is_positive: false,
                ..Profile::new("Vespa, `tensor<float>(token{})`", TOKEN, Weights::Float)
            },
            Self::Seismic => Profile::new(
                "Seismic, JSON lines",
                Keys::Token {
                    refused: &[],
                    longest: 100,
                },
                Weights::Float,
            ),
            // A query repeats its tokens, separated by blanks; a frequency of a term is a 32-bit integer in Lucene.
            Self::Anserini => Profile::impacts(
                "Anserini, `JsonVectorCollection`",
                Keys::Token {
                    refused: &[
                        ' ', '\t', '\r', '\n', '\u{b}', '\u{c}', '\u{85}', '\u{a0}', '\u{3000}',
                    ],
                    longest: 32_766,
                },
                i32::MAX as u32,
            ),
            Self::Ciff => Profile::impacts("Common Index File Format", INDEX, i32::MAX as u32),
            Self::Bmp => Profile::impacts("BMP, by the Common Index File Format", INDEX, 255),
        }
    }
}

/// A name that is none of the engines'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown engine `{name}`, expected one of {}", Engine::names())]
pub struct UnknownEngine {
    /// The name.
    pub name: String,
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Self::ALL
            .iter()
            .copied()
            .find(|engine| engine.name() == name)
            .ok_or_else(|| UnknownEngine {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back() {
        for engine in Engine::ALL {
            assert_eq!(engine.name().parse::<Engine>().unwrap(), *engine);
        }
        let error = "solr".parse::<Engine>().unwrap_err().to_string();
        assert!(error.starts_with("unknown engine `solr`, expected one of qdrant, "));
    }
}
