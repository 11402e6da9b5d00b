//! Signals that end the program: nothing half-written is left behind.

use std::process::exit;
use std::sync::{Mutex, PoisonError};

use sparse_encoder::train::Interrupt;

use crate::failure::{Failure, Result};
use crate::output::to_stderr;

/// Exit code of a command that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// What the first signal asks to stop, if it doesn't end the program at once.
static STOPS: Mutex<Option<Interrupt>> = Mutex::new(None);

/// From now on SIGINT, SIGTERM and SIGHUP end the program after removing what isn't complete.
pub(crate) fn watch() -> Result<()> {
    ctrlc::set_handler(|| {
        let stops = STOPS.lock().unwrap_or_else(PoisonError::into_inner);
        match stops.as_ref() {
            Some(interrupt) if !interrupt.is_requested() => {
                interrupt.request();
                to_stderr("stopping after this step; once more to stop at once");
            }
            _ => leave(INTERRUPTED),
        }
    })
    .map_err(|error| Failure::run(format!("failed to listen for signals: {error}")))
}

/// From now on the first signal ends a training after its step, the second at once.
pub(crate) fn stop_after_step(interrupt: Interrupt) {
    *STOPS.lock().unwrap_or_else(PoisonError::into_inner) = Some(interrupt);
}

/// From now on the first signal ends the program again.
pub(crate) fn stop_at_once() {
    *STOPS.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Ends the program here, without what is half-written.
pub(crate) fn leave(code: u8) -> ! {
    sparse_encoder::files::discard_all();
    exit(code.into())
}
