//! The AdamW update, and the norm that clipping needs.

use burn::backend::{Backend, Dispatch, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::cpu::{
    self, Floats,
    simd::{fma, sum, vectorized},
};
use crate::plain::Plain;

/// Settings of one [`adamw`] update of one tensor; the formula is at [`adamw`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate η in force at this step.
    pub learning_rate: f64,
    /// Decay rate β₁ of the first moment.
    pub beta_1: f64,
    /// Decay rate β₂ of the second moment.
    pub beta_2: f64,
    /// ε, added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay λ.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
    /// Factor on the gradient before everything else: 1, or what clipping asks for.
    pub gradient_scale: f64,
}

/// Moments of one tensor.
#[derive(Debug, Clone)]
pub struct AdamWState<const D: usize> {
    /// First moment m.
    pub first_moment: Tensor<D>,
    /// Second moment v.
    pub second_moment: Tensor<D>,
}

impl<const D: usize> AdamWState<D> {
    /// The moments before the first update: zeros of the parameter's shape.
    pub fn zeros_like(parameter: &Tensor<D>) -> Self {
        Self {
            first_moment: parameter.zeros_like(),
            second_moment: parameter.zeros_like(),
        }
    }
}

/// One AdamW update ([Loshchilov and Hutter, 2019](https://arxiv.org/abs/1711.05101)), in the arithmetic of
/// `torch.optim.AdamW`.
///
/// ```text
/// g ← gradient_scale · g
/// p ← p − η·λ·p
/// m ← m + (1 − β₁)·(g − m)
/// v ← β₂·v + (1 − β₂)·g²
/// p ← p − η/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
/// ```
///
/// All tensors are plain ones (`inner()` of an autodiff tensor). On the CPU the update is one pass, in place where
/// the caller gives its only handles away.
///
/// # Panics
///
/// If the shapes differ, or if a tensor is one of an autodiff device.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
    settings: &AdamWStep,
) -> (Tensor<D>, AdamWState<D>) {
    let dims = parameter.dims();
    assert_eq!(gradient.dims(), dims, "a gradient of the parameter's shape");
    assert_eq!(
        state.first_moment.dims(),
        dims,
        "moments of the parameter's shape"
    );
    assert_eq!(
        state.second_moment.dims(),
        dims,
        "moments of the parameter's shape"
    );
    let (parameter, first, second) = <Dispatch as AdamW>::adamw(
        parameter.into_dispatch(),
        gradient.into_dispatch(),
        state.first_moment.into_dispatch(),
        state.second_moment.into_dispatch(),
        *settings,
    );
    let [first_moment, second_moment] = [first, second].map(Tensor::from_dispatch);
    (
        Tensor::from_dispatch(parameter),
        AdamWState {
            first_moment,
            second_moment,
        },
    )
}

/// Sum of the squares of all elements of a plain tensor, for the gradient norm. Reads back.
///
/// # Panics
///
/// If the tensor is one of an autodiff device.
pub fn squared_norm<const D: usize>(tensor: Tensor<D>) -> f64 {
    let sum = <Dispatch as AdamW>::squared_norm(tensor.into_dispatch());
    Tensor::<1>::from_dispatch(sum).into_scalar()
}

/// The update, per backend.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch")
)]
pub(crate) trait AdamW: Backend {
    /// New parameter, first and second moment.
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        settings: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::<Self>(parameter, gradient, first_moment, second_moment, settings)
    }

    /// Sum of squares, `[1]`.
    fn squared_norm(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        plain_squared_norm::<Self>(tensor)
    }
}

fn plain<B: Backend>(
    parameter: FloatTensor<B>,
    gradient: FloatTensor<B>,
    first_moment: FloatTensor<B>,
    second_moment: FloatTensor<B>,
    settings: AdamWStep,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let AdamWStep {
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        weight_decay,
        step,
        gradient_scale,
    } = settings;
    let (parameter, gradient) = (Plain::<B>(parameter), Plain(gradient).scale(gradient_scale));
    let first_moment = Plain(first_moment);
    let change = (gradient.clone() - first_moment.clone()).scale(1.0 - beta_1);
    let first_moment = first_moment + change;
    let second_moment = Plain(second_moment).scale(beta_2) + gradient.square().scale(1.0 - beta_2);
    let step = step as f64;
    let step_size = learning_rate / (1.0 - beta_1.powf(step));
    let correction = (1.0 - beta_2.powf(step)).sqrt();
    let root = second_moment
        .clone()
        .sqrt()
        .scale(correction.recip())
        .plus(epsilon);
    let decayed = parameter.scale(1.0 - learning_rate * weight_decay);
    let parameter = decayed - (first_moment.clone() / root).scale(step_size);
    (parameter.0, first_moment.0, second_moment.0)
}

fn plain_squared_norm<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(Plain::<B>(tensor).square().0)
}

#[cfg(feature = "cube")]
impl AdamW for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl AdamW for burn::backend::LibTorch {}

impl AdamW for Flex {
    fn adamw(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        settings: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        if !cpu::all_f32(&[&parameter, &gradient, &first_moment, &second_moment]) {
            return plain::<Self>(parameter, gradient, first_moment, second_moment, settings);
        }
        let [mut parameter, mut first_moment, mut second_moment] =
            [parameter, first_moment, second_moment].map(cpu::owned);
        let gradient = Floats::of(&gradient);
        let factors = Factors::new(&settings);
        parameter
            .storage_mut::<f32>()
            .par_chunks_mut(cpu::TASK_ELEMENTS)
            .zip(
                first_moment
                    .storage_mut::<f32>()
                    .par_chunks_mut(cpu::TASK_ELEMENTS),
            )
            .zip(
                second_moment
                    .storage_mut::<f32>()
                    .par_chunks_mut(cpu::TASK_ELEMENTS),
            )
            .zip(gradient.par_chunks(cpu::TASK_ELEMENTS))
            .for_each(|(((p, m), v), g)| update(p, m, v, g, factors));
        (parameter, first_moment, second_moment)
    }

    /// Summed in f64 by chunks and then over the chunks, in order.
    fn squared_norm(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&tensor]) {
            return plain_squared_norm::<Self>(tensor);
        }
        let partial: Vec<f64> = Floats::of(&tensor)
            .par_chunks(4096)
            .map(|chunk| f64::from(squares(chunk)))
            .collect();
        cpu::tensor(vec![partial.iter().sum::<f64>() as f32], &[1])
    }
}

/// The scalars of an update, in f32 as torch rounds them.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    decay: f32,
    first: f32,
    second: f32,
    second_rest: f32,
    correction: f32,
    epsilon: f32,
    step_size: f32,
}

impl Factors {
    fn new(settings: &AdamWStep) -> Self {
        let step = settings.step as f64;
        Self {
            gradient: settings.gradient_scale as f32,
            decay: (1.0 - settings.learning_rate * settings.weight_decay) as f32,
            first: (1.0 - settings.beta_1) as f32,
            second: settings.beta_2 as f32,
            second_rest: (1.0 - settings.beta_2) as f32,
            correction: (1.0 - settings.beta_2.powf(step)).sqrt() as f32,
            epsilon: settings.epsilon as f32,
            step_size: (settings.learning_rate / (1.0 - settings.beta_1.powf(step))) as f32,
        }
    }
}

vectorized! {
    fn update<FMA>(p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], factors: Factors) {
        for (((p, m), v), g) in p.iter_mut().zip(m.iter_mut()).zip(v.iter_mut()).zip(g) {
            let g = g * factors.gradient;
            let first = fma::<FMA>(factors.first, g - *m, *m);
            let second = fma::<FMA>(factors.second_rest * g, g, factors.second * *v);
            let root = second.sqrt() / factors.correction + factors.epsilon;
            *p = *p * factors.decay - factors.step_size * (first / root);
            *m = first;
            *v = second;
        }
    }
}

vectorized! {
    fn squares<FMA>(values: &[f32]) -> f32 {
        sum(values.len(), |i| values[i] * values[i])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;
    use crate::testing::{assert_close, random};

    fn settings(step: u64) -> AdamWStep {
        AdamWStep {
            learning_rate: 0.1,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            step,
            gradient_scale: 1.0,
        }
    }

    #[test]
    fn two_steps_are_those_of_torch() {
        let device = Device::default();
        let tensor = |values: [f32; 2]| Tensor::<1>::from_data(values, &device);
        let parameter = tensor([1.0, -2.0]);
        let state = AdamWState::zeros_like(&parameter);
        // Step 1: m = 0.1·g and v = 0.001·g², so the corrected quotient is sign(g): p·0.999 ∓ 0.1.
        let (parameter, state) = adamw(parameter, tensor([0.5, -4.0]), state, &settings(1));
        let expected = TensorData::from([0.899_f32, -1.898]);
        parameter
            .to_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
        // Step 2, gradient (1, 0):
        // m = (0.045 + 0.1, -0.36) = (0.145, -0.36);  / (1 − 0.81): (0.763158, -1.894737)
        // v = (0.00024975 + 0.001, 0.015984) = (0.00124975, 0.015984);  / (1 − 0.998001): (0.625188, 7.995998)
        // quotient (0.965183, -0.670057);  p = (0.898101 − 0.0965183, -1.896102 + 0.0670057)
        let (parameter, state) = adamw(parameter, tensor([1.0, 0.0]), state, &settings(2));
        let expected = TensorData::from([0.801_582_7_f32, -1.829_096_3]);
        parameter
            .to_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::absolute(2e-6));
        let expected = TensorData::from([0.145_f32, -0.36]);
        state
            .first_moment
            .to_data()
            .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
    }

    #[test]
    fn the_gradient_scale_is_a_factor_on_the_gradient() {
        let device = Device::default();
        let tensor =
            |seed| Tensor::<1>::from_data(TensorData::new(random(seed, 1000), [1000]), &device);
        let state = AdamWState {
            first_moment: tensor(2),
            second_moment: tensor(3).square(),
        };
        let clipped = AdamWStep {
            gradient_scale: 0.25,
            ..settings(5)
        };
        let (scaled, _) = adamw(tensor(1), tensor(4), state.clone(), &clipped);
        let (expected, _) = adamw(tensor(1), tensor(4) * 0.25, state, &settings(5));
        assert_eq!(scaled.to_data(), expected.to_data());
    }

    #[test]
    fn the_fast_body_agrees_with_the_default_body() {
        let n = 40_001;
        let tensor = |seed| cpu::tensor(random(seed, n), &[n]);
        let positive = |seed| cpu::tensor(random(seed, n).iter().map(|x| x * x).collect(), &[n]);
        let fast = Flex::adamw(tensor(1), tensor(2), tensor(3), positive(4), settings(3));
        let slow = plain::<Flex>(tensor(1), tensor(2), tensor(3), positive(4), settings(3));
        for (fast, slow) in [(fast.0, slow.0), (fast.1, slow.1), (fast.2, slow.2)] {
            assert_close(&Floats::of(&fast), &Floats::of(&slow), 1e-6, "result");
        }
    }

    #[test]
    fn the_squared_norm_sums_the_squares() {
        let values = random(7, 10_001);
        let exact: f64 = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let tensor = Tensor::<1>::from_data(TensorData::new(values, [10_001]), &Device::default());
        assert!((squared_norm(tensor) / exact - 1.0).abs() < 1e-6);
    }
}
