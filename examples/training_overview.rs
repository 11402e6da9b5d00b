//! Everything that belongs to a training: model and card, data with splits, loss, arguments, evaluation before and after,
//! trainer, model on the disk and on the hub. `training_overview.toml` is the same as a training file.
//!
//! Run it in the root of the repository, with a token that may write: `HF_TOKEN=... cargo run --example training_overview`

use std::io::Write;
use std::path::Path;

use sparse_encoder::eval::TripletConfig;
use sparse_encoder::hub::HubOptions;
use sparse_encoder::losses::SpladeLossConfig;
use sparse_encoder::prelude::*;
use sparse_encoder::train::{HubStrategy, IntervalStrategy, ModelCardConfig};

fn main() -> anyhow::Result<()> {
    let root = Path::new(".");
    let (before, after, address) = train_and_push(
        root,
        Path::new("runs/training-overview"),
        HubOptions::default(),
    )?;
    writeln!(
        std::io::stdout(),
        "accuracy {before:.3} before, {after:.3} after; the model is at {address}"
    )?;
    Ok(())
}

/// Gives the accuracy before and after, and where the model is on the hub.
fn train_and_push(
    root: &Path,
    output_dir: &Path,
    hub: HubOptions,
) -> anyhow::Result<(f64, f64, String)> {
    // 1. A model to fine-tune, and what only its maker knows for its card.
    let model = root.join("examples/data/splade-tiny-bert");
    let encoder = SparseEncoder::from_pretrained(model.display().to_string(), &device("cpu")?)?;
    let card = ModelCardConfig {
        language: vec!["en".to_owned()],
        license: Some("apache-2.0".to_owned()),
        model_name: Some("Finds Debian packages by what they do".to_owned()),
        ..ModelCardConfig::default()
    };

    // 2. Pairs of a short and a long description, in two splits.
    let packages = |split: &str| {
        Table::load(&DatasetConfig {
            split: Some(split.to_owned()),
            ..DatasetConfig::from_retrieval(root.join("examples/data/debian-packages"))
        })
    };
    let (train, eval) = (packages("train[:160]")?, packages("dev[:32]")?);

    // 3. A loss: each query ranks its document above the others of the batch, and regularizers keep vectors sparse.
    let loss = LossConfig::Splade(SpladeLossConfig {
        query_regularizer_weight: Some(3e-4),
        document_regularizer_weight: Some(1e-4),
        ..SpladeLossConfig::default()
    });

    // 4. How to train, and where the model goes.
    let arguments = TrainingArguments {
        num_train_epochs: 1.0,
        per_device_train_batch_size: 16,
        learning_rate: 5e-5,
        warmup_ratio: Some(0.1),
        eval_strategy: IntervalStrategy::Steps,
        eval_steps: Some(5.0),
        save_steps: 5.0,
        save_total_limit: Some(2),
        logging_steps: 5.0,
        push_to_hub: true,
        hub_strategy: HubStrategy::Checkpoint,
        ..TrainingArguments::new(output_dir)
    };

    // 5. What to measure: a query should be closer to its document than to another one.
    let evaluator = EvaluatorConfig::Triplet(TripletConfig {
        name: "packages-dev".to_owned(),
        path: Some(root.join("examples/data/debian-packages/dev-triplets.tsv")),
        ..TripletConfig::default()
    });
    let accuracy = |encoder: &SparseEncoder| -> anyhow::Result<f64> {
        let figures = evaluator
            .init()?
            .evaluate(encoder, &EvaluationRun::default())?;
        Ok(figures.get("packages-dev_dot_accuracy").unwrap_or_default())
    };
    let before = accuracy(&encoder)?;

    // 6. The trainer checks all of it against each other, then trains. Checkpoints go to the hub on the way.
    let mut trainer = Trainer::builder(encoder, arguments)
        .model_card(card)
        .train_dataset(train)
        .eval_dataset(eval)
        .loss(loss)
        .evaluator(evaluator.init()?)
        .hub(hub)
        .build()?;
    trainer.train()?;
    let after = accuracy(&trainer.encoder())?;

    // 7. The finished model: to the disk and to the hub.
    trainer
        .encoder()
        .save_pretrained(output_dir.join("final"))?;
    let upload = trainer.push_to_hub("End of training")?;
    Ok((before, after, upload.url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_on_the_disk_and_on_the_hub() -> anyhow::Result<()> {
        let hub = loopback_hub::LoopbackHub::start();
        let folder = tempfile::tempdir()?;
        let options = HubOptions::default()
            .with_endpoint(hub.endpoint())
            .with_cache_dir(folder.path().join("cache"))
            .with_token(loopback_hub::WRITER);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let output_dir = folder.path().join("overview");
        let (before, after, _) = train_and_push(&root, &output_dir, options)?;
        assert!(before > 0.5 && after > 0.5, "{before} {after}");
        assert!(output_dir.join("final/model.safetensors").is_file());
        let files = hub.model_files("user/overview", "main").unwrap_or_default();
        for name in [
            "model.safetensors",
            "README.md",
            "last-checkpoint/optimizer.safetensors",
        ] {
            assert!(files.contains_key(name), "{name}");
        }
        Ok(())
    }
}
