//! What an engine ranks with.

use sparse_index::SparseMatrix;

use crate::engine::{Engine, Weights};
use crate::error::{Error, Result};
use crate::impacts::Impacts;
use crate::options::Side;

/// Turns vectors into those whose dot products are the engine's scores, up to a constant factor and the rounding of sums.
///
/// | weights | document | query |
/// | --- | --- | --- |
/// | [`Float`](Weights::Float) | as it is | as it is |
/// | [`NineBits`](Weights::NineBits) | the low 15 bits of the `f32` are cut off | as it is |
/// | [`Byte`](Weights::Byte) | `round(min(w, 3) · 255 / 3) · 3 / 255` | `round(min(w, 16) · 255 / 16) · 16 / 255` |
/// | [`Impacts`](Weights::Impacts) | `round(w · scale) / scale` | `round(w · scale) / scale` |
///
/// With [`Byte`](Weights::Byte), dimensions are folded modulo 32,768 on both sides, and of those that meet the largest weight stays.
#[derive(Debug, Clone, Copy)]
pub struct Replay {
    engine: Engine,
    side: Side,
    impacts: Option<Impacts>,
}

/// Dimensions that OpenSearch's `SparseVector` tells apart.
const FOLD: u32 = 1 << 15;

impl Replay {
    /// The arithmetic of `engine`; `impacts` are those of the export.
    ///
    /// # Errors
    ///
    /// If the engine stores impacts, and there is no scale for them.
    pub fn new(engine: Engine, side: Side, impacts: Option<Impacts>) -> Result<Self> {
        if impacts.is_none() && matches!(engine.profile().weights, Weights::Impacts { .. }) {
            return Err(Error::NoScale { engine });
        }
        Ok(Self {
            engine,
            side,
            impacts,
        })
    }

    /// What the engine makes of `vectors`.
    ///
    /// # Errors
    ///
    /// If an impact does not fit; the message has the number of the row.
    pub fn apply(&self, vectors: &SparseMatrix) -> Result<SparseMatrix> {
        let weights = self.engine.profile().weights;
        let mut offsets = vec![0];
        let (mut indices, mut values) = (Vec::new(), Vec::new());
        for (number, row) in vectors.rows().enumerate() {
            let mut entries = Vec::with_capacity(row.nnz());
            for (index, weight) in row.iter() {
                let kept =
                    self.weight(weights, weight)
                        .map_err(|impacts| Error::ImpactOverflow {
                            id: number.to_string(),
                            index,
                            value: weight,
                            scale: impacts.scale(),
                            max: impacts.max(),
                        })?;
                let index = match weights {
                    Weights::Byte => index % FOLD,
                    _ => index,
                };
                entries.push((index, kept));
            }
            if weights == Weights::Byte {
                // Of those that meet, the largest comes first.
                entries.sort_by(|one, other| one.0.cmp(&other.0).then(other.1.total_cmp(&one.1)));
                entries.dedup_by_key(|entry| entry.0);
            }
            for (index, weight) in entries.into_iter().filter(|(_, weight)| *weight != 0.0) {
                indices.push(index);
                values.push(weight);
            }
            offsets.push(indices.len());
        }
        Ok(SparseMatrix::from_csr(
            vectors.n_cols(),
            offsets,
            indices,
            values,
        )?)
    }

    /// What is left of a weight, or the impacts in which it does not fit.
    fn weight(&self, weights: Weights, weight: f32) -> Result<f32, Impacts> {
        Ok(match (weights, self.side, self.impacts) {
            (Weights::NineBits, Side::Document, _) => f32::from_bits(weight.to_bits() >> 15 << 15),
            (Weights::Byte, side, _) => {
                let ceiling = match side {
                    Side::Document => 3.0,
                    Side::Query => 16.0,
                };
                (weight.clamp(0.0, ceiling) * 255.0 / ceiling).round() * ceiling / 255.0
            }
            (Weights::Impacts { .. }, _, Some(impacts)) => {
                let impact = impacts.impact(weight).ok_or(impacts)?;
                (f64::from(impact) / f64::from(impacts.scale())) as f32
            }
            _ => weight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(engine: Engine, side: Side, values: &[f32]) -> Vec<f32> {
        let vectors = SparseMatrix::from_dense(values, 1, values.len()).unwrap();
        let replay = Replay::new(engine, side, None).unwrap();
        replay.apply(&vectors).unwrap().to_dense()
    }

    #[test]
    fn lucene_keeps_nine_significant_bits_of_a_document() {
        // 1.0 + 2^-8 is the last step that is kept: the leading bit and 8 more.
        let values = [1.0 + 1.0 / 256.0, 1.0 + 1.0 / 512.0, 1.999, 0.1];
        let kept = [1.0 + 1.0 / 256.0, 1.0, 1.996_093_8, 0.099_853_516];
        assert_eq!(replay(Engine::Elasticsearch, Side::Document, &values), kept);
        assert_eq!(replay(Engine::Opensearch, Side::Query, &values), values);
        assert_eq!(replay(Engine::Pgvector, Side::Document, &values), values);
    }

    #[test]
    fn the_plugin_of_opensearch_cuts_and_folds() {
        let mut values = vec![0.0; 40_000];
        values[5] = 1.0;
        values[5 + 32_768] = 4.0;
        values[7] = 0.005;
        let documents = replay(Engine::OpensearchSparseVector, Side::Document, &values);
        assert_eq!(documents[5], 3.0);
        assert_eq!(documents[7], 0.0);
        assert_eq!(documents.iter().filter(|value| **value != 0.0).count(), 1);
        let queries = replay(Engine::OpensearchSparseVector, Side::Query, &values);
        assert!((queries[5] - 4.0).abs() < 16.0 / 255.0 / 2.0 + 1e-6);
    }

    #[test]
    fn impacts_are_steps_of_the_scale() {
        let vectors = SparseMatrix::from_dense(&[0.126, 0.004, 2.0], 1, 3).unwrap();
        let impacts = Impacts::new(100.0, 1000).unwrap();
        let replay = Replay::new(Engine::Anserini, Side::Document, Some(impacts)).unwrap();
        assert_eq!(replay.apply(&vectors).unwrap().to_dense(), [0.13, 0.0, 2.0]);
        let narrow = Impacts::new(100.0, 100).unwrap();
        let replay = Replay::new(Engine::Anserini, Side::Document, Some(narrow)).unwrap();
        assert!(matches!(
            replay.apply(&vectors),
            Err(Error::ImpactOverflow { index: 2, .. })
        ));
        assert!(Replay::new(Engine::Bmp, Side::Query, None).is_err());
    }
}
