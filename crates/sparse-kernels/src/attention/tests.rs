//! The fast body against tensor operations and the default body, on ragged texts.

use burn::backend::Flex;
use burn::tensor::{Device, Int, Tensor, TensorData, activation::softmax};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use super::{AttentionOptions, AttentionSettings, PackedAttention, packed_attention, plain};
use crate::cpu::{self, Floats};
use crate::plain::OptionalTensor;
use crate::testing::{assert_close, assert_independent_of_threads, cases, matrix, random, values};
use crate::{Dropout, Precision, RandomStream, RowOffsets};

/// Attention text by text, differentiated by Burn.
fn written_out(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    n_heads: usize,
    rows: &RowOffsets,
    options: &AttentionOptions,
) -> Tensor<2> {
    let device = query.device();
    let [_, width] = query.dims();
    let d_head = width / n_heads;
    let mut outputs = Vec::new();
    for (row, range) in rows
        .ranges()
        .enumerate()
        .filter(|(_, range)| !range.is_empty())
    {
        let n = range.len();
        let pairs = || (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
        let heads = |x: &Tensor<2>| {
            x.clone()
                .narrow(0, range.start, n)
                .reshape([n, n_heads, d_head])
                .swap_dims(0, 1)
        };
        let mut scores = heads(&query).matmul(heads(&key).swap_dims(1, 2)) * options.scale;
        if let Some(bias) = &options.relative_bias {
            let reach = bias.dims()[1].div_ceil(2);
            let distances: Vec<i32> = pairs().map(|(i, j)| (j + reach - 1 - i) as i32).collect();
            let distances =
                Tensor::<1, Int>::from_data(TensorData::new(distances, [n * n]), &device);
            scores = scores + bias.clone().select(1, distances).reshape([n_heads, n, n]);
        }
        if let Some(window) = options.local_window {
            let blocked: Vec<f32> = pairs()
                .map(|(i, j)| if i.abs_diff(j) <= window { 0.0 } else { -1e30 })
                .collect();
            scores = scores + Tensor::<3>::from_data(TensorData::new(blocked, [1, n, n]), &device);
        }
        let mut probabilities = softmax(scores, 2);
        if let Some(dropout) = options.dropout {
            let mut factors = vec![1.0; n_heads * n * n];
            for (head, factors) in factors.chunks_exact_mut(n * n).enumerate() {
                let stream = dropout.stream.derive_index((row * n_heads + head) as u64);
                Dropout { stream, ..dropout }.apply(factors, 0);
            }
            let shape = [n_heads, n, n];
            probabilities =
                probabilities * Tensor::<3>::from_data(TensorData::new(factors, shape), &device);
        }
        outputs.push(
            probabilities
                .matmul(heads(&value))
                .swap_dims(0, 1)
                .reshape([n, width]),
        );
    }
    Tensor::cat(outputs, 0)
}

#[derive(Debug, Clone)]
struct Case {
    lengths: Vec<usize>,
    n_heads: usize,
    d_head: usize,
    window: Option<usize>,
    rate: f32,
    with_bias: bool,
    seed: u64,
}

impl Case {
    fn any() -> impl Strategy<Value = Self> {
        let length = prop_oneof![4 => 0_usize..20, 1 => 120_usize..150];
        let lengths = prop::collection::vec(length, 1..5);
        let window = prop_oneof![Just(None), (0_usize..30).prop_map(Some)];
        let settings = (
            prop_oneof![Just(0.0_f32), Just(0.3)],
            any::<bool>(),
            any::<u64>(),
        );
        (lengths, 1_usize..4, 1_usize..20, window, settings).prop_map(
            |(lengths, n_heads, d_head, window, (rate, with_bias, seed))| Self {
                lengths,
                n_heads,
                d_head,
                window,
                rate,
                with_bias,
                seed,
            },
        )
    }

    fn rows(&self) -> RowOffsets {
        RowOffsets::from_lengths(&self.lengths)
    }

    fn dropout(&self) -> Option<Dropout> {
        let stream = RandomStream::new(self.seed).derive("dropout");
        (self.rate > 0.0).then_some(Dropout::new(self.rate, stream))
    }

    fn n_distances(&self) -> usize {
        2 * (self.rows().max_length() + 3) - 1
    }

    /// Output and the gradients of queries, keys, values and bias, of `Σ r ∘ y` with random r.
    fn run(
        &self,
        attend: impl Fn(
            Tensor<2>,
            Tensor<2>,
            Tensor<2>,
            usize,
            &RowOffsets,
            &AttentionOptions,
        ) -> Tensor<2>,
    ) -> Vec<Vec<f32>> {
        let device = Device::default().autodiff();
        let rows = self.rows();
        let shape = [rows.total(), self.n_heads * self.d_head];
        let [query, key, value] =
            [0, 1, 2].map(|i| matrix(self.seed ^ i, shape, &device).require_grad());
        let shape_of_bias = [self.n_heads, self.n_distances()];
        let bias = self
            .with_bias
            .then(|| matrix(self.seed ^ 4, shape_of_bias, &device).require_grad());
        let options = AttentionOptions {
            scale: 0.7,
            dropout: self.dropout(),
            local_window: self.window,
            relative_bias: bias.clone(),
        };
        let y = attend(
            query.clone(),
            key.clone(),
            value.clone(),
            self.n_heads,
            &rows,
            &options,
        );
        let gradients = (y.clone() * matrix(self.seed ^ 5, shape, &device))
            .sum()
            .backward();
        let arguments = [Some(query), Some(key), Some(value), bias]
            .into_iter()
            .flatten();
        let gradients = arguments.map(|x| {
            x.grad(&gradients)
                .map_or(vec![], |gradient| values(&gradient))
        });
        std::iter::once(values(&y)).chain(gradients).collect()
    }
}

const NAMES: [&str; 5] = [
    "output",
    "query gradient",
    "key gradient",
    "value gradient",
    "bias gradient",
];

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn attention_and_its_gradients_are_those_of_every_text_alone(case in Case::any()) {
        if case.rows().total() > 0 {
            let expected = case.run(written_out);
            for ((found, expected), name) in case.run(packed_attention).iter().zip(&expected).zip(NAMES) {
                assert_close(found, expected, 2e-5, name);
            }
        }
    }

    #[test]
    fn the_default_body_agrees_with_the_fast_body(case in Case::any()) {
        let rows = case.rows();
        let shape = [rows.total(), case.n_heads * case.d_head];
        let tensor = |i: u64| cpu::tensor(random(case.seed ^ i, shape[0] * shape[1]), &shape);
        let shape_of_bias = [case.n_heads, case.n_distances()];
        let bias = || match case.with_bias {
            true => OptionalTensor::<Flex>::Present(
                cpu::tensor(random(case.seed ^ 4, shape_of_bias[0] * shape_of_bias[1]), &shape_of_bias),
            ),
            false => OptionalTensor::Absent,
        };
        let settings = AttentionSettings {
            n_heads: case.n_heads,
            scale: 0.7,
            dropout: case.dropout(),
            local_window: case.window,
            precision: Precision::F32,
        };
        let fast = Flex::packed_attention(tensor(0), tensor(1), tensor(2), bias(), rows.clone(), settings);
        let slow = plain::forward::<Flex>(tensor(0), tensor(1), tensor(2), bias(), &rows, settings);
        assert_close(&Floats::of(&fast.output), &Floats::of(&slow.output), 2e-5, "output");
        let fast = Flex::packed_attention_backward(
            tensor(0), tensor(1), tensor(2), bias(), rows.clone(), settings, fast.saved, tensor(5),
        );
        let slow = plain::backward::<Flex>(tensor(0), tensor(1), tensor(2), bias(), &rows, settings, tensor(5));
        assert_close(&Floats::of(&fast.query), &Floats::of(&slow.query), 2e-5, "query gradient");
        assert_close(&Floats::of(&fast.key), &Floats::of(&slow.key), 2e-5, "key gradient");
        assert_close(&Floats::of(&fast.value), &Floats::of(&slow.value), 2e-5, "value gradient");
        if let (Some(fast), Some(slow)) = (fast.relative_bias.as_ref(), slow.relative_bias.as_ref()) {
            assert_close(&Floats::of(fast), &Floats::of(slow), 2e-5, "bias gradient");
        }
    }
}

#[test]
fn a_text_of_one_token_gets_its_value() {
    let device = Device::default();
    let [query, key, value] = [1, 2, 3].map(|seed| matrix(seed, [2, 6], &device));
    let rows = RowOffsets::from_lengths(&[1, 0, 1]);
    let y = packed_attention(
        query,
        key,
        value.clone(),
        2,
        &rows,
        &AttentionOptions::new(1.0),
    );
    assert_close(&values(&y), &values(&value), 1e-6, "output");
}

#[test]
fn other_texts_of_the_batch_make_no_difference() {
    let device = Device::default();
    let [query, key, value] = [1, 2, 3].map(|seed| matrix(seed, [12, 8], &device));
    let options = AttentionOptions::new(0.5);
    let rows = RowOffsets::from_lengths(&[5, 7]);
    let together = packed_attention(
        query.clone(),
        key.clone(),
        value.clone(),
        2,
        &rows,
        &options,
    );
    let [query, key, value] = [query, key, value].map(|x| x.narrow(0, 5, 7));
    let alone = packed_attention(
        query,
        key,
        value,
        2,
        &RowOffsets::from_lengths(&[7]),
        &options,
    );
    assert_eq!(values(&together)[5 * 8..], values(&alone));
}

#[test]
fn views_of_one_product_are_read_where_they_lie() {
    let device = Device::default();
    let all = matrix(1, [9, 24], &device);
    let rows = RowOffsets::from_lengths(&[4, 5]);
    let options = AttentionOptions::new(0.5);
    let [query, key, value] = [0, 8, 16].map(|start| all.clone().narrow(1, start, 8));
    let copies = [&query, &key, &value].map(|x| Tensor::<2>::from_data(x.to_data(), &device));
    let [a, b, c] = copies;
    let expected = packed_attention(a, b, c, 2, &rows, &options);
    assert_eq!(
        values(&packed_attention(query, key, value, 2, &rows, &options)),
        values(&expected)
    );
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = Case {
        lengths: vec![140, 3, 0, 77, 1, 30],
        n_heads: 3,
        d_head: 16,
        window: None,
        rate: 0.1,
        with_bias: true,
        seed: 5,
    };
    assert_independent_of_threads(|| case.run(packed_attention));
}

#[test]
#[should_panic(expected = "10 columns in 3 heads")]
fn heads_divide_the_columns() {
    let [query, key, value] = [1, 2, 3].map(|seed| matrix(seed, [2, 10], &Device::default()));
    let rows = RowOffsets::from_lengths(&[2]);
    packed_attention(query, key, value, 3, &rows, &AttentionOptions::new(1.0));
}
