//! Quantized weights, kept as long as the weights they were made of.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use burn::tensor::Bytes;
use burn_flex::FlexTensor;

use super::{Known, QuantizedWeight};

/// Weights that are remembered at once; of more the oldest are forgotten.
const CAPACITY: usize = 8;

static WEIGHTS: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// A weight that was seen.
///
/// It holds the memory of the tensor weakly: the tensor dies with its last owner, and whoever changes it in place
/// (copy-on-write) moves it out of the shared memory first, because there is a weak handle. In either case this handle
/// is dead, and an entry never speaks of other values than those it was made of.
struct Entry {
    data: Weak<Bytes>,
    /// Where in the memory the weight lies.
    part: (usize, [usize; 2]),
    quantized: Option<Arc<QuantizedWeight>>,
}

impl Entry {
    fn is_of(&self, weight: &FlexTensor) -> bool {
        std::ptr::eq(self.data.as_ptr(), Arc::as_ptr(&weight.data_arc()))
            && self.part == part(weight)
    }
}

fn part(weight: &FlexTensor) -> (usize, [usize; 2]) {
    let layout = weight.layout();
    (
        layout.start_offset(),
        [layout.shape()[0], layout.shape()[1]],
    )
}

/// What is known of a contiguous weight. From now on it has been seen.
pub(crate) fn known(weight: &FlexTensor) -> Known {
    let mut weights = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    weights.retain(|entry| entry.data.strong_count() > 0);
    let known = weights.iter().find(|entry| entry.is_of(weight));
    match known {
        Some(Entry {
            quantized: Some(quantized),
            ..
        }) => Known::Quantized(Arc::clone(quantized)),
        Some(_) => Known::Seen,
        None => {
            if weights.len() == CAPACITY {
                weights.remove(0);
            }
            weights.push(Entry {
                data: Arc::downgrade(&weight.data_arc()),
                part: part(weight),
                quantized: None,
            });
            Known::New
        }
    }
}

/// Keeps the quantized weight as long as the weight lives unchanged.
pub(crate) fn keep(weight: &FlexTensor, quantized: Arc<QuantizedWeight>) {
    let mut weights = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = weights.iter_mut().find(|entry| entry.is_of(weight)) {
        entry.quantized = Some(quantized);
    }
}

/// Forgets a weight that was seen.
pub(crate) fn forget(weight: &FlexTensor) {
    let mut weights = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    weights.retain(|entry| !entry.is_of(weight));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;
    use crate::lexical_head::InstructionSet;
    use crate::lexical_head::flex::screen::weight::Sample;

    fn quantized(weight: &FlexTensor) -> Arc<QuantizedWeight> {
        let set = InstructionSet::Portable;
        let values = weight.storage::<f32>();
        Arc::new(QuantizedWeight::new(
            set,
            values,
            4,
            Sample::new(set, values, 4),
        ))
    }

    #[test]
    fn a_weight_is_known_until_it_is_changed_or_forgotten() {
        let mut weight = cpu::tensor(vec![1.0_f32; 32], &[8, 4]);
        assert!(matches!(known(&weight), Known::New));
        assert!(matches!(known(&weight), Known::Seen));
        keep(&weight, quantized(&weight));
        assert!(matches!(known(&weight.clone()), Known::Quantized(_)));
        // In place: there is no other owner.
        let before = weight.storage::<f32>().as_ptr();
        weight.storage_mut::<f32>()[0] = 2.0;
        assert_eq!(weight.storage::<f32>().as_ptr(), before, "changed in place");
        assert!(matches!(known(&weight), Known::New));
        keep(&weight, quantized(&weight));
        forget(&weight);
        assert!(matches!(known(&weight), Known::New));
        keep(&weight, quantized(&weight));
        // A copy: there is another owner, whose values stay.
        let mut copy = weight.clone();
        copy.storage_mut::<f32>()[0] = 3.0;
        assert!(matches!(known(&weight), Known::Quantized(_)));
        assert!(matches!(known(&copy), Known::New));
    }

    #[test]
    fn nothing_is_kept_of_a_weight_that_is_gone() {
        let weight = cpu::tensor(vec![1.0_f32; 32], &[8, 4]);
        assert!(matches!(known(&weight), Known::New));
        let quantized = quantized(&weight);
        keep(&weight, Arc::clone(&quantized));
        drop(weight);
        let other = cpu::tensor(vec![1.0_f32; 32], &[8, 4]);
        known(&other);
        assert_eq!(Arc::strong_count(&quantized), 1);
    }
}
