//! The fast body against tensor operations, the default body, finite differences and values worked out by hand.

use burn::backend::Flex;
use burn::tensor::{Device, Tensor, TensorData, Tolerance, activation::relu};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use super::{
    Activation, HeadOptions, LexicalHead, PoolingStrategy, Screening, lexical_head, plain,
};
use crate::cpu::{self, Floats};
use crate::plain::OptionalTensor;
use crate::testing::{
    assert_close, assert_independent_of_threads, cases, half_precisions, is_elsewhere, matrix,
    random, rounded, values, vector,
};
use crate::{Precision, RowOffsets, autocast};

const POOLINGS: [PoolingStrategy; 2] = [PoolingStrategy::Max, PoolingStrategy::Sum];
const ACTIVATIONS: [Activation; 2] = [Activation::Relu, Activation::Log1pRelu];

/// The head as everybody writes it, differentiated by Burn.
fn written_out(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    rows: &RowOffsets,
    options: HeadOptions,
) -> Tensor<2> {
    let (device, [vocab_size, _]) = (hidden.device(), weight.dims());
    let weight = weight.transpose();
    let vectors = rows.ranges().map(|range| {
        if range.is_empty() {
            return Tensor::zeros([1, vocab_size], &device);
        }
        let logits = hidden
            .clone()
            .narrow(0, range.start, range.len())
            .matmul(weight.clone());
        let logits = match &bias {
            Some(bias) => logits + bias.clone().unsqueeze(),
            None => logits,
        };
        let weights = relu(logits).log1p();
        let weights = match options.activation {
            Activation::Relu => weights,
            Activation::Log1pRelu => weights.log1p(),
        };
        match options.pooling {
            PoolingStrategy::Max => weights.max_dim(0),
            PoolingStrategy::Sum => weights.sum_dim(0),
        }
    });
    Tensor::cat(vectors.collect(), 0)
}

#[derive(Debug, Clone)]
struct Case {
    lengths: Vec<usize>,
    width: usize,
    vocab_size: usize,
    with_bias: bool,
    options: HeadOptions,
    seed: u64,
}

impl Case {
    fn any() -> impl Strategy<Value = Self> {
        let lengths = prop::collection::vec(0_usize..7, 1..6);
        let vocab_size = prop_oneof![1_usize..70, Just(512), 500_usize..1100];
        let settings = (any::<bool>(), any::<bool>(), any::<bool>(), any::<u64>());
        (lengths, 1_usize..150, vocab_size, settings).prop_map(
            |(lengths, width, vocab_size, (with_bias, sum, log1p, seed))| Self {
                lengths,
                width,
                vocab_size,
                with_bias,
                options: HeadOptions {
                    pooling: POOLINGS[usize::from(sum)],
                    activation: ACTIVATIONS[usize::from(log1p)],
                    precision: Precision::F32,
                    screening: Screening::Fastest,
                },
                seed,
            },
        )
    }

    fn rows(&self) -> RowOffsets {
        RowOffsets::from_lengths(&self.lengths)
    }

    /// Vectors and the gradients of hidden states, weight and bias, of `Σ r ∘ y` with random r.
    fn run(
        &self,
        head: impl Fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, &RowOffsets, HeadOptions) -> Tensor<2>,
    ) -> Vec<Vec<f32>> {
        let device = Device::default().autodiff();
        let rows = self.rows();
        let hidden = matrix(self.seed, [rows.total(), self.width], &device).require_grad();
        let weight = matrix(self.seed ^ 1, [self.vocab_size, self.width], &device).require_grad();
        let bias = self
            .with_bias
            .then(|| vector(self.seed ^ 2, self.vocab_size, &device).require_grad());
        let y = head(
            hidden.clone(),
            weight.clone(),
            bias.clone(),
            &rows,
            self.options,
        );
        let r = matrix(self.seed ^ 3, [rows.n_rows(), self.vocab_size], &device);
        let gradients = (y.clone() * r).sum().backward();
        let mut results = vec![values(&y)];
        results
            .extend([&hidden, &weight].map(|x| x.grad(&gradients).map_or(vec![], |g| values(&g))));
        results.extend(
            bias.and_then(|bias| bias.grad(&gradients))
                .map(|g| values(&g)),
        );
        results
    }

    fn run_fused(&self) -> Vec<Vec<f32>> {
        self.run(|hidden, weight, bias, rows, options| {
            lexical_head(
                hidden,
                weight,
                bias,
                rows,
                options.pooling,
                options.activation,
            )
        })
    }
}

const NAMES: [&str; 4] = [
    "vectors",
    "hidden gradient",
    "weight gradient",
    "bias gradient",
];

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn the_fused_head_and_its_gradients_are_those_of_the_written_out_head(case in Case::any()) {
        if case.rows().total() > 0 {
            let expected = case.run(written_out);
            for ((found, expected), name) in case.run_fused().iter().zip(&expected).zip(NAMES) {
                assert_close(found, expected, 3e-5, name);
            }
        }
    }

    #[test]
    fn the_default_body_agrees_with_the_fast_body(case in Case::any()) {
        let rows = case.rows();
        let hidden = || cpu::tensor(random(case.seed, rows.total() * case.width), &[rows.total(), case.width]);
        let weight = || cpu::tensor(random(case.seed ^ 1, case.vocab_size * case.width), &[case.vocab_size, case.width]);
        let bias = || match case.with_bias {
            true => OptionalTensor::<Flex>::Present(cpu::tensor(random(case.seed ^ 2, case.vocab_size), &[case.vocab_size])),
            false => OptionalTensor::Absent,
        };
        let fast = Flex::lexical_head(hidden(), weight(), bias(), rows.clone(), case.options);
        let slow = plain::forward::<Flex>(hidden(), weight(), bias(), &rows, case.options);
        assert_close(&Floats::of(&fast.scores), &Floats::of(&slow.scores), 3e-5, "vectors");

        let n = rows.n_rows() * case.vocab_size;
        let gradient = || cpu::tensor(random(case.seed ^ 3, n), &[rows.n_rows(), case.vocab_size]);
        let so_far = || match case.with_bias {
            true => OptionalTensor::<Flex>::Present(weight()),
            false => OptionalTensor::Absent,
        };
        let fast = Flex::lexical_head_backward(hidden(), weight(), bias(), rows.clone(), case.options, fast, gradient(), so_far());
        let slow = plain::backward::<Flex>(hidden(), weight(), bias(), &rows, case.options, slow, gradient(), so_far());
        assert_close(&Floats::of(&fast.hidden), &Floats::of(&slow.hidden), 3e-5, "hidden gradient");
        assert_close(&Floats::of(&fast.weight), &Floats::of(&slow.weight), 3e-5, "weight gradient");
        assert_close(&Floats::of(&fast.bias), &Floats::of(&slow.bias), 3e-5, "bias gradient");
    }
}

#[test]
fn half_precision_rounds_the_factors() {
    const GRADIENT_TOLERANCE: f32 = 3e-2;
    for (precision, tolerance) in half_precisions() {
        for pooling in POOLINGS {
            let case = Case {
                lengths: vec![3, 0, 5, 1],
                width: 130,
                vocab_size: 1100,
                with_bias: true,
                options: HeadOptions {
                    pooling,
                    activation: Activation::Relu,
                    precision,
                    screening: Screening::Fastest,
                },
                seed: 5,
            };
            let expected = case.run(|hidden, weight, bias, rows, options| {
                let (hidden, weight) = (rounded(hidden, precision), rounded(weight, precision));
                written_out(hidden, weight, bias, rows, options)
            });
            let found = autocast(precision, || case.run_fused());
            assert_close(&found[0], &expected[0], tolerance, NAMES[0]);
            // Logits that are rounded as well may have their maximum at another token, or fall below 0.
            if !is_elsewhere() {
                for i in 1..4 {
                    assert_close(&found[i], &expected[i], GRADIENT_TOLERANCE, NAMES[i]);
                }
            }
            assert_ne!(found[0], case.run_fused()[0]);
        }
    }
}

#[test]
fn values_are_those_of_the_reference() {
    // Logits rows [1, -2, .5], [3, 0, -1] of one text, by a weight of unit rows.
    let device = Device::default();
    let hidden = Tensor::<2>::from_data([[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]], &device);
    let weight = Tensor::<2>::eye(3, &device);
    let rows = RowOffsets::from_lengths(&[2]);
    // From SpladePooling of sentence-transformers 6.2.0; for example ln(1 + 3) = 1.386294, ln 2 + ln 4 = 2.079442.
    let expected = [
        [1.386_294_4, 0.0, 0.405_465_1],
        [0.869_741_7, 0.0, 0.340_368_3],
        [2.079_441_5, 0.0, 0.405_465_1],
        [1.396_330_6, 0.0, 0.340_368_3],
    ];
    let settings = POOLINGS
        .into_iter()
        .flat_map(|p| ACTIVATIONS.map(|a| (p, a)));
    for ((pooling, activation), expected) in settings.zip(expected) {
        let y = lexical_head(
            hidden.clone(),
            weight.clone(),
            None,
            &rows,
            pooling,
            activation,
        );
        y.to_data()
            .assert_approx_eq::<f32>(&TensorData::from([expected]), Tolerance::relative(2e-6));
    }
}

#[test]
fn the_gradient_of_a_tie_goes_to_its_first_position() {
    let device = Device::default().autodiff();
    let hidden = Tensor::<2>::from_data([[1.0], [2.0], [2.0], [2.0]], &device).require_grad();
    let weight = Tensor::<2>::from_data([[1.0]], &device);
    let rows = RowOffsets::from_lengths(&[4]);
    let y = lexical_head(
        hidden.clone(),
        weight,
        None,
        &rows,
        PoolingStrategy::Max,
        Activation::Relu,
    );
    let gradient = hidden.grad(&y.sum().backward()).expect("tracked");
    // f'(2) = 1 / (1 + 2)
    assert_close(
        &values(&gradient),
        &[0.0, 1.0 / 3.0, 0.0, 0.0],
        1e-6,
        "gradient",
    );
}

#[test]
fn texts_without_tokens_and_columns_without_positive_logits_give_zeros_and_no_gradient() {
    let device = Device::default().autodiff();
    for pooling in POOLINGS {
        let hidden = Tensor::<2>::from_data([[1.0, 1.0], [2.0, 3.0]], &device).require_grad();
        let weight = Tensor::<2>::from_data([[-1.0, -1.0], [0.0, -2.0]], &device).require_grad();
        let rows = RowOffsets::from_lengths(&[0, 2, 0]);
        let y = lexical_head(
            hidden.clone(),
            weight.clone(),
            None,
            &rows,
            pooling,
            Activation::Relu,
        );
        assert_eq!(values(&y), [0.0; 6]);
        let gradients = y.sum().backward();
        assert_eq!(values(&hidden.grad(&gradients).expect("tracked")), [0.0; 4]);
        assert_eq!(values(&weight.grad(&gradients).expect("tracked")), [0.0; 4]);
    }
}

#[test]
fn a_batch_without_tokens_gives_zeros() {
    let device = Device::default();
    let rows = RowOffsets::from_lengths(&[0, 0]);
    let hidden = Tensor::<2>::zeros([0, 4], &device);
    let weight = matrix(1, [7, 4], &device);
    let y = lexical_head(
        hidden,
        weight,
        None,
        &rows,
        PoolingStrategy::Max,
        Activation::Relu,
    );
    assert_eq!(values(&y), [0.0; 14]);
}

#[test]
fn a_broken_hidden_state_shows_in_the_vector() {
    let device = Device::default();
    let hidden = Tensor::<2>::from_data([[1.0], [f32::NAN], [2.0]], &device);
    let weight = Tensor::<2>::from_data([[1.0], [-1.0]], &device);
    let rows = RowOffsets::from_lengths(&[3]);
    for (pooling, activation) in POOLINGS.into_iter().zip(ACTIVATIONS) {
        let y = lexical_head(
            hidden.clone(),
            weight.clone(),
            None,
            &rows,
            pooling,
            activation,
        );
        assert!(values(&y).iter().all(|value| value.is_nan()), "{pooling:?}");
    }
}

#[test]
fn gradients_are_finite_differences() {
    let rows = RowOffsets::from_lengths(&[3, 1, 2]);
    let (width, vocab_size) = (5, 9);
    let loss = |hidden: &[f32], weight: &[f32], bias: &[f32], options: HeadOptions| -> f64 {
        let pooled = Flex::lexical_head(
            cpu::tensor(hidden.to_vec(), &[6, width]),
            cpu::tensor(weight.to_vec(), &[vocab_size, width]),
            OptionalTensor::Present(cpu::tensor(bias.to_vec(), &[vocab_size])),
            rows.clone(),
            options,
        );
        let r = random(9, 3 * vocab_size);
        Floats::of(&pooled.scores)
            .iter()
            .zip(r)
            .map(|(y, r)| f64::from(y * r))
            .sum()
    };
    for (pooling, activation) in POOLINGS
        .into_iter()
        .flat_map(|p| ACTIVATIONS.map(|a| (p, a)))
    {
        let options = HeadOptions {
            pooling,
            activation,
            precision: Precision::F32,
            screening: Screening::Fastest,
        };
        let arguments = [
            random(1, 6 * width),
            random(2, vocab_size * width),
            random(3, vocab_size),
        ];
        let [hidden, weight, bias] = &arguments;
        let tensors = || {
            (
                cpu::tensor(hidden.clone(), &[6, width]),
                cpu::tensor(weight.clone(), &[vocab_size, width]),
                OptionalTensor::<Flex>::Present(cpu::tensor(bias.clone(), &[vocab_size])),
            )
        };
        let (h, w, b) = tensors();
        let pooled = Flex::lexical_head(h, w, b, rows.clone(), options);
        let (h, w, b) = tensors();
        let r = cpu::tensor(random(9, 3 * vocab_size), &[3, vocab_size]);
        let found = Flex::lexical_head_backward(
            h,
            w,
            b,
            rows.clone(),
            options,
            pooled,
            r,
            OptionalTensor::Absent,
        );
        let gradients = [found.hidden, found.weight, found.bias].map(|g| Floats::of(&g).to_vec());
        for (argument, gradient) in gradients.iter().enumerate() {
            for i in 0..gradient.len() {
                let step = 2e-3_f32;
                let [above, below] = [step, -step].map(|step| {
                    let mut moved = arguments.clone();
                    moved[argument][i] += step;
                    loss(&moved[0], &moved[1], &moved[2], options)
                });
                let difference = (above - below) / f64::from(2.0 * step);
                let error = (difference - f64::from(gradient[i])).abs();
                assert!(
                    error < 5e-3,
                    "{options:?}, argument {argument}, {i}: {difference} {}",
                    gradient[i]
                );
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (pooling, activation) in POOLINGS.into_iter().zip(ACTIVATIONS) {
        let case = Case {
            lengths: vec![9, 0, 30, 1, 17, 40, 3, 8, 21, 5, 64],
            width: 72,
            vocab_size: 2_345,
            with_bias: true,
            options: HeadOptions {
                pooling,
                activation,
                precision: Precision::F32,
                screening: Screening::Fastest,
            },
            seed: 11,
        };
        assert_independent_of_threads(|| case.run_fused());
    }
}

#[test]
fn names_are_those_of_configuration_files() {
    use serde::Deserialize;
    use serde::de::value::{Error, StrDeserializer};

    let pooling = |name| PoolingStrategy::deserialize(StrDeserializer::<Error>::new(name));
    let activation = |name| Activation::deserialize(StrDeserializer::<Error>::new(name));
    assert_eq!(
        (pooling("max"), pooling("sum")),
        (Ok(PoolingStrategy::Max), Ok(PoolingStrategy::Sum))
    );
    assert_eq!(activation("relu"), Ok(Activation::Relu));
    assert_eq!(activation("log1p_relu"), Ok(Activation::Log1pRelu));
    assert!(pooling("mean").is_err());
}
