//! `inspect`: what a model is.

use sparse_encoder::model::Inspection;

use super::load;
use crate::Global;
use crate::failure::Result;
use crate::output::{line, table};

/// Says what a model is: modules, sizes, formula, tokenization, warnings.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: sparse-encoder inspect --model runs/my-model/final")]
pub(crate) struct Inspect {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// A text to try the model on, instead of a built-in few; may be given several times.
    #[arg(long = "text")]
    texts: Vec<String>,
}

impl Inspect {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let encoder = load(&self.model, global)?;
        for paragraph in describe(&encoder.inspect(&self.texts)?) {
            line(&paragraph)?;
        }
        Ok(())
    }
}

fn describe(model: &Inspection) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", model.name, model.type_name)];
    let modules: Vec<Vec<String>> = model
        .modules
        .iter()
        .map(|module| {
            vec![
                format!("{} {}", module.place, module.kind),
                module.n_parameters.to_string(),
            ]
        })
        .collect();
    lines.push(format!("\n{}", table(&["module", "parameters"], &modules)));
    lines.push(format!(
        "\n{} parameters, {} of them trainable; {} dimensions, at most {} active; similarity {}",
        model.n_parameters,
        model.n_trainable,
        model.embedding_dimension,
        model
            .max_active_dims
            .map_or_else(|| "all".to_owned(), |dims| dims.to_string()),
        model.similarity,
    ));
    for formula in &model.formulas {
        let route = if formula.route.is_empty() {
            String::new()
        } else {
            format!("{}: ", formula.route)
        };
        lines.push(format!("\n{route}{}\n  {}", formula.words, formula.symbols));
    }
    let tokens = &model.tokenization;
    let special: Vec<String> = tokens
        .special_tokens
        .iter()
        .map(|(role, token)| format!("{role} {token}"))
        .collect();
    lines.push(format!(
        "\ntokenization: vocabulary of {}, at most {} tokens with {} special ones around a text{}",
        tokens.vocab_size,
        tokens
            .max_seq_length
            .map_or_else(|| "any number of".to_owned(), |length| length.to_string()),
        tokens.n_special_tokens,
        if tokens.lower_case == Some(true) {
            ", lower case"
        } else {
            ""
        },
    ));
    if !special.is_empty() {
        lines.push(format!("special tokens: {}", special.join(", ")));
    }
    for (name, prompt) in &tokens.prompts {
        lines.push(format!("prompt `{name}`: \"{prompt}\""));
    }
    let sample = &model.sample;
    lines.push(format!(
        "\non {} texts: {:.1} active dimensions each, {} empty vectors, {} dimensions never active",
        sample.n_texts, sample.active_dims, sample.n_empty, sample.n_dead
    ));
    if let Some(share) = sample.largest_position_share {
        lines.push(format!(
            "one position wins the maximum for at most {:.0} % of the active dimensions",
            share * 100.0
        ));
    }
    if !sample.frequent.is_empty() {
        let often: Vec<String> = sample
            .frequent
            .iter()
            .take(10)
            .map(|(token, share)| format!("{token} {:.0} %", share * 100.0))
            .collect();
        lines.push(format!("active in most texts: {}", often.join(", ")));
    }
    lines.extend(
        model
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}")),
    );
    lines
}
