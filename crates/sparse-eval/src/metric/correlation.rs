//! Correlation of predicted with given scores.

/// Pearson's correlation coefficient; NaN if either column is constant or there are fewer than two pairs.
///
/// # Panics
///
/// If the columns differ in length.
pub fn pearson(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "one value each per pair");
    let constant = |column: &[f64]| column.windows(2).all(|pair| pair[0] == pair[1]);
    if constant(a) || constant(b) {
        return f64::NAN;
    }
    let centred = |column: &[f64]| {
        let mean = column.iter().sum::<f64>() / column.len() as f64;
        let column = column.iter().map(|value| value - mean).collect::<Vec<_>>();
        let norm = column.iter().map(|value| value * value).sum::<f64>().sqrt();
        column.into_iter().map(move |value| value / norm)
    };
    let correlation = centred(a).zip(centred(b)).map(|(a, b)| a * b).sum::<f64>();
    correlation.clamp(-1.0, 1.0)
}

/// Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.
///
/// # Panics
///
/// If the columns differ in length.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

/// Ranks from 1, equal values sharing their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order = (0..values.len()).collect::<Vec<_>>();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 1;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let last = first + group.len() - 1;
        group
            .iter()
            .for_each(|&index| ranks[index] = (first + last) as f64 / 2.0);
        first = last + 1;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_reference() {
        let (gold, predicted) = ([1.0, 2.0, 2.0, 4.0], [0.1, 0.3, 0.2, 0.2]);
        assert!((spearman(&gold, &predicted) - 0.5).abs() < 1e-12);
        assert!((pearson(&gold, &predicted) - 0.3244428).abs() < 1e-7);
    }

    #[test]
    fn equal_values_share_their_mean_rank() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0]), [3.5, 2.0, 3.5, 1.0]);
    }

    #[test]
    fn a_constant_column_has_no_correlation() {
        assert!(pearson(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]).is_nan());
        assert!(spearman(&[1.0, 2.0], &[3.0, 3.0]).is_nan());
        assert!((spearman(&[1.0, 2.0, 3.0], &[1.0, 8.0, 9.0]) - 1.0).abs() < 1e-12);
    }
}
