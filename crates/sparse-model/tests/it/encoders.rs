//! Directories written by the reference's `save_pretrained` against what it computes with them.

use serde_json::Value;
use sparse_index::SimilarityFunction;
use sparse_model::{EncodeOptions, SparseEncoder};

use crate::support::{Expected, assert_close, golden, load, strings};

const RELATIVE: f32 = 2e-5;
const ABSOLUTE: f32 = 2e-5;

/// Checks everything that a golden encoder has values for.
fn check(name: &str) {
    let path = format!("encoders/{name}");
    let encoder = load(&path);
    let expected = Expected::of(&path);
    let json = &expected.json;
    let width = json["embedding_dimension"].as_u64().unwrap() as usize;
    assert_eq!(encoder.embedding_dimension(), width);
    assert_eq!(
        encoder.max_seq_length().map(|length| length as u64),
        json["max_seq_length"].as_u64()
    );
    assert_eq!(
        encoder.max_active_dims().map(|dims| dims as u64),
        json["max_active_dims"].as_u64()
    );
    assert_eq!(
        encoder.similarity_fn().name(),
        json["similarity_fn_name_default"].as_str().unwrap()
    );
    let kinds: Vec<String> = encoder
        .module_types()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        kinds,
        strings(&json["module_types"])
            .iter()
            .map(|kind| kind.replace("MLMTransformer", "Transformer"))
            .collect::<Vec<_>>()
    );
    check_parameters(&encoder, json);

    let (queries, documents) = (expected.texts("queries"), expected.texts("documents"));
    let plain = EncodeOptions::default();
    let query = encoder.encode_query(&queries, &plain).unwrap();
    let document = encoder.encode_document(&documents, &plain).unwrap();
    let wanted_query = expected.sparse("query.sparse", queries.len(), width);
    let wanted_document = expected.sparse("document.sparse", documents.len(), width);
    assert_close(
        "query",
        &query.to_dense(),
        &wanted_query.to_dense(),
        RELATIVE,
        ABSOLUTE,
    );
    assert_close(
        "document",
        &document.to_dense(),
        &wanted_document.to_dense(),
        RELATIVE,
        ABSOLUTE,
    );
    let active = |embeddings: &sparse_index::SparseMatrix| {
        embeddings
            .rows()
            .map(|row| Value::from(row.nnz()))
            .collect::<Vec<_>>()
    };
    assert_eq!(Value::Array(active(&query)), json["active_dims"]["query"]);
    assert_eq!(
        Value::Array(active(&document)),
        json["active_dims"]["document"]
    );

    for limit in [4, 16, 64] {
        for (role, texts) in [("query", &queries), ("document", &documents)] {
            let name = format!("{role}.max_active_dims_{limit}");
            if expected.has(&format!("{name}.values")) {
                let options = EncodeOptions::default()
                    .with_max_active_dims(limit)
                    .with_batch_size(3);
                let pruned = if role == "query" {
                    encoder.encode_query(texts, &options)
                } else {
                    encoder.encode_document(texts, &options)
                };
                let wanted = expected.sparse(&name, texts.len(), width);
                assert_close(
                    &name,
                    &pruned.unwrap().to_dense(),
                    &wanted.to_dense(),
                    RELATIVE,
                    ABSOLUTE,
                );
            }
        }
    }

    if expected.has("encode.with_prompt_text") {
        let text = json["prompt_text"]["text"].as_str().unwrap();
        let options =
            EncodeOptions::default().with_prompt(json["prompt_text"]["prompt"].as_str().unwrap());
        let prompted = encoder.encode(&[text], &options).unwrap();
        assert_close(
            "prompt",
            &prompted.to_dense(),
            &expected.floats("encode.with_prompt_text"),
            RELATIVE,
            ABSOLUTE,
        );
    }
    if expected.has("encode.pairs") {
        let pairs: Vec<(&str, &str)> = json["pairs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
            .collect();
        let embeddings = encoder.encode_pairs(&pairs, &plain).unwrap();
        assert_close(
            "pairs",
            &embeddings.to_dense(),
            &expected.floats("encode.pairs"),
            RELATIVE,
            ABSOLUTE,
        );
    }
    check_similarity(encoder.clone(), &expected, &query, &document);
    check_decoding(&encoder, json, &query, &document);
    for task in ["search", "passage"] {
        let name = format!("encode.task_{task}");
        if expected.has(&name) {
            let texts = if task == "search" {
                &queries
            } else {
                &documents
            };
            let embeddings = encoder
                .encode(texts, &EncodeOptions::default().with_task(task))
                .unwrap();
            assert_close(
                &name,
                &embeddings.to_dense(),
                &expected.floats(&name),
                RELATIVE,
                ABSOLUTE,
            );
        }
    }
    if expected.has("document.max_seq_length_16") {
        let mut shorter = encoder.clone();
        shorter.set_max_seq_length(16).unwrap();
        for (role, embeddings) in [
            ("query", shorter.encode_query(&queries, &plain)),
            ("document", shorter.encode_document(&documents, &plain)),
        ] {
            let name = format!("{role}.max_seq_length_16");
            assert_close(
                &name,
                &embeddings.unwrap().to_dense(),
                &expected.floats(&name),
                RELATIVE,
                ABSOLUTE,
            );
        }
    }
}

/// The names and shapes of the reference's state dictionary; ours has tied tensors and buffers left out.
fn check_parameters(encoder: &SparseEncoder, json: &Value) {
    let state = json["state_dict"].as_object().unwrap();
    for parameter in encoder.named_parameters() {
        let shape: Vec<Value> = parameter
            .shape
            .iter()
            .map(|size| Value::from(*size))
            .collect();
        assert_eq!(
            state.get(&parameter.name),
            Some(&Value::Array(shape)),
            "{}",
            parameter.name
        );
        assert_eq!(
            parameter.is_norm,
            ["LayerNorm", "layer_norm"]
                .iter()
                .any(|part| parameter.name.contains(part))
        );
    }
    let names: Vec<String> = encoder
        .named_parameters()
        .into_iter()
        .map(|parameter| parameter.name)
        .collect();
    for name in state.keys() {
        let repeated = name.contains("decoder")
            || name.ends_with("vocab_projector.weight")
            || name.ends_with("stats_last_nonzero");
        assert!(repeated || names.contains(name), "{name} is missing");
    }
}

fn check_similarity(
    mut encoder: SparseEncoder,
    expected: &Expected,
    query: &sparse_index::SparseMatrix,
    document: &sparse_index::SparseMatrix,
) {
    for function in SimilarityFunction::ALL {
        encoder.set_similarity_fn(function);
        let absolute = if function == SimilarityFunction::Euclidean {
            5e-3
        } else {
            5e-5
        };
        let name = function.name();
        let matrix = encoder.similarity(query, document).unwrap();
        assert_close(
            name,
            &matrix,
            &expected.floats(&format!("similarity_sparse.{name}")),
            2e-5,
            absolute,
        );
        let rows: Vec<usize> = (0..query.n_rows().min(document.n_rows())).collect();
        let pairwise = encoder
            .similarity_pairwise(&query.select(&rows), &document.select(&rows))
            .unwrap();
        assert_close(
            name,
            &pairwise,
            &expected.floats(&format!("similarity_pairwise_sparse.{name}")),
            2e-5,
            absolute,
        );
    }
}

fn check_decoding(
    encoder: &SparseEncoder,
    json: &Value,
    query: &sparse_index::SparseMatrix,
    document: &sparse_index::SparseMatrix,
) {
    let Some(decode) = json.get("decode") else {
        assert!(encoder.decode(query, None).is_err());
        return;
    };
    let compare = |actual: &[Vec<(String, f32)>], wanted: &Value| {
        for (row, wanted) in actual.iter().zip(wanted.as_array().unwrap()) {
            let wanted = wanted.as_array().unwrap();
            assert_eq!(row.len(), wanted.len());
            for ((token, weight), wanted) in row.iter().zip(wanted) {
                assert_eq!(token, wanted[0].as_str().unwrap());
                assert_close(
                    "decode",
                    &[*weight],
                    &[wanted[1].as_f64().unwrap() as f32],
                    RELATIVE,
                    ABSOLUTE,
                );
            }
        }
    };
    compare(
        &encoder.decode(query, Some(5)).unwrap(),
        &decode["query_top_5"],
    );
    compare(
        &encoder.decode(document, Some(10)).unwrap(),
        &decode["document_top_10"],
    );
    let shared = SparseEncoder::intersection(query.row(0), document).unwrap();
    compare(
        &encoder.decode(&shared, Some(5)).unwrap(),
        &json["intersection"]["decode_top_5"],
    );
    let sparsity = SparseEncoder::sparsity(document);
    let wanted = &json["sparsity"]["document"];
    assert!((sparsity.active_dims - wanted["active_dims"].as_f64().unwrap()).abs() < 1e-4);
    assert!((sparsity.sparsity_ratio - wanted["sparsity_ratio"].as_f64().unwrap()).abs() < 1e-6);
}

#[test]
fn splade_max() {
    check("splade-max");
}

#[test]
fn splade_sum_with_prompts_and_a_limit() {
    check("splade-sum");
}

#[test]
fn splade_in_the_layout_of_2025() {
    check("splade-old-layout");
}

#[test]
fn splade_with_two_logarithms() {
    check("splade-log1p_relu");
}

#[test]
fn csr() {
    check("csr");
}

#[test]
fn csr_behind_dense_and_normalize() {
    check("csr-dense-normalize");
}

#[test]
fn inference_free_queries() {
    check("inference-free");
}

#[test]
fn a_router_of_two_encoders() {
    check("two-encoders");
}

/// The document encoder of the inference-free model, given the weights that the reference makes of `idf.json`.
#[test]
fn static_queries_from_a_table_of_weights() {
    let path = golden("encoders/inference-free");
    let document = path.join("document_0_Transformer");
    let encoder =
        SparseEncoder::from_pretrained(document.to_str().unwrap(), &Default::default()).unwrap();
    let weights = encoder
        .token_weights_from_json(&path.join("idf.json"))
        .unwrap();
    let bytes = std::fs::read(path.join("expected_from_json.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let (chunks, _) = tensors.tensor("weight").unwrap().data().as_chunks::<4>();
    let expected: Vec<f32> = chunks
        .iter()
        .map(|chunk| f32::from_le_bytes(*chunk))
        .collect();
    assert_eq!(weights, expected);

    let combined = encoder.with_static_queries(weights.clone(), false).unwrap();
    let query = ["is there a delegate?"];
    let vector = combined
        .encode_query(&query, &EncodeOptions::default())
        .unwrap();
    for (token, weight) in &combined.decode(&vector, None).unwrap()[0] {
        assert_eq!(
            *weight,
            weights[combined.token_to_id(token).unwrap() as usize]
        );
    }
    let saved = tempfile::tempdir().unwrap();
    let target = saved.path().join("model");
    combined.save_pretrained(&target).unwrap();
    let copy =
        SparseEncoder::from_pretrained(target.to_str().unwrap(), &Default::default()).unwrap();
    let options = EncodeOptions::default();
    assert_eq!(copy.encode_query(&query, &options).unwrap(), vector);
    assert_eq!(
        copy.encode_document(&query, &options).unwrap(),
        combined.encode_document(&query, &options).unwrap()
    );
    // What a loss sees is the same as what is encoded.
    let tokens = combined
        .preprocess(
            &query,
            &sparse_model::PreprocessOptions::default().with_task("query"),
        )
        .unwrap();
    let dense = combined
        .forward(&tokens, &sparse_model::ForwardContext::evaluation())
        .sentence_embedding;
    assert_eq!(crate::models::values(dense), vector.to_dense());
    // The preprocessor takes the same routes without the weights.
    let preprocessor = combined.preprocessor().unwrap();
    for task in [Some("query"), Some("document"), None, Some("unknown")] {
        let options = sparse_model::PreprocessOptions {
            task: task.map(str::to_string),
            prompt: Some("find: ".to_string()),
        };
        match (
            preprocessor.preprocess(&query, &options),
            combined.preprocess(&query, &options),
        ) {
            (Ok(apart), Ok(tokens)) => {
                assert_eq!(apart.input_ids, tokens.input_ids);
                assert_eq!(apart.token_type_ids, tokens.token_type_ids);
                assert_eq!(apart.prompt_length, tokens.prompt_length);
                assert_eq!(apart.task, tokens.task);
            }
            (Err(apart), Err(error)) => assert_eq!(apart.to_string(), error.to_string()),
            (apart, tokens) => panic!("{apart:?} and {tokens:?}"),
        }
    }
}
