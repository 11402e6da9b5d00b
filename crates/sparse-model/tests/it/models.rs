//! Fill-mask models in Hugging Face layout against reference values.

use serde_json::Value;
use sparse_index::SparseMatrix;
use sparse_kernels::{Screening, screening};
use sparse_model::{EncodeOptions, ForwardContext, PreprocessOptions};

use crate::support::{Expected, assert_close, assert_tokens, golden, load, strings};

/// Checks everything that a golden model has values for.
fn check(name: &str) {
    let path = format!("models/{name}");
    let encoder = load(&path);
    let expected = Expected::of(&path);
    let vocab_size = expected.json["vocab_size"].as_u64().unwrap() as usize;
    assert_eq!(encoder.embedding_dimension(), vocab_size);
    assert_eq!(encoder.max_seq_length(), Some(128));

    // Token ids, with and without pairs.
    let inputs = |group: &str| &expected.json["groups"][group]["inputs"];
    let all = strings(inputs("all"));
    let tokens = encoder
        .preprocess(&all, &PreprocessOptions::default())
        .unwrap();
    assert_tokens(name, &tokens, &expected, "all");
    let Value::Array(pairs) = inputs("pairs") else {
        panic!("pairs")
    };
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    let pair_tokens = encoder
        .preprocess_pairs(&pairs, &PreprocessOptions::default())
        .unwrap();
    assert_tokens(name, &pair_tokens, &expected, "pairs");

    // Hidden states and logits, where not masked.
    let short = strings(inputs("short"));
    let tokens = encoder
        .preprocess(&short, &PreprocessOptions::default())
        .unwrap();
    assert_tokens(name, &tokens, &expected, "short");
    let hidden = values(encoder.hidden_states(&tokens).unwrap());
    let [n_rows, width, hidden_size] = expected
        .shape("short.last_hidden_state")
        .try_into()
        .unwrap();
    let reference = expected.floats("short.last_hidden_state");
    let unpadded: Vec<f32> = (0..n_rows)
        .flat_map(|row| {
            reference[row * width * hidden_size..][..tokens.rows.range(row).len() * hidden_size]
                .to_vec()
        })
        .collect();
    assert_close(
        &format!("{name}: hidden states"),
        &hidden,
        &unpadded,
        0.0,
        5e-5,
    );

    let logits = values(encoder.logits(&tokens).unwrap());
    let positions = expected.integers("short.logits_positions");
    let reference = expected.floats("short.logits");
    let per_row = positions.len() / n_rows;
    for (index, position) in positions.iter().enumerate() {
        let range = tokens.rows.range(index / per_row);
        if *position < range.len() as i64 {
            let at = (range.start + *position as usize) * vocab_size;
            let wanted = &reference[index * vocab_size..][..vocab_size];
            assert_close(
                &format!("{name}: logits"),
                &logits[at..at + vocab_size],
                wanted,
                0.0,
                5e-5,
            );
        }
    }

    // Maximum pooling of everything.
    let sentence = values(
        encoder
            .forward(&tokens, &ForwardContext::inference())
            .sentence_embedding,
    );
    assert_close(
        &format!("{name}: forward"),
        &sentence,
        &expected.floats("short.splade_max_relu"),
        0.0,
        2e-5,
    );
    let embeddings = encoder
        .encode(&all, &EncodeOptions::default().with_batch_size(4))
        .unwrap();
    assert_close(
        &format!("{name}: encode"),
        &embeddings.to_dense(),
        &expected.floats("all.splade_max_relu"),
        0.0,
        2e-5,
    );
    assert_active(&embeddings, &expected.floats("all.splade_max_relu"));
    let embeddings = encoder
        .encode_pairs(&pairs, &EncodeOptions::default())
        .unwrap();
    assert_close(
        &format!("{name}: pairs"),
        &embeddings.to_dense(),
        &expected.floats("pairs.splade_max_relu"),
        0.0,
        2e-5,
    );
}

/// The same dimensions are active, but for values within rounding of zero: the reference has one of 1.2e-7.
fn assert_active(embeddings: &SparseMatrix, expected: &[f32]) {
    let active = |values: &[f32]| values.iter().map(|value| *value > 1e-5).collect::<Vec<_>>();
    assert_eq!(
        active(&embeddings.to_dense()),
        active(expected),
        "active dimensions"
    );
}

pub(crate) fn values<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Vec<f32> {
    tensor.into_data_as::<f32>().try_to_vec().unwrap()
}

#[test]
fn bert_equals_the_reference() {
    check("bert");
}

#[test]
fn distilbert_equals_the_reference() {
    check("distilbert");
}

#[test]
fn an_untied_head_uses_its_own_matrix_and_bias() {
    check("bert-untied");
}

#[test]
fn a_head_without_a_decoder_uses_the_embeddings() {
    check("bert-no-decoder");
}

#[test]
fn roberta_equals_the_reference() {
    check("roberta");
}

#[test]
fn xlm_roberta_equals_the_reference() {
    check("xlm-roberta");
}

#[test]
fn mpnet_equals_the_reference() {
    check("mpnet");
}

#[test]
fn modernbert_equals_the_reference() {
    check("modernbert");
}

#[test]
fn electra_equals_the_reference() {
    check("electra");
}

#[test]
fn albert_equals_the_reference() {
    check("albert");
}

#[test]
fn deberta_equals_the_reference() {
    check("deberta-v2");
}

#[test]
fn pickled_weights_and_oldest_names_equal_the_reference() {
    check("bert-legacy");
}

/// Runs every pooling over the short texts by way of the configuration of a saved encoder.
#[test]
fn poolings_equal_the_reference() {
    for name in ["bert", "distilbert"] {
        let expected = Expected::of(&format!("models/{name}"));
        let short = strings(&expected.json["groups"]["short"]["inputs"]);
        for (strategy, activation, relative) in [
            ("max", "relu", 0.0),
            ("max", "log1p_relu", 0.0),
            ("sum", "relu", 1e-5),
            ("sum", "log1p_relu", 1e-5),
        ] {
            let saved = tempfile::tempdir().unwrap();
            load(&format!("models/{name}"))
                .save_pretrained(saved.path().join("model"))
                .unwrap();
            let config = format!(
                "{{\"pooling_strategy\": \"{strategy}\", \"activation_function\": \"{activation}\"}}"
            );
            std::fs::write(
                saved.path().join("model/1_SpladePooling/config.json"),
                config,
            )
            .unwrap();
            let path = saved.path().join("model");
            let encoder = sparse_model::SparseEncoder::from_pretrained(
                path.to_str().unwrap(),
                &Default::default(),
            )
            .unwrap();
            let embeddings = encoder.encode(&short, &EncodeOptions::default()).unwrap();
            let reference = expected.floats(&format!("short.splade_{strategy}_{activation}"));
            assert_close(
                &format!("{name} {strategy} {activation}"),
                &embeddings.to_dense(),
                &reference,
                relative,
                2e-5,
            );
        }
    }
}

/// A trained model with 30,522 dimensions.
fn splade_tiny_bert() -> sparse_model::SparseEncoder {
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/data/splade-tiny-bert");
    sparse_model::SparseEncoder::from_pretrained(model.to_str().unwrap(), &Default::default())
        .unwrap()
}

#[test]
fn a_text_has_the_same_bytes_alone_and_in_any_batch() {
    let encoder = splade_tiny_bert();
    let long = "sparse vectors of long documents are sums over an inverted index. ".repeat(12);
    let mut texts = vec![
        "",
        "a",
        "Which enzyme unwinds DNA?",
        &long,
        "search",
        "the cat sat",
    ];
    texts.extend(long.split(". ").take(9));
    let encode = |texts: &[&str], batch_size: usize| {
        let options = EncodeOptions::default().with_batch_size(batch_size);
        let vectors = encoder.encode(texts, &options).unwrap().to_dense();
        vectors.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let together = encode(&texts, 64);
    for batch_size in [1, 2, 5] {
        assert!(
            encode(&texts, batch_size) == together,
            "batches of {batch_size}"
        );
    }
    // Logits that are left out change nothing either.
    let whole = screening(Screening::Off, || encode(&texts, 64));
    assert!(whole == together, "without screening");
}

#[test]
fn splade_tiny_bert_equals_the_reference() {
    let encoder = splade_tiny_bert();
    let lines = std::fs::read_to_string(golden("splade-tiny-bert-reference.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let texts: Vec<&str> = lines
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    let tokens = encoder
        .preprocess(&texts, &PreprocessOptions::default())
        .unwrap();
    let embeddings = encoder.encode(&texts, &EncodeOptions::default()).unwrap();
    for (row, line) in lines.iter().enumerate() {
        let ids: Vec<i32> = line["input_ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_i64().unwrap() as i32)
            .collect();
        assert_eq!(tokens.input_ids[tokens.rows.range(row)], ids);
        let vector = embeddings.row(row);
        let sparse = line["sparse"].as_object().unwrap();
        let mut wanted = vec![0.0; encoder.embedding_dimension()];
        for (id, weight) in sparse {
            wanted[id.parse::<usize>().unwrap()] = weight.as_f64().unwrap() as f32;
        }
        // The file has six decimals.
        assert_close("splade-tiny-bert", &vector.to_dense(), &wanted, 2e-5, 2e-5);
        assert_eq!(vector.nnz() as u64, line["nnz"].as_u64().unwrap());
    }
}
