//! The global allocator of our programs: mimalloc that keeps the memory it has.
//!
//! A training step allocates the same large tensors again and again. The system's allocator gives every block above 32 MiB
//! back to the kernel at once, and mimalloc does so after 10 ms; either way the next step waits for fresh, zeroed pages: on
//! BERT-base a quarter of its time. Programs link this crate and call [`keep_freed_memory`] first; libraries don't choose
//! an allocator.

/// `mi_option_purge_delay` of mimalloc's public header: milliseconds until freed memory goes back to the kernel, −1 for never.
const PURGE_DELAY: core::ffi::c_int = 15;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets freed memory stay with the process. `MIMALLOC_PURGE_DELAY` in the environment decides otherwise.
pub fn keep_freed_memory() {
    #[allow(
        unsafe_code,
        reason = "mimalloc's options are set through its C interface"
    )]
    // SAFETY: takes two integers and touches nothing but the option, which other threads read with atomic loads; the
    // default applies only where the environment says nothing.
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(
        unsafe_code,
        reason = "mimalloc's options are read through its C interface"
    )]
    fn freed_memory_is_kept() {
        keep_freed_memory();
        // SAFETY: reads an integer.
        let delay = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay, -1);
    }
}
