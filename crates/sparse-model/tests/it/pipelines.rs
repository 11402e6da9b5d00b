//! Directories whose modules or settings are damaged: refused, or loaded with a word on what is assumed.

use std::path::Path;

use serde_json::{Value, json};
use sparse_model::EncodeOptions;

use crate::support::{copy_of, edit_json, golden, load, open, refused, warnings_of};

/// Every pipeline loads without a word; a plain model says what it becomes, and nothing else.
#[test]
fn whole_directories_load_without_a_warning() {
    let examples =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/splade-tiny-bert");
    let mut directories = vec![examples];
    for folder in ["encoders", "models"] {
        let entries = std::fs::read_dir(golden(folder)).unwrap();
        directories.extend(entries.map(|entry| entry.unwrap().path()));
    }
    assert!(directories.len() > 15);
    for directory in directories {
        let (encoder, mut warnings) = warnings_of(|| open(&directory));
        encoder.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        if !directory.join("modules.json").exists() {
            let assumed = warnings.remove(0);
            assert!(
                assumed.contains("taken for a plain masked-language model")
                    && assumed.contains("maximum pooling"),
                "{assumed}"
            );
        }
        assert!(warnings.is_empty(), "{}: {warnings:?}", directory.display());
    }
}

#[test]
fn a_pipeline_without_its_list_of_modules_is_damaged() {
    for name in ["splade-sum", "csr", "inference-free", "splade-old-layout"] {
        let directory = copy_of(&format!("encoders/{name}"));
        std::fs::remove_file(directory.path().join("modules.json")).unwrap();
        let parts = ["is damaged", "no `modules.json`"];
        refused(directory.path(), &parts);
        let settings = directory.path().join("config_sentence_transformers.json");
        std::fs::remove_file(settings).unwrap();
        if name != "inference-free" {
            refused(directory.path(), &["is damaged", "it has `1_"]);
        } else {
            refused(
                directory.path(),
                &["is damaged", "it has `document_0_Transformer`"],
            );
        }
    }
}

#[test]
fn a_module_without_its_configuration_is_damaged() {
    for (model, module) in [
        ("encoders/splade-sum", "1_SpladePooling"),
        ("encoders/csr", "1_Pooling"),
        ("encoders/csr", "2_SparseAutoEncoder"),
        ("encoders/csr-dense-normalize", "2_Dense"),
        ("encoders/inference-free", "document_1_SpladePooling"),
    ] {
        let directory = copy_of(model);
        std::fs::remove_file(directory.path().join(module).join("config.json")).unwrap();
        refused(directory.path(), &[module, "config.json", "is missing"]);
        // A link that leads nowhere, as a cache that was tidied up has it.
        #[cfg(unix)]
        {
            let path = directory.path().join(module).join("config.json");
            std::os::unix::fs::symlink("../nowhere", path).unwrap();
            refused(directory.path(), &[module, "failed to read"]);
        }
    }
}

#[test]
fn a_configuration_that_is_no_object_is_refused() {
    for (model, file) in [
        ("encoders/splade-sum", "1_SpladePooling/config.json"),
        ("encoders/splade-sum", "config_sentence_transformers.json"),
        ("encoders/splade-sum", "sentence_bert_config.json"),
        ("encoders/splade-sum", "config.json"),
        ("encoders/splade-sum", "tokenizer_config.json"),
        ("encoders/csr", "1_Pooling/config.json"),
        ("encoders/csr", "2_SparseAutoEncoder/config.json"),
        ("encoders/csr-dense-normalize", "2_Dense/config.json"),
        ("encoders/csr-dense-normalize", "3_Normalize/config.json"),
        ("encoders/inference-free", "router_config.json"),
        (
            "encoders/inference-free",
            "query_0_SparseStaticEmbedding/config.json",
        ),
    ] {
        for (text, found) in [
            ("[]", "an array"),
            ("null", "null"),
            ("\"max\"", "a string"),
        ] {
            let directory = copy_of(model);
            std::fs::write(directory.path().join(file), text).unwrap();
            refused(directory.path(), &[file, found, "expected an object"]);
        }
    }
    // Not even one that has the values in the order of the keys.
    let directory = copy_of("encoders/csr");
    let file = "2_SparseAutoEncoder/config.json";
    std::fs::write(directory.path().join(file), "[32, 128, 8, 16, false, 3]").unwrap();
    refused(directory.path(), &[file, "expected an object"]);
    let listing = copy_of("encoders/splade-sum");
    std::fs::write(listing.path().join("modules.json"), "{}").unwrap();
    refused(
        listing.path(),
        &["modules.json", "an object; expected an array"],
    );
    std::fs::write(
        listing.path().join("modules.json"),
        r#"[[0, "0", "", "x"]]"#,
    )
    .unwrap();
    refused(
        listing.path(),
        &["modules.json", "`[0]`", "expected an object"],
    );
}

/// Edits one entry of a file, and looks at what is said.
fn refused_with(model: &str, file: &str, key: &str, value: Value, parts: &[&str]) {
    let directory = copy_of(model);
    edit_json(&directory.path().join(file), |config| {
        config[key] = value.clone()
    });
    let key = format!("`{key}`");
    let mut all = vec![file, key.as_str()];
    all.extend(parts);
    refused(directory.path(), &all);
}

#[test]
fn foreign_keys_in_the_configuration_of_a_module_are_refused() {
    let splade = "1_SpladePooling/config.json";
    refused_with(
        "encoders/splade-sum",
        splade,
        "pooling_stratgy",
        json!("max"),
        &["did you mean `pooling_strategy`?"],
    );
    refused_with(
        "encoders/splade-sum",
        splade,
        "k",
        json!(8),
        &["no setting"],
    );
    for (model, file) in [
        ("encoders/csr", "1_Pooling/config.json"),
        ("encoders/csr", "2_SparseAutoEncoder/config.json"),
        ("encoders/csr-dense-normalize", "2_Dense/config.json"),
        ("encoders/csr-dense-normalize", "3_Normalize/config.json"),
        (
            "encoders/inference-free",
            "query_0_SparseStaticEmbedding/config.json",
        ),
    ] {
        refused_with(
            model,
            file,
            "pooling_strategy",
            json!("max"),
            &["no setting"],
        );
    }
    // Where the reference ignores them, so does this, but not in silence.
    let (warned, key) = (copy_of("encoders/splade-sum"), "max_active_dim");
    edit_json(
        &warned.path().join("config_sentence_transformers.json"),
        |config| config[key] = json!(3),
    );
    let (_, warnings) = warnings_of(|| open(warned.path()).unwrap());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("config_sentence_transformers.json")
            && warnings[0].contains(
                "unknown key `max_active_dim` is ignored; did you mean `max_active_dims`?"
            ),
        "{warnings:?}"
    );
}

#[test]
fn values_of_the_wrong_type_are_refused_with_their_key() {
    let (csr, dense, free) = (
        "encoders/csr",
        "encoders/csr-dense-normalize",
        "encoders/inference-free",
    );
    let splade = "encoders/splade-sum";
    for (model, file, key, value) in [
        (
            splade,
            "1_SpladePooling/config.json",
            "pooling_strategy",
            json!(null),
        ),
        (
            splade,
            "1_SpladePooling/config.json",
            "activation_function",
            json!(["relu"]),
        ),
        (
            splade,
            "1_SpladePooling/config.json",
            "embedding_dimension",
            json!("1200"),
        ),
        (
            csr,
            "1_Pooling/config.json",
            "embedding_dimension",
            json!("32"),
        ),
        (
            csr,
            "1_Pooling/config.json",
            "include_prompt",
            json!("false"),
        ),
        (csr, "1_Pooling/config.json", "pooling_mode", json!(3)),
        (csr, "2_SparseAutoEncoder/config.json", "k", json!(-1)),
        (csr, "2_SparseAutoEncoder/config.json", "k", json!(0)),
        (
            csr,
            "2_SparseAutoEncoder/config.json",
            "k",
            json!(1_u64 << 62),
        ),
        (
            csr,
            "2_SparseAutoEncoder/config.json",
            "hidden_dim",
            json!(1.5),
        ),
        (
            csr,
            "2_SparseAutoEncoder/config.json",
            "normalize",
            json!("yes"),
        ),
        (
            csr,
            "2_SparseAutoEncoder/config.json",
            "k_aux",
            json!(u64::MAX),
        ),
        (dense, "2_Dense/config.json", "in_features", json!(-32)),
        (dense, "2_Dense/config.json", "out_features", json!(0)),
        (dense, "2_Dense/config.json", "bias", json!("no")),
        (
            dense,
            "2_Dense/config.json",
            "activation_function",
            json!(1),
        ),
        (dense, "2_Dense/config.json", "use_residual", json!("true")),
        (
            free,
            "query_0_SparseStaticEmbedding/config.json",
            "frozen",
            json!("true"),
        ),
        (
            free,
            "query_0_SparseStaticEmbedding/config.json",
            "path",
            json!("idf.txt"),
        ),
        (
            splade,
            "config_sentence_transformers.json",
            "max_active_dims",
            json!(0),
        ),
        (
            splade,
            "config_sentence_transformers.json",
            "max_active_dims",
            json!(-4),
        ),
        (
            splade,
            "config_sentence_transformers.json",
            "prompts",
            json!(["query"]),
        ),
        (
            splade,
            "config_sentence_transformers.json",
            "model_type",
            json!(1),
        ),
        (
            splade,
            "sentence_bert_config.json",
            "transformer_task",
            json!(7),
        ),
        (
            splade,
            "sentence_bert_config.json",
            "max_seq_length",
            json!("48"),
        ),
        (
            splade,
            "sentence_bert_config.json",
            "do_lower_case",
            json!("false"),
        ),
        (
            splade,
            "sentence_bert_config.json",
            "query_length",
            json!(-1),
        ),
        (
            splade,
            "sentence_bert_config.json",
            "document_length",
            json!(0),
        ),
        (
            splade,
            "sentence_bert_config.json",
            "processing_kwargs",
            json!("text"),
        ),
        (
            splade,
            "sentence_bert_config.json",
            "module_output_name",
            json!("logits"),
        ),
        (
            splade,
            "tokenizer_config.json",
            "model_max_length",
            json!("512"),
        ),
        (
            splade,
            "tokenizer_config.json",
            "model_max_length",
            json!(-5),
        ),
        (
            splade,
            "tokenizer_config.json",
            "model_max_length",
            json!(17.5),
        ),
        (
            splade,
            "tokenizer_config.json",
            "truncation_side",
            json!("middle"),
        ),
    ] {
        refused_with(model, file, key, value, &[]);
    }
    // The output of another task than the one that is named beside it.
    refused_with(
        splade,
        "sentence_bert_config.json",
        "modality_config",
        json!({"text": {"method": "forward", "method_output_name": "last_hidden_state"}}),
        &["last_hidden_state", "expected `logits`"],
    );
}

#[test]
fn routers_with_wrong_parameters_are_refused() {
    let edit = |edit: &dyn Fn(&mut Value), parts: &[&str]| {
        let directory = copy_of("encoders/inference-free");
        edit_json(&directory.path().join("router_config.json"), |config| {
            edit(config)
        });
        let mut all = vec!["router_config.json"];
        all.extend(parts);
        refused(directory.path(), &all);
    };
    edit(
        &|config| config["parameters"] = json!([]),
        &["`parameters`"],
    );
    edit(
        &|config| config["parameters"]["default_route"] = json!(0),
        &["`default_route` is 0"],
    );
    edit(
        &|config| config["parameters"]["allow_empty_key"] = json!("no"),
        &["`allow_empty_key`"],
    );
    edit(
        &|config| config["parameters"]["route_mappings"] = json!("query"),
        &["`route_mappings`"],
    );
    edit(
        &|config| config["structure"]["query"] = json!([0]),
        &["`query`", "lists 0"],
    );
    edit(
        &|config| {
            let module = config["structure"]["query"][0].clone();
            config["structure"]["query"] = json!([module, module]);
        },
        &["`query`", "twice"],
    );
}

#[test]
fn modules_are_listed_once_and_in_order() {
    let listed = |edit: &dyn Fn(&mut Vec<Value>), parts: &[&str]| {
        let directory = copy_of("encoders/csr-dense-normalize");
        edit_json(&directory.path().join("modules.json"), |modules| {
            edit(modules.as_array_mut().unwrap())
        });
        let mut all = vec!["modules.json"];
        all.extend(parts);
        refused(directory.path(), &all);
    };
    let double = |modules: &mut Vec<Value>| {
        let normalize = modules[3].clone();
        modules.insert(4, normalize);
    };
    listed(&double, &["`[4].name`", "as that of a module before it"]);
    listed(
        &|modules| {
            double(modules);
            modules[4]["name"] = json!("again");
        },
        &["`[4].path`", "3_Normalize"],
    );
    listed(&|modules| modules[3]["idx"] = json!(1), &["`[3].idx`"]);
    listed(&|modules| modules[3]["idx"] = json!("3"), &["`idx`"]);
    listed(
        &|modules| modules[3]["path"] = json!("/etc"),
        &["`/etc`", "outside"],
    );
    listed(
        &|modules| modules[3]["path"] = json!("x/../../y"),
        &["outside"],
    );
    listed(
        &|modules| {
            modules[3].as_object_mut().unwrap().remove("type");
        },
        &["missing field `type`"],
    );
}

#[test]
fn a_sparse_pipeline_without_its_settings_gets_no_second_autoencoder() {
    let directory = copy_of("encoders/csr");
    std::fs::remove_file(directory.path().join("config_sentence_transformers.json")).unwrap();
    let (encoder, warnings) = warnings_of(|| open(directory.path()).unwrap());
    assert_eq!(encoder.module_types().len(), 3);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("loaded as it is"), "{warnings:?}");
    let text = ["a text"];
    let expected = load("encoders/csr").encode(&text, &EncodeOptions::default());
    let rows = encoder.encode(&text, &EncodeOptions::default());
    assert_eq!(rows.unwrap(), expected.unwrap());
}
