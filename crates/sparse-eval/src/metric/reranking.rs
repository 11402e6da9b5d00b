//! Figures of scored candidates, ties included.

use super::ranking::discount;

/// Average precision of scored pairs, higher scores first; equal scores form one step, nothing is interpolated.
///
/// ```text
/// Σ over distinct scores, descending, of (Rₜ − Rₜ₋₁) · Pₜ
/// ```
///
/// 0 if nothing is relevant.
///
/// # Panics
///
/// If the slices differ in length.
pub fn average_precision(relevant: &[bool], scores: &[f64]) -> f64 {
    let order = by_descending_score(relevant, scores);
    let n_relevant = relevant.iter().filter(|&&relevant| relevant).count();
    let (mut found, mut seen, mut sum) = (0, 0, 0.0);
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let gained = group.iter().filter(|&&index| relevant[index]).count();
        (found, seen) = (found + gained, seen + group.len());
        sum += gained as f64 * (found as f64 / seen as f64);
    }
    if n_relevant == 0 {
        0.0
    } else {
        sum / n_relevant as f64
    }
}

/// 1 / rank of the first relevant candidate among the `k` of highest score, 0 if there is none; equal scores keep the
/// order given.
///
/// # Panics
///
/// If the slices differ in length.
pub fn reciprocal_rank(relevant: &[bool], scores: &[f64], k: usize) -> f64 {
    let order = by_descending_score(relevant, scores);
    let first = order.iter().take(k).position(|&index| relevant[index]);
    first.map_or(0.0, |position| 1.0 / (position + 1) as f64)
}

/// Normalized discounted cumulative gain at `k`, in which candidates of equal score share the mean gain of their group
/// ([McSherry and Najork, 2008](https://doi.org/10.1007/978-3-540-78646-7_38)).
///
/// # Panics
///
/// If the slices differ in length.
pub fn ndcg(relevant: &[bool], scores: &[f64], k: usize) -> f64 {
    let order = by_descending_score(relevant, scores);
    let mut rank = 0;
    let mut gain = 0.0;
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let found = group.iter().filter(|&&index| relevant[index]).count();
        let discounts = (rank + 1..=rank + group.len())
            .filter(|&rank| rank <= k)
            .map(discount);
        gain +=
            found as f64 / group.len() as f64 * discounts.fold(0.0, |sum, discount| sum + discount);
        rank += group.len();
    }
    let n_relevant = relevant.iter().filter(|&&relevant| relevant).count();
    let ideal = (1..=k.min(n_relevant))
        .map(discount)
        .fold(0.0, |sum, discount| sum + discount);
    if ideal > 0.0 { gain / ideal } else { 0.0 }
}

fn by_descending_score(relevant: &[bool], scores: &[f64]) -> Vec<usize> {
    assert_eq!(relevant.len(), scores.len(), "one score per candidate");
    let mut order = (0..scores.len()).collect::<Vec<_>>();
    order.sort_by(|&a, &b| {
        scores[b]
            .partial_cmp(&scores[a])
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEVANT: [bool; 4] = [true, false, true, false];

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6, "{value} != {expected}");
    }

    #[test]
    fn tied_scores_share_their_gain() {
        close(ndcg(&RELEVANT, &[0.5, 0.5, 0.5, 0.1], 2), 0.666667);
        close(ndcg(&RELEVANT, &[0.1, 0.9, 0.5, 0.2], 2), 0.386853);
    }

    #[test]
    fn tied_scores_form_one_step_of_average_precision() {
        close(
            average_precision(
                &[true, false, true, false, true],
                &[0.9, 0.8, 0.8, 0.3, 0.1],
            ),
            0.755556,
        );
        close(average_precision(&[true, true], &[0.5, 0.5]), 1.0);
        close(average_precision(&[false, false], &[0.5, 0.4]), 0.0);
    }

    #[test]
    fn reciprocal_rank_keeps_the_order_of_ties() {
        close(reciprocal_rank(&[false, true], &[0.5, 0.5], 10), 0.5);
        close(reciprocal_rank(&[true, false], &[0.5, 0.5], 10), 1.0);
        close(reciprocal_rank(&[false, true], &[0.5, 0.4], 1), 0.0);
    }

    #[test]
    fn a_single_relevant_candidate_is_perfect() {
        close(ndcg(&[true], &[1.0], 10), 1.0);
        close(ndcg(&[false], &[1.0], 10), 0.0);
    }
}
