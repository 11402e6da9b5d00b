//! Anchors that should be closer to a positive than to a negative.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::SimilarityFunction;

use super::common;
use super::measure::{Encoding, Figure, Measure, Shared, Side, shared};
use crate::error::check_lengths;
use crate::table::{self, Table};
use crate::{Error, Metrics, Result, csv};

/// By how much a positive must beat a negative: one number for all similarities, or one for each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Margin {
    /// The same for all.
    All(f64),
    /// By similarity; 0 for those left out.
    PerFunction(MarginPerFunction),
}

/// Margins by similarity, in its own units.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MarginPerFunction {
    /// For cosine similarity.
    pub cosine: f64,
    /// For the dot product.
    pub dot: f64,
    /// For the Manhattan distance.
    pub manhattan: f64,
    /// For the Euclidean distance.
    pub euclidean: f64,
}

impl<'de> Deserialize<'de> for Margin {
    /// Reads a number or a table; of the latter an unknown key is named.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Place;
        impl<'de> serde::de::Visitor<'de> for Place {
            type Value = Margin;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a number, or a table with one for each similarity")
            }

            fn visit_f64<E>(self, margin: f64) -> Result<Margin, E> {
                Ok(Margin::All(margin))
            }

            fn visit_i64<E>(self, margin: i64) -> Result<Margin, E> {
                Ok(Margin::All(margin as f64))
            }

            fn visit_u64<E>(self, margin: u64) -> Result<Margin, E> {
                Ok(Margin::All(margin as f64))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Margin, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                MarginPerFunction::deserialize(map).map(Margin::PerFunction)
            }
        }
        deserializer.deserialize_any(Place)
    }
}

impl Margin {
    fn of(self, function: SimilarityFunction) -> f64 {
        match (self, function) {
            (Self::All(margin), _) => margin,
            (Self::PerFunction(margins), SimilarityFunction::Cosine) => margins.cosine,
            (Self::PerFunction(margins), SimilarityFunction::Dot) => margins.dot,
            (Self::PerFunction(margins), SimilarityFunction::Manhattan) => margins.manhattan,
            (Self::PerFunction(margins), SimilarityFunction::Euclidean) => margins.euclidean,
        }
    }
}

/// Settings of a [`TripletEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TripletConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// A `.tsv`, `.csv` or `.jsonl` file with the triplets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its columns: anchor, positive, negative.
    pub columns: [String; 3],
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Similarity whose figure is the primary one.
    #[serde(
        alias = "main_distance_function",
        skip_serializing_if = "Option::is_none"
    )]
    pub main_similarity_function: Option<SimilarityFunction>,
    /// Similarities to evaluate; the main one, else the model's own, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity_fn_names: Option<Vec<SimilarityFunction>>,
    /// By how much a positive must beat a negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<Margin>,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
}

impl Default for TripletConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: None,
            columns: ["anchor", "positive", "negative"].map(str::to_owned),
            batch_size: 16,
            main_similarity_function: None,
            similarity_fn_names: None,
            margin: None,
            max_active_dims: None,
            write_csv: true,
        }
    }
}

impl TripletConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        common::check_settings(
            self.batch_size,
            self.max_active_dims,
            self.similarity_fn_names.as_ref(),
        )?;
        let margin = self.margin.unwrap_or(Margin::All(0.0));
        match SimilarityFunction::ALL
            .into_iter()
            .find(|&function| !margin.of(function).is_finite())
        {
            Some(function) => Err(Error::option(
                "margin",
                format!("for {function} must be a finite number"),
            )),
            None => Ok(()),
        }
    }

    /// Reads the file and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or the file is wrong.
    pub fn init(&self) -> Result<TripletEvaluator> {
        self.validate()?;
        let mut table = Table::read(table::required(&self.path)?, &self.columns)?;
        TripletEvaluator::new(table.take(0), table.take(1), table.take(2), self.clone())
    }
}

/// Counts the triplets whose anchor is more similar to the positive than to the negative, by more than a margin.
///
/// Figures: `fn_accuracy` per similarity, `max_accuracy` where there are several; then `active_dims` and `sparsity_ratio`
/// of anchors, positives and negatives. Equal similarities count as wrong.
#[doc(alias = "SparseTripletEvaluator")]
#[derive(Debug)]
pub struct TripletEvaluator {
    anchors: Vec<String>,
    positives: Vec<String>,
    negatives: Vec<String>,
    config: TripletConfig,
    shared: Shared,
}

impl TripletEvaluator {
    /// Builds an evaluator over triplets.
    ///
    /// # Errors
    ///
    /// If the columns differ in length or are empty, or a setting is wrong.
    pub fn new(
        anchors: Vec<String>,
        positives: Vec<String>,
        negatives: Vec<String>,
        config: TripletConfig,
    ) -> Result<Self> {
        config.validate()?;
        check_lengths(
            &["anchors", "positives", "negatives"],
            &[anchors.len(), positives.len(), negatives.len()],
        )?;
        if anchors.is_empty() {
            return Err(Error::Data(
                "a triplet evaluation needs at least one triplet".to_owned(),
            ));
        }
        let primary = config
            .main_similarity_function
            .map(|main| format!("{main}_accuracy"));
        Ok(Self {
            anchors,
            positives,
            negatives,
            shared: shared!(config, primary),
            config,
        })
    }

    fn functions(&self, own: SimilarityFunction) -> Vec<SimilarityFunction> {
        let asked = self.config.similarity_fn_names.as_ref();
        common::functions(asked, self.config.main_similarity_function, own)
    }

    /// The accuracies of given similarities, positives and negatives per function, without the evaluator's name.
    pub fn accuracies(&self, similarities: &[(SimilarityFunction, [Vec<f32>; 2])]) -> Metrics {
        let margin = self.config.margin.unwrap_or(Margin::All(0.0));
        let mut metrics = Metrics::new();
        for (function, [positive, negative]) in similarities {
            // In f32, as the reference adds them.
            let margin = margin.of(*function) as f32;
            let right = positive
                .iter()
                .zip(negative)
                .filter(|&(&positive, &negative)| positive > negative + margin);
            metrics.insert(
                format!("{function}_accuracy"),
                right.count() as f64 / positive.len().max(1) as f64,
            );
        }
        if similarities.len() > 1 {
            let best = metrics.iter().map(|(_, value)| value).fold(0.0, f64::max);
            metrics.insert("max_accuracy", best);
        }
        let primary = match (self.config.main_similarity_function, similarities) {
            (Some(main), _) => format!("{main}_accuracy"),
            (None, [(function, _)]) => format!("{function}_accuracy"),
            _ => "max_accuracy".to_owned(),
        };
        metrics.with_primary(primary)
    }
}

impl Measure for TripletEvaluator {
    const CLASS_NAME: &'static str = "SparseTripletEvaluator";
    const DESCRIPTION: &'static str = "Sparse Triplet";
    const TITLE: &'static str = "triplet evaluation";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn texts(&self) -> (usize, &'static str) {
        (3 * self.anchors.len(), "triplets")
    }

    /// In the result file `dot_accuracy` is called `accuracy_dot`, and the maximum is left out.
    fn figures_for(&self, own: SimilarityFunction) -> Vec<Figure> {
        let functions = self.functions(own);
        let figure = |function: &SimilarityFunction| {
            Figure::new(format!("{function}_accuracy")).in_column(format!("accuracy_{function}"))
        };
        let mut figures: Vec<Figure> = functions.iter().map(figure).collect();
        if functions.len() > 1 {
            figures.push(Figure::new("max_accuracy").without_column());
        }
        figures.extend(Figure::sparsity(&["anchor_", "positive_", "negative_"]));
        figures
    }

    fn measure(&self, texts: &mut Encoding<'_>) -> Result<Metrics> {
        let functions = self.functions(texts.own_similarity());
        let mut similarities = Vec::new();
        similarities.extend(
            functions
                .into_iter()
                .map(|function| (function, [Vec::new(), Vec::new()])),
        );
        let columns = [
            (Side::Query, self.anchors.as_slice()),
            (Side::Document, &self.positives),
            (Side::Document, &self.negatives),
        ];
        let sparsity = texts.encode(columns, |_, [anchors, positives, negatives]| {
            for (function, [positive, negative]) in &mut similarities {
                positive.extend(function.pairwise(&anchors, &positives)?);
                negative.extend(function.pairwise(&anchors, &negatives)?);
            }
            Ok(())
        })?;
        let mut metrics = self.accuracies(&similarities);
        for (prefix, sparsity) in ["anchor_", "positive_", "negative_"]
            .into_iter()
            .zip(sparsity)
        {
            metrics.extend(common::sparsity(prefix, sparsity));
        }
        Ok(metrics)
    }

    fn file_name(&self) -> String {
        let name = csv::suffix(&self.config.name);
        format!("triplet_evaluation{name}_results.csv")
    }

    fn shown(&self) -> Map<String, Value> {
        let mut config = Map::new();
        if let Some(margin) = self.config.margin {
            use SimilarityFunction::{Cosine, Dot, Euclidean, Manhattan};
            let margins =
                [Cosine, Dot, Manhattan, Euclidean].map(|function| (function, margin.of(function)));
            if margins.iter().any(|entry| entry.1 != 0.0) {
                let margins = margins
                    .into_iter()
                    .map(|(function, margin)| (function.to_string(), Value::from(margin)));
                config.insert("margin".to_owned(), Value::Object(margins.collect()));
            }
        }
        config.extend(common::limit_config(self.config.max_active_dims));
        config
    }
}
