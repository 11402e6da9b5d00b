//! One command per file.

mod convert;
mod decode;
mod encode;
mod evaluate;
mod export;
mod export_check;
mod idf;
mod index;
mod inspect;
mod mine;
mod push;
mod search;
mod similarity;
mod train;

use std::process::ExitCode;

use sparse_encoder::SparseEncoder;
use sparse_encoder::model::{HubOptions, LoadOptions};

use crate::Global;
use crate::failure::Result;

/// What the binary can do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Train(train::Train),
    Encode(encode::Encode),
    Evaluate(evaluate::Evaluate),
    Similarity(similarity::Similarity),
    Decode(decode::Decode),
    Inspect(inspect::Inspect),
    Convert(convert::Convert),
    Idf(idf::Idf),
    Index(index::Index),
    Export(Box<export::Export>),
    Search(search::Search),
    Mine(Box<mine::Mine>),
    Push(push::Push),
}

impl Command {
    pub(crate) fn run(self, global: &Global) -> Result<ExitCode> {
        match self {
            Self::Train(command) => return command.run(global),
            Self::Encode(command) => command.run(global)?,
            Self::Evaluate(command) => command.run(global)?,
            Self::Similarity(command) => command.run(global)?,
            Self::Decode(command) => command.run(global)?,
            Self::Inspect(command) => command.run(global)?,
            Self::Convert(command) => command.run(global)?,
            Self::Idf(command) => command.run(global)?,
            Self::Index(command) => command.run(global)?,
            Self::Export(command) => command.run(global)?,
            Self::Search(command) => command.run(global)?,
            Self::Mine(command) => command.run(global)?,
            Self::Push(command) => command.run(global)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Loads a model for inference.
fn load(model: &str, global: &Global) -> Result<SparseEncoder> {
    load_from(model, global.hub.options(), global)
}

/// Loads a model that is found on the hub as `hub` says.
fn load_from(model: &str, hub: HubOptions, global: &Global) -> Result<SparseEncoder> {
    let device = sparse_encoder::device(&global.device)?;
    let options = LoadOptions {
        hub,
        ..LoadOptions::default()
    };
    Ok(SparseEncoder::from_pretrained_with(
        model, &options, &device,
    )?)
}

/// Reads a number of at least 1.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// Side of the model that a text goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Task {
    /// As a query: its prompt, its route.
    Query,
    /// As a document.
    Document,
}
