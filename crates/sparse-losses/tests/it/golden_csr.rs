//! The reference's `CSRLoss` on an autoencoder with given parameters: three steps, gradients, statistics.

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};
use sparse_losses::{AutoencoderFeatures, EmbeddedBatch, Loss, LossConfig};

use crate::reader::{Tensors, assert_gradient, assert_value, device, json, values};

/// The reference's sparse autoencoder, as plain as it gets; the one that is trained lives in another crate.
struct Autoencoder {
    weight: Tensor<2>,
    pre_bias: Tensor<1>,
    latent_bias: Tensor<1>,
    k: usize,
    k_aux: usize,
    normalize: bool,
    dead_threshold: i64,
    /// Steps since a latent was last among the largest.
    idle: Vec<i64>,
}

impl Autoencoder {
    fn new(parameters: &str, options: &Value, tensors: &Tensors, device: &Device) -> Self {
        let number = |key: &str| options[key].as_i64().unwrap();
        Self {
            weight: tensors
                .tensor(&format!("{parameters}.encoder.weight"), device)
                .require_grad(),
            pre_bias: tensors
                .tensor(&format!("{parameters}.pre_bias"), device)
                .require_grad(),
            latent_bias: tensors
                .tensor(&format!("{parameters}.latent_bias"), device)
                .require_grad(),
            k: number("k") as usize,
            k_aux: number("k_aux") as usize,
            normalize: options["normalize"].as_bool().unwrap(),
            dead_threshold: number("dead_threshold"),
            idle: vec![0; number("hidden_dim") as usize],
        }
    }

    /// Keeps the `k` largest of each row, then drops the negative ones.
    fn largest(&mut self, latents: Tensor<2>, k: usize, count: bool) -> Tensor<2> {
        let [n, width] = latents.dims();
        let numbers = values(latents.clone());
        let mut mask = vec![0f32; n * width];
        let mut touched = vec![false; width];
        for (row, numbers) in numbers.chunks(width).enumerate() {
            let mut order: Vec<usize> = (0..width).collect();
            order.sort_by(|a, b| numbers[*b].total_cmp(&numbers[*a]));
            for latent in &order[..k.min(width)] {
                mask[row * width + latent] = 1.0;
                touched[*latent] |= numbers[*latent] > 1e-5;
            }
        }
        if count {
            for (idle, touched) in self.idle.iter_mut().zip(touched) {
                *idle = if touched { 1 } else { *idle + 1 };
            }
        }
        let mask = Tensor::from_data(TensorData::new(mask, [n, width]), &latents.device());
        relu(latents * mask)
    }

    /// Sparse embedding and everything that the loss reads, for one column.
    fn forward(&mut self, x: &Tensor<2>, count: bool) -> (Tensor<2>, AutoencoderFeatures) {
        let device = x.device();
        let [_, width] = x.dims();
        let (mean, deviation) = match self.normalize {
            true => {
                let mean = x.clone().mean_dim(1);
                let squares = (x.clone() - mean.clone()).square().sum_dim(1) / (width as f64 - 1.0);
                (mean, squares.sqrt())
            }
            false => (
                x.clone().mean_dim(1) * 0.0,
                x.clone().mean_dim(1) * 0.0 + 1.0,
            ),
        };
        let epsilon = if self.normalize { 1e-5 } else { 0.0 };
        let prepared = (x.clone() - mean.clone()) / (deviation.clone() + epsilon);
        let pre_bias: Tensor<2> = self.pre_bias.clone().unsqueeze_dim(0);
        let latents = (prepared - pre_bias.clone()).matmul(self.weight.clone().transpose())
            + self.latent_bias.clone().unsqueeze_dim::<2>(0);
        let weight = self.weight.clone();
        let decode =
            |z: Tensor<2>| (z.matmul(weight.clone()) + pre_bias.clone()) * deviation.clone();

        // The order matters for the statistics: the dead latents are those between the two counts.
        let sparse = self.largest(latents.clone(), self.k, count);
        let auxiliary = (self.k_aux > 0).then(|| {
            let dead = self
                .dead()
                .map(|dead| if dead { 1.0 } else { 0.0 })
                .collect::<Vec<f32>>();
            let dead = Tensor::<1>::from_data(dead.as_slice(), &device).unsqueeze_dim::<2>(0);
            decode(self.largest(latents.clone() * dead, self.k_aux, false))
        });
        let large = self.largest(latents, 4 * self.k, count);
        let decoded = decode(sparse.clone()) + mean.clone();
        let features = AutoencoderFeatures {
            sentence_embedding_backbone: x.clone(),
            decoded_embedding_k_pre_bias: decoded.clone() - pre_bias.clone() * deviation.clone(),
            decoded_embedding_k: decoded,
            decoded_embedding_4k: decode(large) + mean,
            decoded_embedding_aux: auxiliary,
        };
        (sparse, features)
    }

    /// Which latents count as dead.
    fn dead(&self) -> impl Iterator<Item = bool> {
        self.idle.iter().map(|idle| *idle > self.dead_threshold)
    }

    /// The batch of several columns.
    fn batch(&mut self, columns: &[Tensor<2>], count: bool) -> EmbeddedBatch {
        let (embeddings, features) = columns
            .iter()
            .map(|column| self.forward(column, count))
            .unzip();
        EmbeddedBatch::new(embeddings).with_autoencoder(features)
    }
}

fn loss(case: &Value) -> Box<dyn Loss> {
    let base = json!({
        "type": "multiple_negatives_ranking",
        "scale": case["loss"]["scale"],
        "similarity_fct": case["loss"]["similarity_fct"],
    });
    let table =
        json!({ "type": "csr", "beta": case["beta"], "gamma": case["gamma"], "loss": base });
    serde_json::from_value::<LossConfig>(table)
        .unwrap()
        .init()
        .unwrap()
}

fn assert_components(
    what: &str,
    loss: &dyn Loss,
    batch: &EmbeddedBatch,
    expected: &Value,
) -> Tensor<1> {
    let output = loss.forward(batch);
    let expected = expected.as_object().unwrap();
    let names: Vec<_> = output.components().iter().map(|(name, _)| name).collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>(), "{what}");
    for (name, value) in output.components() {
        assert_value(
            &format!("{what} {name}"),
            values(value.clone())[0],
            expected[name].as_f64().unwrap(),
        );
    }
    output.total()
}

#[test]
fn three_steps_agree_with_the_reference() {
    let tensors = Tensors::open("csr.safetensors");
    let device = device();
    let file = json("csr.json");
    let cases = file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["steps"].is_array());
    let mut seen = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (parameters, _) = name.rsplit_once('.').unwrap();
        let loss = loss(case);
        let mut autoencoder = Autoencoder::new(
            &format!("{parameters}.param"),
            &case["autoencoder"],
            &tensors,
            &device,
        );
        for (step, expected) in case["steps"].as_array().unwrap().iter().enumerate() {
            let what = format!("{name}.step{step}");
            let n_columns = case["columns"].as_u64().unwrap();
            let columns: Vec<Tensor<2>> = (0..n_columns)
                .map(|column| {
                    tensors
                        .tensor(&format!("{what}.x{column}"), &device)
                        .require_grad()
                })
                .collect();
            let batch = autoencoder.batch(&columns, true);
            let total = assert_components(&what, &*loss, &batch, &expected["components"]);
            assert_value(
                &what,
                values(total.clone())[0],
                expected["value"].as_f64().unwrap(),
            );
            let dead = autoencoder.dead().filter(|dead| *dead).count() as u64;
            assert_eq!(dead, expected["dead_after"].as_u64().unwrap(), "{what}");

            let gradients = total.backward();
            for (column, tensor) in columns.iter().enumerate() {
                let found = values(tensor.grad(&gradients).unwrap());
                assert_gradient(
                    &format!("{what} x{column}"),
                    &found,
                    &tensors.get(&format!("{what}.grad_x{column}")).1,
                );
            }
            let parameters = [
                (
                    "encoder.weight",
                    values(autoencoder.weight.grad(&gradients).unwrap()),
                ),
                (
                    "pre_bias",
                    values(autoencoder.pre_bias.grad(&gradients).unwrap()),
                ),
                (
                    "latent_bias",
                    values(autoencoder.latent_bias.grad(&gradients).unwrap()),
                ),
            ];
            for (parameter, found) in parameters {
                assert_gradient(
                    &format!("{what} {parameter}"),
                    &found,
                    &tensors.get(&format!("{what}.grad.{parameter}")).1,
                );
            }
            if step == 2 {
                let batch = autoencoder.batch(&columns, false);
                let expected = &case["evaluation_after"]["components"];
                assert_components(&format!("{name} evaluation"), &*loss, &batch, expected);
            }
            seen += 1;
        }
    }
    assert_eq!(seen, 18);
}

/// The reference divides by 1 where the denominator of the auxiliary term is exactly 0, which leaves the plain error; ours is 0
/// then. The rest is the same, and with the plain error added so is the whole.
#[test]
fn degenerate_batches_agree_with_the_reference_but_for_the_auxiliary_term() {
    const AUXILIARY: &str = "reconstruction_loss_aux";
    let tensors = Tensors::open("csr.safetensors");
    let device = device();
    let file = json("csr.json");
    let loss: LossConfig =
        serde_json::from_value(json!({ "type": "csr_reconstruction", "beta": 1.0 })).unwrap();
    let loss = loss.init().unwrap();
    for name in [
        "reconstruction.batch_of_one",
        "reconstruction.identical_rows",
    ] {
        let case = file["cases"]
            .as_array()
            .unwrap()
            .iter()
            .find(|case| case["name"] == name)
            .unwrap();
        let mut autoencoder =
            Autoencoder::new("csr.0.param", &case["autoencoder"], &tensors, &device);
        autoencoder
            .idle
            .fill(case["stats_before"].as_i64().unwrap());
        let x: Tensor<2> = tensors.tensor(&format!("{name}.x"), &device).require_grad();
        let batch = autoencoder.batch(std::slice::from_ref(&x), true);
        let mut expected = case["components"].clone();
        let of_reference = expected[AUXILIARY].as_f64().unwrap();
        expected[AUXILIARY] = 0.0.into();
        let total = assert_components(name, &*loss, &batch, &expected);

        let features = &batch.autoencoder[0];
        let residual = features.sentence_embedding_backbone.clone()
            - features.decoded_embedding_k_pre_bias.clone().detach();
        let auxiliary = features.decoded_embedding_aux.clone().unwrap();
        let plain = (auxiliary - residual).square().mean();
        assert_value(name, values(plain.clone())[0], of_reference);
        let gradients = (total + plain).backward();
        let found = values(x.grad(&gradients).unwrap());
        assert_gradient(name, &found, &tensors.get(&format!("{name}.grad_x")).1);
    }
}
