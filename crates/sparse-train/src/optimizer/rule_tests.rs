//! Optimizers against torch, and by hand.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;

use super::*;

fn tensor(values: &[f32]) -> Tensor<1> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [values.len()]),
        &Device::flex(),
    )
}

fn numbers(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn rule(optim: OptimizerType, options: &str) -> Rule {
    Rule::new(&TrainingArguments {
        optim,
        optim_args: Some(options.to_owned()),
        ..TrainingArguments::default()
    })
    .unwrap()
}

/// Parameters after each of the gradients, at a rate of 0.1.
fn run(rule: &Rule, start: &[f32], gradients: &[&[f32]], weight_decay: f64) -> Vec<Vec<f32>> {
    let shape = [start.len()];
    let mut value = tensor(start);
    let mut slots: Vec<_> = rule
        .slots(&shape)
        .iter()
        .map(|(_, length)| Tensor::zeros([*length], &Device::flex()))
        .collect();
    let mut after = Vec::new();
    for (index, gradient) in gradients.iter().enumerate() {
        let update = Update {
            learning_rate: 0.1,
            weight_decay,
            number: index as u64 + 1,
            gradient_scale: 1.0,
            shape: &shape,
        };
        (value, slots) = rule.update(value, tensor(gradient), slots, &update);
        after.push(value.to_data().try_to_vec::<f32>().unwrap());
    }
    after
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let limit = 2e-6 * expected.abs().max(1.0);
        assert!(
            (found - expected).abs() <= limit,
            "{what}: {found} instead of {expected}"
        );
    }
}

#[test]
fn five_updates_are_those_of_torch() {
    let golden: Value =
        serde_json::from_str(include_str!("../../tests/golden/optimizers.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        let optim = serde_json::from_value(case["optim"].clone()).unwrap();
        let rule = rule(optim, case["optim_args"].as_str().unwrap());
        for (which, shape) in golden["shapes"].as_array().unwrap().iter().enumerate() {
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).unwrap();
            let mut value = tensor(&numbers(&golden["parameters"][which]));
            let mut slots: Vec<_> = rule
                .slots(&shape)
                .iter()
                .map(|(_, length)| Tensor::zeros([*length], &Device::flex()))
                .collect();
            for (step, rate) in golden["rates"].as_array().unwrap().iter().enumerate() {
                let update = Update {
                    learning_rate: rate.as_f64().unwrap(),
                    weight_decay: case["weight_decay"].as_f64().unwrap(),
                    number: step as u64 + 1,
                    gradient_scale: 0.5,
                    shape: &shape,
                };
                // Clipping halves what is twice the gradient.
                let gradient = tensor(&numbers(&golden["gradients"][step][which])) * 2.0;
                (value, slots) = rule.update(value, gradient, slots, &update);
                assert_near(
                    &value.to_data().try_to_vec::<f32>().unwrap(),
                    &numbers(&case["parameters_after_each_update"][step][which]),
                    &format!(
                        "{} {} λ = {}, update {step} of {shape:?}",
                        case["optim"], case["optim_args"], case["weight_decay"]
                    ),
                );
            }
            let lengths: Vec<usize> = slots.iter().map(|slot| slot.dims()[0]).collect();
            let expected: Vec<usize> = rule.slots(&shape).iter().map(|slot| slot.1).collect();
            assert_eq!(lengths, expected);
        }
    }
}

#[test]
fn sgd_by_hand() {
    let momentum = rule(OptimizerType::Sgd, "momentum=0.5");
    // b = 2, then 0.5·2 + 1 = 2:  1 − 0.1·2 = 0.8,  0.8 − 0.1·2 = 0.6
    let after = run(&momentum, &[1.0], &[&[2.0], &[1.0]], 0.0);
    assert_near(&after.concat(), &[0.8, 0.6], "momentum");
    // The decay is in the gradient: 1 − 0.1·(2 + 0.5·1) = 0.75
    let after = run(&rule(OptimizerType::Sgd, ""), &[1.0], &[&[2.0]], 0.5);
    assert_near(&after.concat(), &[0.75], "decay");
}

#[test]
fn adagrad_by_hand() {
    // s = 4, √s = 2: 1 − 0.1·2/2 = 0.9.  s = 4 + 12.25 = 16.25: 0.9 − 0.1·3.5/4.031129 = 0.813175
    let after = run(
        &rule(OptimizerType::Adagrad, ""),
        &[1.0],
        &[&[2.0], &[3.5]],
        0.0,
    );
    assert_near(&after.concat(), &[0.9, 0.813_175], "adagrad");
}

#[test]
fn rmsprop_by_hand() {
    // v = 0.25·0 + 0.75·4 = 3: 1 − 0.1·2/1.732051 = 0.884530
    let rule = rule(OptimizerType::Rmsprop, "alpha=0.25");
    let after = run(&rule, &[1.0], &[&[2.0]], 0.0);
    assert_near(&after.concat(), &[0.884_530], "rmsprop");
}

#[test]
fn lion_by_hand() {
    let rule = rule(OptimizerType::Lion, "");
    // Decay beside the gradient: 1·(1 − 0.1·0.5) − 0.1·sign = 0.85; m = 0.001·2 = 0.002.
    // Then sign(0.9·0.002 − 0.1·0.01) = +1 although the gradient is −0.01: 0.85·0.95 − 0.1 = 0.7075
    let after = run(&rule, &[1.0], &[&[2.0], &[-0.01]], 0.5);
    assert_near(&after.concat(), &[0.85, 0.7075], "lion");
}

#[test]
fn adafactor_by_hand() {
    let rule = rule(OptimizerType::Adafactor, "");
    // β₂ = 1 − 1^−0.8 = 0 in the first update: v = g², u = sign(g), RMS(u) = 1: 1 ∓ 0.1
    let after = run(&rule, &[1.0, 1.0], &[&[3.0, -5.0]], 0.0);
    assert_near(&after.concat(), &[0.9, 1.1], "adafactor");
    let names: Vec<_> = rule.slots(&[2, 3, 4]);
    assert_eq!(names, [("exp_avg_sq_row", 6), ("exp_avg_sq_col", 8)]);
}
