//! Several data sets of different shapes, a loss for each, from one training file.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use sparse_train::{Trainer, TrainingFile};

use crate::support::weights;

fn trainer(sampler: &str, folder: &Path, more: &str) -> sparse_train::Result<Trainer> {
    let here = env!("CARGO_MANIFEST_DIR");
    let text = format!(
        r#"
        [model]
        name_or_path = "{here}/../sparse-model/tests/golden/encoders/splade-max"

        [[train_dataset]]
        name = "answers"
        path = "{here}/tests/data/answers.tsv"

        [[train_dataset]]
        name = "triplets"
        path = "{here}/tests/data/triplets.tsv"

        [[train_dataset]]
        name = "scores"
        path = "{here}/tests/data/scores.tsv"
        sql = "select sentence1, sentence2, score / 5 as score from data"

        [regularizer_schedule]
        scheduler_type = "constant"

        [losses.answers]
        type = "splade"
        document_regularizer_weight = 1e-3
        query_regularizer_weight = 5e-3
        loss = {{ type = "multiple_negatives_ranking" }}

        [losses.triplets]
        type = "splade"
        document_regularizer_weight = 2e-3
        query_regularizer_weight = 5e-3
        loss = {{ type = "triplet" }}

        [losses.scores]
        type = "splade"
        document_regularizer_weight = 3e-3
        use_document_regularizer_only = true
        loss = {{ type = "co_sent" }}

        [arguments]
        output_dir = "{}"
        num_train_epochs = 1
        per_device_train_batch_size = 4
        learning_rate = 1e-3
        multi_dataset_batch_sampler = "{sampler}"
        logging_steps = 1
        save_strategy = "no"
        {more}
        "#,
        folder.display()
    );
    TrainingFile::parse(&text, &[])?
        .trainer(&Device::flex())?
        .build()
}

/// How many updates each data set had; the weight of its regularizer tells which it was.
fn updates(trainer: &Trainer) -> BTreeMap<&'static str, usize> {
    let mut updates = BTreeMap::new();
    let logs = trainer.state().log_history.iter();
    for weight in logs.filter_map(|log| log.get("document_regularizer_weight")) {
        let dataset = match weight.as_f64().unwrap() * 1000.0 {
            weight if (weight - 1.0).abs() < 1e-6 => "answers",
            weight if (weight - 2.0).abs() < 1e-6 => "triplets",
            _ => "scores",
        };
        *updates.entry(dataset).or_default() += 1;
    }
    updates
}

#[test]
fn three_shapes_three_losses_both_samplers() {
    let folder = tempfile::tempdir().unwrap();
    for (sampler, expected) in [
        // 24, 16 and 12 rows in batches of 4.
        (
            "proportional",
            [("answers", 6), ("scores", 3), ("triplets", 4)],
        ),
        (
            "round_robin",
            [("answers", 3), ("scores", 3), ("triplets", 3)],
        ),
    ] {
        let mut trainer = trainer(sampler, folder.path(), "").unwrap();
        let before = weights(&trainer.encoder());
        let output = trainer.train().unwrap();
        assert!(output.training_loss.is_finite());
        assert_eq!(updates(&trainer), BTreeMap::from(expected), "{sampler}");
        assert_ne!(weights(&trainer.encoder()), before);
    }
}

#[test]
fn each_evaluation_data_set_has_figures_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let here = env!("CARGO_MANIFEST_DIR");
    let more = format!(
        r#"
        eval_strategy = "epoch"
        metric_for_best_model = "answers_loss"

        [[eval_dataset]]
        name = "answers"
        path = "{here}/tests/data/answers.tsv"

        [[eval_dataset]]
        name = "scores"
        path = "{here}/tests/data/scores.tsv"
        sql = "select sentence1, sentence2, score / 5 as score from data"
        "#
    );
    let mut trainer = trainer("round_robin", folder.path(), &more).unwrap();
    trainer.train().unwrap();
    let evaluated = trainer.state().log_history.iter();
    let mut evaluated = evaluated.filter(|log| log.contains_key("eval_runtime"));
    let log = evaluated.next_back().unwrap();
    for name in ["answers", "scores"] {
        for figure in [
            "loss",
            "base_loss",
            "document_regularizer_loss",
            "runtime",
            "samples_per_second",
            "steps_per_second",
        ] {
            let key = format!("eval_{name}_{figure}");
            assert!(log[&key].is_number(), "{key}: {log:?}");
        }
    }
    // Losses of different kinds have no sum.
    assert!(!log.contains_key("eval_loss"), "{log:?}");
    assert_eq!(
        trainer.state().best_metric,
        log["eval_answers_loss"].as_f64()
    );
}

#[test]
fn a_loss_that_does_not_fit_its_data_set_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let message = |overrides: &str| {
        let error = trainer("proportional", folder.path(), overrides).unwrap_err();
        assert!(error.is_user_error());
        error.to_string()
    };
    let text = message("[losses.nobody]\ntype = 'co_sent'");
    assert_eq!(
        text,
        "`losses.nobody` belongs to no training data set; they are answers, triplets, scores"
    );
}
