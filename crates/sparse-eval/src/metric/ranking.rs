//! Figures of one ranked list.
//!
//! A list is given as `hits`: whether the document at each rank, from the best, is relevant. `n_relevant` counts all
//! relevant documents of the query, retrieved or not.

/// Whether each of the ranked ids is relevant.
pub fn hits<Id>(
    ranked: impl IntoIterator<Item = Id>,
    is_relevant: impl Fn(&Id) -> bool,
) -> Vec<bool> {
    ranked.into_iter().map(|id| is_relevant(&id)).collect()
}

/// 1 if any of the first `k` is relevant, 0 otherwise.
pub fn accuracy(hits: &[bool], k: usize) -> f64 {
    f64::from(u8::from(count(hits, k) > 0))
}

/// Share of relevant documents among the first `k` ranks; ranks beyond the end of the list count as irrelevant.
pub fn precision(hits: &[bool], k: usize) -> f64 {
    count(hits, k) as f64 / k as f64
}

/// Share of the relevant documents that is among the first `k`.
pub fn recall(hits: &[bool], n_relevant: usize, k: usize) -> f64 {
    ratio(count(hits, k) as f64, n_relevant as f64)
}

/// 1 / rank of the first relevant document among the first `k`, 0 if there is none.
pub fn reciprocal_rank(hits: &[bool], k: usize) -> f64 {
    let first = hits.iter().take(k).position(|&hit| hit);
    first.map_or(0.0, |position| 1.0 / (position + 1) as f64)
}

/// Normalized discounted cumulative gain with binary relevance
/// ([Järvelin and Kekäläinen, 2002](https://doi.org/10.1145/582415.582418)).
///
/// ```text
/// Σ_{i≤k} hit_i / log2(i + 1)  ÷  Σ_{i≤min(k, n_relevant)} 1 / log2(i + 1)
/// ```
pub fn ndcg(hits: &[bool], n_relevant: usize, k: usize) -> f64 {
    let gain: f64 = ranked_hits(hits, k)
        .map(discount)
        .fold(0.0, |sum, gain| sum + gain);
    let ideal = (1..=k.min(n_relevant))
        .map(discount)
        .fold(0.0, |sum, gain| sum + gain);
    ratio(gain, ideal)
}

/// Normalized discounted cumulative gain in which documents are more or less relevant, as `ndcg_cut` of `trec_eval`
/// ([Järvelin and Kekäläinen, 2002](https://doi.org/10.1145/582415.582418)). `gains` are the grades of the ranked documents, 0
/// for irrelevant ones; `ideal` those of all relevant ones, retrieved or not, descending.
///
/// ```text
/// Σ_{i≤k} gain_i / log2(i + 1)  ÷  Σ_{i≤k} ideal_i / log2(i + 1)
/// ```
pub fn graded_ndcg(gains: &[f64], ideal: &[f64], k: usize) -> f64 {
    let sum = |gains: &[f64]| {
        let discounted = (1..).zip(gains.iter().take(k));
        discounted
            .map(|(rank, gain)| gain * discount(rank))
            .fold(0.0, |sum, gain| sum + gain)
    };
    ratio(sum(gains), sum(ideal))
}

/// Average precision at `k`.
///
/// ```text
/// Σ_{i≤k} hit_i · (hits up to i) / i  ÷  min(k, n_relevant)
/// ```
pub fn average_precision(hits: &[bool], n_relevant: usize, k: usize) -> f64 {
    let precisions = ranked_hits(hits, k)
        .zip(1..)
        .map(|(rank, found)| f64::from(found) / rank as f64);
    ratio(
        precisions.fold(0.0, |sum, precision| sum + precision),
        k.min(n_relevant) as f64,
    )
}

/// Ranks, from 1, of the relevant documents among the first `k`.
fn ranked_hits(hits: &[bool], k: usize) -> impl Iterator<Item = usize> {
    (1..)
        .zip(hits.iter().take(k))
        .filter(|&(_, &hit)| hit)
        .map(|(rank, _)| rank)
}

fn count(hits: &[bool], k: usize) -> usize {
    ranked_hits(hits, k).count()
}

/// `1 / log2(rank + 1)`.
pub(crate) fn discount(rank: usize) -> f64 {
    1.0 / ((rank + 1) as f64).log2()
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn figures_lie_between_zero_and_one(
            hits in proptest::collection::vec(any::<bool>(), 0..30), missing in 0usize..5, k in 1usize..40,
        ) {
            let n_relevant = hits.iter().filter(|&&hit| hit).count() + missing;
            let figures = [
                accuracy(&hits, k),
                precision(&hits, k),
                recall(&hits, n_relevant, k),
                reciprocal_rank(&hits, k),
                ndcg(&hits, n_relevant, k),
                average_precision(&hits, n_relevant, k),
            ];
            prop_assert!(figures.iter().all(|figure| (0.0..=1.0 + 1e-12).contains(figure)), "{:?}", figures);
            // The best ranking has a gain of 1.
            let mut best = hits.clone();
            best.sort_by_key(|&hit| !hit);
            if missing == 0 && n_relevant > 0 {
                prop_assert!((ndcg(&best, n_relevant, k) - 1.0).abs() < 1e-12);
            }
        }
    }

    fn mean(figure: impl Fn(&[bool], usize) -> f64) -> f64 {
        // q1 finds d1 d0 d3 d2 and wants {d0, d3}; q2 finds d2 d1 d0 d5 and wants {d5}.
        let first = hits(["d1", "d0", "d3", "d2"], |id| ["d0", "d3"].contains(id));
        let second = hits(["d2", "d1", "d0", "d5"], |id| *id == "d5");
        (figure(&first, 2) + figure(&second, 1)) / 2.0
    }

    #[test]
    fn figures_of_the_reference() {
        let close = |value: f64, expected: f64| {
            assert!((value - expected).abs() < 1e-6, "{value} != {expected}")
        };
        close(mean(|hits, _| accuracy(hits, 1)), 0.0);
        close(mean(|hits, _| accuracy(hits, 3)), 0.5);
        close(mean(|hits, _| precision(hits, 3)), 0.333333);
        close(mean(|hits, n| recall(hits, n, 3)), 0.5);
        close(mean(|hits, n| ndcg(hits, n, 3)), 0.346713);
        close(mean(|hits, n| ndcg(hits, n, 10)), 0.562051);
        close(mean(|hits, _| reciprocal_rank(hits, 3)), 0.25);
        close(mean(|hits, n| average_precision(hits, n, 3)), 0.291667);
        close(mean(|hits, n| average_precision(hits, n, 100)), 0.416667);
    }

    #[test]
    fn graded_gains_by_hand() {
        let close = |value: f64, expected: f64| {
            assert!((value - expected).abs() < 1e-6, "{value} != {expected}")
        };
        // The best document comes third: (1 + 1 / log2(3) + 3 / 2) / (3 + 1 / log2(3) + 1 / 2) = 3.130930 / 4.130930
        close(
            graded_ndcg(&[1.0, 1.0, 3.0], &[3.0, 1.0, 1.0], 10),
            0.757924,
        );
        // Cut after two: (1 + 0.630930) / (3 + 0.630930)
        close(graded_ndcg(&[1.0, 1.0, 3.0], &[3.0, 1.0, 1.0], 2), 0.449177);
        // An irrelevant document first, one of the relevant ones not retrieved: 2 / log2(3) / (2 + 1 / log2(3))
        close(graded_ndcg(&[0.0, 2.0], &[2.0, 1.0], 10), 0.479625);
        close(graded_ndcg(&[3.0, 1.0, 1.0], &[3.0, 1.0, 1.0], 10), 1.0);
        assert_eq!(graded_ndcg(&[], &[3.0], 10), 0.0);
        assert_eq!(graded_ndcg(&[0.0], &[], 10), 0.0);
        // Grades of 1 give the figure without grades.
        let gains = [1.0, 0.0, 1.0, 0.0];
        let relevant = gains.map(|gain| gain > 0.0);
        for k in 1..6 {
            assert_eq!(graded_ndcg(&gains, &[1.0; 3], k), ndcg(&relevant, 3, k));
        }
    }

    #[test]
    fn precision_counts_ranks_that_do_not_exist() {
        assert_eq!(precision(&[true], 4), 0.25);
    }

    #[test]
    fn nothing_found_is_zero() {
        for figure in [recall, ndcg, average_precision] {
            assert_eq!(figure(&[], 3, 10), 0.0);
            assert_eq!(figure(&[], 0, 10), 0.0);
        }
        assert_eq!(reciprocal_rank(&[false, true], 1), 0.0);
    }
}
