//! The reference's regularizer weights, step by step.

use serde_json::json;
use sparse_losses::{RegularizerScheduleConfig, RegularizerWeights};

use crate::reader::json;

#[test]
fn every_weight_of_every_step_is_the_reference_s() {
    let file = json("regularizer_schedules.json");
    let schedules = file["schedules"].as_array().unwrap();
    for case in schedules {
        let config = json!({ "scheduler_type": case["scheduler_type"], "warmup_ratio": case["warmup_ratio"] });
        let config: RegularizerScheduleConfig = serde_json::from_value(config).unwrap();
        config.validate().unwrap();
        let total_steps = case["max_steps"].as_u64().unwrap();
        assert_eq!(
            config.ramp_length(total_steps),
            case["warmup_steps"].as_u64().unwrap(),
            "{case}"
        );
        let maxima = RegularizerWeights {
            document: case["document_regularizer_weight"].as_f64().unwrap(),
            query: case["query_regularizer_weight"].as_f64(),
        };
        for step in 0..total_steps {
            let weights = maxima.scaled(config.factor(step, total_steps));
            let expected = |key: &str| case[key][step as usize].as_f64();
            let close =
                |found: f64, expected: f64| (found - expected).abs() <= 1e-15 * expected.abs();
            assert!(
                close(
                    weights.document,
                    expected("document_weight_per_step").unwrap()
                ),
                "step {step} of {case}"
            );
            match (weights.query, expected("query_weight_per_step")) {
                (None, None) => {}
                (Some(found), Some(expected)) => {
                    assert!(close(found, expected), "step {step} of {case}")
                }
                differing => panic!("{differing:?} in step {step} of {case}"),
            }
        }
    }
    assert_eq!(schedules.len(), 49);
}
