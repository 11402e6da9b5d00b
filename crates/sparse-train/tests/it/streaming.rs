//! Training on data that are read anew every epoch.

use std::io::Write;
use std::path::Path;

use sparse_data::{BatchSamplerKind, Dataset, DatasetConfig, SampleOrder};
use sparse_train::{
    Callback, CallbackContext, Error, Interrupt, Resume, SaveStrategy, Trainer, TrainerBuilder,
    TrainerControl, TrainingArguments,
};

use crate::support::{arguments, encoder, loss, weights};

/// Writes pairs whose documents have about `document_bytes` of text.
fn write_pairs(path: &Path, rows: usize, document_bytes: usize) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for row in 0..rows {
        let words = format!("row {row} of some ").repeat(document_bytes / 16 + 1);
        writeln!(
            file,
            "{{\"query\": \"what is row {row}\", \"document\": \"{words}\"}}"
        )
        .unwrap();
    }
    file.flush().unwrap();
}

fn streamed(path: &Path, buffer_rows: usize) -> Dataset {
    Dataset::load(&DatasetConfig {
        name: Some("pairs".to_owned()),
        streaming: true,
        buffer_rows: Some(buffer_rows),
        ..DatasetConfig::from_path(path)
    })
    .unwrap()
}

fn run(arguments: TrainingArguments, data: Dataset) -> TrainerBuilder {
    Trainer::builder(encoder("splade-max"), arguments)
        .train_dataset(data)
        .loss(loss(serde_json::json!({
            "type": "splade",
            "document_regularizer_weight": 0.003,
            "query_regularizer_weight": 0.005,
            "loss": { "type": "multiple_negatives_ranking" },
        })))
}

fn streaming_arguments(output_dir: &Path) -> TrainingArguments {
    TrainingArguments {
        order: SampleOrder::Default,
        gradient_accumulation_steps: 2,
        max_steps: 9,
        save_strategy: SaveStrategy::No,
        ..arguments(output_dir)
    }
}

/// Interrupts after a step.
#[derive(Debug)]
struct StopAfter(usize, Interrupt);

impl Callback for StopAfter {
    fn on_step_end(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        if context.state.global_step == self.0 {
            self.1.request();
        }
    }
}

#[test]
fn a_streamed_run_goes_on_at_any_batch_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.jsonl");
    // 11 batches of 8 rows in 6 updates; the second epoch is cut short.
    write_pairs(&path, 85, 40);
    let output = folder.path().join("whole");
    let mut trainer = run(streaming_arguments(&output), streamed(&path, 32))
        .build()
        .unwrap();
    trainer.train().unwrap();
    assert_eq!(trainer.state().num_train_epochs, 2);
    let expected = weights(&trainer.encoder());

    let output = folder.path().join("parts");
    for (stop, resume) in [
        (1, Resume::No),
        (5, Resume::Last),
        (6, Resume::Last),
        (8, Resume::Last),
        (9, Resume::Last),
    ] {
        let interrupt = Interrupt::default();
        let mut trainer = run(streaming_arguments(&output), streamed(&path, 32))
            .interrupt(interrupt.clone())
            .callback(StopAfter(stop, interrupt))
            .build()
            .unwrap();
        assert_eq!(trainer.train_from(&resume).unwrap().global_step, stop);
        if stop == 9 {
            assert_eq!(weights(&trainer.encoder()), expected);
        }
    }

    // Another buffer, or another file, would give another order.
    let message = |data: Dataset| {
        let error = run(streaming_arguments(&output), data)
            .build()
            .unwrap()
            .train_from(&Resume::Last)
            .unwrap_err();
        assert!(error.is_user_error());
        error.to_string()
    };
    let text = message(streamed(&path, 33));
    assert!(
        text.contains("data_state.json") && text.contains("\"buffer_rows\":33"),
        "{text}"
    );
    write_pairs(&path, 86, 40);
    let text = message(streamed(&path, 32));
    assert!(text.contains("\"num_rows\":86"), "{text}");
}

#[test]
fn an_evaluation_set_may_be_streamed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.jsonl");
    write_pairs(&path, 20, 40);
    let mut losses = Vec::new();
    for data in [
        streamed(&path, 1),
        Dataset::load(&DatasetConfig::from_path(&path)).unwrap(),
    ] {
        let arguments = TrainingArguments {
            // One batch holds all rows, so their order does not count.
            per_device_eval_batch_size: 20,
            ..streaming_arguments(folder.path())
        };
        let mut trainer = run(arguments, streamed(&path, 8))
            .eval_dataset(data)
            .build()
            .unwrap();
        let metrics = trainer.evaluate("eval").unwrap();
        let loss = metrics
            .iter()
            .find(|(name, _)| name == "eval_loss")
            .unwrap();
        losses.push(loss.1);
    }
    assert!((losses[0] - losses[1]).abs() < 1e-5, "{losses:?}");
}

#[test]
fn what_needs_all_rows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pairs.jsonl");
    write_pairs(&path, 20, 40);
    let refusal = |arguments: TrainingArguments, others: usize| {
        let mut builder = run(arguments, streamed(&path, 8));
        for i in 0..others {
            let table = crate::support::table("a_splade_mnrl").with_name(format!("t{i}"));
            builder = builder.train_dataset(table);
        }
        let error = match builder.build() {
            Ok(mut trainer) => trainer.train().unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, Error::Argument { .. }), "{error:?}");
        assert!(error.is_user_error());
        error.to_string()
    };
    let with = |batch_sampler, order| TrainingArguments {
        batch_sampler,
        order,
        token_budget: Some(100),
        ..streaming_arguments(folder.path())
    };
    use {BatchSamplerKind as Kind, SampleOrder as Order};
    for (kind, words) in [
        (Kind::NoDuplicates, ["\"no_duplicates\"", "the texts"]),
        (Kind::GroupByLabel, ["\"group_by_label\"", "the labels"]),
        (Kind::TokenBudget, ["\"token_budget\"", "the lengths"]),
    ] {
        let text = refusal(with(kind, Order::Default), 0);
        assert!(text.starts_with("`arguments.batch_sampler`"), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    let text = refusal(with(Kind::BatchSampler, Order::Reference), 0);
    assert!(text.starts_with("`arguments.order`"), "{text}");
    let text = refusal(with(Kind::BatchSampler, Order::Default), 1);
    assert!(
        text.starts_with("`train_dataset.streaming` = true of `pairs` can't stand beside"),
        "{text}"
    );
}

/// The most memory that this process has ever held, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[test]
fn memory_does_not_grow_with_the_file() {
    const ALLOWANCE: u64 = 16 << 20;
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (
        folder.path().join("small.jsonl"),
        folder.path().join("large.jsonl"),
    );
    // More rows than are read at once, so that only the size of the file differs.
    write_pairs(&small, 3000, 4000);
    write_pairs(&large, 40_000, 4000);
    let train = |path: &Path| {
        run(streaming_arguments(folder.path()), streamed(path, 256))
            .build()
            .unwrap()
            .train()
            .unwrap();
    };
    train(&small);
    let Some(before) = peak_bytes() else {
        return;
    };
    train(&large);
    let grown = peak_bytes().unwrap() - before;
    let bytes = std::fs::metadata(&large).unwrap().len();
    assert!(bytes > 10 * ALLOWANCE);
    assert!(
        grown < ALLOWANCE,
        "{grown} bytes more for a file of {bytes} bytes"
    );
}
