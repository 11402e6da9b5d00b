//! Models, data and trainers for tests.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use sparse_data::{DatasetConfig, SampleOrder, Table};
use sparse_losses::LossConfig;
use sparse_model::SparseEncoder;
use sparse_train::{IntervalStrategy, SaveStrategy, TrainerBuilder, TrainingArguments};

pub(crate) fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

pub(crate) fn encoder(name: &str) -> SparseEncoder {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../sparse-model/tests/golden/encoders")
        .join(name);
    SparseEncoder::from_pretrained(directory.to_str().unwrap(), &Device::flex()).unwrap()
}

pub(crate) fn table(run: &str) -> Table {
    Table::load(&DatasetConfig::from_path(golden(&format!(
        "training/{run}/data.jsonl"
    ))))
    .unwrap()
}

pub(crate) fn loss(json: serde_json::Value) -> LossConfig {
    serde_json::from_value(json).unwrap()
}

/// Arguments of the golden runs; nothing is written unless a test asks for it.
pub(crate) fn arguments(output_dir: &Path) -> TrainingArguments {
    TrainingArguments {
        per_device_train_batch_size: 8,
        learning_rate: 5e-4,
        max_steps: 25,
        logging_steps: 1.0,
        save_strategy: SaveStrategy::No,
        eval_strategy: IntervalStrategy::No,
        order: SampleOrder::Reference,
        training_curve: false,
        ..TrainingArguments::new(output_dir)
    }
}

/// A small run over triplets.
pub(crate) fn splade_run(arguments: TrainingArguments) -> TrainerBuilder {
    sparse_train::Trainer::builder(encoder("splade-max"), arguments)
        .train_dataset(table("a_splade_mnrl"))
        .loss(loss(serde_json::json!({
            "type": "splade",
            "document_regularizer_weight": 0.003,
            "query_regularizer_weight": 0.005,
            "loss": { "type": "multiple_negatives_ranking" },
        })))
}

/// Runs something on a pool of so many threads.
pub(crate) fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    pool.install(run)
}

/// Every weight by name.
pub(crate) fn weights(encoder: &SparseEncoder) -> Vec<(String, Vec<f32>)> {
    let mut values = std::collections::BTreeMap::new();
    encoder.visit_parameters(|id, value| {
        values.insert(id, value.into_data().try_to_vec::<f32>().unwrap());
    });
    let parameters = encoder.named_parameters().into_iter();
    parameters
        .map(|parameter| (parameter.name, values.remove(&parameter.id).unwrap()))
        .collect()
}
