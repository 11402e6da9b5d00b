//! Settings of PEFT's adapters that make another computation: each is refused by file and key.

use serde_json::{Value, json};
use sparse_model::{LoraOptions, SparseEncoder};

use crate::support::{copy_of, edit_json, open, refused, warnings_of};

const CONFIG: &str = "adapter_config.json";

/// An encoder with an adapter on it, saved below the model that it is for.
fn adapted() -> (tempfile::TempDir, std::path::PathBuf) {
    let base = copy_of("encoders/splade-max");
    let options = LoraOptions {
        rank: 2,
        ..LoraOptions::default()
    };
    let target = base.path().join("adapter");
    let encoder: SparseEncoder = open(base.path()).unwrap();
    let encoder = encoder.add_adapter(&options).unwrap();
    encoder.save_pretrained(&target).unwrap();
    (base, target)
}

#[test]
fn unsupported_settings_are_refused_by_name() {
    let (_base, directory) = adapted();
    let path = directory.join(CONFIG);
    let written = std::fs::read(&path).unwrap();
    let cases: [(&str, Value, &str); 31] = [
        (
            "alora_invocation_tokens",
            json!([1, 2]),
            "[1,2], which is not supported",
        ),
        (
            "alpha_pattern",
            json!({"query": 4}),
            "is {\"query\":4}, which is not supported",
        ),
        (
            "arrow_config",
            json!({"top_k": 3}),
            "which is not supported",
        ),
        ("bias", json!("all"), "is `all`; only `none` is supported"),
        (
            "bias",
            json!("lora_only"),
            "is `lora_only`; only `none` is supported",
        ),
        (
            "exclude_modules",
            json!(["value"]),
            "is [\"value\"], which is not supported",
        ),
        (
            "exclude_modules",
            json!("value"),
            "is \"value\", which is not supported",
        ),
        (
            "fan_in_fan_out",
            json!(true),
            "is true, which is not supported",
        ),
        (
            "init_lora_weights",
            json!("pissa_niter_4"),
            "is `pissa_niter_4`, which changes the base model",
        ),
        (
            "init_lora_weights",
            json!("olora"),
            "is `olora`, which changes the base model",
        ),
        (
            "layer_replication",
            json!([[0, 2], [1, 2]]),
            "which is not supported",
        ),
        (
            "layers_pattern",
            json!("layer"),
            "is \"layer\", which is not supported",
        ),
        (
            "layers_to_transform",
            json!([0]),
            "is [0], which is not supported",
        ),
        (
            "layers_to_transform",
            json!(0),
            "is 0, which is not supported",
        ),
        ("lora_alpha", json!("16"), "is \"16\": invalid type"),
        ("lora_bias", json!(true), "is true, which is not supported"),
        ("megatron_config", json!({"a": 1}), "which is not supported"),
        (
            "modules_to_save",
            json!(["decoder"]),
            "is [\"decoder\"], which is not supported",
        ),
        ("peft_type", json!("ADALORA"), "is not LORA"),
        ("peft_type", Value::Null, "is not LORA"),
        (
            "r",
            json!(0),
            "is missing or out of range; expected 1 to 65535",
        ),
        ("r", json!(-1), "is -1: invalid value"),
        (
            "rank_pattern",
            json!({"query": 4}),
            "which is not supported",
        ),
        (
            "target_modules",
            Value::Null,
            "is missing; expected a list of names",
        ),
        (
            "target_modules",
            json!("all-linear"),
            "is \"all-linear\": invalid type",
        ),
        ("target_parameters", json!(["x"]), "which is not supported"),
        (
            "trainable_token_indices",
            json!([5]),
            "which is not supported",
        ),
        ("use_bdlora", json!({"a": 1}), "which is not supported"),
        ("use_dora", json!(true), "is true, which is not supported"),
        ("use_qalora", json!(true), "is true, which is not supported"),
        ("use_rslora", json!(true), "is true, which is not supported"),
    ];
    for (key, value, part) in cases {
        edit_json(&path, |config| config[key] = value);
        refused(&directory, &[CONFIG, &format!("`{key}` "), part]);
        std::fs::write(&path, &written).unwrap();
    }
    open(&directory).unwrap();
}

#[test]
fn settings_that_ask_for_nothing_are_taken_and_unknown_ones_named() {
    let (_base, directory) = adapted();
    let path = directory.join(CONFIG);
    edit_json(&path, |config| {
        for key in ["alpha_pattern", "rank_pattern", "loftq_config"] {
            config[key] = json!({});
        }
        for key in ["layers_to_transform", "modules_to_save", "megatron_config"] {
            config[key] = Value::Null;
        }
        for key in ["use_dora", "use_rslora", "lora_bias"] {
            config[key] = json!(false);
        }
        config["megatron_core"] = json!("megatron.core");
        config["qalora_group_size"] = json!(16);
        config["peft_version"] = json!("0.18.0");
        config["lora_dropout"] = json!(0.1);
    });
    let (_, warnings) = warnings_of(|| open(&directory).unwrap());
    assert!(warnings.is_empty(), "{warnings:?}");
    edit_json(&path, |config| config["use_roslora"] = json!(true));
    let (_, warnings) = warnings_of(|| open(&directory).unwrap());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains(CONFIG)
            && warnings[0].contains("unknown key `use_roslora`")
            && warnings[0].contains("did you mean `use_rslora`?"),
        "{warnings:?}"
    );
}
