//! Inspection, document frequencies, decoding.

use std::path::Path;

use sparse_model::{DocumentFrequencies, EncodeOptions, Inspection, SparseEncoder};

use crate::support::{copy_of, load, set_floats};

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
    set_floats(&path, "cls.predictions.bias", [20.0; 1200]);
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
fn empty_vectors_are_named() {
    let directory = copy_of("models/bert");
    let path = directory.path().join("model.safetensors");
    set_floats(&path, "cls.predictions.bias", [-100.0; 1200]);
    let inspection = inspect(directory.path(), &["one text", "another"]);
    assert_eq!(
        (inspection.sample.n_empty, inspection.sample.n_dead),
        (2, 1200)
    );
    let expected = "2 of 2 sample texts have no active dimension";
    assert!(
        inspection.warnings.contains(&expected.to_string()),
        "{:?}",
        inspection.warnings
    );
}

#[test]
fn a_position_that_wins_everywhere_is_named() {
    let directory = copy_of("models/bert-untied");
    let path = directory.path().join("model.safetensors");
    let decoder = "cls.predictions.decoder.weight";
    let bias = ["cls.predictions.bias", "cls.predictions.decoder.bias"];
    let header = std::fs::read(&path).unwrap();
    let header = String::from_utf8_lossy(&header[8..8 + header.len().min(20_000)]).into_owned();
    bias.iter()
        .filter(|key| header.contains(&format!("\"{key}\"")))
        .for_each(|key| set_floats(&path, key, [0.0; 1200]));
    // With unit vectors as the decoder's rows, the first logits are what the decoder gets to see.
    let width = 32;
    let unit = (0..1200 * width).map(|at| f32::from(u8::from(at % width == at / width)));
    set_floats(&path, decoder, unit);
    let text = "the man and the blue shirt";
    let encoder = open(directory.path());
    let tokens = encoder.preprocess(&[text], &Default::default()).unwrap();
    let logits = encoder
        .logits(&tokens)
        .unwrap()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap();
    // Rows that all equal what the first position gives are largest there: normalized vectors have one length.
    let sink: Vec<f32> = (0..1200).flat_map(|_| logits[..width].to_vec()).collect();
    set_floats(&path, decoder, sink);
    let inspection = inspect(directory.path(), &[text, "the man", "a shirt is blue"]);
    let share = inspection.sample.largest_position_share.unwrap();
    assert!(share > 0.9, "{share}");
    assert!(
        inspection
            .warnings
            .iter()
            .any(|warning| warning.starts_with("one token position has the maximum")),
        "{:?}",
        inspection.warnings
    );
}

#[test]
fn dead_dimensions_are_named() {
    // 400 dimensions that are always active and 800 that never are.
    let directory = copy_of("models/bert");
    let path = directory.path().join("model.safetensors");
    let bias = (0..1200).map(|dimension| if dimension < 400 { 100.0 } else { -100.0 });
    set_floats(&path, "cls.predictions.bias", bias);
    // 30 texts with 400 active dimensions each: every dimension could have been active ten times.
    let dead = "800 of 1200 dimensions are never active";
    let warned = |n_texts: usize| {
        let warnings = inspect(directory.path(), &vec!["x"; n_texts]).warnings;
        warnings.iter().any(|warning| warning.starts_with(dead))
    };
    assert!(warned(30));
    assert!(!warned(10), "too few texts to tell");
    // Latents that training left behind.
    let directory = copy_of("encoders/csr");
    let weights = directory
        .path()
        .join("2_SparseAutoEncoder/model.safetensors");
    let none: [&str; 0] = [];
    let dead = |warning: &String| warning.contains("latents of the autoencoder are dead");
    assert!(!inspect(directory.path(), &none).warnings.iter().any(dead));
    let counters = (0..2 * 128).map(|half| f32::from_bits(if half == 0 { 9 } else { 0 }));
    set_floats(&weights, "stats_last_nonzero", counters);
    let warnings = inspect(directory.path(), &none).warnings;
    assert!(
        warnings
            .iter()
            .any(|warning| warning.starts_with("1 of 128 latents")),
        "{warnings:?}"
    );
}

fn open(directory: &Path) -> SparseEncoder {
    SparseEncoder::from_pretrained(directory.to_str().unwrap(), &Default::default()).unwrap()
}

fn inspect(directory: &Path, texts: &[&str]) -> Inspection {
    open(directory).inspect(texts).unwrap()
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
