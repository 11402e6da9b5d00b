//! The global allocator of our programs: mimalloc that keeps what it has for twenty seconds, on small pages.
//!
//! A training step allocates the same large tensors again and again. The system's allocator gives every block above 32 MiB
//! back to the kernel at once, and mimalloc does so after 10 ms; either way the next step waits for fresh, zeroed pages: on
//! BERT-base a quarter of its time, and still a seventh if everything free is given back once a second. What a program needed
//! for a while only, such as the files of a model, does go back.
//!
//! Huge pages of 2 MiB back the unused ends of the blocks as well, a tenth of the memory, and made no step faster.
//!
//! Programs link this crate and call [`keep_freed_memory`] first; libraries don't choose an allocator.

/// `mi_option_purge_delay` of mimalloc's public header: milliseconds until freed memory goes back to the kernel.
const PURGE_DELAY: core::ffi::c_int = 15;

/// Many steps long: whenever it has passed, all that is free goes back, and one step is slow.
const DELAY_MS: core::ffi::c_long = 20_000;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets freed memory stay with the process for twenty seconds. `MIMALLOC_PURGE_DELAY` in the environment decides otherwise.
pub fn keep_freed_memory() {
    #[allow(
        unsafe_code,
        reason = "mimalloc's options are set through its C interface"
    )]
    // SAFETY: takes two integers and touches nothing but the option, which other threads read with atomic loads; the
    // default applies only where the environment says nothing.
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, DELAY_MS);
    }
    #[cfg(target_os = "linux")]
    #[allow(unsafe_code, reason = "the kernel's switch has no safe interface")]
    // SAFETY: takes integers only, and changes how the kernel backs memory, not what is in it. Should it fail, huge pages
    // stay on.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
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
        assert_eq!(delay, 20_000);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pages_are_small() {
        keep_freed_memory();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        // Kernels before 5.9 don't say.
        if let Some(line) = status.lines().find(|line| line.starts_with("THP_enabled:")) {
            assert_eq!(line.split_whitespace().last(), Some("0"));
        }
    }
}
