//! Picking negatives from what a search found.

use sparse_index::Hit;

use super::{MiningConfig, MiningData, SamplingStrategy};
use crate::Result;

/// Negatives of every query, and what the rules dropped.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Per query its negatives, best first; fewer than asked for where the rules left no more.
    pub negatives: Vec<Vec<Hit>>,
    /// Candidates looked at.
    pub n_candidates: usize,
    /// Candidates dropped because they are relevant to their query.
    pub dropped_positives: usize,
    /// Candidates dropped by each rule that is set, by the rule's name; one that fails several rules counts for the first.
    pub dropped: Vec<(&'static str, usize)>,
}

/// Picks negatives from the candidates found for each query (best first) by the rules of `config`.
///
/// # Errors
///
/// If a setting is wrong.
///
/// # Panics
///
/// If `found` or `positive_scores` do not have one entry per query.
pub fn select_negatives(
    data: &MiningData,
    found: &[Vec<Hit>],
    positive_scores: &[Vec<f32>],
    config: &MiningConfig,
) -> Result<Selection> {
    assert_eq!(
        (found.len(), positive_scores.len()),
        (data.queries.len(), data.queries.len()),
        "one per query"
    );
    let range = config.range(data.max_positives())?;
    let names = [
        "absolute_margin",
        "relative_margin",
        "max_score",
        "min_score",
    ];
    let mut dropped = [0; 4];
    let mut selection = Selection::default();
    for (query, hits) in found.iter().enumerate() {
        selection.n_candidates += hits.len();
        let weakest = positive_scores[query]
            .iter()
            .copied()
            .fold(f32::INFINITY, f32::min);
        let mut valid = hits.clone();
        if !config.include_positives {
            valid.retain(|hit| !data.positives[query].contains(&hit.document));
            selection.dropped_positives += hits.len() - valid.len();
        }
        valid.retain(|hit| match broken_rule(hit.score, weakest, config) {
            Some(rule) => {
                dropped[rule] += 1;
                false
            }
            None => true,
        });
        // New scores may have changed the order; equal scores keep theirs.
        valid.sort_by(|a, b| b.score.total_cmp(&a.score));
        valid.truncate(range.end);
        let valid = valid.get(range.start..).unwrap_or_default();
        selection.negatives.push(match config.sampling_strategy {
            SamplingStrategy::Top => valid[..valid.len().min(config.num_negatives)].to_vec(),
            SamplingStrategy::Random => {
                sample(valid, config.num_negatives, config.seed, query as u64)
            }
        });
    }
    let set = [
        config.absolute_margin,
        config.relative_margin,
        config.max_score,
        config.min_score,
    ];
    let rules = names.into_iter().zip(dropped).zip(set);
    selection.dropped = rules
        .filter(|rule| rule.1.is_some())
        .map(|rule| rule.0)
        .collect();
    Ok(selection)
}

/// Number of the first rule that a candidate breaks.
fn broken_rule(score: f32, weakest: f32, config: &MiningConfig) -> Option<usize> {
    let broken = [
        config
            .absolute_margin
            .is_some_and(|margin| score + margin > weakest),
        config
            .relative_margin
            .is_some_and(|margin| score > weakest - weakest.abs() * margin),
        config.max_score.is_some_and(|limit| score > limit),
        config.min_score.is_some_and(|limit| score < limit),
    ];
    broken.into_iter().position(|broken| broken)
}

/// `count` of the hits at random, in their old order; a pure function of seed and query.
fn sample(hits: &[Hit], count: usize, seed: u64, query: u64) -> Vec<Hit> {
    let mut state = mix(mix(seed) ^ query);
    let mut left = count.min(hits.len());
    let mut picked = Vec::with_capacity(left);
    // Selection sampling (Knuth, The Art of Computer Programming 2, algorithm S).
    for (position, hit) in hits.iter().enumerate() {
        state = mix(state);
        let remaining = (hits.len() - position) as u64;
        if state % remaining < left as u64 {
            picked.push(*hit);
            left -= 1;
        }
    }
    picked
}

/// SplitMix64 ([Steele et al., 2014](https://doi.org/10.1145/2714064.2660195)).
pub(crate) fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hits(scores: &[f32]) -> Vec<Hit> {
        (0..)
            .zip(scores)
            .map(|(document, &score)| Hit { document, score })
            .collect()
    }

    #[test]
    fn rules_drop_and_count() {
        let data = MiningData::new(&["q"], &["a"], &["b", "c", "d", "e"]).unwrap();
        let found = [hits(&[5.0, 6.0, 4.9, 4.0, 1.0])];
        let config = MiningConfig {
            absolute_margin: Some(0.5),
            max_score: Some(5.5),
            min_score: Some(2.0),
            num_negatives: 2,
            ..MiningConfig::default()
        };
        let selection = select_negatives(&data, &found, &[vec![5.0]], &config).unwrap();
        assert_eq!(
            selection.negatives,
            [vec![Hit {
                document: 3,
                score: 4.0
            }]]
        );
        assert_eq!(
            (selection.n_candidates, selection.dropped_positives),
            (5, 1)
        );
        assert_eq!(
            selection.dropped,
            [("absolute_margin", 2), ("max_score", 0), ("min_score", 1)]
        );
    }

    proptest! {
        #[test]
        fn random_picks_are_distinct_in_order_and_repeatable(n in 0usize..30, count in 1usize..10, seed: u64, query: u64) {
            let hits = hits(&vec![1.0; n]);
            let picked = sample(&hits, count, seed, query);
            prop_assert_eq!(picked.len(), count.min(n));
            prop_assert!(picked.windows(2).all(|pair| pair[0].document < pair[1].document));
            prop_assert_eq!(picked, sample(&hits, count, seed, query));
        }
    }

    #[test]
    fn every_candidate_is_picked_about_equally_often() {
        let hits = hits(&[0.0; 10]);
        let mut counts = [0; 10];
        for query in 0..10_000 {
            sample(&hits, 3, 1, query)
                .iter()
                .for_each(|hit| counts[hit.document as usize] += 1);
        }
        // 3,000 each, standard deviation 46.
        assert!(
            counts.iter().all(|count| (2_750..3_250).contains(count)),
            "{counts:?}"
        );
    }
}
