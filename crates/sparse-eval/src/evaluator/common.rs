//! What most evaluators need.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};
use sparse_index::{SimilarityFunction, Sparsity};
use sparse_model::EncodeOptions;

use super::{EvaluationProgress, EvaluationRun};
use crate::{Error, Result};

/// The primary figure's name, which some evaluators know only after they have seen a model.
#[derive(Debug, Default)]
pub(crate) struct Primary(Mutex<Option<String>>);

impl Primary {
    pub(crate) fn new(name: Option<String>) -> Self {
        Self(Mutex::new(name))
    }

    pub(crate) fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set(&self, name: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }
}

/// `NAME_key`, or the key alone without a name.
pub(crate) fn named(name: &str, key: &str) -> String {
    if name.is_empty() {
        key.to_owned()
    } else {
        format!("{name}_{key}")
    }
}

/// All names as [`named`] makes them.
pub(crate) fn all_named(name: &str, keys: Vec<String>) -> Vec<String> {
    keys.iter().map(|key| named(name, key)).collect()
}

/// Names of what [`sparsity`] gives.
pub(crate) fn sparsity_names(prefix: &str) -> [String; 2] {
    ["active_dims", "sparsity_ratio"].map(|key| format!("{prefix}{key}"))
}

pub(crate) fn options(batch_size: usize, max_active_dims: Option<usize>) -> EncodeOptions {
    EncodeOptions {
        batch_size,
        max_active_dims,
        ..EncodeOptions::default()
    }
}

/// Refuses sizes of 0 and empty lists of similarities.
pub(crate) fn check_settings(
    batch_size: usize,
    max_active_dims: Option<usize>,
    functions: Option<&Vec<SimilarityFunction>>,
) -> Result<()> {
    let sizes = [
        ("batch_size", Some(batch_size)),
        ("max_active_dims", max_active_dims),
    ];
    if let Some((name, _)) = sizes.into_iter().find(|size| size.1 == Some(0)) {
        return Err(Error::option(name, "must be at least 1; got 0"));
    }
    if functions.is_some_and(Vec::is_empty) {
        return Err(Error::option(
            "similarity_fn_names",
            "must name at least one similarity",
        ));
    }
    Ok(())
}

/// The similarities to evaluate: those asked for, with the main one among them; else the main one; else the model's own.
pub(crate) fn functions(
    asked: Option<&Vec<SimilarityFunction>>,
    main: Option<SimilarityFunction>,
    own: SimilarityFunction,
) -> Vec<SimilarityFunction> {
    let mut functions = asked.cloned().unwrap_or_else(|| vec![main.unwrap_or(own)]);
    functions.extend(main.filter(|main| !functions.contains(main)));
    functions
}

/// `active_dims` and `sparsity_ratio`, led by `prefix`.
pub(crate) fn sparsity(prefix: &str, sparsity: Sparsity) -> [(String, f64); 2] {
    [
        (format!("{prefix}active_dims"), sparsity.active_dims),
        (format!("{prefix}sparsity_ratio"), sparsity.sparsity_ratio),
    ]
}

/// Mean of two statistics, without weights.
pub(crate) fn mean_sparsity(a: Sparsity, b: Sparsity) -> Sparsity {
    Sparsity {
        active_dims: (a.active_dims + b.active_dims) / 2.0,
        sparsity_ratio: (a.sparsity_ratio + b.sparsity_ratio) / 2.0,
    }
}

/// The setting that every evaluator shows in a model card if it is set.
pub(crate) fn limit_config(max_active_dims: Option<usize>) -> Map<String, Value> {
    max_active_dims
        .map(|limit| ("max_active_dims".to_owned(), Value::from(limit)))
        .into_iter()
        .collect()
}

/// Passes the encoder's progress on.
pub(crate) fn with_progress(
    options: &EncodeOptions,
    run: &EvaluationRun,
    stage: &'static str,
    start: usize,
    total: usize,
) -> EncodeOptions {
    let Some(progress) = run.progress.clone() else {
        return options.clone();
    };
    options.clone().with_progress(move |encoded| {
        progress(EvaluationProgress {
            stage,
            done: start + encoded.done,
            total,
        });
    })
}
