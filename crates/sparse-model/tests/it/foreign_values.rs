//! Numbers, tokenizers and weights that no program wrote: an error with the file and the key, never a panic.

use std::path::Path;

use serde_json::{Value, json};
use sparse_model::{EncodeOptions, EncoderPool, Error, SparseEncoder, WeightType};

use crate::support::{copy_of, edit_json, golden, load, open, refused, set_floats};

fn refused_config(model: &str, key: &str, value: Value) {
    let directory = copy_of(&format!("models/{model}"));
    edit_json(&directory.path().join("config.json"), |config| {
        config[key] = value.clone()
    });
    let error = open(directory.path()).expect_err(&format!("{model}: {key} = {value}"));
    let message = error.to_string();
    // A size within bounds disagrees with the weights.
    assert!(
        message.contains("config.json")
            || message.contains("model.safetensors")
            || message.contains("tokenizer.json"),
        "{model}: {key} = {value}: {message}"
    );
}

#[test]
fn sizes_out_of_range_are_refused() {
    let huge = [
        json!(1_u64 << 63),
        json!(u64::MAX),
        json!(1e30),
        json!(1_000_000_000_000_u64),
    ];
    let wrong = [
        json!(-1),
        json!(0),
        json!("12"),
        json!(null),
        json!([12]),
        json!(1.5),
    ];
    for key in [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
    ] {
        for value in huge.iter().chain(&wrong) {
            for model in [
                "bert",
                "roberta",
                "mpnet",
                "electra",
                "albert",
                "deberta-v2",
                "modernbert",
            ] {
                refused_config(model, key, value.clone());
            }
        }
    }
    for key in [
        "vocab_size",
        "dim",
        "n_layers",
        "n_heads",
        "hidden_dim",
        "max_position_embeddings",
    ] {
        for value in huge.iter().chain(&wrong) {
            refused_config("distilbert", key, value.clone());
        }
    }
    for (model, key) in [
        ("bert", "type_vocab_size"),
        ("electra", "embedding_size"),
        ("albert", "embedding_size"),
        ("albert", "num_hidden_groups"),
        ("albert", "inner_group_num"),
        ("deberta-v2", "position_buckets"),
        ("deberta-v2", "max_relative_positions"),
        ("mpnet", "relative_attention_num_buckets"),
        ("modernbert", "local_attention"),
        ("roberta", "pad_token_id"),
    ] {
        for value in &huge {
            refused_config(model, key, value.clone());
        }
    }
}

#[test]
fn rates_and_kinds_out_of_range_are_refused() {
    for (model, key, value) in [
        ("bert", "hidden_dropout_prob", json!(1.0)),
        ("bert", "attention_probs_dropout_prob", json!(-0.1)),
        ("bert", "layer_norm_eps", json!(-1e-12)),
        ("bert", "hidden_act", json!("gelu_typo")),
        ("bert", "tie_word_embeddings", json!("true")),
        ("bert", "model_type", json!(7)),
        ("distilbert", "dropout", json!(2)),
        ("roberta", "pad_token_id", json!(-1)),
        ("modernbert", "layer_types", json!(["full_attention"])),
        (
            "modernbert",
            "layer_types",
            json!(["full_attention", "sliding", "sliding", "full_attention"]),
        ),
        ("modernbert", "local_attention", json!(0)),
        (
            "modernbert",
            "rope_parameters",
            json!({"rope_theta": 10_000.0}),
        ),
        ("modernbert", "rope_parameters", json!(10_000.0)),
        (
            "modernbert",
            "rope_parameters",
            json!({"full_attention": {"rope_theta": 0.0, "rope_type": "default"}}),
        ),
        (
            "modernbert",
            "rope_parameters",
            json!({"full_attention": {"rope_theta": 1e4, "rope_type": "yarn"}}),
        ),
    ] {
        let directory = copy_of(&format!("models/{model}"));
        edit_json(&directory.path().join("config.json"), |config| {
            config[key] = value.clone()
        });
        refused(directory.path(), &["config.json", &format!("`{key}`")]);
    }
}

/// Edits `tokenizer.json` of a SPLADE model.
fn with_tokenizer(edit: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let directory = copy_of("encoders/splade-max");
    edit_json(&directory.path().join("tokenizer.json"), edit);
    directory
}

fn template(single: Value, special_tokens: Value) -> Value {
    json!({
        "type": "TemplateProcessing",
        "single": single,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": special_tokens,
    })
}

#[test]
fn special_tokens_that_the_model_does_not_know_are_refused() {
    let special = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let listed = |ids: Value| json!({"[CLS]": {"id": "[CLS]", "ids": ids, "tokens": ["[CLS]"]}});

    let unknown = template(json!([special("[CLZ]"), text]), listed(json!([1])));
    let directory = with_tokenizer(|tokenizer| tokenizer["post_processor"] = unknown.clone());
    let parts = ["tokenizer.json", "`[CLZ]`", "did you mean `[CLS]`?"];
    refused(directory.path(), &parts);
    let nested = json!({"type": "Sequence", "processors": [unknown]});
    let directory = with_tokenizer(|tokenizer| tokenizer["post_processor"] = nested);
    refused(directory.path(), &parts);

    for id in [json!(1200), json!(999_999), json!(u32::MAX)] {
        let beyond = template(json!([special("[CLS]"), text]), listed(json!([id])));
        let directory = with_tokenizer(|tokenizer| tokenizer["post_processor"] = beyond);
        let id = id.to_string();
        refused(
            directory.path(),
            &["tokenizer.json", "`[CLS]`", &id, "not in the vocabulary"],
        );
    }
    let bert = json!({"type": "BertProcessing", "sep": ["[SEP]", 5000], "cls": ["[CLS]", 2]});
    let directory = with_tokenizer(|tokenizer| tokenizer["post_processor"] = bert);
    refused(directory.path(), &["tokenizer.json", "`[SEP]`", "5000"]);

    let second = json!({"Sequence": {"id": "B", "type_id": 0}});
    let pair = template(json!([text, second]), listed(json!([1])));
    let directory = with_tokenizer(|tokenizer| tokenizer["post_processor"] = pair);
    refused(
        directory.path(),
        &["tokenizer.json", "`single`", "second text"],
    );
}

#[test]
fn segments_beyond_the_table_are_no_panic() {
    for model in ["models/bert", "models/deberta-v2"] {
        for kind in [7_u32, u32::MAX] {
            let directory = copy_of(model);
            edit_json(&directory.path().join("tokenizer.json"), |tokenizer| {
                let text = json!({"Sequence": {"id": "A", "type_id": kind}});
                tokenizer["post_processor"] = template(json!([text]), json!({}));
            });
            let encoder = open(directory.path()).unwrap();
            encoder
                .encode(&["a text"], &EncodeOptions::default())
                .unwrap();
        }
    }
}

#[test]
fn ids_beyond_the_table_are_refused() {
    let directory = with_tokenizer(|tokenizer| {
        tokenizer["model"]["vocab"]["zebra"] = json!(4_000_000_000_u32);
    });
    refused(directory.path(), &["tokenizer.json", "4000000000", "1200"]);
    // Without an embedding table, ids are limited all the same: a table of weights would need a row for each.
    let free = copy_of("encoders/inference-free");
    let file = "query_0_SparseStaticEmbedding/tokenizer.json";
    edit_json(&free.path().join(file), |tokenizer| {
        tokenizer["model"]["vocab"]["zebra"] = json!(4_000_000_000_u32);
    });
    refused(free.path(), &[file, "4000000000"]);
}

#[test]
fn files_without_an_end_are_refused() {
    #[cfg(unix)]
    for file in [
        "config.json",
        "modules.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_SpladePooling/config.json",
        "model.safetensors",
        "README.md",
    ] {
        let directory = copy_of("encoders/splade-max");
        let path = directory.path().join(file);
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        refused(
            directory.path(),
            &[file, "is a device; expected a regular file"],
        );
    }
    for (file, length) in [
        ("config.json", 1_u64 << 32),
        ("tokenizer.json", 1 << 34),
        ("README.md", 1 << 33),
    ] {
        let directory = copy_of("encoders/splade-max");
        let path = directory.path().join(file);
        std::fs::File::create(&path)
            .unwrap()
            .set_len(length)
            .unwrap();
        let length = length.to_string();
        refused(directory.path(), &[file, &length, "expected at most"]);
    }
}

#[test]
fn shards_that_are_missing_or_repeat_a_key_are_refused() {
    let sharded = |map: &dyn Fn(&str) -> String| {
        let directory = copy_of("encoders/splade-max");
        let path = directory.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let index: serde_json::Map<String, Value> = tensors
            .names()
            .into_iter()
            .map(|name| (name.to_string(), json!(map(name))))
            .collect();
        std::fs::rename(&path, directory.path().join("model-1.safetensors")).unwrap();
        let text = json!({"weight_map": index}).to_string();
        std::fs::write(directory.path().join("model.safetensors.index.json"), text).unwrap();
        directory
    };
    let file = "model.safetensors.index.json";
    open(sharded(&|_| "model-1.safetensors".to_string()).path()).unwrap();
    let missing = sharded(&|name| match name {
        "cls.predictions.bias" => "model-2.safetensors".to_string(),
        _ => "model-1.safetensors".to_string(),
    });
    refused(
        missing.path(),
        &[
            file,
            "`cls.predictions.bias`",
            "`model-2.safetensors`, which is missing",
        ],
    );
    let copy = |directory: &Path| {
        let from = directory.join("model-1.safetensors");
        std::fs::copy(from, directory.join("model-2.safetensors")).unwrap();
    };
    copy(missing.path());
    refused(
        missing.path(),
        &["model-2.safetensors", "model-1.safetensors", "does too"],
    );
    let path = missing.path().join(file);
    std::fs::write(&path, r#"{"weight_map": {"a": "x", "a": "y"}}"#).unwrap();
    refused(missing.path(), &[file, "the key `a` is there twice"]);
    for text in [
        "[]",
        "{}",
        r#"{"weight_map": {}}"#,
        r#"{"weight_map": {"a": 1}}"#,
    ] {
        std::fs::write(&path, text).unwrap();
        refused(missing.path(), &[file]);
    }
}

/// A model one of whose output biases is not finite.
fn with_nan() -> tempfile::TempDir {
    let directory = copy_of("encoders/splade-max");
    let mut bias = vec![0.0; 1200];
    bias[17] = f32::NAN;
    set_floats(
        &directory.path().join("model.safetensors"),
        "cls.predictions.bias",
        bias,
    );
    directory
}

#[test]
fn a_vector_that_is_not_finite_names_the_callers_text() {
    // A weight that a single token meets: only its text is not finite.
    let directory = copy_of("encoders/inference-free");
    let path = directory
        .path()
        .join("query_0_SparseStaticEmbedding/model.safetensors");
    let encoder = load("encoders/inference-free");
    let place = encoder
        .token_to_id("zebra")
        .or_else(|| encoder.token_to_id("the"))
        .unwrap();
    let word = encoder.id_to_token(place).unwrap();
    let mut weights = vec![1.0; encoder.embedding_dimension()];
    weights[place as usize] = f32::NAN;
    set_floats(&path, "weight", weights);
    let encoder = open(directory.path()).unwrap();
    let options = EncodeOptions::default().with_batch_size(2);
    let mut texts = vec!["a b c d".to_string(); 100];
    texts[69] = format!("{word} a b c d e f g h i j");
    let named = |error: &Error| match error {
        Error::NotFinite {
            index, dimension, ..
        } => (*index, *dimension),
        other => panic!("{other}"),
    };
    let error = encoder.encode_query(&texts, &options).unwrap_err();
    assert_eq!(named(&error), (69, place as usize));
    let message = error.to_string();
    assert!(
        message.contains("text 69")
            && message.contains("query.0.weight")
            && message.contains("NaN"),
        "{message}"
    );
    assert!(error.is_user_error());
    let query = options.clone().with_task("query");
    let stream = encoder.encode_stream(&texts, &query, |_| Ok::<_, Error>(()));
    assert_eq!(named(&stream.unwrap_err()).0, 69);
    let devices = [encoder.device(), encoder.device()];
    let pool = EncoderPool::new(&encoder, &devices).unwrap();
    assert_eq!(
        named(&pool.encode_query(&texts, &options).unwrap_err()).0,
        69
    );
    let stream = pool.encode_stream(&texts, &query, |_| Ok::<_, Error>(()));
    assert_eq!(named(&stream.unwrap_err()).0, 69);

    let dense = open(with_nan().path()).unwrap();
    let error = dense.encode(&["a"], &EncodeOptions::default()).unwrap_err();
    assert_eq!(named(&error), (0, 17));
    assert!(
        error.to_string().contains("cls.predictions.bias"),
        "{error}"
    );
}

#[test]
fn weights_that_become_infinite_in_half_precision_are_refused() {
    let directory = copy_of("encoders/splade-max");
    let mut bias = vec![0.0; 1200];
    (bias[3], bias[8], bias[9]) = (1e5, 65_504.0, -7e4);
    set_floats(
        &directory.path().join("model.safetensors"),
        "cls.predictions.bias",
        bias,
    );
    let saved = |encoder: &SparseEncoder, weight_type| {
        let target = directory.path().join("saved");
        let result = encoder.save_pretrained_as(&target, weight_type);
        assert!(result.is_ok() || !target.exists(), "nothing is written");
        result
    };
    let encoder = open(directory.path()).unwrap();
    let message = saved(&encoder, WeightType::F16).unwrap_err().to_string();
    assert!(
        message.contains(
            "`cls.predictions.bias`: 2 of its values do not fit into float16, such as 1e5"
        ),
        "{message}"
    );
    saved(&encoder, WeightType::Bf16).unwrap();
    std::fs::remove_dir_all(directory.path().join("saved")).unwrap();

    // bfloat16 has the range of f32, but for what rounds up beyond its largest value.
    let mut bias = vec![0.0; 1200];
    bias[5] = f32::MAX;
    set_floats(
        &directory.path().join("model.safetensors"),
        "cls.predictions.bias",
        bias,
    );
    let encoder = open(directory.path()).unwrap();
    let message = saved(&encoder, WeightType::Bf16).unwrap_err().to_string();
    assert!(
        message.contains("1 of its values do not fit into bfloat16"),
        "{message}"
    );
    saved(&encoder, WeightType::F32).unwrap();
}

#[test]
fn a_damaged_pickle_names_its_key() {
    let path = golden("models/bert-legacy").join("pytorch_model.bin");
    let bytes = std::fs::read(path).unwrap();
    let directory = copy_of("models/bert-legacy");
    let target = directory.path().join("pytorch_model.bin");
    // The name of one tensor becomes that of another.
    let spoilt = |from: &[u8], to: &[u8]| {
        let mut bytes = bytes.clone();
        let at = bytes.windows(from.len()).position(|window| window == from);
        let at = at.unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        std::fs::write(&target, bytes).unwrap();
    };
    spoilt(
        b"encoder.layer.0.attention.self.query.bias",
        b"encoder.layer.0.attention.self.value.bias",
    );
    refused(
        directory.path(),
        &[
            "pytorch_model.bin",
            "encoder.layer.0.attention.self.value.bias` twice",
        ],
    );
    // The end record counts one member less.
    let end = bytes
        .windows(4)
        .rposition(|window| window == b"PK\x05\x06")
        .unwrap();
    let mut short = bytes.clone();
    short[end + 10] -= 1;
    std::fs::write(&target, short).unwrap();
    refused(
        directory.path(),
        &["pytorch_model.bin", "members; expected"],
    );
}

#[test]
fn a_default_prompt_that_is_not_there_is_named_with_its_file() {
    let directory = copy_of("encoders/splade-sum");
    let file = directory.path().join("config_sentence_transformers.json");
    edit_json(&file, |config| {
        config["default_prompt_name"] = "titel".into();
    });
    let message = open(directory.path()).unwrap_err().to_string();
    assert!(
        message.contains("config_sentence_transformers.json`: `default_prompt_name` names an unknown prompt `titel`"),
        "{message}"
    );
    assert!(message.contains("did you mean `title`?"), "{message}");
}
