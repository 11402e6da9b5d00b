//! One buffer, written by several threads in disjoint places.

#![allow(
    unsafe_code,
    reason = "threads write disjoint strided parts of one buffer, which slices cannot express"
)]

use std::marker::PhantomData;

/// A mutable slice of which several threads take disjoint parts that are not contiguous as a whole, such as the same
/// columns of every row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: handing out references is unsafe, and who does it vouches for their being disjoint.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            length: slice.len(),
            lifetime: PhantomData,
        }
    }

    /// The `length` elements from `offset` on.
    ///
    /// # Safety
    ///
    /// While the result lives nobody else may touch these elements.
    pub(crate) unsafe fn slice(self, offset: usize, length: usize) -> &'a mut [T] {
        assert!(
            offset + length <= self.length,
            "a part lies inside its buffer"
        );
        // SAFETY: inside the buffer, and exclusive by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(offset), length) }
    }

    /// A pointer to element `offset` and the number of elements from there on.
    pub(crate) fn from(self, offset: usize) -> (*mut T, usize) {
        assert!(offset <= self.length, "a part lies inside its buffer");
        // SAFETY: inside the buffer or one past its end.
        (unsafe { self.start.add(offset) }, self.length - offset)
    }
}
