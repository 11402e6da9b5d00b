//! A process that runs inputs one after the other, and says before each which one it is.

use std::backtrace::Backtrace;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use crate::files::{self, Files, base_name};
use crate::shown::one_line;
use crate::targets::{Reading, Target};
use crate::{Result, mutate};

/// Largest resident memory of one input, in bytes.
pub const MEMORY_LIMIT: u64 = 2 << 30;

/// Name of the folder of an input, below that of its worker.
pub const INPUT: &str = "input";

/// Name of the folder in which a worker leaves an input that failed.
pub(crate) fn failed(number: u64) -> String {
    format!("failed-{number}")
}

/// Writes the seeds of a target into `folder`, a numbered folder each, and reads them: a target whose seeds are refused would
/// test nothing but its first check.
///
/// # Errors
///
/// If they can't be made, or aren't read.
pub fn write_seeds(target: &Target, folder: &Path) -> Result<()> {
    let scratch = folder.join("scratch");
    fs::create_dir_all(&scratch)?;
    std::env::set_current_dir(&scratch)?;
    let seeds = (target.seeds)()?;
    for (number, seed) in seeds.iter().enumerate() {
        std::env::set_current_dir(folder)?;
        files::write(&folder.join(format!("{number:02}")), seed)?;
        files::write(&scratch, seed)?;
        std::env::set_current_dir(&scratch)?;
        let report = run_one(target, &names(seed, &[]));
        if report["outcome"] != "ok" || !report["kind"].is_null() {
            return Err(format!("the seed {number} itself: {report}").into());
        }
    }
    std::env::set_current_dir(folder)?;
    fs::remove_dir_all(&scratch)?;
    Ok(())
}

/// Runs the inputs `first..end` of a target, whose seeds lie in `seeds`, in a folder of its own; prints one line as JSON
/// when an input begins and one when it ends.
///
/// # Errors
///
/// If the folder can't be written to. What the reader does is no error.
pub fn run(target: &Target, seeds: &Path, folder: &Path, first: u64, end: u64) -> Result<()> {
    let seeds = read_seeds(seeds)?;
    std::panic::set_hook(Box::new(|info| {
        let panic = (info.to_string(), Backtrace::force_capture());
        // The last words, should the process end of it.
        let _ = writeln!(std::io::stderr(), "{}", panic.0);
        *last_panic() = Some(panic);
    }));
    let input = folder.join(INPUT);
    for number in first..end {
        say(&json!({ "begin": number }))?;
        let (files, changed) = mutate::input(target.name, number, &seeds, target.may_change);
        std::env::set_current_dir(folder)?;
        files::write(&input, &files)?;
        std::env::set_current_dir(&input)?;
        let report = run_one(target, &names(&files, &changed));
        if !report["kind"].is_null() {
            // Whoever reads the report finds the input here, whatever the next one does.
            files::write(&folder.join(failed(number)), &files)?;
        }
        say(&report)?;
    }
    std::env::set_current_dir(folder)?;
    Ok(())
}

/// Runs a target on the files of a folder.
///
/// # Errors
///
/// If the folder doesn't exist.
pub fn replay(target: &Target, folder: &Path) -> Result<()> {
    std::env::set_current_dir(folder)?;
    let files = files::read(Path::new("."))?;
    say(&run_one(target, &names(&files, &[])))
}

fn read_seeds(folder: &Path) -> Result<Vec<Files>> {
    let mut folders = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    folders.sort();
    folders.iter().map(|folder| files::read(folder)).collect()
}

/// Names of files by which a message may say where the fault is.
fn names(files: &Files, changed: &[String]) -> Vec<String> {
    files
        .keys()
        .chain(changed)
        .map(|name| base_name(name).to_owned())
        .collect()
}

/// The last panic of any thread: one of a pool passes on only what it was, not where.
static PANIC: Mutex<Option<(String, Backtrace)>> = Mutex::new(None);

fn last_panic() -> MutexGuard<'static, Option<(String, Backtrace)>> {
    PANIC.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run_one(target: &Target, names: &[String]) -> Value {
    let mut reading = Reading::default();
    last_panic().take();
    forget_peak();
    let start = Instant::now();
    let caught = catch_unwind(AssertUnwindSafe(|| (target.read)(&mut reading)));
    let seconds = start.elapsed().as_secs_f64();
    let peak = peak_bytes();
    let outcome = if !reading.refused.is_empty() {
        "refused"
    } else if !reading.unusable.is_empty() {
        "unusable"
    } else {
        "ok"
    };
    let failure = match caught {
        Err(payload) => Some(("panic", panicked(payload.as_ref()))),
        Ok(()) => judged(&reading, names, peak),
    };
    let mut report = json!({ "outcome": outcome, "seconds": seconds, "peak": peak });
    if outcome != "ok" {
        let said = [reading.refused.join("; "), reading.unusable.join("; ")].concat();
        report["said"] = one_line(&said, 300).into();
    }
    if let Some((kind, message)) = failure {
        report["kind"] = kind.into();
        report["message"] = one_line(&message, 600).into();
    }
    report
}

fn judged(reading: &Reading, names: &[String], peak: u64) -> Option<(&'static str, String)> {
    if let Some(wrong) = &reading.wrong {
        return Some(("wrong", wrong.clone()));
    }
    let nameless = reading
        .refused
        .iter()
        .find(|message| !names.iter().any(|name| message.contains(name)));
    if let Some(message) = nameless {
        return Some(("unnamed", message.clone()));
    }
    (peak > MEMORY_LIMIT).then(|| ("memory", format!("{} MB", peak >> 20)))
}

/// What a panic said, and the innermost place of the product that was left by it.
fn panicked(payload: &(dyn std::any::Any + Send)) -> String {
    let Some((message, backtrace)) = last_panic().take() else {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(payload.downcast_ref::<&str>().copied());
        return text.unwrap_or("no message").to_owned();
    };
    match our_place(&backtrace.to_string()) {
        Some(place) => format!("{place}: {message}"),
        None => message,
    }
}

/// The innermost place of the product in a printed backtrace.
fn our_place(backtrace: &str) -> Option<&str> {
    let places = backtrace
        .lines()
        .filter_map(|line| line.trim().strip_prefix("at "));
    places
        .filter_map(|place| place.rsplit_once("crates/"))
        .map(|(_, place)| place)
        .find(|place| place.starts_with("sparse-"))
}

fn say(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()?;
    Ok(())
}

/// Lets the peak of the memory start anew, where the system can.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident memory since then, 0 where the system doesn't say.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(read: fn(&mut Reading)) -> Value {
        let target = Target {
            name: "test",
            batch: 1,
            seeds: || Ok(Vec::new()),
            may_change: |_| true,
            read,
        };
        run_one(&target, &["pairs.csv".to_owned()])
    }

    #[test]
    fn a_refusal_names_its_file() {
        let named = verdict(|reading| reading.refused.push("`pairs.csv`: no".to_owned()));
        assert_eq!(
            (&named["outcome"], &named["kind"]),
            (&"refused".into(), &Value::Null)
        );
        let nameless = verdict(|reading| reading.refused.push("no".to_owned()));
        assert_eq!(
            (&nameless["kind"], &nameless["message"]),
            (&"unnamed".into(), &"no".into())
        );
    }

    #[test]
    fn wrong_results_and_panics_are_failures() {
        let wrong = verdict(|reading| reading.wrong = Some("x".to_owned()));
        assert_eq!(wrong["kind"], "wrong");
        let panic = verdict(|_| panic!("a fault"));
        assert_eq!(panic["kind"], "panic");
        assert!(panic["message"].as_str().unwrap().contains("a fault"));
        assert_eq!(verdict(|_| {})["outcome"], "ok");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn too_much_memory_is_a_failure() {
        assert!(peak_bytes() > 1 << 20);
        let reading = Reading::default();
        assert_eq!(judged(&reading, &[], MEMORY_LIMIT), None);
        assert_eq!(
            judged(&reading, &[], MEMORY_LIMIT + 1),
            Some(("memory", "2048 MB".to_owned()))
        );
    }

    #[test]
    fn the_innermost_place_of_the_product_is_found() {
        let backtrace = "   0: std::panicking::begin\n             at /rustc/x.rs:1:2\n   1: sparse_fuzz::worker::hook\n             at ./fuzz/src/worker.rs:1:2\n   2: sparse_index::file::open\n             at ./crates/sparse-index/src/file.rs:7:9\n";
        assert_eq!(our_place(backtrace), Some("sparse-index/src/file.rs:7:9"));
        assert_eq!(our_place(""), None);
    }
}
