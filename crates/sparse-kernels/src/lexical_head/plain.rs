//! The head out of plain tensor operations, for every backend.
//!
//! Texts are padded to the longest, and the vocabulary is taken in chunks, so that the logits exist for one chunk at
//! a time. The last chunk is filled up with zero rows: some backends want aligned rows.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, IndexingUpdateOp, IntDType};

use super::{Activation, HeadGradients, HeadOptions, Pooled, PoolingStrategy};
use crate::plain::{OptionalTensor, Plain};
use crate::{Precision, RowOffsets};

/// Widths of chunks are multiples of this.
const CHUNK_ALIGNMENT: usize = 64;

/// Number of logits that a chunk has at most (64 MiB of f32), if it is wider than the alignment.
const CHUNK_ELEMENTS: usize = 1 << 24;

/// Added to the logits of padding, so that no maximum is found there.
const BLOCKED: f32 = -1e30;

pub(super) fn forward<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: OptionalTensor<B>,
    rows: &RowOffsets,
    options: HeadOptions,
) -> Pooled<B> {
    let padded = Padded::new(Plain::<B>(hidden), rows);
    let vocabulary = Vocabulary::new(Plain(weight), bias.into_option().map(Plain));
    let (mut scores, mut positions) = (Vec::new(), Vec::new());
    for chunk in vocabulary.chunks(padded.n_positions()) {
        let logits = padded.logits(&chunk, options.precision);
        let scores_of_chunk = match options.pooling {
            PoolingStrategy::Max => {
                let blocked = logits + padded.blocked();
                let (largest, position) =
                    B::float_max_dim_with_indices(blocked.0, 1, padded.position_dtype());
                positions.push(B::int_reshape(
                    B::int_cast(position, padded.position_dtype()),
                    [padded.n_rows, chunk.padded].into(),
                ));
                activate(Plain(largest), options.activation)
            }
            PoolingStrategy::Sum => {
                (activate(logits, options.activation) * padded.mask()).sum_dim(1)
            }
        };
        scores.push(scores_of_chunk.reshape(&[padded.n_rows, chunk.padded]));
    }
    let positions = match options.pooling {
        PoolingStrategy::Max => vocabulary.cut_int(B::int_cat(positions, 1), padded.n_rows),
        PoolingStrategy::Sum => padded.hidden.indices(vec![0], &[1]),
    };
    let scores = Plain::cat(scores, 1).narrow(1, 0, vocabulary.size);
    Pooled {
        scores: scores.0,
        positions,
    }
}

#[allow(clippy::too_many_arguments, reason = "those of the operation")]
pub(super) fn backward<B: Backend>(
    hidden: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: OptionalTensor<B>,
    rows: &RowOffsets,
    options: HeadOptions,
    pooled: Pooled<B>,
    gradient: FloatTensor<B>,
    so_far: OptionalTensor<B>,
) -> HeadGradients<B> {
    let padded = Padded::new(Plain::<B>(hidden), rows);
    let vocabulary = Vocabulary::new(Plain(weight), bias.into_option().map(Plain));
    let (n_rows, n_positions) = (padded.n_rows, padded.n_positions());
    let flat_hidden = padded.hidden.clone().reshape(&[n_positions, padded.width]);
    let gradient = match options.pooling {
        PoolingStrategy::Max => {
            Plain(gradient) * slope_of_weight(Plain(pooled.scores), options.activation)
        }
        PoolingStrategy::Sum => Plain(gradient),
    };
    let gradient = vocabulary.pad(gradient, 1);
    let mut d_hidden = flat_hidden.zeros(&[n_positions, padded.width]);
    let (mut d_weight, mut d_bias) = (Vec::new(), Vec::new());
    for chunk in vocabulary.chunks(n_positions) {
        // The gradient of this chunk's logits, [n_rows, length, chunk].
        let of_chunk = gradient
            .clone()
            .narrow(1, chunk.start, chunk.padded)
            .reshape(&[n_rows, 1, chunk.padded]);
        let d_logits = match options.pooling {
            PoolingStrategy::Max => {
                let position = vocabulary.chunk_int(pooled.positions.clone(), &chunk, n_rows);
                let zeros = of_chunk.zeros(&[n_rows, padded.length, chunk.padded]);
                let update = IndexingUpdateOp::Add;
                Plain(B::float_scatter(1, zeros.0, position, of_chunk.0, update))
            }
            PoolingStrategy::Sum => {
                slope_of_logit(padded.logits(&chunk, options.precision), options.activation)
                    * padded.mask()
                    * of_chunk
            }
        };
        let d_logits = d_logits.reshape(&[n_positions, chunk.padded]);
        d_bias.push(d_logits.clone().sum_dim(0).reshape(&[chunk.padded]));
        d_weight.push(
            d_logits
                .clone()
                .transposed()
                .matmul(flat_hidden.clone(), options.precision),
        );
        d_hidden = d_hidden + d_logits.matmul(chunk.weight, options.precision);
    }
    let d_weight = Plain::cat(d_weight, 0).narrow(0, 0, vocabulary.size);
    let d_weight = match so_far {
        OptionalTensor::Present(so_far) => Plain(so_far) + d_weight,
        OptionalTensor::Absent => d_weight,
    };
    HeadGradients {
        hidden: padded.packed(d_hidden).0,
        weight: d_weight.0,
        bias: Plain::cat(d_bias, 0).narrow(0, 0, vocabulary.size).0,
    }
}

/// `f(z)`.
fn activate<B: Backend>(logits: Plain<B>, activation: Activation) -> Plain<B> {
    let weights = logits.relu().ln_1p();
    match activation {
        Activation::Relu => weights,
        Activation::Log1pRelu => weights.ln_1p(),
    }
}

/// `f'(z)`, from z.
fn slope_of_logit<B: Backend>(logits: Plain<B>, activation: Activation) -> Plain<B> {
    let active = logits.clone().step();
    let inner = logits.relu();
    let slope = inner.clone().plus(1.0).recip() * active;
    match activation {
        Activation::Relu => slope,
        Activation::Log1pRelu => slope / inner.ln_1p().plus(1.0),
    }
}

/// `f'(z)`, from y = f(z): e^(−y), or e^(−y) · e^(−u) with u = e^y − 1 = ln(1 + z).
fn slope_of_weight<B: Backend>(weights: Plain<B>, activation: Activation) -> Plain<B> {
    let active = weights.clone().step();
    let slope = weights.clone().scale(-1.0).exp() * active;
    match activation {
        Activation::Relu => slope,
        Activation::Log1pRelu => slope * (weights.exp().scale(-1.0).plus(1.0)).exp(),
    }
}

/// Hidden states with every text padded to the longest.
struct Padded<B: Backend> {
    /// `[n_rows, length, width]`
    hidden: Plain<B>,
    n_rows: usize,
    length: usize,
    width: usize,
    lengths: Vec<usize>,
}

impl<B: Backend> Padded<B> {
    fn new(packed: Plain<B>, rows: &RowOffsets) -> Self {
        let [_, width] = packed.dims();
        let (n_rows, length) = (rows.n_rows(), rows.max_length().max(1));
        // One more row, of zeros, for the padding to point at.
        let blank = rows.total() as i32;
        let zero = packed.zeros(&[1, width]);
        let sources = rows
            .ranges()
            .flat_map(|range| {
                let n_padding = length - range.len();
                range
                    .map(|t| t as i32)
                    .chain(std::iter::repeat_n(blank, n_padding))
            })
            .collect();
        let sources = packed.indices(sources, &[n_rows * length]);
        let hidden = Plain::cat(vec![packed, zero], 0)
            .select(0, sources)
            .reshape(&[n_rows, length, width]);
        Self {
            hidden,
            n_rows,
            length,
            width,
            lengths: rows.lengths().collect(),
        }
    }

    /// 32 bits where the device has them: LibTorch does without.
    fn position_dtype(&self) -> IntDType {
        if B::supports_dtype(&self.hidden.0.device(), DType::I32) {
            IntDType::I32
        } else {
            IntDType::I64
        }
    }

    fn n_positions(&self) -> usize {
        self.n_rows * self.length
    }

    /// `[n_rows, length, chunk]`
    fn logits(&self, chunk: &Chunk<B>, precision: Precision) -> Plain<B> {
        let flat = self
            .hidden
            .clone()
            .reshape(&[self.n_positions(), self.width]);
        let logits = flat.matmul(chunk.weight.clone().transposed(), precision);
        let logits = match &chunk.bias {
            Some(bias) => logits + bias.clone().reshape(&[1, chunk.padded]),
            None => logits,
        };
        logits.reshape(&[self.n_rows, self.length, chunk.padded])
    }

    /// `[n_rows, length, 1]`: `inside` at tokens, `outside` at padding.
    fn marks(&self, inside: f32, outside: f32) -> Plain<B> {
        let marks = self.lengths.iter().flat_map(|&length| {
            (0..self.length).map(move |t| if t < length { inside } else { outside })
        });
        self.hidden
            .like(marks.collect(), &[self.n_rows, self.length, 1])
    }

    fn mask(&self) -> Plain<B> {
        self.marks(1.0, 0.0)
    }

    fn blocked(&self) -> Plain<B> {
        self.marks(0.0, BLOCKED)
    }

    /// `[n_rows · length, width]` without the padding.
    fn packed(&self, padded: Plain<B>) -> Plain<B> {
        let tokens: Vec<i32> = self
            .lengths
            .iter()
            .enumerate()
            .flat_map(|(row, &length)| (0..length).map(move |t| (row * self.length + t) as i32))
            .collect();
        let n_tokens = tokens.len();
        let tokens = padded.indices(tokens, &[n_tokens]);
        padded.select(0, tokens)
    }
}

/// Weight and bias, filled up with zeros to whole chunks.
struct Vocabulary<B: Backend> {
    weight: Plain<B>,
    bias: Option<Plain<B>>,
    size: usize,
    padded: usize,
}

/// Some vocabulary entries.
struct Chunk<B: Backend> {
    weight: Plain<B>,
    bias: Option<Plain<B>>,
    start: usize,
    padded: usize,
}

impl<B: Backend> Vocabulary<B> {
    fn new(weight: Plain<B>, bias: Option<Plain<B>>) -> Self {
        let [size, _] = weight.dims();
        let padded = size.next_multiple_of(CHUNK_ALIGNMENT);
        let mut vocabulary = Self {
            weight,
            bias: None,
            size,
            padded,
        };
        vocabulary.bias = bias.map(|bias| vocabulary.pad(bias, 0));
        vocabulary.weight = vocabulary.pad(vocabulary.weight.clone(), 0);
        vocabulary
    }

    /// Zeros behind the vocabulary's end along `dim`.
    fn pad(&self, tensor: Plain<B>, dim: usize) -> Plain<B> {
        if self.padded == self.size {
            return tensor;
        }
        let mut shape = tensor.0.shape().to_vec();
        shape[dim] = self.padded - self.size;
        let zeros = tensor.zeros(&shape);
        Plain::cat(vec![tensor, zeros], dim)
    }

    fn chunks(&self, n_positions: usize) -> impl Iterator<Item = Chunk<B>> + '_ {
        let fitting = CHUNK_ELEMENTS / n_positions.max(1) / CHUNK_ALIGNMENT * CHUNK_ALIGNMENT;
        let width = fitting.max(CHUNK_ALIGNMENT);
        (0..self.padded).step_by(width).map(move |start| {
            let padded = width.min(self.padded - start);
            Chunk {
                weight: self.weight.clone().narrow(0, start, padded),
                bias: self
                    .bias
                    .as_ref()
                    .map(|bias| bias.clone().narrow(0, start, padded)),
                start,
                padded,
            }
        })
    }

    /// `[n_rows, padded]` without what was filled up.
    fn cut_int(
        &self,
        tensor: burn::backend::tensor::IntTensor<B>,
        n_rows: usize,
    ) -> burn::backend::tensor::IntTensor<B> {
        B::int_slice(tensor, &[(0..n_rows).into(), (0..self.size).into()])
    }

    /// Positions of one chunk, `[n_rows, 1, chunk]`, filled up with zeros.
    fn chunk_int(
        &self,
        positions: burn::backend::tensor::IntTensor<B>,
        chunk: &Chunk<B>,
        n_rows: usize,
    ) -> burn::backend::tensor::IntTensor<B> {
        let end = (chunk.start + chunk.padded).min(self.size);
        let inside = B::int_slice(positions, &[(0..n_rows).into(), (chunk.start..end).into()]);
        let n_blank = chunk.start + chunk.padded - end;
        let whole = if n_blank == 0 {
            inside
        } else {
            let blank = self
                .weight
                .indices(vec![0; n_rows * n_blank], &[n_rows, n_blank]);
            B::int_cat(vec![inside, blank], 1)
        };
        B::int_reshape(whole, [n_rows, 1, chunk.padded].into())
    }
}
