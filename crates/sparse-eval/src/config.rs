//! Evaluators in a configuration file.

use serde::{Deserialize, Serialize};

use crate::{
    BinaryClassificationConfig, EmbeddingSimilarityConfig, Evaluator, HybridConfig,
    InformationRetrievalConfig, MseConfig, NanoBeirConfig, ReciprocalRankFusionConfig,
    RerankingConfig, Result, SequentialConfig, TranslationConfig, TripletConfig,
};

/// Declares the kinds of evaluators that a configuration file can name: the enum, its names and what each can do.
macro_rules! evaluators {
    ($($(#[$doc:meta])* $name:literal => $variant:ident($config:ty),)*) => {
        /// An `[[evaluator]]` table: `type` says which kind, the other keys are its settings.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        pub enum EvaluatorConfig {
            $($(#[$doc])* #[serde(rename = $name)] $variant($config),)*
        }

        impl EvaluatorConfig {
            /// Values of `type`.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Checks the settings, without reading a file.
            ///
            /// # Errors
            ///
            /// Naming the setting at fault.
            pub fn validate(&self) -> Result<()> {
                match self {
                    $(Self::$variant(config) => config.validate(),)*
                }
            }

            /// Reads the files and builds the evaluator.
            ///
            /// # Errors
            ///
            /// If a setting or a file is wrong.
            pub fn init(&self) -> Result<Box<dyn Evaluator>> {
                match self {
                    $(Self::$variant(config) => Ok(Box::new(config.init()?)),)*
                }
            }
        }
    };
}

evaluators! {
    /// Pairs that are alike or not.
    "binary_classification" => BinaryClassification(BinaryClassificationConfig),
    /// Similarity of pairs against given scores.
    "embedding_similarity" => EmbeddingSimilarity(EmbeddingSimilarityConfig),
    /// The model's rankings fused with dense ones.
    "hybrid" => Hybrid(HybridConfig),
    /// Queries search a corpus.
    "information_retrieval" => InformationRetrieval(InformationRetrievalConfig),
    /// Distance from a teacher's vectors.
    "mse" => Mse(MseConfig),
    /// Queries search several small corpora.
    "nano_beir" => NanoBeir(NanoBeirConfig),
    /// Two rankings made before, and their fusion.
    "reciprocal_rank_fusion" => ReciprocalRankFusion(ReciprocalRankFusionConfig),
    /// Candidates of a query, put in order.
    "reranking" => Reranking(RerankingConfig),
    /// Several evaluators in a row.
    "sequential" => Sequential(SequentialConfig),
    /// Aligned texts that should find each other.
    "translation" => Translation(TranslationConfig),
    /// Anchors that should be closer to a positive than to a negative.
    "triplet" => Triplet(TripletConfig),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_by_type() {
        for name in EvaluatorConfig::NAMES {
            let config: EvaluatorConfig =
                serde_json::from_value(serde_json::json!({ "type": name })).unwrap();
            let written = serde_json::to_value(&config).unwrap();
            assert_eq!(written["type"], *name);
            assert_eq!(
                serde_json::from_value::<EvaluatorConfig>(written).unwrap(),
                config
            );
            if *name == "nano_beir" {
                // Its data come from the hub.
                continue;
            }
            // None of the others has its data yet.
            assert!(
                config
                    .init()
                    .unwrap_err()
                    .to_string()
                    .contains("is missing"),
                "{name}"
            );
        }
    }

    #[test]
    fn evaluators_stand_in_a_row() {
        let config: EvaluatorConfig = serde_json::from_value(serde_json::json!({
            "type": "sequential",
            "main_score_function": "mean",
            "evaluators": [{ "type": "reranking", "path": "a.jsonl" }, { "type": "mse", "batch_size": 0 }],
        }))
        .unwrap();
        let error = config.validate().unwrap_err().to_string();
        assert!(
            error.contains("is missing") || error.contains("batch_size"),
            "{error}"
        );
    }

    #[test]
    fn unknown_keys_and_types_are_refused() {
        let message = |text: &str| {
            serde_json::from_str::<EvaluatorConfig>(text)
                .unwrap_err()
                .to_string()
        };
        let unknown = message(r#"{"type": "information_retrieval", "ndcg_at": [10]}"#);
        assert!(
            unknown.starts_with("unknown field `ndcg_at`, expected one of `name`, `retrieval`"),
            "{unknown}"
        );
        let unknown = message(r#"{"type": "retrieval"}"#);
        assert!(
            unknown.starts_with(
                "unknown variant `retrieval`, expected one of `binary_classification`"
            ),
            "{unknown}"
        );
    }

    #[test]
    fn settings_are_checked_by_name() {
        let problem = |text: &str| {
            serde_json::from_str::<EvaluatorConfig>(text)
                .unwrap()
                .validate()
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            problem(r#"{"type": "information_retrieval", "retrieval": "x", "batch_size": 0}"#),
            "`batch_size` must be at least 1; got 0"
        );
        assert_eq!(
            problem(r#"{"type": "information_retrieval", "queries": "x", "corpus": "y"}"#),
            "`qrels` is missing: give `queries`, `corpus` and `qrels`, or a `retrieval` folder"
        );
        assert_eq!(
            problem(r#"{"type": "information_retrieval", "retrieval": "x", "corpus": "y"}"#),
            "`retrieval` names a folder; give it or `queries`, `corpus` and `qrels`, not both"
        );
        assert_eq!(
            problem(
                r#"{"type": "information_retrieval", "retrieval": "x", "score_functions": ["dot"],
                "main_score_function": "cosine"}"#
            ),
            "`main_score_function` must be one of `score_functions`; got cosine"
        );
        assert_eq!(
            problem(r#"{"type": "reranking", "at_k": 0}"#),
            "`at_k` must be at least 1; got 0"
        );
    }
}
