//! Checks that a run does not go wrong in silence.

mod inspect;
mod look;
mod saved_batch;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::regulation::ActiveDims;

pub(crate) use look::Look;
pub(crate) use saved_batch::save as save_batch;

/// `[guards]` of a training file: which checks run. All do unless they are switched off.
///
/// They look at numbers that a step has anyway, or at logging steps, so that they cost nothing worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// Ends the run when the loss or a gradient is no finite number, names the tensor, and saves the rows of the step.
    pub non_finite: bool,
    /// Ends the run when every vector of a side was empty in five updates in a row.
    pub dead_model: bool,
    /// Warns when most dimensions are active although the regularizer weights have risen to their full value.
    pub dense_model: bool,
    /// Warns when the run ends before the regularizer weights have risen.
    pub short_run: bool,
    /// Refuses a base loss that stands alone: nothing would make the vectors sparse.
    pub missing_wrapper: bool,
    /// Warns when the bias of the head keeps dimensions active whatever the text says.
    pub head_bias: bool,
    /// Warns when one dimension, one token position, or one and the same vector takes over.
    pub collapse: bool,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            non_finite: true,
            dead_model: true,
            dense_model: true,
            short_run: true,
            missing_wrapper: true,
            head_bias: true,
            collapse: true,
        }
    }
}

/// Updates in a row without any active dimension after which a model is taken for dead: no gradient flows any more.
const DEAD_UPDATES: usize = 5;

/// Share of active dimensions from which on a model is called dense.
const DENSE: f64 = 0.5;

/// The checks, and what they remember.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    pub(crate) config: GuardConfig,
    empty_updates: [usize; 2],
    /// What was said already: each warning comes once.
    said: BTreeSet<String>,
}

/// What is known after an update.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observation<'a> {
    /// Updates done, this one included.
    pub(crate) step: usize,
    /// Mean active dimensions.
    pub(crate) active: ActiveDims,
    /// Dimensions of an embedding.
    pub(crate) n_dims: usize,
    /// Steps after which the regularizer weights have their full value.
    pub(crate) ramp: usize,
    /// The weights in force, in words.
    pub(crate) weights: &'a str,
    /// The closer look, at steps that have one.
    pub(crate) look: Option<&'a Look>,
}

impl Guards {
    pub(crate) fn new(config: GuardConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Checks an update and returns new warnings.
    pub(crate) fn check(&mut self, observation: &Observation<'_>) -> Result<Vec<String>> {
        self.check_dead(observation)?;
        let mut warnings = Vec::new();
        if let Some(look) = observation.look {
            if self.config.dense_model && observation.step > observation.ramp {
                warnings.extend(dense(observation));
            }
            if self.config.collapse {
                warnings.extend(look.collapse(observation.step > observation.ramp));
            }
        }
        Ok(self.news(warnings, observation.step))
    }

    /// The warnings that weren't given yet, by their key, with the step in front.
    pub(crate) fn news(&mut self, warnings: Vec<Warning>, step: usize) -> Vec<String> {
        let news = warnings
            .into_iter()
            .filter(|warning| self.said.insert(warning.key.clone()));
        news.map(|warning| format!("step {step}: {}", warning.message))
            .collect()
    }

    fn check_dead(&mut self, observation: &Observation<'_>) -> Result<()> {
        let sides = [
            ("query", "queries", observation.active.query),
            ("document", "documents", observation.active.document),
        ];
        for (empty, (side, _, active)) in self.empty_updates.iter_mut().zip(sides) {
            *empty = if active == Some(0.0) { *empty + 1 } else { 0 };
            if *empty == DEAD_UPDATES && self.config.dead_model {
                return Err(Error::DeadModel {
                    step: observation.step,
                    side,
                    updates: DEAD_UPDATES,
                    weights: observation.weights.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Something to say once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) key: String,
    pub(crate) message: String,
}

impl Warning {
    pub(crate) fn new(key: impl Into<String>, message: String) -> Self {
        Self {
            key: key.into(),
            message,
        }
    }
}

fn dense(observation: &Observation<'_>) -> Vec<Warning> {
    let sides = [
        ("query", "queries", observation.active.query),
        ("document", "documents", observation.active.document),
    ];
    let n_dims = observation.n_dims;
    let dense = sides.into_iter().filter_map(|(side, plural, active)| {
        let active = active.filter(|active| *active > DENSE * n_dims as f64)?;
        Some(Warning::new(
            format!("dense {side}"),
            format!(
                "the {plural} have {active:.0} of {n_dims} dimensions active, although the regularizer weights ({}) have \
                 their full value: the weight is too small for this model and loss, or the bias of its head too large. Raise \
                 `{side}_regularizer_weight` tenfold, or give `{side}_target_active_dims` instead",
                observation.weights
            ),
        ))
    });
    dense.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(step: usize, query: f64, document: f64) -> Observation<'static> {
        Observation {
            step,
            active: ActiveDims {
                query: Some(query),
                document: Some(document),
            },
            n_dims: 1000,
            ramp: 10,
            weights: "1e-4",
            look: None,
        }
    }

    #[test]
    fn a_model_is_dead_after_five_empty_updates_in_a_row() {
        let mut guards = Guards::new(GuardConfig::default());
        for step in 1..5 {
            guards.check(&observe(step, 7.0, 0.0)).unwrap();
        }
        // One live batch, and the count begins anew.
        guards.check(&observe(5, 7.0, 0.1)).unwrap();
        for step in 6..10 {
            guards.check(&observe(step, 7.0, 0.0)).unwrap();
        }
        let error = guards.check(&observe(10, 7.0, 0.0)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("step 10: every document vector of the last 5 updates is empty"),
            "{text}"
        );
        assert!(
            text.contains("lower `document_regularizer_weight`"),
            "{text}"
        );
        assert!(!error.is_user_error());

        let mut off = Guards::new(GuardConfig {
            dead_model: false,
            ..GuardConfig::default()
        });
        for step in 1..20 {
            off.check(&observe(step, 0.0, 0.0)).unwrap();
        }
    }

    #[test]
    fn density_is_said_once_and_only_after_the_ramp() {
        let mut guards = Guards::new(GuardConfig::default());
        let look = Look::default();
        let mut check = |step, document| {
            let observation = Observation {
                look: Some(&look),
                ..observe(step, 20.0, document)
            };
            guards.check(&observation).unwrap()
        };
        assert_eq!(check(10, 900.0), [""; 0]);
        assert_eq!(check(11, 400.0), [""; 0]);
        let warnings = check(12, 900.0);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].contains("900 of 1000 dimensions active"),
            "{warnings:?}"
        );
        assert!(
            warnings[0].contains("`document_target_active_dims`"),
            "{warnings:?}"
        );
        assert_eq!(check(13, 900.0), [""; 0]);
    }
}
