//! Inspection, document frequencies, decoding.

use sparse_model::{DocumentFrequencies, EncodeOptions, SparseEncoder};

use crate::support::{copy_of, load};

#[test]
fn inspection_describes_a_splade_model() {
    let none: [&str; 0] = [];
    let inspection = load("encoders/splade-sum").inspect(&none).unwrap();
    assert_eq!(inspection.type_name, "SPLADE Sparse Encoder");
    let kinds: Vec<(&str, &str)> = inspection
        .modules
        .iter()
        .map(|module| (module.place.as_str(), module.kind.as_str()))
        .collect();
    assert_eq!(kinds, [("0", "Transformer"), ("1", "SpladePooling")]);
    assert_eq!(
        inspection.n_parameters,
        inspection
            .modules
            .iter()
            .map(|module| module.n_parameters)
            .sum::<usize>()
    );
    assert_eq!(inspection.embedding_dimension, 1200);
    assert_eq!(
        inspection.formulas[0].symbols,
        "y_v = Σ_t ln(1 + max(0, z_tv)),  z_tv = h_t·E_v + b_v"
    );
    assert_eq!(inspection.tokenization.special_tokens["cls_token"], "[CLS]");
    assert_eq!(inspection.tokenization.n_special_tokens, 2);
    assert_eq!(
        inspection.tokenization.prompts["query"],
        "Represent the query: "
    );
    assert_eq!(inspection.sample.largest_position_share, None);
    let text = inspection.to_string();
    for part in [
        "SPLADE Sparse Encoder",
        "SpladePooling",
        "at most 48 active",
        "at most 128 tokens of 1200, 2 of them special",
        "[CLS]",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A model of random weights, limited to 48 dimensions.
    assert_eq!(inspection.sample.active_dims, 48.0);
}

#[test]
fn inspection_names_the_routes_of_a_router() {
    let inspection = load("encoders/inference-free")
        .inspect(&["one text", "another text"])
        .unwrap();
    let places: Vec<&str> = inspection
        .modules
        .iter()
        .map(|module| module.place.as_str())
        .collect();
    assert_eq!(places, ["query.0", "document.0", "document.1"]);
    assert_eq!(
        inspection.type_name,
        "Asymmetric Inference-free SPLADE Sparse Encoder"
    );
    assert_eq!(inspection.formulas[0].symbols, "y_v = w_v · [v ∈ text]");
    assert_eq!(inspection.sample.n_texts, 2);
    assert!(inspection.sample.largest_position_share.unwrap() > 0.0);
}

#[test]
fn a_large_bias_and_what_it_does_are_named() {
    let directory = copy_of("models/bert");
    let path = directory.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let start = 8
        + length
        + header["cls.predictions.bias"]["data_offsets"][0]
            .as_u64()
            .unwrap() as usize;
    for dimension in 0..1200 {
        bytes[start + 4 * dimension..][..4].copy_from_slice(&20_f32.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let encoder =
        SparseEncoder::from_pretrained(directory.path().to_str().unwrap(), &Default::default())
            .unwrap();
    let none: [&str; 0] = [];
    let warnings = encoder.inspect(&none).unwrap().warnings;
    for part in [
        "the bias of the masked-language-model head",
        "dimensions are active in at least 90 %",
        "embeddings are dense",
    ] {
        assert!(
            warnings.iter().any(|warning| warning.contains(part)),
            "{part}: {warnings:?}"
        );
    }
}

#[test]
fn rare_tokens_weigh_more() {
    let encoder = load("encoders/splade-max");
    let mut frequencies = DocumentFrequencies::new(&encoder).unwrap();
    frequencies
        .add(&["the man and the shirt", "the blue shirt"])
        .unwrap();
    frequencies.add(&["the man"]).unwrap();
    assert_eq!(frequencies.n_documents(), 3);
    let weights = frequencies.weights();
    let weight = |token: &str| weights[encoder.token_to_id(token).unwrap() as usize];
    // ln(1 + (3 − 3 + 0.5)/(3 + 0.5)) and ln(1 + (3 − 1 + 0.5)/(1 + 0.5)), each document counted once.
    assert!((weight("the") - (8.0_f32 / 7.0).ln()).abs() < 1e-6);
    assert!((weight("and") - (8.0_f32 / 3.0).ln()).abs() < 1e-6);
    assert_eq!(weight("[CLS]"), weight("[MASK]"));

    let inference_free = encoder.clone().with_static_queries(weights, true).unwrap();
    let parameter = inference_free
        .named_parameters()
        .into_iter()
        .next()
        .unwrap();
    assert_eq!(
        (parameter.name.as_str(), parameter.trainable),
        ("0.sub_modules.query.0.weight", false)
    );
    let query = inference_free
        .encode_query(&["the shirt and the shirt"], &EncodeOptions::default())
        .unwrap();
    let tokens: Vec<String> = inference_free
        .decode(&query, None)
        .unwrap()
        .remove(0)
        .into_iter()
        .map(|(token, _)| token)
        .collect();
    assert_eq!(tokens, ["and", "sh", "##irt", "the"]);
    let problem = load("encoders/csr")
        .with_static_queries(Vec::new(), true)
        .unwrap_err()
        .to_string();
    assert!(
        problem.contains("only a SPLADE encoder") && problem.contains("SparseAutoEncoder"),
        "{problem}"
    );
}
