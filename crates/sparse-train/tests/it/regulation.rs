//! What sets the regularizers' weights and the number of active dimensions: targets, schedules, document frequencies.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sparse_losses::{LossConfig, TopKScheduleConfig};
use sparse_model::EncodeOptions;
use sparse_train::{
    Callback, CallbackContext, Interrupt, Resume, SaveStrategy, Trainer, TrainerBuilder,
    TrainerControl, TrainingArguments,
};

use crate::support::{arguments, encoder, loss, table, weights};

fn run(arguments: TrainingArguments, loss: LossConfig) -> TrainerBuilder {
    Trainer::builder(encoder("splade-max"), arguments)
        .train_dataset(table("a_splade_mnrl"))
        .loss(loss)
}

fn target(documents: usize, queries: usize, weight: f64) -> LossConfig {
    loss(json!({
        "type": "splade", "loss": { "type": "multiple_negatives_ranking" },
        "document_regularizer_weight": weight, "document_target_active_dims": documents,
        "query_regularizer_weight": weight, "query_target_active_dims": queries,
    }))
}

fn logged(log: &[serde_json::Map<String, Value>], name: &str) -> Vec<f64> {
    log.iter()
        .filter_map(|entry| entry.get(name)?.as_f64())
        .collect()
}

/// On the tiny model of the reference values: 1200 dimensions, about 180 of them active in a document.
#[test]
fn a_target_is_reached_from_weights_four_orders_of_magnitude_off() {
    for weight in [1e-6, 1e2] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = TrainingArguments {
            max_steps: 300,
            warmup_ratio: Some(0.1),
            learning_rate: 1e-3,
            ..arguments(folder.path())
        };
        let documents = loss(json!({
            "type": "splade", "loss": { "type": "multiple_negatives_ranking" },
            "document_regularizer_weight": weight, "document_target_active_dims": 100,
        }));
        let mut trainer = run(arguments, documents).build().unwrap();
        trainer.train().unwrap();
        let history = &trainer.state().log_history;
        let dims = logged(history, "document_active_dims");
        let last: f64 = dims[dims.len() - 15..].iter().sum::<f64>() / 15.0;
        assert!(
            (last / 100.0 - 1.0).abs() < 0.1,
            "{last} from weight {weight}"
        );
        let weights = logged(history, "document_regularizer_weight");
        assert_eq!(weights[0], weight);
        assert_eq!(weights.len(), 300, "the weight is logged with every step");
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
fn controllers_and_document_frequencies_survive_an_interruption() {
    let frequencies = loss(json!({
        "type": "splade", "loss": { "type": "multiple_negatives_ranking" },
        "document_regularizer_weight": 0.01, "query_regularizer_weight": 0.005,
        "document_regularizer": { "type": "df_flops", "alpha": 0.2, "beta": 4.0 },
    }));
    for loss in [target(100, 60, 1e-3), frequencies] {
        let arguments = |folder: &Path| TrainingArguments {
            max_steps: 12,
            save_strategy: SaveStrategy::Steps,
            save_steps: 12.0,
            ..arguments(folder)
        };
        let whole = tempfile::tempdir().unwrap();
        let mut trainer = run(arguments(whole.path()), loss.clone()).build().unwrap();
        trainer.train().unwrap();

        let folder = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        run(arguments(folder.path()), loss.clone())
            .interrupt(interrupt.clone())
            .callback(StopAfter(7, interrupt))
            .build()
            .unwrap()
            .train()
            .unwrap();
        let mut resumed = run(arguments(folder.path()), loss.clone()).build().unwrap();
        resumed.train_from(&Resume::Last).unwrap();
        assert_eq!(weights(&resumed.encoder()), weights(&trainer.encoder()));
        for name in ["regularizer_state.json", "model.safetensors"] {
            let bytes = |folder: &Path| fs::read(folder.join("checkpoint-12").join(name)).unwrap();
            assert_eq!(bytes(folder.path()), bytes(whole.path()), "{name}");
        }
    }
}

#[test]
fn document_frequencies_are_counted_over_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = TrainingArguments {
        max_steps: 3,
        save_strategy: SaveStrategy::Steps,
        save_steps: 3.0,
        ..arguments(folder.path())
    };
    let frequencies = loss(json!({
        "type": "splade", "loss": { "type": "multiple_negatives_ranking" },
        "document_regularizer_weight": 0.01, "document_regularizer": { "type": "df_flops" },
    }));
    run(arguments, frequencies)
        .build()
        .unwrap()
        .train()
        .unwrap();
    let path = folder.path().join("checkpoint-3/regularizer_state.json");
    let state: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let state = &state["document_frequencies"];
    // three steps of eight positives and eight negatives, forgetting 8 in 5000 at a time
    let total = state["total"].as_f64().unwrap();
    assert!((47.5..48.0).contains(&total), "{total}");
    assert_eq!(state["counts"].as_array().unwrap().len(), 1200);
}

#[test]
fn fewer_and_fewer_dimensions_stay_active() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = TrainingArguments {
        max_steps: 9,
        ..arguments(folder.path())
    };
    let none = loss(json!({
        "type": "splade", "document_regularizer_weight": 0.0, "query_regularizer_weight": 0.0,
        "loss": { "type": "multiple_negatives_ranking" },
    }));
    let mut trainer = run(arguments, none)
        .top_k_schedule(TopKScheduleConfig::new(160, 20))
        .build()
        .unwrap();
    trainer.train().unwrap();
    let dims = logged(&trainer.state().log_history, "document_active_dims");
    assert!(dims[0] > 100.0, "{dims:?}");
    assert!(
        dims.windows(2).all(|pair| pair[1] <= pair[0] + 1e-9),
        "{dims:?}"
    );
    assert_eq!(dims[6..9], [20.0; 3]);
    // The model keeps the limit.
    let encoder = trainer.encoder();
    assert_eq!(encoder.max_active_dims(), Some(20));
    let rows = encoder
        .encode_document(&["a person in a suit"], &EncodeOptions::default())
        .unwrap();
    assert_eq!(rows.row(0).nnz(), 20);
}

#[test]
fn a_teacher_s_embeddings_are_imitated_column_by_column() {
    // Two columns, and for each its own embedding: what the model itself makes of the other column.
    let folder = tempfile::tempdir().unwrap();
    let teacher = encoder("splade-max");
    let texts = [
        ["a person in a suit", "two doctors"],
        ["a white dog", "kids on a ride"],
    ];
    let mut file = String::new();
    let mut squares = 0.0;
    for [left, right] in texts {
        let options = EncodeOptions::default();
        let rows = teacher
            .encode_document(&[right, left], &options)
            .unwrap()
            .to_dense();
        let (a, b) = rows.split_at(1200);
        squares += a
            .iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>();
        file += &format!(
            "{}\n",
            json!({ "left": left, "right": right, "label": [a, b] })
        );
    }
    let path = folder.path().join("teacher.jsonl");
    fs::write(&path, file).unwrap();
    let data = sparse_data::Table::load(&sparse_data::DatasetConfig::from_path(&path)).unwrap();
    let arguments = TrainingArguments {
        max_steps: 30,
        learning_rate: 2e-3,
        ..arguments(folder.path())
    };
    let mut trainer = Trainer::builder(encoder("splade-max"), arguments)
        .train_dataset(data)
        .loss(loss(json!({ "type": "mse" })))
        .build()
        .unwrap();
    trainer.train().unwrap();
    let losses = logged(&trainer.state().log_history, "loss");
    // Each embedding begins where the other column's target is: the mean over both rows of their squared distances.
    let expected = squares / (2.0 * 1200.0);
    assert!(
        (losses[0] - expected).abs() <= 1e-4 * expected,
        "{} {expected}",
        losses[0]
    );
    assert!(losses[29] < losses[0], "{} to {}", losses[0], losses[29]);
}

#[test]
fn the_loss_appears_in_the_model_card() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = TrainingArguments {
        max_steps: 1,
        ..arguments(folder.path())
    };
    let mut trainer = run(arguments, target(100, 60, 1e-3)).build().unwrap();
    trainer.train().unwrap();
    trainer
        .encoder()
        .save_pretrained(folder.path().join("final"))
        .unwrap();
    let card = fs::read_to_string(folder.path().join("final/README.md")).unwrap();
    for text in [
        "* Loss: <code>SpladeLoss</code> with these parameters:",
        "\"loss\": \"SparseMultipleNegativesRankingLoss(scale=1.0, similarity_fct='dot_score'",
        "\"document_regularizer_weight\": 0.001",
        "\"document_target_active_dims\": 100",
        "#### SpladeLoss\n```bibtex\n@misc{formal2022",
        "#### FlopsLoss\n```bibtex\n@article{paria2020",
    ] {
        assert!(card.contains(text), "no {text} in\n{card}");
    }
}
