//! How the lexical head grows: time and peak memory of a forward and backward pass, a process per shape.

use std::io::Write;
use std::process::Command;

use anyhow::Result;
use serde_json::json;

use super::measure::{build, bytes, machine, measure};

const WIDTH: usize = 384;
/// Share of the vocabulary that is active in a text.
const DENSITY: f64 = 0.01;
/// Texts, tokens of each, vocabulary.
const SHAPES: &[(usize, usize, usize)] = &[
    (32, 40, 30_522),
    (64, 40, 30_522),
    (128, 40, 30_522),
    (32, 80, 30_522),
    (32, 160, 30_522),
    (32, 320, 30_522),
    (32, 40, 61_044),
    (32, 40, 122_088),
    (32, 40, 244_176),
];

pub(super) fn run() -> Result<()> {
    let program = build(false)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}; width {WIDTH}, {} % of the vocabulary active; peak is above that of a head of one token and one dimension",
        machine(),
        DENSITY * 100.0
    )?;
    writeln!(
        out,
        "\n| texts | tokens each | vocabulary | time | peak memory | `[tokens, vocabulary]` would be |\n| --: | --: | --: | --: | --: | --: |"
    )?;
    let job = |texts: usize, tokens: usize, width: usize, vocab_size: usize| {
        json!({"head": {"texts": texts, "tokens": tokens, "width": width, "vocab_size": vocab_size,
                        "density": DENSITY, "repeat": 5}})
    };
    let idle = measure(&mut Command::new(&program), &job(1, 1, 1, 1))?.peak_bytes;
    for &(texts, tokens, vocab_size) in SHAPES {
        let found = measure(
            &mut Command::new(&program),
            &job(texts, tokens, WIDTH, vocab_size),
        )?;
        writeln!(
            out,
            "| {texts} | {tokens} | {vocab_size} | {:.0} ms | {} | {} |",
            found.median() * 1e3,
            bytes(found.peak_bytes - idle),
            bytes((texts * tokens * vocab_size * 4) as f64),
        )?;
    }
    Ok(())
}
