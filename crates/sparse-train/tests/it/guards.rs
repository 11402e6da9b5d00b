//! Runs that go wrong, made to on purpose: each guard says so, and keeps quiet when it is switched off.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use safetensors::SafeTensors;
use serde_json::json;
use sparse_data::{Column, DatasetConfig, Table};
use sparse_losses::RegularizerScheduleConfig;
use sparse_model::SparseEncoder;
use sparse_train::{
    Callback, Error, GuardConfig, SaveStrategy, Trainer, TrainerBuilder, TrainingArguments,
};

use crate::support::{arguments, encoder, loss, splade_run, table};

/// Collects warnings.
#[derive(Debug, Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Callback for Warnings {
    fn on_warning(&mut self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

/// The warnings of a run.
fn warnings_of(builder: TrainerBuilder) -> Vec<String> {
    let warnings = Warnings::default();
    let mut trainer = builder.callback(warnings.clone()).build().unwrap();
    trainer.train().unwrap();
    let warnings = warnings.0.lock().unwrap();
    warnings.clone()
}

fn count(warnings: &[String], text: &str) -> usize {
    warnings
        .iter()
        .filter(|warning| warning.contains(text))
        .count()
}

fn short(folder: &Path) -> TrainingArguments {
    TrainingArguments {
        max_steps: 8,
        ..arguments(folder)
    }
}

fn splade(document: f64, query: f64) -> sparse_losses::LossConfig {
    loss(json!({
        "type": "splade", "document_regularizer_weight": document, "query_regularizer_weight": query,
        "loss": { "type": "multiple_negatives_ranking" },
    }))
}

fn constant() -> RegularizerScheduleConfig {
    serde_json::from_value(json!({ "scheduler_type": "constant" })).unwrap()
}

/// A copy of an encoder whose weights `change` has changed, by name.
fn changed(name: &str, change: impl Fn(&str, &mut [f32])) -> SparseEncoder {
    let folder = tempfile::tempdir().unwrap();
    encoder(name).save_pretrained(folder.path()).unwrap();
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: Vec<(String, usize, usize)> = {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let start = bytes.as_ptr() as usize;
        file.tensors()
            .into_iter()
            .map(|(name, view)| {
                (
                    name,
                    view.data().as_ptr() as usize - start,
                    view.data().len(),
                )
            })
            .collect()
    };
    for (name, start, length) in tensors {
        assert!(start >= header);
        let data = &mut bytes[start..start + length];
        let mut values: Vec<f32> = data
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .collect();
        change(&name, &mut values);
        data.copy_from_slice(
            &values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect::<Vec<_>>(),
        );
    }
    fs::write(&path, bytes).unwrap();
    SparseEncoder::from_pretrained(
        folder.path().to_str().unwrap(),
        &burn::tensor::Device::flex(),
    )
    .unwrap()
}

#[test]
fn a_loss_that_stops_being_a_number_ends_the_run_and_saves_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = TrainingArguments {
        learning_rate: 1e30,
        max_grad_norm: 0.0,
        max_steps: 12,
        save_strategy: SaveStrategy::Steps,
        save_steps: 1.0,
        ..arguments(folder.path())
    };
    let error = splade_run(arguments.clone())
        .build()
        .unwrap()
        .train()
        .unwrap_err();
    let Error::NonFinite {
        step, what, batch, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(!error.is_user_error());
    let text = error.to_string();
    assert!(text.contains("lower `learning_rate`"), "{text}");
    let known = [
        "the weight `0.model.",
        "an embedding of column",
        "the term `",
        "the gradient of `0.model.",
    ];
    assert!(known.iter().any(|start| what.starts_with(start)), "{what}");

    // The rows are a data set of the step's size, and the checkpoint before is whole.
    let path = batch.as_ref().unwrap();
    assert_eq!(
        path,
        &folder.path().join(format!("non-finite-step-{step}.jsonl"))
    );
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    let rows = Table::load(&DatasetConfig::from_path(path)).unwrap();
    assert_eq!(rows.num_rows(), 8);
    let original = table("a_splade_mnrl");
    assert_eq!(
        rows.roles().unwrap().inputs,
        original.roles().unwrap().inputs
    );
    let checkpoint = folder.path().join(format!("checkpoint-{}", step - 1));
    assert!(checkpoint.join("model.safetensors").is_file());

    // Switched off, the run goes on as the reference's does.
    let off = GuardConfig {
        non_finite: false,
        ..GuardConfig::default()
    };
    splade_run(arguments)
        .guards(off)
        .build()
        .unwrap()
        .train()
        .unwrap();
}

#[test]
fn a_weight_that_is_no_number_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = changed("splade-max", |name, values| {
        if name.ends_with("bert.encoder.layer.1.output.dense.weight") {
            values[0] = f32::NAN;
        }
    });
    let error = Trainer::builder(broken, short(folder.path()))
        .train_dataset(table("a_splade_mnrl"))
        .loss(splade(0.001, 0.001))
        .build()
        .unwrap()
        .train()
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "step 1: the weight `0.model.bert.encoder.layer.1.output.dense.weight` is NaN"
        ),
        "{text}"
    );
}

#[test]
fn a_model_whose_vectors_are_all_empty_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = |guards: GuardConfig| {
        let dead = changed("splade-max", |name, values| {
            if name.ends_with("cls.predictions.bias") {
                values.fill(-1000.0);
            }
        });
        Trainer::builder(dead, short(folder.path()))
            .train_dataset(table("a_splade_mnrl"))
            .loss(splade(0.1, 0.1))
            .guards(guards)
            .build()
            .unwrap()
            .train()
    };
    let error = run(GuardConfig::default()).unwrap_err();
    assert!(matches!(error, Error::DeadModel { step: 5, .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("lower `query_regularizer_weight`"),
        "{error}"
    );
    run(GuardConfig {
        dead_model: false,
        ..GuardConfig::default()
    })
    .unwrap();
}

#[test]
fn a_head_bias_that_lets_nothing_become_zero_is_seen_before_the_first_step_and_its_density_after_the_ramp()
 {
    let folder = tempfile::tempdir().unwrap();
    let run = |guards: GuardConfig| {
        let biased = changed("splade-max", |name, values| {
            if name.ends_with("cls.predictions.bias") {
                values.fill(20.0);
            }
        });
        Trainer::builder(biased, short(folder.path()))
            .train_dataset(table("a_splade_mnrl"))
            .loss(splade(1e-9, 1e-9))
            .guards(guards)
    };
    let warnings = warnings_of(run(GuardConfig::default()));
    let bias = "step 0: the bias of the masked-language-model head (text) is large (mean 20.00";
    assert_eq!(count(&warnings, bias), 1, "{warnings:?}");
    assert_eq!(count(&warnings, "the documents have"), 1, "{warnings:?}");
    assert_eq!(count(&warnings, "the queries have"), 1, "{warnings:?}");
    assert!(
        count(&warnings, "`document_target_active_dims`") >= 1,
        "{warnings:?}"
    );

    let off = GuardConfig {
        head_bias: false,
        dense_model: false,
        ..GuardConfig::default()
    };
    let warnings = warnings_of(run(off));
    assert_eq!(count(&warnings, "is large"), 0, "{warnings:?}");
    assert_eq!(
        count(&warnings, "dimensions active, although"),
        0,
        "{warnings:?}"
    );
}

#[test]
fn a_run_shorter_than_the_ramp_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let run = |steps: u64, guards: GuardConfig| {
        let schedule = json!({ "warmup_steps": steps });
        warnings_of(
            splade_run(short(folder.path()))
                .regularizer_schedule(serde_json::from_value(schedule).unwrap())
                .guards(guards),
        )
    };
    let on = GuardConfig::default();
    let message = "the run of 8 steps ends before the regularizer weights have risen";
    assert_eq!(count(&run(8, on), message), 1);
    assert_eq!(count(&run(7, on), message), 0);
    let off = GuardConfig {
        short_run: false,
        ..on
    };
    assert_eq!(count(&run(8, off), message), 0);
}

#[test]
fn a_forgotten_wrapper_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let build = |guards: GuardConfig| {
        Trainer::builder(encoder("splade-max"), short(folder.path()))
            .train_dataset(table("a_splade_mnrl"))
            .loss(loss(json!({ "type": "multiple_negatives_ranking" })))
            .guards(guards)
            .build()
    };
    let error = build(GuardConfig::default()).unwrap_err();
    assert!(error.is_user_error());
    let text = error.to_string();
    assert!(text.contains("on its own has no regularizer"), "{text}");
    assert!(text.contains(r#"type = "splade""#), "{text}");
    build(GuardConfig {
        missing_wrapper: false,
        ..GuardConfig::default()
    })
    .unwrap();
}

#[test]
fn a_dimension_that_takes_over_and_vectors_that_are_all_alike_are_named() {
    let folder = tempfile::tempdir().unwrap();
    // One token's bias is all that is left.
    let run = |guards: GuardConfig| {
        let one_sided = changed("splade-max", |name, values| {
            if name.ends_with("cls.predictions.bias") {
                values.fill(-1000.0);
                values[77] = 50.0;
            }
        });
        let token = one_sided.id_to_token(77).unwrap();
        let builder = Trainer::builder(one_sided, short(folder.path()))
            .train_dataset(table("a_splade_mnrl"))
            .loss(splade(1e-9, 1e-9))
            .guards(guards);
        (warnings_of(builder), token)
    };
    let (warnings, token) = run(GuardConfig::default());
    assert_eq!(
        count(&warnings, &format!("dimension 77 (`{token}`) carries")),
        1,
        "{warnings:?}"
    );
    assert_eq!(
        count(&warnings, "nearly the same vector"),
        1,
        "{warnings:?}"
    );
    let (warnings, _) = run(GuardConfig {
        collapse: false,
        ..GuardConfig::default()
    });
    assert_eq!(count(&warnings, "dimension 77"), 0, "{warnings:?}");
    assert_eq!(
        count(&warnings, "nearly the same vector"),
        0,
        "{warnings:?}"
    );
}

#[test]
fn a_position_that_wins_every_maximum_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // The head sees nothing but its own bias, so that all positions tie and the first one wins.
    let sink = changed("splade-max", |name, values| {
        if name.contains("predictions.transform.LayerNorm") {
            values.fill(0.0);
        }
        if name.ends_with("cls.predictions.bias") {
            values.fill(1.0);
        }
    });
    let text =
        |n: usize| format!("row number {n} of a table whose texts are long enough to be looked at");
    let column = |name: &'static str| (name, Column::from((0..16).map(text).collect::<Vec<_>>()));
    let rows = Table::from_columns(["query", "document"].map(column)).unwrap();
    let warnings = warnings_of(
        Trainer::builder(sink, short(folder.path()))
            .train_dataset(rows)
            .loss(splade(1e-9, 1e-9)),
    );
    assert_eq!(
        count(&warnings, "one token position has the maximum"),
        1,
        "{warnings:?}"
    );
}

#[test]
fn a_sound_run_gets_no_warning() {
    let folder = tempfile::tempdir().unwrap();
    let warnings = warnings_of(
        Trainer::builder(encoder("splade-max"), arguments(folder.path()))
            .train_dataset(table("a_splade_mnrl"))
            .loss(splade(0.003, 0.005))
            .regularizer_schedule(constant()),
    );
    assert_eq!(warnings, [""; 0]);
    // Only what was asked for lies in the output directory.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
