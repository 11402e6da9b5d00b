//! The best hits of a query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::{Error, Result};

/// A document and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Position of the document, from 0, in the order in which documents were added.
    pub document: u32,
    /// Its similarity with the query.
    pub score: f32,
}

impl Hit {
    /// Best first: by descending score, then by ascending position.
    pub fn by_rank(&self, other: &Self) -> Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.document.cmp(&other.document))
    }
}

/// Collects the `k` best hits of one query.
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    /// The worst of the kept hits is on top.
    heap: BinaryHeap<ByRank>,
    /// Whether a score was no number that could be ranked.
    overflowed: bool,
}

impl TopK {
    /// An empty collection of at most `k` hits.
    pub fn new(k: usize) -> Self {
        Self {
            k,
            heap: BinaryHeap::new(),
            overflowed: false,
        }
    }

    /// Passes collections on, one per query, unless one was offered a score that is not finite.
    pub(crate) fn finite(best: Vec<Self>) -> Result<Vec<Self>> {
        match best.iter().position(|best| best.overflowed) {
            Some(query) => Err(Error::Overflow { query }),
            None => Ok(best),
        }
    }

    /// Takes the hit in if it is among the `k` best so far.
    pub fn offer(&mut self, hit: Hit) {
        if !hit.score.is_finite() {
            self.overflowed = true;
        } else if self.heap.len() < self.k {
            self.heap.push(ByRank(hit));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && hit.by_rank(&worst.0) == Ordering::Less
        {
            worst.0 = hit;
        }
    }

    /// Takes in documents `first`, `first + 1`, … with their scores.
    #[expect(
        clippy::neg_cmp_op_on_partial_ord,
        reason = "a score that is no number is not below the threshold, either"
    )]
    pub(crate) fn offer_block(&mut self, first: u32, scores: &[f32]) {
        // Most stretches hold nothing better than what is kept: one vectorized comparison skips them. A document that
        // only equals the worst kept score can still win by position, and one whose score is no number must be noticed:
        // hence not `<`.
        const STRETCH: usize = 64;
        for (stretch, scores) in scores.chunks(STRETCH).enumerate() {
            let threshold = self.threshold();
            if scores
                .iter()
                .fold(false, |any, &score| any | !(score < threshold))
            {
                for (offset, &score) in scores.iter().enumerate() {
                    if !(score < self.threshold()) {
                        let document = first + (stretch * STRETCH + offset) as u32;
                        self.offer(Hit { document, score });
                    }
                }
            }
        }
    }

    /// Takes in all hits of `other`.
    pub fn merge(&mut self, other: Self) {
        self.overflowed |= other.overflowed;
        other.heap.into_iter().for_each(|hit| self.offer(hit.0));
    }

    /// The kept hits, best first.
    pub fn into_hits(self) -> Vec<Hit> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|hit| hit.0)
            .collect()
    }

    /// Scores below this cannot enter.
    fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.k => worst.0.score,
            _ if self.k == 0 => f32::INFINITY,
            _ => f32::NEG_INFINITY,
        }
    }
}

/// Orders hits so that a worse one is greater.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ByRank(Hit);

impl Eq for ByRank {}

impl Ord for ByRank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.by_rank(&other.0)
    }
}

impl PartialOrd for ByRank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(k: usize, scores: &[f32]) -> Vec<u32> {
        let mut block = TopK::new(k);
        block.offer_block(0, scores);
        let mut single = TopK::new(k);
        // From the last to the first: the result must not depend on the order of offering.
        for (document, &score) in scores.iter().enumerate().rev() {
            single.offer(Hit {
                document: document as u32,
                score,
            });
        }
        let hits = block.into_hits();
        assert_eq!(hits, single.into_hits());
        hits.iter().map(|hit| hit.document).collect()
    }

    #[test]
    fn ties_go_to_the_earlier_document() {
        assert_eq!(best(3, &[0.0, 2.0, 0.0, 2.0, 0.0]), [1, 3, 0]);
        assert_eq!(best(2, &[1.0; 200]), [0, 1]);
    }

    #[test]
    fn a_score_that_is_not_finite_is_noticed_however_many_better_ones_there_are() {
        for score in [f32::NAN, f32::INFINITY] {
            let mut scores = vec![9.0; 300];
            scores[250] = score;
            for k in [0, 1, 400] {
                let mut best = TopK::new(k);
                best.offer_block(0, &scores);
                let error = TopK::finite(vec![TopK::new(1), best]).unwrap_err();
                assert!(matches!(error, Error::Overflow { query: 1 }));
            }
        }
        let mut best = TopK::new(2);
        best.offer_block(0, &[1.0, f32::MAX]);
        assert!(TopK::finite(vec![best]).is_ok());
    }

    #[test]
    fn fewer_documents_than_asked_for() {
        assert_eq!(best(10, &[-1.0, 3.0]), [1, 0]);
        assert!(best(0, &[1.0, 2.0]).is_empty());
        assert!(best(3, &[]).is_empty());
    }
}
