//! What tells a model from another, and where it was loaded from.

use std::path::Path;

use serde_json::json;
use sparse_model::{LoadOptions, ModelSource, SparseEncoder};

use crate::support::{copy_of, edit_json, golden, load, open, set_floats};

fn of(directory: &Path) -> String {
    open(directory).unwrap().fingerprint().unwrap()
}

/// Every kind of model, and every architecture, each with weights of its own.
const MODELS: [&str; 16] = [
    "encoders/splade-max",
    "encoders/splade-sum",
    "encoders/splade-log1p_relu",
    "encoders/csr",
    "encoders/csr-dense-normalize",
    "encoders/inference-free",
    "encoders/two-encoders",
    "models/bert-untied",
    "models/distilbert",
    "models/roberta",
    "models/xlm-roberta",
    "models/mpnet",
    "models/modernbert",
    "models/electra",
    "models/albert",
    "models/deberta-v2",
];

#[test]
fn loading_and_saving_keep_the_fingerprint() {
    let mut seen = std::collections::BTreeMap::new();
    for name in MODELS {
        let first = of(&golden(name));
        assert_eq!(first.len(), 16, "{name}: {first}");
        assert_eq!(of(&golden(name)), first, "{name}: loaded twice");
        let saved = tempfile::tempdir().unwrap();
        let target = saved.path().join("model");
        load(name).save_pretrained(&target).unwrap();
        assert_eq!(of(&target), first, "{name}: saved");
        let again = saved.path().join("again");
        open(&target).unwrap().save_pretrained(&again).unwrap();
        assert_eq!(of(&again), first, "{name}: saved twice");
        if let Some(other) = seen.insert(first, name) {
            panic!("{name} and {other} have one fingerprint");
        }
    }
}

#[test]
fn the_form_of_the_files_plays_no_part() {
    // A plain masked-language model, the pipeline that it becomes, and the weights of a pickle.
    let pipeline = of(&golden("encoders/splade-max"));
    assert_eq!(of(&golden("models/bert")), pipeline);
    let pickled = copy_of("models/bert-legacy");
    let saved = pickled.path().join("saved");
    open(pickled.path())
        .unwrap()
        .save_pretrained(&saved)
        .unwrap();
    assert_eq!(of(&saved), of(pickled.path()));
}

#[test]
fn what_changes_vectors_changes_the_fingerprint() {
    let plain = of(&golden("encoders/splade-max"));
    let changed = |what: &str, change: &dyn Fn(&Path)| {
        let directory = copy_of("encoders/splade-max");
        change(directory.path());
        assert_ne!(of(directory.path()), plain, "{what}");
    };
    let edit = |file: &'static str, key: &'static str, value: serde_json::Value| {
        move |directory: &Path| {
            edit_json(&directory.join(file), |config| config[key] = value.clone())
        }
    };
    changed("a weight", &|directory: &Path| {
        let key = "cls.predictions.transform.dense.bias";
        let mut values = vec![0.0; 32];
        values[31] = 1e-6;
        set_floats(&directory.join("model.safetensors"), key, values);
    });
    let pooling = "1_SpladePooling/config.json";
    changed("pooling", &edit(pooling, "pooling_strategy", json!("sum")));
    changed(
        "activation",
        &edit(pooling, "activation_function", json!("log1p_relu")),
    );
    let settings = "config_sentence_transformers.json";
    changed(
        "prompts",
        &edit(settings, "prompts", json!({"query": "find: "})),
    );
    changed("limit", &edit(settings, "max_active_dims", json!(20)));
    changed(
        "length",
        &edit("tokenizer_config.json", "model_max_length", json!(17)),
    );
    changed(
        "heads",
        &edit("config.json", "num_attention_heads", json!(1)),
    );
    changed(
        "epsilon",
        &edit("config.json", "layer_norm_eps", json!(1e-3)),
    );
    changed("tokenizer", &|directory: &Path| {
        edit_json(&directory.join("tokenizer.json"), |tokenizer| {
            tokenizer["normalizer"]["lowercase"] = json!(false)
        })
    });
}

#[test]
fn what_changes_no_vector_keeps_the_fingerprint() {
    let plain = of(&golden("encoders/splade-max"));
    let directory = copy_of("encoders/splade-max");
    let root = directory.path();
    std::fs::write(root.join("README.md"), "another card").unwrap();
    edit_json(&root.join("config.json"), |config| {
        config["transformers_version"] = json!("0.0.1");
        config["hidden_dropout_prob"] = json!(0.3);
    });
    edit_json(&root.join("config_sentence_transformers.json"), |config| {
        config["similarity_fn_name"] = json!("cosine")
    });
    assert_eq!(of(root), plain);

    // The length that a file does not have, and the one that an option sets.
    let options = LoadOptions {
        max_seq_length: Some(17),
        ..LoadOptions::default()
    };
    let path = golden("encoders/splade-max");
    let shorter =
        SparseEncoder::from_pretrained_with(path.to_str().unwrap(), &options, &Default::default())
            .unwrap();
    let fingerprint = shorter.fingerprint().unwrap();
    assert_ne!(fingerprint, plain);
    let target = root.join("saved");
    shorter.save_pretrained(&target).unwrap();
    assert_eq!(of(&target), fingerprint);
}

#[test]
fn a_source_is_an_absolute_directory() {
    let encoder = load("encoders/splade-max");
    let expected = golden("encoders/splade-max").canonicalize().unwrap();
    match encoder.source() {
        Some(ModelSource::Directory { path }) => assert_eq!(path, &expected),
        other => panic!("{other:?}"),
    }
    assert!(
        encoder
            .source()
            .is_some_and(|source| source.to_string() == expected.display().to_string())
    );
}
