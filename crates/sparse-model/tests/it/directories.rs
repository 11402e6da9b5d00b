//! Files: what is read, and what is written.

use std::path::Path;

use serde_json::{Value, json};
use sparse_model::{EncodeOptions, Error, LoadOptions, PreprocessOptions, SparseEncoder};

use crate::support::{copy_of, edit_json, golden, load, open, refused};

/// Every file that the reference wrote, but for those that say who wrote them.
fn assert_same_files(name: &str, differing: &[&str]) {
    let saved = tempfile::tempdir().unwrap();
    let target = saved.path().join("model");
    load(&format!("encoders/{name}"))
        .save_pretrained(&target)
        .unwrap();
    let source = golden(&format!("encoders/{name}"));
    let files: Value =
        serde_json::from_slice(&std::fs::read(source.join("expected.json")).unwrap()).unwrap();
    for file in files["files"].as_array().unwrap() {
        let file = file.as_str().unwrap();
        let written = std::fs::read(target.join(file))
            .unwrap_or_else(|_| panic!("{name}: {file} was not written"));
        if file != "README.md" && !differing.contains(&file) {
            let expected = std::fs::read(source.join(file)).unwrap();
            assert!(
                written == expected,
                "{name}: {file} differs:\n{}",
                String::from_utf8_lossy(&written)
            );
        }
    }
    let mut written = Vec::new();
    list(&target, &target, &mut written);
    written.sort();
    let mut expected: Vec<&str> = files["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap())
        .collect();
    if !expected.contains(&"README.md") {
        expected.push("README.md");
    }
    expected.sort_unstable();
    assert_eq!(written, expected);
    assert_eq!(
        std::fs::read_dir(saved.path()).unwrap().count(),
        1,
        "nothing is left beside the directory"
    );
}

fn list(root: &Path, directory: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(root, &path, files)
        } else {
            files.push(
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_string(),
            )
        }
    }
}

#[test]
fn saving_writes_the_bytes_of_the_reference() {
    // The reference writes no dimension for a model that never ran.
    assert_same_files("splade-max", &["1_SpladePooling/config.json"]);
    assert_same_files("splade-sum", &[]);
    assert_same_files("splade-log1p_relu", &["1_SpladePooling/config.json"]);
    assert_same_files("csr", &[]);
    assert_same_files("csr-dense-normalize", &[]);
    assert_same_files("inference-free", &[]);
    assert_same_files(
        "two-encoders",
        &[
            "query_1_SpladePooling/config.json",
            "document_1_SpladePooling/config.json",
        ],
    );
}

/// Load, save, load: the weights of every architecture keep their bytes.
#[test]
fn weights_survive_unchanged() {
    for name in [
        "bert",
        "bert-untied",
        "bert-no-decoder",
        "distilbert",
        "roberta",
        "xlm-roberta",
        "mpnet",
        "modernbert",
        "electra",
        "albert",
        "deberta-v2",
    ] {
        let source = golden(&format!("models/{name}"));
        let saved = tempfile::tempdir().unwrap();
        let target = saved.path().join("model");
        open(&source).unwrap().save_pretrained(&target).unwrap();
        let bytes = |directory: &Path, file: &str| std::fs::read(directory.join(file)).unwrap();
        for file in ["model.safetensors", "config.json", "tokenizer.json"] {
            assert!(
                bytes(&source, file) == bytes(&target, file),
                "{name}: {file} changed"
            );
        }
        open(&target).unwrap();
    }
}

#[test]
fn half_precision_and_shards_load_like_the_whole() {
    let whole = load("encoders/splade-max");
    let texts = ["a text", "another text of more words"];
    let expected = whole.encode(&texts, &EncodeOptions::default()).unwrap();

    let sharded = copy_of("encoders/splade-max");
    let path = sharded.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut shards = [Vec::new(), Vec::new()];
    let mut index = serde_json::Map::new();
    for (at, (name, tensor)) in tensors.iter().enumerate() {
        shards[at % 2].push((name.to_string(), tensor));
        index.insert(
            name.to_string(),
            json!(format!("model-0000{}-of-00002.safetensors", at % 2 + 1)),
        );
    }
    for (at, shard) in shards.into_iter().enumerate() {
        let file = sharded
            .path()
            .join(format!("model-0000{}-of-00002.safetensors", at + 1));
        safetensors::serialize_to_file(shard, None, &file).unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    let index_path = sharded.path().join("model.safetensors.index.json");
    std::fs::write(
        &index_path,
        json!({"metadata": {}, "weight_map": index}).to_string(),
    )
    .unwrap();
    assert_eq!(
        open(sharded.path())
            .unwrap()
            .encode(&texts, &EncodeOptions::default())
            .unwrap(),
        expected
    );
    edit_json(&index_path, |index| {
        index["weight_map"]["cls.predictions.bias"] = json!("../elsewhere.safetensors")
    });
    refused(
        sharded.path(),
        &[
            "model.safetensors.index.json",
            "../elsewhere.safetensors",
            "outside",
        ],
    );

    for (dtype, name) in [
        (safetensors::Dtype::BF16, "bfloat16"),
        (safetensors::Dtype::F16, "float16"),
    ] {
        let half = copy_of("encoders/splade-max");
        let narrowed: Vec<(String, Vec<u8>, Vec<usize>)> = tensors
            .iter()
            .map(|(name, tensor)| {
                let (chunks, _) = tensor.data().as_chunks::<4>();
                let narrow = |chunk: &[u8; 4]| match dtype {
                    safetensors::Dtype::BF16 => {
                        burn::tensor::bf16::from_f32(f32::from_le_bytes(*chunk)).to_le_bytes()
                    }
                    _ => burn::tensor::f16::from_f32(f32::from_le_bytes(*chunk)).to_le_bytes(),
                };
                (
                    name.to_string(),
                    chunks.iter().flat_map(narrow).collect(),
                    tensor.shape().to_vec(),
                )
            })
            .collect();
        let views = narrowed.iter().map(|(name, bytes, shape)| {
            (
                name,
                safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap(),
            )
        });
        safetensors::serialize_to_file(views, None, &half.path().join("model.safetensors"))
            .unwrap();
        edit_json(&half.path().join("config.json"), |config| {
            config["dtype"] = json!(name)
        });
        let encoder = open(half.path()).unwrap();
        let embeddings = encoder.encode(&texts, &EncodeOptions::default()).unwrap();
        // Eight bits of mantissa at least.
        crate::support::assert_close(name, &embeddings.to_dense(), &expected.to_dense(), 0.0, 0.1);
        let target = half.path().join("saved");
        encoder.save_pretrained(&target).unwrap();
        let config: Value =
            serde_json::from_slice(&std::fs::read(target.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["dtype"], "float32");
    }
}

#[test]
fn plain_and_dense_directories_become_csr_encoders() {
    // A base model: the mean of its hidden states, and an untrained autoencoder.
    let plain = copy_of("encoders/csr");
    for file in ["modules.json", "config_sentence_transformers.json"] {
        std::fs::remove_file(plain.path().join(file)).unwrap();
    }
    for module in ["1_Pooling", "2_SparseAutoEncoder"] {
        std::fs::remove_dir_all(plain.path().join(module)).unwrap();
    }
    let encoder = open(plain.path()).unwrap();
    assert_eq!(
        encoder
            .module_types()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["Transformer", "Pooling", "SparseAutoEncoder"]
    );
    assert_eq!(
        (encoder.embedding_dimension(), encoder.max_active_dims()),
        (128, Some(256))
    );
    assert_eq!(encoder.type_name(), "CSR Sparse Encoder");

    // A dense encoder keeps its modules, prompts and similarity.
    let dense = copy_of("encoders/csr-dense-normalize");
    edit_json(
        &dense.path().join("config_sentence_transformers.json"),
        |config| {
            config["model_type"] = json!("SentenceTransformer");
            config["prompts"]["query"] = json!("find: ");
            config.as_object_mut().unwrap().remove("max_active_dims");
        },
    );
    edit_json(&dense.path().join("modules.json"), |modules| {
        modules.as_array_mut().unwrap().truncate(4)
    });
    let encoder = open(dense.path()).unwrap();
    assert_eq!(
        (encoder.embedding_dimension(), encoder.max_active_dims()),
        (96, Some(6))
    );
    assert_eq!(
        encoder.similarity_fn(),
        sparse_index::SimilarityFunction::Cosine
    );
    assert_eq!(encoder.prompts()["query"], "find: ");
    let vector = encoder
        .encode_query(&["a text"], &EncodeOptions::default())
        .unwrap();
    assert!((1..=6).contains(&vector.nnz()));
    let target = dense.path().join("saved");
    encoder.save_pretrained(&target).unwrap();
    assert_eq!(
        open(&target)
            .unwrap()
            .encode_query(&["a text"], &EncodeOptions::default())
            .unwrap(),
        vector
    );

    // Another kind of model lends its backbone only.
    let other = copy_of("encoders/splade-sum");
    edit_json(
        &other.path().join("config_sentence_transformers.json"),
        |config| config["model_type"] = json!("CrossEncoder"),
    );
    let encoder = open(other.path()).unwrap();
    assert_eq!(encoder.type_name(), "SPLADE Sparse Encoder");
    assert_eq!(encoder.prompts()["query"], "");
}

/// Every architecture without its head: the same hidden states, and the keys of a base model when saved.
#[test]
fn backbones_load_without_their_heads() {
    for name in [
        "bert",
        "distilbert",
        "roberta",
        "xlm-roberta",
        "mpnet",
        "modernbert",
        "electra",
        "albert",
        "deberta-v2",
    ] {
        let directory = copy_of(&format!("models/{name}"));
        edit_json(&directory.path().join("config.json"), |config| {
            let architecture = config["architectures"][0]
                .as_str()
                .unwrap()
                .replace("ForMaskedLM", "Model");
            config["architectures"] = json!([architecture]);
        });
        let whole = load(&format!("models/{name}"));
        let base = open(directory.path()).unwrap();
        assert_eq!(base.type_name(), "CSR Sparse Encoder");
        let tokens = base
            .preprocess(&["a text", "another"], &PreprocessOptions::default())
            .unwrap();
        assert!(base.logits(&tokens).is_none());
        let hidden = |encoder: &SparseEncoder| {
            crate::models::values(encoder.hidden_states(&tokens).unwrap())
        };
        assert_eq!(hidden(&base), hidden(&whole), "{name}");

        let target = directory.path().join("saved");
        base.save_pretrained(&target).unwrap();
        let bytes = std::fs::read(target.join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let parameters = base.named_parameters();
        for key in tensors.names() {
            assert!(
                parameters
                    .iter()
                    .any(|parameter| parameter.name == format!("0.model.{key}")),
                "{name}: {key}"
            );
            assert!(
                !key.starts_with("bert.")
                    && !key.starts_with("roberta.")
                    && !key.starts_with("model."),
                "{name}: {key}"
            );
        }
        assert_eq!(hidden(&open(&target).unwrap()), hidden(&whole), "{name}");
    }
}

#[test]
fn weights_can_be_saved_in_half_precision() {
    let encoder = load("encoders/inference-free");
    let texts = ["a text of some words"];
    let expected = encoder
        .encode_document(&texts, &EncodeOptions::default())
        .unwrap();
    for (weight_type, name) in [
        (sparse_model::WeightType::F16, "float16"),
        (sparse_model::WeightType::Bf16, "bfloat16"),
    ] {
        let saved = tempfile::tempdir().unwrap();
        let target = saved.path().join("model");
        encoder.save_pretrained_as(&target, weight_type).unwrap();
        let document = target.join("document_0_Transformer");
        let config: Value =
            serde_json::from_slice(&std::fs::read(document.join("config.json")).unwrap()).unwrap();
        assert_eq!(config["dtype"], name);
        let size = |path: &Path| {
            std::fs::metadata(path.join("model.safetensors"))
                .unwrap()
                .len()
        };
        assert!(
            size(&document)
                < size(&golden("encoders/inference-free/document_0_Transformer")) * 6 / 10
        );
        let half = open(&target)
            .unwrap()
            .encode_document(&texts, &EncodeOptions::default())
            .unwrap();
        crate::support::assert_close(name, &half.to_dense(), &expected.to_dense(), 0.0, 0.1);
        assert_ne!(half, expected);
    }
}

#[test]
fn lengths_by_task_are_followed_and_kept() {
    let directory = copy_of("encoders/splade-max");
    edit_json(
        &directory.path().join("sentence_bert_config.json"),
        |config| {
            config["query_length"] = json!(5);
            config["document_length"] = json!(9);
        },
    );
    let encoder = open(directory.path()).unwrap();
    let text = ["one two three four five six seven eight nine ten eleven"];
    let count = |encoder: &SparseEncoder, task: Option<&str>| {
        let options = PreprocessOptions {
            task: task.map(str::to_string),
            prompt: None,
        };
        let tokens = encoder.preprocess(&text, &options).unwrap();
        let apart = encoder
            .preprocessor()
            .unwrap()
            .preprocess(&text, &options)
            .unwrap();
        assert_eq!(apart.input_ids, tokens.input_ids);
        tokens.n_tokens()
    };
    assert_eq!(
        [Some("query"), Some("document")].map(|task| count(&encoder, task)),
        [5, 9]
    );
    assert!(count(&encoder, None) > 9);
    let target = directory.path().join("saved");
    encoder.save_pretrained(&target).unwrap();
    assert_eq!(count(&open(&target).unwrap(), Some("query")), 5);
    edit_json(
        &directory.path().join("sentence_bert_config.json"),
        |config| {
            config["processing_kwargs"] = json!({"text": {"max_length": 4}});
        },
    );
    assert_eq!(count(&open(directory.path()).unwrap(), Some("query")), 4);
}

#[test]
fn a_stream_gives_the_rows_of_a_list() {
    let encoder = load("encoders/splade-max");
    let texts: Vec<String> = (0..150)
        .map(|number| format!("text number {number} {}", "word ".repeat(number % 7)))
        .collect();
    let options = EncodeOptions::default().with_batch_size(2);
    let mut rows = sparse_index::SparseMatrix::new(encoder.embedding_dimension());
    let mut windows = 0;
    let total = encoder
        .encode_stream(texts.iter(), &options, |window| {
            windows += 1;
            rows.append(&window)
                .map_err(|error| Error::Unsupported(error.to_string()))
        })
        .unwrap();
    assert_eq!((total, windows), (150, 3));
    let whole = encoder.encode(&texts, &options).unwrap();
    crate::support::assert_close("stream", &rows.to_dense(), &whole.to_dense(), 0.0, 2e-6);
    let stopped = encoder.encode_stream(texts.iter(), &options, |_| {
        Err(Error::Unsupported("enough".to_string()))
    });
    assert_eq!(stopped.unwrap_err().to_string(), "enough");
}

/// Two routes through one transformer: it is loaded, trained and saved once.
#[test]
fn routes_may_share_a_module() {
    let directory = copy_of("encoders/two-encoders");
    let path = directory.path().join("router_config.json");
    edit_json(&path, |config| {
        config["structure"]["document"][0] = json!("query_0_Transformer");
        config["types"]
            .as_object_mut()
            .unwrap()
            .remove("document_0_Transformer");
    });
    let encoder = open(directory.path()).unwrap();
    let names: Vec<String> = encoder
        .named_parameters()
        .into_iter()
        .map(|parameter| parameter.name)
        .collect();
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("0.sub_modules.query.0.model."))
    );
    assert_eq!(
        names.len(),
        load("encoders/splade-max").named_parameters().len()
    );
    let target = directory.path().join("saved");
    encoder.save_pretrained(&target).unwrap();
    assert!(!target.join("document_0_Transformer").exists());
    let copy = open(&target).unwrap();
    let texts = ["a text"];
    let options = EncodeOptions::default();
    assert_eq!(
        copy.encode_document(&texts, &options).unwrap(),
        encoder.encode_document(&texts, &options).unwrap()
    );
    // The document route takes the logarithm twice, of the same logits.
    let query = encoder.encode_query(&texts, &options).unwrap();
    let twice: Vec<f32> = query.to_dense().iter().map(|value| value.ln_1p()).collect();
    crate::support::assert_close(
        "shared",
        &encoder
            .encode_document(&texts, &options)
            .unwrap()
            .to_dense(),
        &twice,
        1e-5,
        1e-6,
    );
}

#[test]
fn an_old_directory_is_saved_in_the_new_layout() {
    let saved = tempfile::tempdir().unwrap();
    let target = saved.path().join("model");
    load("encoders/splade-old-layout")
        .save_pretrained(&target)
        .unwrap();
    let modules: Value =
        serde_json::from_slice(&std::fs::read(target.join("modules.json")).unwrap()).unwrap();
    assert_eq!(
        modules[0]["type"],
        "sentence_transformers.sparse_encoder.modules.mlm_transformer.MLMTransformer"
    );
    assert_eq!(
        modules[1]["type"],
        "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling"
    );
    let tokenizer: Value =
        serde_json::from_slice(&std::fs::read(target.join("tokenizer_config.json")).unwrap())
            .unwrap();
    assert_eq!(tokenizer["model_max_length"], 48);
    assert_eq!(open(&target).unwrap().max_seq_length(), Some(48));
    let weights = |path: &Path| std::fs::read(path.join("model.safetensors")).unwrap();
    assert!(weights(&target) == weights(&golden("encoders/splade-old-layout")));
}

#[test]
fn a_model_is_replaced_and_settings_survive() {
    let saved = tempfile::tempdir().unwrap();
    let target = saved.path().join("deep/model");
    let mut encoder = load("models/distilbert");
    encoder.save_pretrained(&target).unwrap();
    std::fs::write(target.join("pytorch_model.bin"), "stale weights").unwrap();
    std::fs::write(target.join("notes.txt"), "mine").unwrap();
    encoder.set_max_seq_length(20).unwrap();
    encoder.set_max_active_dims(Some(7)).unwrap();
    encoder.set_similarity_fn(sparse_index::SimilarityFunction::Cosine);
    encoder.set_prompts([("query".to_string(), "find: ".to_string())].into());
    encoder.set_model_card("# A card\n".to_string());
    encoder.save_pretrained(&target).unwrap();
    assert!(!target.join("pytorch_model.bin").exists());
    assert_eq!(std::fs::read(target.join("notes.txt")).unwrap(), b"mine");
    assert_eq!(
        std::fs::read_dir(saved.path().join("deep"))
            .unwrap()
            .count(),
        1
    );

    let copy = open(&target).unwrap();
    assert_eq!(copy.max_seq_length(), Some(20));
    assert_eq!(copy.max_active_dims(), Some(7));
    assert_eq!(
        copy.similarity_fn(),
        sparse_index::SimilarityFunction::Cosine
    );
    assert_eq!(copy.prompts()["query"], "find: ");
    assert_eq!(copy.model_card(), Some("# A card\n"));
    let text = [
        "one text that is a little longer than twenty word pieces, for it goes on and on and on and on and on",
    ];
    let options = EncodeOptions::default();
    assert_eq!(
        copy.preprocess(&text, &PreprocessOptions::default())
            .unwrap()
            .n_tokens(),
        20
    );
    assert_eq!(
        copy.encode_query(&text, &options).unwrap().to_dense(),
        encoder.encode_query(&text, &options).unwrap().to_dense()
    );
    assert_eq!(copy.encode(&text, &options).unwrap().nnz(), 7);
}

#[test]
fn a_file_is_never_replaced_by_a_directory() {
    let saved = tempfile::tempdir().unwrap();
    let file = saved.path().join("model");
    std::fs::write(&file, "precious").unwrap();
    let error = load("models/bert").save_pretrained(&file).unwrap_err();
    assert!(
        error.to_string().contains("is a file") && error.is_user_error(),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(saved.path()).unwrap().count(), 1);
}

#[test]
fn saved_prompts_yield_to_those_of_the_caller() {
    let path = golden("encoders/splade-sum");
    let options = LoadOptions {
        prompts: vec![("query".to_string(), String::new())],
        ..LoadOptions::default()
    };
    let encoder =
        SparseEncoder::from_pretrained_with(path.to_str().unwrap(), &options, &Default::default())
            .unwrap();
    assert_eq!(encoder.prompts()["query"], "");
    assert_eq!(encoder.prompts()["document"], "Passage: ");
    let named = EncodeOptions::default().with_prompt_name("titel");
    let error = encoder.encode(&["text"], &named).unwrap_err().to_string();
    assert!(
        error.contains("unknown prompt `titel`") && error.contains("did you mean `title`?"),
        "{error}"
    );
    let titled = encoder
        .encode(
            &["text"],
            &EncodeOptions::default().with_prompt_name("title"),
        )
        .unwrap();
    let by_hand = encoder
        .encode(&["Title | text"], &EncodeOptions::default())
        .unwrap();
    assert_eq!(titled.to_dense(), by_hand.to_dense());
}

#[test]
fn a_prompt_may_be_left_out_of_the_mean() {
    let mut encoder = load("encoders/csr");
    let texts = ["the cat sat", "a dog"];
    let with_prompt = EncodeOptions::default().with_prompt("the blue shirt: ");
    let counted = encoder.encode(&texts, &with_prompt).unwrap().to_dense();
    let plain = encoder
        .encode(&texts, &EncodeOptions::default())
        .unwrap()
        .to_dense();
    encoder.set_pooling_include_prompt(false);
    let left_out = encoder.encode(&texts, &with_prompt).unwrap().to_dense();
    assert_ne!(left_out, counted, "the prompt's tokens are not in the mean");
    assert_ne!(left_out, plain, "but the text's tokens have seen it");
    let without = encoder.encode(&texts, &EncodeOptions::default()).unwrap();
    assert_eq!(
        without.to_dense(),
        plain,
        "nothing changes without a prompt"
    );

    // It is saved.
    let saved = tempfile::tempdir().unwrap();
    let target = saved.path().join("model");
    encoder.save_pretrained(&target).unwrap();
    let again = open(&target).unwrap();
    assert_eq!(
        again.encode(&texts, &with_prompt).unwrap().to_dense(),
        left_out
    );
}
