//! Vectors with screening against those without, to the last bit.

use burn::backend::Flex;
use burn_flex::FlexTensor;
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::screen::{Known, Plan, TILE};
use super::{Head, HeadOptions, LexicalHead, Pooled};
use crate::cpu::{self, Floats};
use crate::lexical_head::{Activation, InstructionSet, PoolingStrategy, Screening};
use crate::plain::OptionalTensor;
use crate::testing::{cases, random};
use crate::{Precision, RowOffsets};

/// A head and a batch for it.
#[derive(Debug, Clone)]
struct Case {
    rows: RowOffsets,
    width: usize,
    vocab_size: usize,
    hidden: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    pooling: PoolingStrategy,
    activation: Activation,
}

/// What a case is made of.
#[derive(Debug, Clone)]
struct Settings {
    lengths: Vec<usize>,
    width: usize,
    vocab_size: usize,
    /// How far below zero the bias lies, in standard deviations of the logits; no bias if 0.
    sparsity: f32,
    /// Powers of two on hidden states and weights.
    magnitudes: [i32; 2],
    /// A column of the hidden states that is this much larger.
    outlier: f32,
    /// What stands at one place of hidden states, weight or bias.
    broken: Option<(usize, f32)>,
    seed: u64,
}

impl Settings {
    fn sparse() -> Self {
        Self {
            lengths: vec![90, 30],
            width: 96,
            vocab_size: 3 * TILE + 70,
            sparsity: 4.5,
            magnitudes: [0, 0],
            outlier: 1.0,
            broken: None,
            seed: 1,
        }
    }

    fn any() -> impl Strategy<Value = Self> {
        let length = prop_oneof![4 => 0_usize..50, 1 => 50_usize..600];
        let sparsity = prop_oneof![1 => 0_f32..0.1, 1 => 0.1_f32..3.0, 3 => 3_f32..5.0];
        let outlier = prop_oneof![3 => 1_f32..1.1, 1 => 1.1_f32..100.0];
        let value = prop_oneof![
            proptest::strategy::Just(f32::NAN),
            proptest::strategy::Just(f32::INFINITY),
            proptest::strategy::Just(f32::NEG_INFINITY),
            proptest::strategy::Just(3e38),
        ];
        let broken = prop_oneof![3 => proptest::strategy::Just(None), 1 => (0_usize..3, value).prop_map(Some)];
        let sizes = (
            prop::collection::vec(length, 1..6),
            1_usize..200,
            1024_usize..1700,
        );
        let values = (
            sparsity,
            [-40_i32..40, -40_i32..40],
            outlier,
            broken,
            any::<u64>(),
        );
        (sizes, values).prop_map(
            |((lengths, width, vocab_size), (sparsity, magnitudes, outlier, broken, seed))| Self {
                lengths,
                width,
                vocab_size,
                sparsity: if sparsity < 0.1 { 0.0 } else { sparsity },
                magnitudes,
                outlier,
                broken,
                seed,
            },
        )
    }

    fn case(&self) -> Case {
        let rows = RowOffsets::from_lengths(&self.lengths);
        let (width, vocab_size) = (self.width, self.vocab_size);
        let scaled = |seed: u64, n: usize, power: i32| -> Vec<f32> {
            random(self.seed ^ seed, n)
                .into_iter()
                .map(|x| x * 2_f32.powi(power))
                .collect()
        };
        let mut hidden = scaled(1, rows.total() * width, self.magnitudes[0]);
        for token in hidden.chunks_mut(width) {
            token[width / 2] *= self.outlier;
        }
        let mut weight = scaled(2, vocab_size * width, self.magnitudes[1]);
        let deviation = (width as f32).sqrt() * 2_f32.powi(self.magnitudes.iter().sum());
        let mut bias = vec![-self.sparsity * deviation; vocab_size];
        if let Some((at, value)) = self.broken {
            let values = [&mut hidden, &mut weight, &mut bias].into_iter().nth(at);
            if let Some(place) = values.and_then(|values| {
                let middle = values.len() / 2;
                values.get_mut(middle)
            }) {
                *place = value;
            }
        }
        Case {
            hidden: cpu::tensor(hidden, &[rows.total(), width]),
            weight: cpu::tensor(weight, &[vocab_size, width]),
            bias: (self.sparsity > 0.0).then(|| cpu::tensor(bias, &[vocab_size])),
            rows,
            width,
            vocab_size,
            pooling: [PoolingStrategy::Max, PoolingStrategy::Sum][(self.seed % 2) as usize],
            activation: [Activation::Relu, Activation::Log1pRelu][(self.seed / 2 % 2) as usize],
        }
    }
}

impl Case {
    fn options(&self, screening: Screening) -> HeadOptions {
        HeadOptions {
            pooling: self.pooling,
            activation: self.activation,
            precision: Precision::F32,
            screening,
        }
    }

    fn bias(&self) -> OptionalTensor<Flex> {
        match &self.bias {
            Some(bias) => OptionalTensor::Present(bias.clone()),
            None => OptionalTensor::Absent,
        }
    }

    fn shape(&self) -> [usize; 2] {
        [self.rows.n_rows(), self.vocab_size]
    }

    fn run(&self, screening: Screening) -> Pooled<Flex> {
        let (hidden, weight) = (self.hidden.clone(), self.weight.clone());
        Flex::lexical_head(
            hidden,
            weight,
            self.bias(),
            self.rows.clone(),
            self.options(screening),
        )
    }

    /// The text alone.
    fn alone(&self, row: usize) -> Self {
        let range = self.rows.range(row);
        let hidden =
            &self.hidden.storage::<f32>()[range.start * self.width..range.end * self.width];
        Self {
            rows: RowOffsets::from_lengths(&[range.len()]),
            hidden: cpu::tensor(hidden.to_vec(), &[range.len(), self.width]),
            ..self.clone()
        }
    }

    /// Share of the pairs of text and entry that a plan computes in f32.
    fn computed(&self, plan: &Plan) -> f64 {
        let n_tiles = self.vocab_size.div_ceil(TILE);
        let width = |tile: usize| TILE.min(self.vocab_size - tile * TILE);
        let tiles =
            (0..self.rows.n_rows()).flat_map(|row| (0..n_tiles).map(move |tile| (tile, row)));
        let whole: usize = tiles
            .filter(|&(tile, row)| plan.is_whole(tile, row))
            .map(|(tile, _)| width(tile))
            .sum();
        let open: usize = plan.open().map(|(_, entries)| entries.len()).sum();
        (whole + open) as f64 / (self.rows.n_rows() * self.vocab_size) as f64
    }

    /// The plan of a weight that was seen before.
    fn plan(&self, set: InstructionSet) -> Plan {
        let (hidden, weight) = (Floats::of(&self.hidden), Floats::of(&self.weight));
        let bias = self.bias.as_ref().map(Floats::of);
        let options = self.options(Screening::With(set));
        let head = Head::new(&hidden, &weight, bias.as_deref(), &self.rows, options);
        Plan::screened(&head, set, &Known::Seen).0
    }
}

/// Checks that values are equal to the last bit and that maxima of active entries are at the same positions.
#[track_caller]
fn assert_same(
    found: &Pooled<Flex>,
    expected: &Pooled<Flex>,
    pooling: PoolingStrategy,
    what: &str,
) {
    let (found_scores, scores) = (Floats::of(&found.scores), Floats::of(&expected.scores));
    assert_eq!(found_scores.len(), scores.len(), "{what}");
    for (i, (found, expected)) in found_scores.iter().zip(scores.iter()).enumerate() {
        let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(same, "{what}: entry {i} is {found}, not {expected}");
    }
    if pooling == PoolingStrategy::Max {
        let positions = found
            .positions
            .storage::<i32>()
            .iter()
            .zip(expected.positions.storage::<i32>());
        for (i, ((found, expected), score)) in positions.zip(scores.iter()).enumerate() {
            assert!(
                found == expected || *score == 0.0,
                "{what}: entry {i} is at {found}, not {expected}"
            );
        }
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn screened_vectors_are_those_of_the_whole_product(settings in Settings::any()) {
        let case = settings.case();
        let expected = case.run(Screening::Off);
        for set in InstructionSet::available() {
            // Twice: a weight that is seen for the first time isn't quantized for few tokens.
            for time in ["first", "second", "third"] {
                let found = case.run(Screening::With(set));
                assert_same(&found, &expected, case.pooling, &format!("{set}, {time} time"));
            }
        }
    }

    #[test]
    fn a_text_has_the_same_bytes_alone_and_in_a_batch(settings in Settings::any()) {
        let case = settings.case();
        let whole = case.run(Screening::Fastest);
        let whole = Floats::of(&whole.scores);
        for row in 0..case.rows.n_rows() {
            for screening in [Screening::Off, Screening::Fastest] {
                let alone = case.alone(row).run(screening);
                let alone = Floats::of(&alone.scores);
                for (i, (a, b)) in whole[row * case.vocab_size..].iter().zip(alone.iter()).enumerate() {
                    let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                    assert!(same, "text {row}, entry {i}: {a} in the batch, {b} alone");
                }
            }
        }
    }
}

#[test]
fn gradients_have_the_same_bytes_with_screening_and_without() {
    for pooling in [PoolingStrategy::Max, PoolingStrategy::Sum] {
        let case = Case {
            pooling,
            ..Settings::sparse().case()
        };
        let gradients = |screening: Screening| {
            let pooled = case.run(screening);
            let scores = Floats::of(&pooled.scores);
            let gradient = cpu::tensor(random(9, scores.len()), &case.shape());
            let gradients = Flex::lexical_head_backward(
                case.hidden.clone(),
                case.weight.clone(),
                case.bias(),
                case.rows.clone(),
                case.options(screening),
                pooled,
                gradient,
                OptionalTensor::Absent,
            );
            [gradients.hidden, gradients.weight, gradients.bias].map(|gradient| {
                let bits: Vec<u32> = Floats::of(&gradient).iter().map(|x| x.to_bits()).collect();
                assert!(bits.iter().any(|&bits| bits != 0), "a gradient");
                bits
            })
        };
        let expected = gradients(Screening::Off);
        for set in InstructionSet::available() {
            for time in ["first", "second"] {
                assert!(
                    gradients(Screening::With(set)) == expected,
                    "{pooling:?}, {set}, {time} time"
                );
            }
        }
    }
}

#[test]
fn nearly_nothing_of_a_sparse_text_is_computed() {
    let case = Settings::sparse().case();
    let scores = case.run(Screening::Off).scores;
    let active = scores
        .storage::<f32>()
        .iter()
        .filter(|score| **score > 0.0)
        .count();
    let active = active as f64 / scores.storage::<f32>().len() as f64;
    assert!(active > 0.0, "some entries are active");
    for set in InstructionSet::available() {
        let computed = case.computed(&case.plan(set));
        assert!(
            computed >= active && computed < 0.05,
            "{set}: {computed} of {active}"
        );
    }
}

#[test]
fn a_text_that_is_not_sparse_is_computed_as_a_whole() {
    let settings = Settings {
        sparsity: 0.0,
        ..Settings::sparse()
    };
    let case = settings.case();
    for set in InstructionSet::available() {
        assert_eq!(case.computed(&case.plan(set)), 1.0, "{set}");
    }
}

#[test]
fn a_tile_that_is_not_sparse_is_computed_as_a_whole() {
    let mut case = Settings::sparse().case();
    let bias = case.bias.as_mut().expect("a sparse case has one");
    bias.storage_mut::<f32>()[TILE..2 * TILE].fill(0.0);
    let expected = case.run(Screening::Off);
    for set in InstructionSet::available() {
        let plan = case.plan(set);
        for row in 0..case.rows.n_rows() {
            let whole = [0, 1, 2, 3].map(|tile| plan.is_whole(tile, row));
            assert_eq!(whole, [false, true, false, false], "{set}");
        }
        for _ in 0..2 {
            assert_same(
                &case.run(Screening::With(set)),
                &expected,
                case.pooling,
                &set.to_string(),
            );
        }
    }
}

#[test]
fn a_weight_that_was_changed_in_place_is_quantized_again() {
    let mut case = Settings::sparse().case();
    for step in 0..3 {
        for _ in 0..2 {
            let found = case.run(Screening::Fastest);
            assert_same(
                &found,
                &case.run(Screening::Off),
                case.pooling,
                &format!("step {step}"),
            );
        }
        for weight in case.weight.storage_mut::<f32>() {
            *weight = -*weight;
        }
    }
}
