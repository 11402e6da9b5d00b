//! Files that are broken, missing, or out of place: what is said of them.

use std::path::Path;

use serde_json::json;
use sparse_model::{EncodeOptions, Error};

use crate::support::{copy_of, edit_json, load, open, refused, warnings_of};

/// Rewrites a header of equal length or shorter.
fn edit_header(path: &Path, from: &str, to: &str) {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    assert!(header.contains(from));
    let header = header.replacen(from, to, 1);
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.bytes());
    out.extend(&bytes[8 + length..]);
    std::fs::write(path, out).unwrap();
}

#[test]
fn broken_routers_are_named() {
    let unknown = copy_of("encoders/inference-free");
    let config = |directory: &Path| directory.join("router_config.json");
    edit_json(&config(unknown.path()), |config| {
        config["parameters"]["default_route"] = json!("passage")
    });
    refused(
        unknown.path(),
        &[
            "router_config.json",
            "`default_route` is `passage`",
            "query, document",
        ],
    );

    let outside = copy_of("encoders/inference-free");
    edit_json(&config(outside.path()), |config| {
        config["structure"]["query"] = json!(["../query"]);
        config["types"]["../query"] = config["types"]["query_0_SparseStaticEmbedding"].clone();
    });
    refused(
        outside.path(),
        &["router_config.json", "../query", "outside"],
    );

    let encoder = load("encoders/inference-free");
    let error = encoder
        .encode(&["text"], &EncodeOptions::default().with_task("passage"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no route for task `passage`") && error.contains("`query`, `document`"),
        "{error}"
    );
}

#[test]
fn forbidden_pickles_are_refused() {
    let directory = copy_of("models/bert-legacy");
    let path = directory.path().join("pytorch_model.bin");
    let mut bytes = std::fs::read(&path).unwrap();
    let name = b"_rebuild_tensor_v2";
    let at = bytes
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    bytes[at..at + name.len()].copy_from_slice(b"_rebuild_tensor_v3");
    std::fs::write(&path, &bytes).unwrap();
    refused(
        directory.path(),
        &[
            "pytorch_model.bin",
            "forbidden name `torch._utils._rebuild_tensor_v3`",
        ],
    );
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    refused(directory.path(), &["pytorch_model.bin", "damaged"]);
}

#[test]
fn options_out_of_range_are_refused() {
    let mut encoder = load("models/bert");
    fn message<T>(result: Result<T, Error>) -> String {
        result.err().unwrap().to_string()
    }
    assert_eq!(
        message(encoder.encode(&["a"], &EncodeOptions::default().with_batch_size(0))),
        "`batch_size` must be at least 1; got 0"
    );
    assert_eq!(
        message(encoder.encode(&["a"], &EncodeOptions::default().with_max_active_dims(0))),
        "`max_active_dims` must be at least 1; got 0"
    );
    assert!(message(encoder.set_max_seq_length(129)).contains("positions for 128 tokens"));
    assert!(message(encoder.set_max_seq_length(2)).contains("no room"));
    let none: [&str; 0] = [];
    let empty = encoder.encode(&none, &EncodeOptions::default()).unwrap();
    assert_eq!((empty.n_rows(), empty.n_cols()), (0, 1200));
}

#[test]
fn missing_files_are_named() {
    refused(
        Path::new("./no-such-directory"),
        &["no-such-directory", "there is no such directory"],
    );
    for (file, part) in [
        ("config.json", "architecture"),
        ("tokenizer.json", "tokenizer"),
        ("model.safetensors", "weights"),
    ] {
        let directory = copy_of("encoders/splade-max");
        std::fs::remove_file(directory.path().join(file)).unwrap();
        refused(directory.path(), &[file, part]);
    }
}

#[test]
fn invalid_json_is_named_with_its_line() {
    for file in [
        "config.json",
        "modules.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_SpladePooling/config.json",
    ] {
        let directory = copy_of("encoders/splade-max");
        let text = if file == "modules.json" {
            "[\n{},,\n]"
        } else {
            "{\n\"a\": 1,,\n}"
        };
        std::fs::write(directory.path().join(file), text).unwrap();
        refused(directory.path(), &[file, "line 2"]);
    }
}

#[test]
fn broken_weights_are_named() {
    let weights = "model.safetensors";
    let cut = copy_of("encoders/splade-max");
    let bytes = std::fs::read(cut.path().join(weights)).unwrap();
    std::fs::write(cut.path().join(weights), &bytes[..bytes.len() / 2]).unwrap();
    refused(cut.path(), &[weights, "cut off", "`"]);
    std::fs::write(cut.path().join(weights), &bytes[..100]).unwrap();
    refused(cut.path(), &[weights, "header"]);
    std::fs::write(cut.path().join(weights), &bytes[..3]).unwrap();
    refused(cut.path(), &[weights, "too short"]);

    let renamed = copy_of("encoders/splade-max");
    edit_header(
        &renamed.path().join(weights),
        "layer.1.output.dense.bias",
        "layer.1.output.dense.bios",
    );
    refused(
        renamed.path(),
        &[
            weights,
            "lacks `bert.encoder.layer.1.output.dense.bias`",
            "did you mean `bert.encoder.layer.1.output.dense.bios`",
        ],
    );

    let unexpected = copy_of("encoders/splade-max");
    edit_json(&unexpected.path().join("config.json"), |config| {
        config["num_hidden_layers"] = json!(1)
    });
    refused(
        unexpected.path(),
        &[
            weights,
            "bert.encoder.layer.1.attention.output.LayerNorm.bias",
            "unknown to a bert model",
        ],
    );

    let shape = copy_of("encoders/splade-max");
    edit_json(&shape.path().join("config.json"), |config| {
        config["intermediate_size"] = json!(65)
    });
    refused(
        shape.path(),
        &[
            weights,
            "bert.encoder.layer.0.intermediate.dense.weight",
            "[64, 32]",
            "[65, 32]",
        ],
    );

    let dtype = copy_of("encoders/splade-max");
    edit_header(
        &dtype.path().join(weights),
        "\"dtype\":\"F32\",\"shape\":[1200]",
        "\"dtype\":\"I32\",\"shape\":[1200]",
    );
    refused(
        dtype.path(),
        &[weights, "cls.predictions.bias", "int32", "floating-point"],
    );
}

#[test]
fn configurations_that_do_not_fit_are_named() {
    let small = copy_of("encoders/splade-max");
    edit_json(&small.path().join("config.json"), |config| {
        config["vocab_size"] = json!(1100)
    });
    refused(small.path(), &["tokenizer.json", "1199", "1100"]);

    let unknown = copy_of("encoders/splade-max");
    edit_json(&unknown.path().join("config.json"), |config| {
        config["model_type"] = json!("brt")
    });
    refused(
        unknown.path(),
        &[
            "config.json",
            "`model_type` is `brt`",
            "did you mean `bert`",
        ],
    );

    let heads = copy_of("encoders/splade-max");
    edit_json(&heads.path().join("config.json"), |config| {
        config["num_attention_heads"] = json!(5)
    });
    refused(
        heads.path(),
        &["config.json", "`num_attention_heads` is 5", "32"],
    );

    let class = copy_of("encoders/splade-max");
    edit_json(&class.path().join("modules.json"), |modules| {
        modules[1]["type"] = json!("my_module.Evil")
    });
    refused(class.path(), &["modules.json", "my_module.Evil"]);

    let outside = copy_of("encoders/splade-max");
    edit_json(&outside.path().join("modules.json"), |modules| {
        modules[1]["path"] = json!("../elsewhere")
    });
    refused(outside.path(), &["modules.json", "../elsewhere", "outside"]);

    let strategy = copy_of("encoders/splade-max");
    edit_json(
        &strategy.path().join("1_SpladePooling/config.json"),
        |config| config["pooling_strategy"] = json!("mean"),
    );
    refused(
        strategy.path(),
        &["1_SpladePooling/config.json", "mean", "max"],
    );

    let alone = copy_of("encoders/splade-max");
    edit_json(&alone.path().join("modules.json"), |modules| {
        modules.as_array_mut().unwrap().truncate(1)
    });
    refused(alone.path(), &["modules.json", "pooling"]);
}

#[test]
fn values_that_are_not_finite_only_warn() {
    let directory = copy_of("encoders/splade-max");
    let path = directory.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let (_, warnings) = warnings_of(|| open(directory.path()).unwrap());
    let named = |part: &str| warnings.iter().any(|warning| warning.contains(part));
    assert!(
        named("model.safetensors") && named("key `") && named("not finite"),
        "{warnings:?}"
    );
}

#[test]
fn files_outside_of_the_directory_are_not_read() {
    // An index of shards.
    let shards = copy_of("encoders/splade-max");
    let weights = shards.path().join("model.safetensors");
    std::fs::remove_file(weights).unwrap();
    let index = json!({"weight_map": {"bert.x": "../model.safetensors"}}).to_string();
    std::fs::write(shards.path().join("model.safetensors.index.json"), index).unwrap();
    refused(
        shards.path(),
        &[
            "index.json",
            "`weight_map` names `../model.safetensors`",
            "outside",
        ],
    );
    // A table of token weights, and a route.
    let table = copy_of("encoders/inference-free");
    let config = "query_0_SparseStaticEmbedding/config.json";
    edit_json(&table.path().join(config), |config| {
        config["path"] = json!("../../idf.json")
    });
    refused(
        table.path(),
        &[config, "`path` is `../../idf.json`", "outside"],
    );
    let route = copy_of("encoders/inference-free");
    let text = std::fs::read_to_string(route.path().join("router_config.json")).unwrap();
    let text = text.replace("document_0_Transformer", "../document_0_Transformer");
    std::fs::write(route.path().join("router_config.json"), text).unwrap();
    refused(
        route.path(),
        &[
            "router_config.json",
            "names `../document_0_Transformer`",
            "outside",
        ],
    );
}
