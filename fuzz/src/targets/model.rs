//! Model directories: tokenizer, configurations, weights in either format.

use sparse_encoder::SparseEncoder;
use sparse_encoder::model::EncodeOptions;

use super::{Reading, Target, cpu};
use crate::Result;
use crate::files::{Files, base_name, below};
use crate::seeds;

pub(super) const TOKENIZER: Target = Target {
    name: "tokenizer",
    batch: 500,
    seeds: || Ok(vec![model("splade-max")?, model("csr")?]),
    may_change: |name| base_name(name).starts_with("tokenizer"),
    read,
};

pub(super) const CONFIG: Target = Target {
    name: "config",
    batch: 500,
    seeds: || {
        [
            "splade-max",
            "splade-old-layout",
            "csr",
            "csr-dense-normalize",
            "inference-free",
            "two-encoders",
        ]
        .into_iter()
        .map(model)
        .collect()
    },
    may_change: |name| name.ends_with(".json") && !base_name(name).starts_with("tokenizer"),
    read,
};

pub(super) const SAFETENSORS: Target = Target {
    name: "safetensors",
    batch: 500,
    seeds: || {
        ["splade-max", "csr", "inference-free"]
            .into_iter()
            .map(model)
            .collect()
    },
    may_change: |name| name.ends_with(".safetensors"),
    read,
};

pub(super) const PICKLE: Target = Target {
    name: "pickle",
    batch: 500,
    seeds: || Ok(vec![below("model", seeds::backbone("bert-legacy")?)]),
    may_change: |name| name.ends_with(".bin"),
    read,
};

fn model(name: &str) -> Result<Files> {
    Ok(below("model", seeds::encoder(name)?))
}

fn read(reading: &mut Reading) {
    let Some(encoder) = reading.read(load()) else {
        return;
    };
    let texts = ["the cat sat on the mat", ""];
    for vectors in [
        encoder.encode_document(&texts, &EncodeOptions::default()),
        encoder.encode_query(&texts, &EncodeOptions::default()),
    ] {
        if let Some(vectors) = reading.used(vectors) {
            let finite = vectors.values().iter().all(|value| value.is_finite());
            reading.require(finite, || {
                "a vector holds a value that isn't finite".to_owned()
            });
            if encoder.is_splade() {
                reading.used(encoder.decode(&vectors, Some(3)));
            }
        }
    }
}

fn load() -> sparse_encoder::model::Result<SparseEncoder> {
    SparseEncoder::from_pretrained("model", &cpu())
}
