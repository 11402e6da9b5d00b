//! Panics of other people's code, turned into messages.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs code of another library on input that somebody else wrote. A panic in there is the input's fault and comes back as
/// its message, without a word on the standard error stream.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("it can't be worked with")
            .to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(guarded(|| 3), Ok(3));
        let index = std::hint::black_box(5);
        let problem = guarded(|| [1, 2, 3][index]).unwrap_err();
        assert!(problem.contains("index is 5"), "{problem}");
        assert_eq!(
            guarded(|| panic!("{index} words")),
            Err::<(), _>("5 words".to_string())
        );
        assert!(!QUIET.get(), "other panics are heard again");
    }
}
