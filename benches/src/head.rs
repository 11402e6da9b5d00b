//! The lexical head alone, at any shape.

use std::time::Instant;

use sparse_encoder::burn::tensor::{Distribution, Tensor};
use sparse_encoder::kernels::{Activation, PoolingStrategy, RowOffsets, lexical_head};
use sparse_encoder::prelude::*;

use crate::Result;
use crate::job::{HeadJob, Measurement, peak_bytes};

/// Forward and backward pass over `texts` texts of `tokens` tokens each. A bias shared by all dimensions sets how many are
/// active: the maxima of random logits are nearly normal, so the wanted quantile is read from a first pass.
pub(crate) fn measure(job: &HeadJob) -> Result<Measurement> {
    let device = device("cpu")?.autodiff();
    device.seed(0);
    let rows = RowOffsets::from_lengths(&vec![job.tokens; job.texts]);
    let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.1), &device);
    let hidden = random([rows.total(), job.width]).require_grad();
    let weight = random([job.vocab_size, job.width]).require_grad();
    let head = |bias: f64| {
        let bias = Tensor::<1>::full([job.vocab_size], bias, &device);
        lexical_head(
            hidden.clone(),
            weight.clone(),
            Some(bias),
            &rows,
            PoolingStrategy::Max,
            Activation::Relu,
        )
    };
    // ln(1 + z) of maxima that a bias of 100 makes all positive.
    let mut maxima: Vec<f32> = head(100.0)
        .inner()
        .narrow(0, 0, 1)
        .into_data()
        .try_to_vec::<f32>()
        .map_err(|error| error.to_string())?;
    maxima.sort_by(f32::total_cmp);
    let place = ((1.0 - job.density) * maxima.len() as f64) as usize;
    let threshold = f64::from(maxima[place.min(maxima.len() - 1)]).exp() - 1.0;
    let bias = 100.0 - threshold;

    let mut measurement = Measurement::default();
    for _ in 0..job.repeat {
        let start = Instant::now();
        let vectors = head(bias);
        let active = vectors.clone().inner().greater_elem(0.0).float().mean();
        let gradients = vectors.sum().backward();
        std::hint::black_box(hidden.grad(&gradients));
        measurement.seconds.push(start.elapsed().as_secs_f64());
        measurement.check = f64::from(active.into_scalar::<f32>());
    }
    measurement.peak_bytes = peak_bytes()?;
    Ok(measurement)
}
