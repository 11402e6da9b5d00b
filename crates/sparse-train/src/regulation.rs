//! What keeps vectors sparse and changes from step to step: the weights of the regularizers, and what they are set by.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use sparse_losses::{
    DocumentFrequencies, Loss, RegularizerScheduleConfig, RegularizerWeights, TopKScheduleConfig,
};

use crate::dataset::DatasetWithLoss;
use crate::schedule::SparsityController;

/// The schedules, and the state of everything that measures.
#[derive(Debug)]
pub(crate) struct Regulation {
    pub(crate) schedule: RegularizerScheduleConfig,
    pub(crate) top_k: Option<TopKScheduleConfig>,
    state: RegulationState,
}

/// What a checkpoint keeps of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegulationState {
    /// By data set.
    controllers: BTreeMap<String, Controllers>,
    document_frequencies: Option<DocumentFrequencies>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Controllers {
    document: Option<SparsityController>,
    query: Option<SparsityController>,
}

/// Mean active dimensions of an update, by side; `None` where a side has no column.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ActiveDims {
    pub(crate) query: Option<f64>,
    pub(crate) document: Option<f64>,
}

/// What an update measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) active: ActiveDims,
    /// The same texts without dropout, in an update that encoded them a second time.
    pub(crate) without_dropout: ActiveDims,
}

/// A model with dropout has a tenth more active dimensions than the same model without, and the target is meant for the
/// latter. The share changes slowly: each tenth update encodes its texts again without dropout, 3 % more work.
const STEPS_PER_MEASUREMENT: usize = 10;

impl Regulation {
    pub(crate) fn new(
        schedule: RegularizerScheduleConfig,
        top_k: Option<TopKScheduleConfig>,
        datasets: &[DatasetWithLoss],
        n_dims: usize,
    ) -> Self {
        Self {
            schedule,
            top_k,
            state: RegulationState::new(datasets, n_dims),
        }
    }

    /// Forgets what was measured.
    pub(crate) fn reset(&mut self, datasets: &[DatasetWithLoss], n_dims: usize) {
        self.state = RegulationState::new(datasets, n_dims);
    }

    pub(crate) fn state(&self) -> &RegulationState {
        &self.state
    }

    /// Goes on from the state of a checkpoint. What the checkpoint lacks, since the training file asked for less then,
    /// begins anew.
    ///
    /// # Errors
    ///
    /// If the state is that of vectors of another width.
    pub(crate) fn restore(&mut self, saved: RegulationState) -> Result<(), String> {
        for (name, controllers) in &mut self.state.controllers {
            let Some(saved) = saved.controllers.get(name) else {
                continue;
            };
            let take = |ours: &mut Option<SparsityController>,
                        saved: &Option<SparsityController>| {
                if let (Some(ours), Some(saved)) = (ours, saved) {
                    ours.go_on_from(saved);
                }
            };
            take(&mut controllers.document, &saved.document);
            take(&mut controllers.query, &saved.query);
        }
        if let Some(ours) = &mut self.state.document_frequencies
            && let Some(saved) = saved.document_frequencies
        {
            if saved.n_dims() != ours.n_dims() {
                return Err(format!(
                    "`regularizer_state.json` counts documents in {} dimensions, and the model has {}",
                    saved.n_dims(),
                    ours.n_dims()
                ));
            }
            *ours = saved;
        }
        Ok(())
    }

    /// Weights in force in a step: the maxima under the schedule, or what a controller says. `None` without regularizers.
    pub(crate) fn weights(
        &self,
        dataset: &DatasetWithLoss,
        step: usize,
        total_steps: usize,
    ) -> Option<RegularizerWeights> {
        let maxima = dataset.loss.regularizer_weights()?;
        let mut weights = maxima.scaled(self.schedule.factor(step as u64, total_steps as u64));
        if let Some(controllers) = self.state.controllers.get(&dataset.name) {
            if let Some(controller) = &controllers.document {
                weights.document = controller.weight();
            }
            if let Some(controller) = &controllers.query {
                weights.query = Some(controller.weight());
            }
        }
        Some(weights)
    }

    /// Whether a weight is set by what was measured.
    pub(crate) fn has_targets(&self) -> bool {
        !self.state.controllers.is_empty()
    }

    /// Whether update `step` encodes its texts a second time, without dropout.
    pub(crate) fn measures_without_dropout(&self, step: usize) -> bool {
        self.has_targets() && step.is_multiple_of(STEPS_PER_MEASUREMENT)
    }

    /// Lets the controllers of a data set see what an update measured, which ran at `learning_rate` as a share of its peak.
    pub(crate) fn observe(
        &mut self,
        dataset: &str,
        measured: Measured,
        step: usize,
        total_steps: usize,
        learning_rate: f64,
    ) {
        let ramp = self.schedule.ramp_length(total_steps as u64).max(1) as f64;
        let Some(controllers) = self.state.controllers.get_mut(dataset) else {
            return;
        };
        let Measured {
            active,
            without_dropout,
        } = measured;
        let sides = [
            (
                &mut controllers.document,
                active.document,
                without_dropout.document,
            ),
            (&mut controllers.query, active.query, without_dropout.query),
        ];
        for (controller, active, without_dropout) in sides {
            if let (Some(controller), Some(active)) = (controller, active) {
                if let Some(without_dropout) = without_dropout {
                    controller.compare(active, without_dropout);
                }
                controller.observe(active, step as f64 / ramp, ramp, learning_rate);
            }
        }
    }

    /// A sentence for each target that the run missed.
    pub(crate) fn missed_targets(&self) -> Vec<String> {
        let several = self.state.controllers.len() > 1;
        let controllers = self.state.controllers.iter();
        controllers
            .flat_map(|(name, Controllers { document, query })| {
                [(document, "documents"), (query, "queries")].map(|(controller, side)| {
                    let what = if several {
                        format!("{side} of `{name}`")
                    } else {
                        side.to_owned()
                    };
                    controller.as_ref()?.miss(&what)
                })
            })
            .flatten()
            .collect()
    }

    /// Active dimensions that a vector keeps in a step, if the activation schedule limits them.
    pub(crate) fn largest_kept(&self, step: usize, total_steps: usize) -> Option<usize> {
        let schedule = self.top_k.as_ref()?;
        Some(schedule.k(step as u64, total_steps as u64))
    }

    /// Document frequencies so far, for a loss that reads them.
    pub(crate) fn document_frequencies(
        &self,
        loss: &dyn Loss,
        device: &Device,
    ) -> Option<Tensor<1>> {
        let frequencies = self.state.document_frequencies.as_ref()?;
        loss.needs_document_frequencies()
            .then(|| frequencies.to_tensor(device))
            .flatten()
    }

    /// Counts documents for a loss that reads their frequencies.
    pub(crate) fn count_documents(&mut self, loss: &dyn Loss, documents: &[Tensor<2>]) {
        if let Some(frequencies) = &mut self.state.document_frequencies
            && loss.needs_document_frequencies()
        {
            frequencies.observe(documents);
        }
    }
}

impl RegulationState {
    fn new(datasets: &[DatasetWithLoss], n_dims: usize) -> Self {
        let controllers = datasets.iter().filter_map(|dataset| {
            let targets = dataset.loss.target_active_dims();
            let weights = dataset.loss.regularizer_weights()?;
            let controllers = Controllers {
                document: targets
                    .document
                    .map(|target| SparsityController::new(target, weights.document)),
                query: targets
                    .query
                    .zip(weights.query)
                    .map(|(target, weight)| SparsityController::new(target, weight)),
            };
            (controllers != Controllers::default()).then(|| (dataset.name.clone(), controllers))
        });
        Self {
            controllers: controllers.collect(),
            document_frequencies: datasets
                .iter()
                .any(|dataset| dataset.loss.needs_document_frequencies())
                .then(|| DocumentFrequencies::new(n_dims, DocumentFrequencies::DEFAULT_WINDOW)),
        }
    }
}
