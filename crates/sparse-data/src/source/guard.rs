//! A door behind which a decoder of other people may give up.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use super::malformed;
use crate::error::Result;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder, and makes an error that names the file of a panic in it: the decoders of Arrow and Parquet check their
/// lengths with assertions, which a damaged file fails.
pub(crate) fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    silence();
    let outer = GUARDED.replace(true);
    let decoded = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(outer);
    decoded.unwrap_or_else(|payload| {
        let said = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no reason was given");
        let said = said.lines().next().unwrap_or_default();
        Err(malformed(path, format!("is damaged: {said}")))
    })
}

/// Keeps guarded panics, which become errors, from being printed as well; all others are printed as before.
fn silence() {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let printed = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                printed(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_file() {
        let broken: Vec<u8> = Vec::new();
        let error = guarded(Path::new("a.arrow"), || Ok(broken[3])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a.arrow`: is damaged: index out of bounds: the len is 0 but the index is 3"
        );
        assert_eq!(guarded(Path::new("a.arrow"), || Ok(7)).unwrap(), 7);
    }
}
