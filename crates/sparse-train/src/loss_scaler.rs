//! Dynamic loss scaling for gradients in f16.

use serde::{Deserialize, Serialize};

/// The factor on the loss that keeps gradients within the range of f16 ([Micikevicius et al.,
/// 2018](https://arxiv.org/abs/1710.03740)), with the rule and the numbers of torch's `GradScaler`.
///
/// A gradient that isn't finite halves the factor, and the update is left out; 2,000 good updates in a row double it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossScaler {
    /// The factor, a power of two.
    pub(crate) scale: f64,
    /// Good updates since the factor changed.
    growth_tracker: u32,
    /// Updates that were left out so far. The learning rate does not count them.
    pub(crate) skipped: usize,
}

const INITIAL_SCALE: f64 = 65_536.0;
const GROWTH_INTERVAL: u32 = 2000;

/// Below this it isn't the factor that makes gradients overflow.
const LEAST_SCALE: f64 = 1.0 / 65_536.0;

impl Default for LossScaler {
    fn default() -> Self {
        Self {
            scale: INITIAL_SCALE,
            growth_tracker: 0,
            skipped: 0,
        }
    }
}

impl LossScaler {
    /// What can't be in a state that was read from a file.
    pub(crate) fn refusal(&self) -> Option<String> {
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Some(format!("`scale` must be above 0; got {}", self.scale));
        }
        (self.growth_tracker >= GROWTH_INTERVAL).then(|| {
            format!(
                "`growth_tracker` must be below {GROWTH_INTERVAL}; got {}",
                self.growth_tracker
            )
        })
    }

    /// Counts an update by whether its gradient was finite. False if that wasn't the fault of the factor.
    pub(crate) fn count(&mut self, finite: bool) -> bool {
        if finite {
            self.growth_tracker += 1;
            if self.growth_tracker == GROWTH_INTERVAL {
                self.scale *= 2.0;
                self.growth_tracker = 0;
            }
            return true;
        }
        self.scale /= 2.0;
        self.growth_tracker = 0;
        self.skipped += 1;
        self.scale >= LEAST_SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from `torch.amp.GradScaler` 2.15 with a growth interval of 2,000.
    #[test]
    fn the_factor_moves_as_that_of_torch() {
        let mut scaler = LossScaler::default();
        assert!(scaler.count(false));
        assert_eq!(scaler.scale, 32_768.0);
        for _ in 0..1999 {
            assert!(scaler.count(true));
        }
        assert_eq!(scaler.scale, 32_768.0);
        scaler.count(true);
        assert_eq!(scaler.scale, 65_536.0);
        // A bad one begins the count anew.
        for _ in 0..1999 {
            scaler.count(true);
        }
        scaler.count(false);
        scaler.count(true);
        assert_eq!((scaler.scale, scaler.skipped), (32_768.0, 2));
    }

    #[test]
    fn a_gradient_that_no_factor_helps_is_noticed() {
        let mut scaler = LossScaler::default();
        let halvings = (0..100).take_while(|_| scaler.count(false)).count();
        // 2^16 to 2^-16
        assert_eq!(halvings, 32);
    }
}
