//! Weights as whole numbers.

use sparse_index::SparseMatrix;

use crate::error::{Error, Result};

/// How a weight `w` becomes an impact: `round(w · scale)`, at most `max`. A weight that rounds to 0 is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impacts {
    scale: f32,
    max: u32,
}

impl Impacts {
    /// Multiplies by `scale`; a product above `max` is an error.
    ///
    /// # Errors
    ///
    /// If `scale` is not a positive finite number.
    pub fn new(scale: f32, max: u32) -> Result<Self> {
        if scale.is_finite() && scale > 0.0 {
            Ok(Self { scale, max })
        } else {
            Err(Error::Scale { scale })
        }
    }

    /// The scale with which the largest weight of all vectors becomes `max`, but not above `at_most`.
    ///
    /// # Errors
    ///
    /// If `largest` is not a positive finite number.
    pub fn fitting(largest: f32, max: u32, at_most: f32) -> Result<Self> {
        let mut scale = (f64::from(max) / f64::from(largest)) as f32;
        // Rounded to f32, the product may be a little above.
        while f64::from(scale) * f64::from(largest) >= f64::from(max) + 0.5 {
            scale = scale.next_down();
        }
        Self::new(scale.min(at_most), max)
    }

    /// What a weight is multiplied by.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// Largest impact.
    pub fn max(self) -> u32 {
        self.max
    }

    /// The impact of a weight above 0, or nothing where it is above the largest.
    pub fn impact(self, weight: f32) -> Option<u32> {
        let impact = (f64::from(weight) * f64::from(self.scale)).round();
        (impact <= f64::from(self.max)).then_some(impact as u32)
    }

    /// The largest weight of some vectors, from which a scale can be made.
    pub fn largest_weight(vectors: &SparseMatrix) -> f32 {
        vectors.values().iter().copied().fold(0.0, f32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_weight_takes_the_largest_impact() {
        for largest in [0.1, 1.0, 2.7, 3.337_193_7, 255.0, 1e6] {
            let impacts = Impacts::fitting(largest, 255, f32::MAX).unwrap();
            assert_eq!(impacts.impact(largest), Some(255));
            assert_eq!(impacts.impact(largest * 1.01), None);
        }
        let impacts = Impacts::fitting(2.0, u32::MAX, 100.0).unwrap();
        assert_eq!(impacts.impact(1.234), Some(123));
        assert_eq!(impacts.impact(0.004), Some(0));
    }

    #[test]
    fn a_scale_is_a_positive_number() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Impacts::new(scale, 255).is_err());
        }
        assert!(Impacts::fitting(0.0, 255, f32::INFINITY).is_err());
    }
}
