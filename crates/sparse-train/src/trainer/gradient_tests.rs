//! Gradients of an update under gradient caching and exact regularizers, against those of one plain batch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sparse_data::{Column, DatasetConfig, Table};
use sparse_losses::RegularizerScheduleConfig;
use sparse_model::SparseEncoder;

use crate::distributed::{Communicator, Solo};
use crate::loss_scaler::LossScaler;
use crate::plan::Plan;
use crate::prefetch::Prefetch;
use crate::{Trainer, TrainingArguments};

pub(super) type Gradients = BTreeMap<String, Vec<f32>>;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

pub(super) fn encoder_directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../sparse-model/tests/golden/encoders")
        .join(name)
}

pub(super) fn load(directory: &Path) -> SparseEncoder {
    SparseEncoder::from_pretrained(directory.to_str().unwrap(), &Device::flex()).unwrap()
}

/// The encoder with dropout, which the reference's test models lack.
pub(super) fn with_dropout(name: &str) -> SparseEncoder {
    let copy = tempfile::tempdir().unwrap();
    copy_directory(&encoder_directory(name), copy.path());
    let path = copy.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["hidden_dropout_prob"] = json!(0.1);
    config["attention_probs_dropout_prob"] = json!(0.1);
    fs::write(&path, config.to_string()).unwrap();
    load(copy.path())
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn table(run: &str) -> Table {
    Table::load(&config(run)).unwrap()
}

pub(super) fn config(run: &str) -> DatasetConfig {
    DatasetConfig::from_path(golden(&format!("training/{run}/data.jsonl")))
}

/// Loss and gradients of the first update, weights at their full value.
fn first_update(
    encoder: SparseEncoder,
    table: Table,
    loss: &Value,
    change: impl FnOnce(&mut TrainingArguments),
) -> (f64, Gradients) {
    first_update_of(Arc::new(Solo), encoder, [table], loss, change)
}

/// The same in one process of several.
pub(super) fn first_update_of(
    communicator: Arc<dyn Communicator>,
    encoder: SparseEncoder,
    tables: impl IntoIterator<Item = Table>,
    loss: &Value,
    change: impl FnOnce(&mut TrainingArguments),
) -> (f64, Gradients) {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = TrainingArguments {
        per_device_train_batch_size: 8,
        max_steps: 1,
        ..TrainingArguments::new(folder.path())
    };
    change(&mut arguments);
    let schedule = json!({ "scheduler_type": "constant" });
    let schedule: RegularizerScheduleConfig = serde_json::from_value(schedule).unwrap();
    let mut builder = Trainer::builder(encoder, arguments).communicator(communicator);
    for table in tables {
        builder = builder.train_dataset(table);
    }
    let mut trainer = builder
        .loss(serde_json::from_value(loss.clone()).unwrap())
        .regularizer_schedule(schedule)
        .build()
        .unwrap();
    let mut plan = Plan::new(&trainer.arguments_of_all().unwrap(), &trainer.train).unwrap();
    let epoch = plan.epoch_of(0).unwrap().unwrap();
    let n_micro_batches = plan.micro_batches(&epoch, 0).len();
    trainer.state.max_steps = 1;
    let mut feed = Prefetch::start(trainer.collator().unwrap(), &mut plan, 0).unwrap();
    trainer.scaler = trainer.arguments.fp16.then(LossScaler::default);
    let sums = trainer.sums(1e-3, n_micro_batches, &mut feed);
    let sums = sums.unwrap().unwrap();
    (
        sums.tally.report.loss,
        sums.gradients.by_name(trainer.model()),
    )
}

/// Largest distance of two sets of gradients, as a share of the largest entry.
pub(super) fn distance(a: &Gradients, b: &Gradients) -> f32 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(a.len() > 20, "{} parameters have a gradient", a.len());
    let largest = b
        .values()
        .flatten()
        .fold(0.0_f32, |most, value| most.max(value.abs()));
    let pairs = a.values().flatten().zip(b.values().flatten());
    pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

pub(super) fn splade(base: &str) -> Value {
    json!({
        "type": "splade", "document_regularizer_weight": 0.02, "query_regularizer_weight": 0.05,
        "loss": { "type": base },
    })
}

pub(super) fn csr() -> Value {
    json!({
        "type": "csr", "gamma": 0.5,
        "loss": { "type": "multiple_negatives_ranking", "scale": 20.0, "similarity_fct": "cosine" },
    })
}

#[test]
fn cached_gradients_are_those_of_the_whole_batch_dropout_included() {
    let cases = [
        (
            "splade-max",
            "a_splade_mnrl",
            splade("multiple_negatives_ranking"),
        ),
        ("splade-max", "b_margin_mse", splade("margin_mse")),
        ("csr", "d_csr", csr()),
    ];
    for (encoder, run, loss) in cases {
        let update = |change: &dyn Fn(&mut TrainingArguments)| {
            first_update(with_dropout(encoder), table(run), &loss, change)
        };
        let (plain_value, plain) = update(&|_| {});
        let (other_value, _) = update(&|arguments| arguments.seed = 43);
        assert!(
            (plain_value - other_value).abs() > 1e-3,
            "dropout depends on the seed"
        );
        let by_rows = update(&|arguments| arguments.mini_batch_size = Some(3));
        let by_tokens = update(&|arguments| arguments.mini_batch_num_tokens = Some(40));
        for (value, gradients) in [by_rows, by_tokens] {
            assert!(
                (value - plain_value).abs() <= 1e-5 * plain_value,
                "{value} {plain_value}"
            );
            let distance = distance(&gradients, &plain);
            assert!(distance <= 1e-5, "{encoder}, {run}: {distance}");
        }
    }
}

#[test]
fn a_frozen_route_is_skipped() {
    let columns = |arguments: &mut TrainingArguments| {
        arguments.router_mapping = [("question", "query"), ("answer", "document")]
            .map(|(column, route)| (column.to_owned(), route.into()))
            .into();
    };
    let loss = json!({
        "type": "splade", "document_regularizer_weight": 0.02,
        "loss": { "type": "multiple_negatives_ranking" },
    });
    let frozen = || {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(&encoder_directory("inference-free"), copy.path());
        let path = copy
            .path()
            .join("query_0_SparseStaticEmbedding/config.json");
        fs::write(&path, json!({ "frozen": true }).to_string()).unwrap();
        load(copy.path())
    };
    let table = || table("e_inference_free");
    let (plain_value, plain) = first_update(frozen(), table(), &loss, columns);
    let (value, cached) = first_update(frozen(), table(), &loss, |arguments| {
        columns(arguments);
        arguments.mini_batch_size = Some(3);
    });
    assert!((value - plain_value).abs() <= 1e-5 * plain_value);
    assert!(distance(&cached, &plain) <= 1e-5);
    assert!(
        !cached.keys().any(|name| name.contains("query")),
        "the frozen route has no gradient"
    );
}

#[test]
fn an_exact_regularizer_gives_the_gradient_of_one_large_batch() {
    let regularizers = [
        json!({ "type": "flops" }),
        json!({ "type": "l1" }),
        json!({ "type": "l0_mask", "threshold": 20 }),
    ];
    for regularizer in regularizers {
        // The base loss is a mean over rows, so that only the regularizer tells one batch from four.
        let mut loss = splade("margin_mse");
        loss["document_regularizer"] = regularizer.clone();
        loss["query_regularizer"] = regularizer.clone();
        let update = |change: &dyn Fn(&mut TrainingArguments)| {
            first_update(
                load(&encoder_directory("splade-max")),
                table("b_margin_mse"),
                &loss,
                change,
            )
        };
        let quarter = |arguments: &mut TrainingArguments| {
            arguments.per_device_train_batch_size = 2;
            arguments.gradient_accumulation_steps = 4;
        };
        let (large_value, large) = update(&|_| {});
        let exact = update(&|arguments| {
            quarter(arguments);
            arguments.exact_regularizer = true;
        });
        let exact_and_cached = update(&|arguments| {
            quarter(arguments);
            arguments.exact_regularizer = true;
            arguments.mini_batch_size = Some(3);
        });
        for (value, gradients) in [exact, exact_and_cached] {
            assert!(
                (value - large_value).abs() <= 1e-5 * large_value,
                "{value} {large_value}"
            );
            let distance = distance(&gradients, &large);
            assert!(distance <= 1e-5, "{regularizer}: {distance}");
        }
        // Without it each micro-batch has a term of its own, as in the reference; L1 alone is additive.
        let (value, gradients) = update(&quarter);
        if regularizer["type"] == "l1" {
            assert!(distance(&gradients, &large) <= 1e-5);
        } else {
            assert!(
                (value - large_value).abs() > 1e-4 * large_value,
                "{value} {large_value}"
            );
            assert!(distance(&gradients, &large) > 1e-4);
        }
    }
}

#[test]
fn values_and_gradients_are_those_of_the_reference_s_cached_loss() {
    let text = fs::read_to_string(golden("losses/cached_splade.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let bytes = fs::read(golden("losses/cached_splade.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let rows = file["rows"].as_array().unwrap();
    let table = || {
        let column = |name: &'static str| {
            let texts: Vec<String> = rows
                .iter()
                .map(|row| row[name].as_str().unwrap().to_owned())
                .collect();
            (name, Column::from(texts))
        };
        Table::from_columns(["anchor", "positive", "negative"].map(column)).unwrap()
    };
    for run in file["runs"].as_array().unwrap() {
        let mut loss = splade("multiple_negatives_ranking");
        if run["loss"] == "CachedSpladeLoss" {
            loss["type"] = json!("cached_splade");
            for (option, value) in run["config"].as_object().unwrap() {
                loss[option] = value.clone();
            }
        }
        let encoder = load(&encoder_directory("splade-max"));
        let (value, gradients) = first_update(encoder, table(), &loss, |_| {});
        let expected = run["value"].as_f64().unwrap();
        assert!(
            (value - expected).abs() <= 1e-5 * expected,
            "{run}: {value}"
        );
        let reference: Gradients = gradients
            .keys()
            .map(|name| {
                let data = tensors.tensor(&format!("grad.{name}")).unwrap().data();
                let (values, _) = data.as_chunks::<4>();
                (
                    name.clone(),
                    values
                        .iter()
                        .map(|bytes| f32::from_le_bytes(*bytes))
                        .collect(),
                )
            })
            .collect();
        let distance = distance(&gradients, &reference);
        assert!(distance <= 1e-4, "{run}: {distance}");
    }
}
