//! A device that fails above a number of texts, and a run that goes on with fewer at a time.

use std::path::Path;

use burn::tensor::Device;
use serde_json::json;
use sparse_data::{DatasetConfig, Table};
use sparse_losses::LossConfig;
use sparse_model::SparseEncoder;

use super::out_of_memory;
use crate::{Resume, SaveStrategy, Trainer, TrainingArguments};

fn trainer(output_dir: &Path, change: impl FnOnce(&mut TrainingArguments)) -> Trainer {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let encoder = root.join("../sparse-model/tests/golden/encoders/splade-max");
    let encoder =
        SparseEncoder::from_pretrained(encoder.to_str().unwrap(), &Device::flex()).unwrap();
    let data = root.join("tests/golden/training/a_splade_mnrl/data.jsonl");
    let loss: LossConfig = serde_json::from_value(json!({
        "type": "splade",
        "document_regularizer_weight": 0.003,
        "query_regularizer_weight": 0.005,
        "loss": { "type": "multiple_negatives_ranking" },
    }))
    .unwrap();
    let mut arguments = TrainingArguments {
        per_device_train_batch_size: 8,
        gradient_accumulation_steps: 2,
        learning_rate: 5e-4,
        max_steps: 4,
        logging_steps: 1.0,
        save_strategy: SaveStrategy::Steps,
        save_steps: 2.0,
        auto_find_batch_size: true,
        ..TrainingArguments::new(output_dir)
    };
    change(&mut arguments);
    Trainer::builder(encoder, arguments)
        .train_dataset(Table::load(&DatasetConfig::from_path(data)).unwrap())
        .loss(loss)
        .build()
        .unwrap()
}

fn losses(trainer: &Trainer) -> Vec<f64> {
    let logs = &trainer.state().log_history;
    logs.iter()
        .filter_map(|log| log.get("loss")?.as_f64())
        .collect()
}

fn weights(trainer: &Trainer) -> Vec<f32> {
    let mut all = Vec::new();
    trainer
        .encoder()
        .visit_parameters(|_, value| all.extend(value.into_data().try_to_vec::<f32>().unwrap()));
    all
}

#[test]
fn a_step_that_does_not_fit_is_done_in_halves() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut ample = trainer(folders[0].path(), |_| {});
    ample.train().unwrap();
    let mut small = trainer(folders[1].path(), |_| {});
    // The three columns are one block of 24 texts: 12, 6 and then 3 at a time are what is tried.
    small.texts_that_fit = Some(5);
    small.train().unwrap();
    let state = &small.state().stateful_callbacks["AutoFindBatchSize"];
    assert_eq!(
        *state,
        json!({ "args": {}, "attributes": { "mini_batch_size": 3 } })
    );
    assert_eq!(small.state().train_batch_size, 8);

    // The batch is the same, so the losses are, but for rounding.
    assert_eq!(losses(&ample).len(), 4);
    for (ample, small) in losses(&ample).iter().zip(losses(&small)) {
        assert!((ample / small - 1.0).abs() < 1e-5, "{ample} and {small}");
    }
    let count = |trainer: &Trainer| trainer.state().num_input_tokens_seen;
    assert_eq!(count(&ample), count(&small));

    // A resumed run begins with the size that was found, and gives the same bytes.
    let resume = Resume::From(folders[1].path().join("checkpoint-2"));
    let mut resumed = trainer(folders[1].path(), |_| {});
    resumed.texts_that_fit = Some(5);
    resumed.train_from(&resume).unwrap();
    assert_eq!(weights(&resumed), weights(&small));
}

#[test]
fn a_single_text_that_does_not_fit_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), |_| {});
    trainer.texts_that_fit = Some(0);
    let error = trainer.train().unwrap_err();
    assert!(!error.is_user_error());
    assert!(
        error.to_string().contains("even one text at a time"),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "out of memory")]
fn without_the_argument_the_error_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), |arguments| {
        arguments.auto_find_batch_size = false;
    });
    trainer.texts_that_fit = Some(5);
    let _ = trainer.train();
}

#[test]
fn gradient_checkpointing_changes_no_loss() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut plain = trainer(folders[0].path(), |_| {});
    plain.train().unwrap();
    let mut checkpointed = trainer(folders[1].path(), |arguments| {
        arguments.auto_find_batch_size = false;
        arguments.gradient_checkpointing = true;
    });
    // A quarter of 8 rows: nothing larger than 2 texts is embedded at a time.
    checkpointed.texts_that_fit = Some(2);
    checkpointed.train().unwrap();
    assert_eq!(losses(&plain).len(), 4);
    for (plain, checkpointed) in losses(&plain).iter().zip(losses(&checkpointed)) {
        assert!((plain / checkpointed - 1.0).abs() < 1e-5);
    }
}

#[test]
fn other_panics_are_not_about_memory() {
    let of = |text: &str| out_of_memory(&text.to_owned());
    assert_eq!(
        of("Memory allocation failed: CUDA_ERROR_OUT_OF_MEMORY\nbacktrace").as_deref(),
        Some("Memory allocation failed: CUDA_ERROR_OUT_OF_MEMORY")
    );
    assert!(of("an out of memory error occurred").is_some());
    assert_eq!(of("index out of bounds"), None);
    assert_eq!(out_of_memory(&7_u32), None);
}
