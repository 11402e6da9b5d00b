//! One working example of every loss, and data for it.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;
use sparse_losses::{AutoencoderFeatures, EmbeddedBatch, Labels, Loss, LossConfig};

/// Width of the embeddings.
pub(crate) const WIDTH: usize = 24;

/// A loss of each name of the registry, with options that exercise it.
pub(crate) fn every_loss() -> Vec<(String, Box<dyn Loss>)> {
    let ranking = json!({"type": "multiple_negatives_ranking"});
    let variants = [
        ranking.clone(),
        json!({
            "type": "multiple_negatives_ranking", "scale": 3.0, "similarity_fct": "cosine",
            "directions": ["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"],
        }),
        json!({
            "type": "multiple_negatives_ranking", "directions": ["query_to_doc", "doc_to_query"],
            "partition_mode": "per_direction",
        }),
        json!({"type": "sigmoid", "bias": -1.0}),
        json!({"type": "sigmoid", "similarity_fct": "cosine"}),
        json!({"type": "triplet"}),
        json!({"type": "triplet", "distance_metric": "cosine", "triplet_margin": 1.0}),
        json!({"type": "triplet", "distance_metric": "manhattan"}),
        json!({"type": "margin_mse"}),
        json!({"type": "margin_mse", "similarity_fct": "cosine"}),
        json!({"type": "distill_kl_div"}),
        json!({"type": "distill_kl_div", "similarity_fct": "cosine", "temperature": 0.5}),
        json!({"type": "co_sent"}),
        json!({"type": "angle"}),
        json!({"type": "cosine_similarity"}),
        json!({"type": "mse"}),
        json!({"type": "weighted_sum", "losses": [
            {"weight": 1.0, "loss": {"type": "distill_kl_div"}}, {"weight": 0.05, "loss": {"type": "margin_mse"}},
        ]}),
        json!({"type": "splade", "document_regularizer_weight": 0.3, "query_regularizer_weight": 0.2, "loss": ranking}),
        json!({
            "type": "splade", "document_regularizer_weight": 0.3, "query_regularizer_weight": 0.2, "loss": ranking,
            "document_regularizer": {"type": "l0_mask", "threshold": 3}, "query_regularizer": {"type": "l1"},
        }),
        json!({
            "type": "splade", "document_regularizer_weight": 0.3, "loss": {"type": "triplet"},
            "document_regularizer": {"type": "df_flops", "alpha": 0.5, "beta": 3.0},
        }),
        json!({
            "type": "splade", "document_regularizer_weight": 0.3, "document_regularizer_threshold": 4, "loss": ranking,
            "use_document_regularizer_only": true,
        }),
        json!({
            "type": "cached_splade", "document_regularizer_weight": 0.3, "query_regularizer_weight": 0.2, "loss": ranking,
            "mini_batch_size": 2,
        }),
        json!({"type": "csr", "gamma": 0.5, "loss": ranking}),
        json!({"type": "csr_reconstruction"}),
    ];
    let losses: Vec<(String, Box<dyn Loss>)> = variants
        .iter()
        .map(|table| {
            let config: LossConfig = serde_json::from_value(table.clone()).unwrap();
            (table.to_string(), config.init().unwrap())
        })
        .collect();
    for name in LossConfig::NAMES {
        assert!(
            losses.iter().any(|(_, loss)| loss.name() == *name),
            "add an example of `{name}` to the catalogue"
        );
    }
    losses
}

/// The batch that `loss` takes, made of three columns of numbers.
pub(crate) fn batch(loss: &dyn Loss, columns: &[Tensor<2>]) -> EmbeddedBatch {
    let device = columns[0].device();
    let [n, _] = columns[0].dims();
    let mut batch = EmbeddedBatch::new(columns.to_vec());
    batch.labels = match loss.name() {
        "co_sent" | "angle" | "cosine_similarity" => Some(numbers(&[n], &device, 0.0, 1.0).into()),
        "margin_mse" | "distill_kl_div" | "weighted_sum" => Some(Labels::Lists(
            numbers(&[n * 2], &device, -1.0, 3.0).reshape([n, 2]),
        )),
        "mse" => Some(Labels::Lists(
            numbers(&[n * WIDTH], &device, 0.0, 1.0).reshape([n, WIDTH]),
        )),
        _ => None,
    };
    if loss.needs_autoencoder() {
        // Any differentiable functions of the columns do.
        batch.autoencoder = columns.iter().map(features).collect();
    }
    batch
}

fn features(column: &Tensor<2>) -> AutoencoderFeatures {
    AutoencoderFeatures {
        sentence_embedding_backbone: column.clone(),
        decoded_embedding_k: column.clone() * 0.5,
        decoded_embedding_4k: column.clone() * 0.9 + 0.1,
        // The loss stops the gradient here, so that a finite difference must not see it move: a constant.
        decoded_embedding_k_pre_bias: column.zeros_like().detach() + 0.05,
        decoded_embedding_aux: Some(column.clone().square() * 0.1),
    }
}

/// Reproducible numbers between `low` and `high`.
fn numbers(shape: &[usize; 1], device: &Device, low: f32, high: f32) -> Tensor<1> {
    let mut state = 99u32;
    let values: Vec<f32> = (0..shape[0])
        .map(|_| low + (high - low) * random(&mut state))
        .collect();
    Tensor::from_data(TensorData::new(values, *shape), device)
}

/// A number in [0, 1) from a linear congruential generator.
pub(crate) fn random(state: &mut u32) -> f32 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*state >> 8) as f32 / (1u32 << 24) as f32
}

/// `n` sparse rows: about a quarter of the entries between 0.5 and 1.5, the others 0.
pub(crate) fn sparse_rows(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..n * WIDTH)
        .map(|_| {
            if random(&mut state) < 0.25 {
                0.5 + random(&mut state)
            } else {
                0.0
            }
        })
        .collect()
}

/// A matrix of rows of [`WIDTH`].
pub(crate) fn matrix(values: &[f32], device: &Device) -> Tensor<2> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [values.len() / WIDTH, WIDTH]),
        device,
    )
}
