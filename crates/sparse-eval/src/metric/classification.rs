//! Figures of scored pairs that are alike or not.

/// The best accuracy that a threshold on scores reaches, and that threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestAccuracy {
    /// Share of pairs on the right side of the threshold.
    pub accuracy: f64,
    /// Pairs that score at least this (for distances: at most) are called alike.
    pub threshold: f32,
}

/// The best F1 that a threshold on scores reaches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestF1 {
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Share of alike pairs among those called alike.
    pub precision: f64,
    /// Share of alike pairs that are called alike.
    pub recall: f64,
    /// Pairs that score at least this (for distances: at most) are called alike.
    pub threshold: f32,
}

/// A place where the list of pairs, most similar first, can be cut: after a group of equal scores.
struct Cut {
    above: usize,
    alike_above: usize,
    threshold: f32,
}

/// Finds the threshold of highest accuracy; `distances` says that smaller scores are more alike.
///
/// Calling nothing alike is the start, with a threshold just beyond the best score; the first of equally good cuts wins.
///
/// # Panics
///
/// If the slices differ in length or are empty.
pub fn best_accuracy(scores: &[f32], alike: &[bool], distances: bool) -> BestAccuracy {
    let n_alike = alike.iter().filter(|&&alike| alike).count();
    let n_unlike = alike.len() - n_alike;
    let order = by_similarity(scores, alike, distances);
    let top = scores[order[0]];
    let start = BestAccuracy {
        accuracy: n_unlike as f64 / alike.len() as f64,
        threshold: if distances {
            top.next_down()
        } else {
            top.next_up()
        },
    };
    cuts(&order, scores, alike).fold(start, |best, cut| {
        let right = cut.alike_above + n_unlike - (cut.above - cut.alike_above);
        let accuracy = right as f64 / alike.len() as f64;
        if accuracy > best.accuracy {
            BestAccuracy {
                accuracy,
                threshold: cut.threshold,
            }
        } else {
            best
        }
    })
}

/// Finds the threshold of highest F1; `distances` says that smaller scores are more alike. All zero if nothing is alike.
///
/// # Panics
///
/// If the slices differ in length or are empty.
pub fn best_f1(scores: &[f32], alike: &[bool], distances: bool) -> BestF1 {
    let n_alike = alike.iter().filter(|&&alike| alike).count();
    let order = by_similarity(scores, alike, distances);
    let start = BestF1 {
        f1: 0.0,
        precision: 0.0,
        recall: 0.0,
        threshold: 0.0,
    };
    cuts(&order, scores, alike)
        .filter(|cut| cut.alike_above > 0)
        .fold(start, |best, cut| {
            let precision = cut.alike_above as f64 / cut.above as f64;
            let recall = cut.alike_above as f64 / n_alike as f64;
            let f1 = 2.0 * precision * recall / (precision + recall);
            if f1 > best.f1 {
                BestF1 {
                    f1,
                    precision,
                    recall,
                    threshold: cut.threshold,
                }
            } else {
                best
            }
        })
}

/// Matthews correlation of what is called alike with what is; 0 where it is undefined.
///
/// ```text
/// (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN))
/// ```
pub fn matthews_correlation(called_alike: &[bool], alike: &[bool]) -> f64 {
    let count = |called: bool, truly: bool| {
        let pairs = called_alike.iter().zip(alike);
        pairs.filter(|&(&a, &b)| a == called && b == truly).count() as f64
    };
    let (tp, tn, fp, fn_) = (
        count(true, true),
        count(false, false),
        count(true, false),
        count(false, true),
    );
    let scale = ((tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_)).sqrt();
    if scale > 0.0 {
        (tp * tn - fp * fn_) / scale
    } else {
        0.0
    }
}

/// Pairs in order, the most similar first; equal scores keep their order.
fn by_similarity(scores: &[f32], alike: &[bool], distances: bool) -> Vec<usize> {
    assert_eq!(scores.len(), alike.len(), "one score per pair");
    assert!(!scores.is_empty(), "at least one pair");
    let mut order = (0..scores.len()).collect::<Vec<_>>();
    order.sort_by(|&a, &b| match distances {
        true => scores[a].total_cmp(&scores[b]),
        false => scores[b].total_cmp(&scores[a]),
    });
    order
}

fn cuts<'a>(order: &'a [usize], scores: &'a [f32], alike: &'a [bool]) -> impl Iterator<Item = Cut> {
    let (mut above, mut alike_above) = (0, 0);
    order
        .chunk_by(|&a, &b| scores[a] == scores[b])
        .map(move |group| {
            above += group.len();
            alike_above += group.iter().filter(|&&pair| alike[pair]).count();
            let left = scores[group[0]];
            let threshold = order.get(above).map_or(left, |&next| {
                let right = scores[next];
                let middle = (left + right) / 2.0;
                // Neighbouring floats have nothing between them.
                if middle == right { left } else { middle }
            });
            Cut {
                above,
                alike_above,
                threshold,
            }
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alike(labels: &[u8]) -> Vec<bool> {
        labels.iter().map(|&label| label == 1).collect()
    }

    #[test]
    fn values_of_the_reference() {
        let scores = [0.9, 0.8, 0.7, 0.6, 0.55, 0.5];
        let labels = alike(&[1, 0, 1, 1, 0, 0]);
        let accuracy = best_accuracy(&scores, &labels, false);
        assert_eq!(
            (accuracy.accuracy, accuracy.threshold),
            (5.0 / 6.0, (0.6f32 + 0.55) / 2.0)
        );
        let f1 = best_f1(&scores, &labels, false);
        assert_eq!(
            (f1.precision, f1.recall, f1.threshold),
            (0.75, 1.0, (0.6f32 + 0.55) / 2.0)
        );
        assert!((f1.f1 - 0.857143).abs() < 1e-6);
    }

    #[test]
    fn tied_scores_are_not_cut_apart() {
        let labels = alike(&[1, 0, 1, 0]);
        let accuracy = best_accuracy(&[0.5; 4], &labels, false);
        assert_eq!(
            (accuracy.accuracy, accuracy.threshold),
            (0.5, 0.5f32.next_up())
        );
        let f1 = best_f1(&[0.5; 4], &labels, false);
        assert_eq!((f1.precision, f1.recall, f1.threshold), (0.5, 1.0, 0.5));
    }

    #[test]
    fn the_last_pair_can_be_called_alike() {
        let labels = alike(&[1, 1, 1]);
        let accuracy = best_accuracy(&[0.3, 0.2, 0.1], &labels, false);
        assert_eq!((accuracy.accuracy, accuracy.threshold), (1.0, 0.1));
        assert_eq!(best_f1(&[0.3, 0.2, 0.1], &labels, false).f1, 1.0);
    }

    #[test]
    fn distances_are_cut_from_the_other_side() {
        let labels = alike(&[1, 1, 0, 0]);
        assert_eq!(
            best_accuracy(&[1.0, 2.0, 10.0, 20.0], &labels, true),
            BestAccuracy {
                accuracy: 1.0,
                threshold: 6.0
            }
        );
        assert_eq!(
            best_f1(&[1.0, 2.0, 10.0, 20.0], &labels, true).threshold,
            6.0
        );
    }

    #[test]
    fn an_undefined_correlation_is_zero() {
        assert_eq!(
            matthews_correlation(&[true, true, true], &[true, false, true]),
            0.0
        );
        assert_eq!(matthews_correlation(&[true, false], &[true, false]), 1.0);
        assert_eq!(matthews_correlation(&[false, true], &[true, false]), -1.0);
    }

    proptest! {
        #[test]
        fn the_threshold_gives_back_the_figure(
            pairs in proptest::collection::vec((0u8..20, any::<bool>()), 1..40),
            distances: bool,
        ) {
            let (scores, alike): (Vec<f32>, Vec<bool>) =
                pairs.into_iter().map(|(score, alike)| (f32::from(score) / 7.0, alike)).unzip();
            let called = |threshold: f32| -> Vec<bool> {
                scores.iter().map(|&score| if distances { score <= threshold } else { score >= threshold }).collect()
            };
            let best = best_accuracy(&scores, &alike, distances);
            let right = called(best.threshold).iter().zip(&alike).filter(|(a, b)| a == b).count();
            prop_assert_eq!(best.accuracy, right as f64 / alike.len() as f64);

            let best = best_f1(&scores, &alike, distances);
            if alike.contains(&true) {
                let called = called(best.threshold);
                let both = called.iter().zip(&alike).filter(|&(&a, &b)| a && b).count() as f64;
                prop_assert_eq!(best.precision, both / called.iter().filter(|&&called| called).count() as f64);
                prop_assert_eq!(best.recall, both / alike.iter().filter(|&&alike| alike).count() as f64);
            } else {
                prop_assert_eq!(best.f1, 0.0);
            }
        }
    }
}
