//! A controller of a regularizer's weight: the number of active dimensions is given, the weight is found.

use serde::{Deserialize, Serialize};

/// Share of the past in the two running means of the measured logarithm, which lag by 4 and by 9 steps. Their distance gives
/// the slope, at about the delay with which AdamW (`beta1` = 0.9) follows a change of the gradient.
const FAST: f64 = 0.8;
const SLOW: f64 = 0.9;

/// Steps that the controller looks ahead: the delay from a change of the weight to its effect on the running means.
const HORIZON: f64 = 20.0;

/// Gain on the predicted error: 10 % too many dimensions raise the weight by a factor of 1.1⁵ = 1.6 at once.
const PROPORTIONAL: f64 = 5.0;

/// Largest change of the weight's logarithm in a step through the integral: four orders of magnitude take 46 steps.
const RATE: f64 = 0.2;

/// Predicted error at which the integral comes near its largest change.
const SATURATION: f64 = 0.3;

/// Range of weights; the lowest means none. AdamW divides each gradient by its own size, so that even a tiny weight moves
/// what the rest of the loss leaves alone: a model that has grown too sparse comes back only without any. Were the range
/// wider, its logarithm would wander so far down that it takes the rest of the run to come back.
const WEIGHTS: (f64, f64) = (1e-7, 1e4);

/// Share of the past in the running mean of the gap that dropout makes.
const GAP: f64 = 0.5;

/// Fewer measured dimensions than this count as this: an empty batch has no logarithm.
const LEAST: f64 = 0.1;

/// Sets a weight so that the mean number of active dimensions follows a course to its target.
///
/// The weight lives on a logarithmic scale, since nobody knows its order of magnitude, and so does the number of dimensions.
/// With `a` the running mean of `ln(active dims)` of the model without dropout (those of the update, and the gap between the
/// two as last measured), `r` the course, a straight line from the first measurement to the target
/// over the ramp of the regularizer schedule, and `ȧ`, `ṙ` their slopes per step:
///
/// ```text
/// e = a − r + 20·(ȧ − ṙ)                    predicted error: where the model will be if nothing changes
/// I ← I + 0.2 · η · tanh(e / 0.3)           η: learning rate as a share of its peak, since a model moves as far as that
/// weight = exp(I + 5·e)                     none below 1e-7
/// ```
///
/// `I` starts at the logarithm of the configured weight, which may be wrong by orders of magnitude.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SparsityController {
    target: f64,
    integral: f64,
    weight: f64,
    gap: Option<f64>,
    course: Option<Course>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Course {
    start: f64,
    fast: f64,
    slow: f64,
}

impl SparsityController {
    /// A controller for `target` active dimensions that begins with `weight`.
    pub(crate) fn new(target: usize, weight: f64) -> Self {
        let weight = weight.clamp(WEIGHTS.0, WEIGHTS.1);
        Self {
            target: (target as f64).ln(),
            integral: weight.ln(),
            weight,
            gap: None,
            course: None,
        }
    }

    /// Takes up what another controller has found; the target stays, which the training file may have changed since.
    pub(crate) fn go_on_from(&mut self, saved: &Self) {
        *self = Self {
            target: self.target,
            ..saved.clone()
        };
    }

    /// The weight for the next step.
    pub(crate) fn weight(&self) -> f64 {
        if self.is_off() { 0.0 } else { self.weight }
    }

    fn is_off(&self) -> bool {
        self.weight <= WEIGHTS.0 * (1.0 + 1e-9)
    }

    /// Takes in the active dimensions of the same texts with and without dropout.
    pub(crate) fn compare(&mut self, with_dropout: f64, without_dropout: f64) {
        let gap = without_dropout.max(LEAST).ln() - with_dropout.max(LEAST).ln();
        self.gap = Some(match self.gap {
            Some(past) => GAP * past + (1.0 - GAP) * gap,
            None => gap,
        });
    }

    /// What the model has at the end of a run, if that is more than a tenth off the target: a sentence about `what`.
    pub(crate) fn miss(&self, what: &str) -> Option<String> {
        let measured = self.course?.fast;
        if (measured - self.target).exp_m1().abs() <= 0.1 {
            return None;
        }
        let remedy = if measured < self.target && self.is_off() {
            "the regularizer is off, and the loss alone leaves no more: choose a lower target"
        } else if measured < self.target {
            "the model has not grown back yet: train longer"
        } else {
            "the model has not shrunk that far yet: train longer, or with a higher learning rate"
        };
        Some(format!(
            "{what} have {:.0} active dimensions at the end, the target is {:.0}: {remedy}",
            measured.exp(),
            self.target.exp(),
        ))
    }

    /// Takes in what an update measured. `progress` is the share of the ramp that is over, `ramp` its length in steps,
    /// `learning_rate` the rate of the update as a share of its peak.
    pub(crate) fn observe(
        &mut self,
        active_dims: f64,
        progress: f64,
        ramp: f64,
        learning_rate: f64,
    ) {
        let measured = active_dims.max(LEAST).ln() + self.gap.unwrap_or(0.0);
        let mut course = self.course.unwrap_or(Course {
            start: measured,
            fast: measured,
            slow: measured,
        });
        course.fast = FAST * course.fast + (1.0 - FAST) * measured;
        course.slow = SLOW * course.slow + (1.0 - SLOW) * measured;
        self.course = Some(course);

        let lag = |share: f64| share / (1.0 - share);
        let slope = (course.fast - course.slow) / (lag(SLOW) - lag(FAST));
        let way = self.target - course.start;
        let reference = course.start + way * progress.min(1.0);
        let reference_slope = if progress < 1.0 { way / ramp } else { 0.0 };
        let error =
            course.fast + lag(FAST) * slope - reference + HORIZON * (slope - reference_slope);

        let (least, most) = (WEIGHTS.0.ln(), WEIGHTS.1.ln());
        self.integral += RATE * learning_rate * (error / SATURATION).tanh();
        self.integral = self.integral.clamp(least, most);
        self.weight = (self.integral + PROPORTIONAL * error)
            .clamp(least, most)
            .exp();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model whose dimensions shrink and grow at a limited speed, ten steps after the weight said so; its balance is at
    /// weight 1 with 200 dimensions, and a tenth fewer cost a third more.
    fn follow(weight: f64, speed: f64) -> Vec<f64> {
        let (steps, ramp, warmup) = (331, 110.0, 34.0);
        let mut controller = SparsityController::new(200, weight);
        let (mut logarithm, mut drive) = (285.0_f64.ln(), 0.0);
        let mut noise = 1_u32;
        (0..steps)
            .map(|step| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let measured = logarithm + 0.2 * (f64::from(noise >> 8) / f64::from(1 << 24) - 0.5);
                let step = f64::from(step);
                let rate = (step / warmup).min((331.0 - step) / (331.0 - warmup));
                let balance = -3.0 * (logarithm - 200.0_f64.ln());
                drive = 0.9 * drive
                    + 0.1 * ((controller.weight().max(1e-9).ln() - balance) / 2.0).tanh();
                logarithm -= speed * rate * drive;
                controller.observe(measured.exp(), step / ramp, ramp, rate);
                logarithm.exp()
            })
            .collect()
    }

    #[test]
    fn the_target_is_reached_from_weights_far_off_in_both_directions() {
        for weight in [1e-4, 1.0, 1e4] {
            for speed in [0.01, 0.03, 0.06] {
                let dims = follow(weight, speed);
                let last = dims[dims.len() - 1];
                assert!(
                    (last / 200.0 - 1.0).abs() < 0.1,
                    "{last} from weight {weight} at {speed}"
                );
                let least = dims.iter().copied().fold(f64::INFINITY, f64::min);
                assert!(
                    least > 50.0,
                    "{least} on the way from weight {weight} at {speed}"
                );
            }
        }
    }

    #[test]
    fn an_empty_batch_lowers_the_weight() {
        let mut controller = SparsityController::new(200, 1.0);
        controller.observe(250.0, 0.0, 10.0, 1.0);
        controller.observe(0.0, 0.1, 10.0, 1.0);
        assert_eq!(controller.weight(), 0.0);
    }

    #[test]
    fn a_missed_target_is_told_with_its_cause() {
        let end = |target, dims: f64| {
            let mut controller = SparsityController::new(target, 1e-7);
            for _ in 0..200 {
                controller.observe(dims, 2.0, 10.0, 1.0);
            }
            controller.miss("documents").unwrap_or_default()
        };
        assert_eq!(end(200, 185.0), "");
        assert_eq!(
            end(200, 150.0),
            "documents have 150 active dimensions at the end, the target is 200: the regularizer is off, and the loss alone \
             leaves no more: choose a lower target"
        );
        assert!(end(200, 300.0).ends_with("with a higher learning rate"));
        assert_eq!(SparsityController::new(200, 1.0).miss("documents"), None);
    }

    #[test]
    fn the_target_is_meant_for_the_model_without_dropout() {
        let mut with_gap = SparsityController::new(200, 1.0);
        let mut plain = with_gap.clone();
        with_gap.compare(300.0, 270.0);
        with_gap.observe(300.0, 0.0, 10.0, 1.0);
        plain.observe(270.0, 0.0, 10.0, 1.0);
        assert!((with_gap.weight() / plain.weight() - 1.0).abs() < 1e-12);
        // The gap is a running mean: ln 0.9, then half of it and half of ln 0.8.
        with_gap.compare(100.0, 80.0);
        let expected = 0.5 * 0.9_f64.ln() + 0.5 * 0.8_f64.ln();
        assert!((with_gap.gap.unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn a_target_that_was_changed_holds() {
        let mut saved = SparsityController::new(200, 3e-5);
        saved.observe(300.0, 0.5, 10.0, 1.0);
        let mut same = SparsityController::new(200, 1.0);
        same.go_on_from(&saved);
        assert_eq!(same, saved);
        let mut lower = SparsityController::new(50, 1.0);
        lower.go_on_from(&saved);
        assert_eq!((lower.target, lower.weight), (50_f64.ln(), saved.weight));
    }

    #[test]
    fn the_state_survives_saving() {
        let mut controller = SparsityController::new(30, 3e-5);
        controller.compare(81.3, 75.0);
        controller.observe(81.3, 0.1, 10.0, 0.7);
        let text = serde_json::to_string(&controller).unwrap();
        assert_eq!(
            serde_json::from_str::<SparsityController>(&text).unwrap(),
            controller
        );
    }
}
