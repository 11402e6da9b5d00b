//! What is said of a call or a model once, however many rows it has.

use serde_json::json;
use sparse_model::{EncodeOptions, LoadOptions, SparseEncoder};

use crate::support::{copy_of, edit_json, golden, load, open, warnings_of};

#[test]
fn warnings_of_a_model_are_given_once() {
    // A table of weights that is shorter than the vocabulary: the routes differ.
    let free = copy_of("encoders/inference-free");
    edit_json(
        &free
            .path()
            .join("query_0_SparseStaticEmbedding/config.json"),
        |config| config["path"] = json!("idf.json"),
    );
    let table = free.path().join("query_0_SparseStaticEmbedding/idf.json");
    std::fs::write(table, r#"{"the": 1.0}"#).unwrap();
    let (encoder, warnings) = warnings_of(|| open(free.path()).unwrap());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("router_config.json")
            && warnings[0].contains("route `document` gives vectors over 1200 tokens"),
        "{warnings:?}"
    );
    let (_, warnings) = warnings_of(|| {
        let rows = encoder
            .encode_document(&["a", "b", "c"], &EncodeOptions::default())
            .unwrap();
        encoder.decode(&rows, Some(3)).unwrap();
        encoder.architecture();
    });
    assert!(warnings.is_empty(), "{warnings:?}");

    // Of a prompt and the name of one, over many batches.
    let encoder = load("encoders/splade-sum");
    let options = EncodeOptions::default()
        .with_batch_size(1)
        .with_prompt("find: ")
        .with_prompt_name("query");
    let (_, warnings) = warnings_of(|| {
        let texts = (0..100).map(|number| number.to_string());
        let done = encoder.encode_stream(texts, &options, |_| Ok::<_, sparse_model::Error>(()));
        assert_eq!(done.unwrap(), 100);
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_prompt_by_name_is_the_same_in_a_stream() {
    let path = golden("encoders/splade-sum");
    let options = LoadOptions {
        default_prompt_name: Some("title".to_string()),
        ..LoadOptions::default()
    };
    let encoder =
        SparseEncoder::from_pretrained_with(path.to_str().unwrap(), &options, &Default::default())
            .unwrap();
    let texts = ["one text", "another"];
    let expected = encoder.encode(&texts, &EncodeOptions::default()).unwrap();
    let mut rows = Vec::new();
    encoder
        .encode_stream(texts, &EncodeOptions::default(), |matrix| {
            rows.push(matrix);
            Ok::<_, sparse_model::Error>(())
        })
        .unwrap();
    assert_eq!(rows, [expected]);
}
