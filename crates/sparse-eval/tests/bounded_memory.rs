//! However dense the vectors, evaluators and mining hold a few of them, and find what they find with all in memory.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod golden;

use std::sync::Mutex;

use burn::tensor::Device;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use sparse_eval::mining::{MiningConfig, MiningData, mine_hard_negatives, rescore_with};
use sparse_eval::{
    BinaryClassificationEvaluator, Collection, EmbeddingSimilarityEvaluator, EvaluationRun,
    Evaluator, InformationRetrievalEvaluator, Metrics, MseConfig, MseEvaluator, RerankingEvaluator,
    RerankingSample, TranslationEvaluator, TripletEvaluator,
};
use sparse_index::{SimilarityFunction, SparseMatrix};
use sparse_model::{EncodeOptions, SparseEncoder};

/// Dimensions of a vector, all of them active: 1.8 MiB.
const DIMS: usize = 240_000;
/// Texts of a list, 192 MiB of vectors: more than what is held, in several chunks.
const N: usize = 105;
/// What the evaluations of a test may take; the vectors of two lists alone are 385 MiB.
const ALLOWANCE: u64 = 340 << 20;

/// Tests of one process measure one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// The most memory that this process has ever held, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// A model whose words repeat until there are [`DIMS`] of them, each with a weight in every text.
fn dense_encoder() -> SparseEncoder {
    let small = golden::folder().join("../../../sparse-model/tests/golden/encoders/splade-max");
    let folder = tempfile::tempdir().unwrap();
    let pooling = "1_SpladePooling/config.json";
    std::fs::create_dir(folder.path().join("1_SpladePooling")).unwrap();
    for name in [
        "config_sentence_transformers.json",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        pooling,
    ] {
        std::fs::copy(small.join(name), folder.path().join(name)).unwrap();
    }
    let config = std::fs::read_to_string(small.join("config.json")).unwrap();
    let wide = config.replace("\"vocab_size\": 1200", &format!("\"vocab_size\": {DIMS}"));
    assert_ne!(config, wide);
    std::fs::write(folder.path().join("config.json"), wide).unwrap();

    let bytes = std::fs::read(small.join("model.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    let embeddings = "bert.embeddings.word_embeddings.weight";
    let words = weights
        .tensor(embeddings)
        .unwrap()
        .data()
        .repeat(DIMS / 1200);
    let biases = 50f32.to_le_bytes().repeat(DIMS);
    let tensors = weights.iter().map(|(name, tensor)| {
        let view = |shape, data| TensorView::new(Dtype::F32, shape, data).unwrap();
        match name {
            _ if name == embeddings => (name, view(vec![DIMS, 32], words.as_slice())),
            "cls.predictions.bias" => (name, view(vec![DIMS], biases.as_slice())),
            _ => (name, tensor),
        }
    });
    let path = folder.path().join("model.safetensors");
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
    let name = folder.path().to_str().unwrap();
    SparseEncoder::from_pretrained(name, &Device::default()).unwrap()
}

fn texts(kind: &str, n: usize) -> Vec<String> {
    let words = ["drum", "bass", "music", "heart", "diet", "cat"];
    let text = |row: usize| format!("{kind} {} {} {row}", words[row % 6], words[row / 6 % 6]);
    (0..n).map(text).collect()
}

/// What `measure` gives, and a check of the memory that the process has taken since `before`.
fn bounded<T>(before: Option<u64>, what: &str, measure: impl FnOnce() -> T) -> T {
    let found = measure();
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        let grown = (after - before) >> 20;
        assert!(after - before < ALLOWANCE, "{what}: {grown} MiB more");
    }
    found
}

fn evaluated(before: Option<u64>, encoder: &SparseEncoder, evaluator: &dyn Evaluator) -> Metrics {
    let run = EvaluationRun::default();
    bounded(before, evaluator.class_name(), || {
        evaluator.evaluate(encoder, &run).unwrap()
    })
}

/// The figures of `expected` are among those found, to the last bit.
fn same(found: &Metrics, expected: &Metrics) {
    assert!(expected.iter().count() > 0);
    for (name, value) in expected.iter() {
        let found = found.get(name).unwrap();
        assert_eq!(
            found.to_bits(),
            value.to_bits(),
            "{name}: {found}, not {value}"
        );
    }
}

/// All at once; the document side has no prompt and no route of its own.
fn encode(encoder: &SparseEncoder, texts: &[String]) -> SparseMatrix {
    let vectors = encoder.encode(texts, &EncodeOptions::default()).unwrap();
    assert_eq!(vectors.nnz(), texts.len() * DIMS);
    vectors
}

const DOT: SimilarityFunction = SimilarityFunction::Dot;

#[test]
fn pairs_and_triplets() {
    let _alone = ALONE.lock();
    let encoder = dense_encoder();
    let before = peak_bytes();
    let [first, second, third] = ["first", "second", "third"].map(|kind| texts(kind, N));
    let scores = (0..N).map(|row| (row * 7 % 11) as f64).collect();
    let labels = (0..N).map(|row| row % 3 == 0).collect();
    let similarity = EmbeddingSimilarityEvaluator::new(
        first.clone(),
        second.clone(),
        scores,
        Default::default(),
    );
    let similarity = similarity.unwrap();
    let classification = BinaryClassificationEvaluator::new(
        first.clone(),
        second.clone(),
        labels,
        Default::default(),
    );
    let classification = classification.unwrap();
    let triplets = TripletEvaluator::new(
        first.clone(),
        second.clone(),
        third.clone(),
        Default::default(),
    );
    let triplets = triplets.unwrap();
    // Every peak is measured before all vectors are in memory.
    let found = [
        evaluated(before, &encoder, &similarity),
        evaluated(before, &encoder, &classification),
        evaluated(before, &encoder, &triplets),
    ];
    let squared = bounded(before, "MSE", || {
        let config = MseConfig::default();
        let mse = MseEvaluator::new(&encoder, &first, second.clone(), config).unwrap();
        mse.evaluate(&encoder, &EvaluationRun::default()).unwrap()
    });

    let [first, second] = [&first, &second].map(|texts| encode(&encoder, texts));
    same(
        &found[0],
        &similarity.figures(&first, &second, DOT).unwrap(),
    );
    let similarities = DOT.pairwise(&first, &second).unwrap();
    same(
        &found[1],
        &classification.figures(&[(DOT, similarities.clone())]),
    );
    let mut sum = 0.0;
    for (teacher, student) in first.rows().zip(second.rows()) {
        let differences = teacher.to_dense().into_iter().zip(student.to_dense());
        sum += differences
            .map(|(teacher, student)| f64::from(teacher - student).powi(2))
            .sum::<f64>();
    }
    assert_eq!(
        squared.get("negative_mse"),
        Some(-100.0 * sum / (N * DIMS) as f64)
    );
    drop(second);
    let third = encode(&encoder, &third);
    let others = DOT.pairwise(&first, &third).unwrap();
    same(
        &found[2],
        &triplets.accuracies(&[(DOT, [similarities, others])]),
    );
}

#[test]
fn lists_and_matrices() {
    let _alone = ALONE.lock();
    let encoder = dense_encoder();
    let before = peak_bytes();
    let [first, second] = ["first", "second"].map(|kind| texts(kind, N));
    let translation =
        TranslationEvaluator::new(first.clone(), second.clone(), Default::default()).unwrap();
    // Chunks of candidates cut samples in two.
    let samples = first.iter().zip(second.chunks(15));
    let samples = samples.map(|(query, candidates)| RerankingSample {
        query: query.clone(),
        positive: candidates[..4].to_vec(),
        negative: candidates[4..].to_vec(),
    });
    let reranking = RerankingEvaluator::new(samples.collect(), Default::default()).unwrap();
    let found = [
        evaluated(before, &encoder, &translation),
        evaluated(before, &encoder, &reranking),
    ];

    let [first, second] = [&first, &second].map(|texts| encode(&encoder, texts));
    let cosines = SimilarityFunction::Cosine.matrix(&first, &second).unwrap();
    same(&found[0], &translation.accuracies(&cosines));
    let scores = (0..N / 15).map(|row| cosines[row * N + row * 15..][..15].to_vec());
    same(&found[1], &reranking.figures(&scores.collect::<Vec<_>>()));
}

#[test]
fn queries_and_mining() {
    let _alone = ALONE.lock();
    let encoder = dense_encoder();
    let before = peak_bytes();
    let (queries, documents) = (texts("query", N), texts("document", 40));
    let numbered = |kind: &str, texts: &[String]| {
        let pairs = texts.iter().enumerate();
        pairs
            .map(|(row, text)| (format!("{kind}{row:03}"), text.clone()))
            .collect::<Vec<_>>()
    };
    let relevant = (0..N).map(|row| {
        let document = format!("d{:03}", row % 40);
        (format!("q{row:03}"), [document].into())
    });
    let collection = Collection::new(
        numbered("q", &queries),
        numbered("d", &documents),
        &relevant.collect(),
    );
    let retrieval =
        InformationRetrievalEvaluator::new(collection.unwrap(), Default::default()).unwrap();
    let run = EvaluationRun::default();
    let report = bounded(before, "information retrieval", || {
        retrieval.report(&encoder, &encoder, &run).unwrap()
    });
    let positives: Vec<&String> = (0..N).map(|row| &documents[row % 40]).collect();
    let data = MiningData::new(&queries, &positives, &[""; 0]).unwrap();
    let config = MiningConfig {
        output_scores: true,
        ..MiningConfig::default()
    };
    let rescorer = |pairs: &[(&str, &str)]| rescore_with(&encoder, pairs, &Default::default());
    let [mined, rescored] = [None, Some(&rescorer as _)].map(|rescorer| {
        bounded(before, "mining", || {
            mine_hard_negatives(&encoder, &data, rescorer, &config).unwrap()
        })
    });
    assert_eq!(mined.rows.len(), 3 * N);
    // The second model is the first.
    assert_eq!(mined.rows, rescored.rows);

    let [queries, corpus] = [&queries, &documents].map(|texts| encode(&encoder, texts));
    let expected = retrieval.report_on_vectors(&queries, &corpus, DOT).unwrap();
    same(&report.metrics, &expected.metrics);
    assert!(report.runs == expected.runs);
    assert!(report.query_counts == expected.query_counts);
}
