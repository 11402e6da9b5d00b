//! Fine-tunes a SPLADE model on pairs and looks at what changed; under a minute on two cores.
//!
//! Run it in the root of the repository: `cargo run --example train_splade`

use std::io::Write;

use sparse_encoder::losses::LossConfig;
use sparse_encoder::prelude::*;

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let encoder =
        SparseEncoder::from_pretrained("examples/data/splade-tiny-bert", &device("cpu")?)?;

    // The first thousand pairs: a package's short description is the query, its long one the document.
    let pairs = Table::load(&DatasetConfig {
        split: Some("train[:1000]".to_owned()),
        ..DatasetConfig::from_retrieval("examples/data/debian-packages")
    })?;
    writeln!(
        out,
        "{} pairs of {:?}",
        pairs.num_rows(),
        pairs.column_names()
    )?;

    // Ranking against the other documents of the batch, and what keeps the vectors sparse. The weights grow over the first
    // third of the run.
    let loss: LossConfig = splade(1e-4, 3e-4);
    let arguments = TrainingArguments {
        num_train_epochs: 1.0,
        per_device_train_batch_size: 32,
        warmup_ratio: Some(0.1),
        ..TrainingArguments::new("runs/train-splade")
    };

    let text = ["terminal music player"];
    let options = EncodeOptions::default();
    let before = encoder.decode(&encoder.encode_query(&text, &options)?, Some(8))?;
    let mut trainer = Trainer::builder(encoder, arguments)
        .train_dataset(pairs)
        .loss(loss)
        .build()?;
    let output = trainer.train()?;
    writeln!(
        out,
        "{} steps, mean loss {:.4}",
        output.global_step, output.training_loss
    )?;

    let encoder = trainer.encoder();
    let after = encoder.decode(&encoder.encode_query(&text, &options)?, Some(8))?;
    writeln!(out, "before {before:.2?}\nafter  {after:.2?}")?;
    encoder.save_pretrained("runs/train-splade/final")?;
    Ok(())
}

/// `splade` over `multiple_negatives_ranking` with these weights for documents and queries.
fn splade(document: f64, query: f64) -> LossConfig {
    LossConfig::Splade(sparse_encoder::losses::SpladeLossConfig {
        document_regularizer_weight: Some(document),
        query_regularizer_weight: Some(query),
        ..Default::default()
    })
}
