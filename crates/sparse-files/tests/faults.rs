//! Every operation on the disk fails once, in every way: what is left is the old or the new, whole.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::path::Path;
use std::process::Command;

use sparse_files::{StagedDirectory, remove_leftovers, write};

const FILES: &[&str] = &["a", "manifest", "sub/b"];

/// Says what a directory holds: `old`, `new`, nothing, or what is wrong with it.
fn state(target: &Path) -> String {
    let read = |name: &str| fs::read_to_string(target.join(name));
    if read("notes.txt").is_ok_and(|text| text != "mine") {
        return "lost what isn't ours".to_owned();
    }
    let contents: Vec<Option<String>> = FILES.iter().map(|name| read(name).ok()).collect();
    match &contents[..] {
        [Some(first), rest @ ..] if rest.iter().all(|other| other.as_ref() == Some(first)) => {
            first[..3].to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn content(word: &str) -> String {
    word.repeat(200_000)
}

fn save(target: &Path, word: &str) -> sparse_files::Result<()> {
    let staged = StagedDirectory::create(target)?;
    for name in FILES {
        staged.write(name, content(word))?;
    }
    staged
        .with_manifest("manifest")
        .replace(|path| FILES.iter().any(|name| path == Path::new(name)))
}

/// What a child does: the process that the fault happens in.
fn work(job: &str, folder: &Path) -> sparse_files::Result<()> {
    match job {
        "file" => write(folder.join("file"), content("new")),
        "directory" => save(&folder.join("model"), "new"),
        "inside" => {
            std::env::set_current_dir(folder.join("model")).unwrap();
            save(Path::new("."), "new")
        }
        _ => save(&folder.join("absent"), "new"),
    }
}

/// Not a test of its own: what the others start, with a fault in its environment.
#[test]
fn child() {
    let (Ok(job), Some(folder)) = (std::env::var("JOB"), std::env::var_os("FOLDER")) else {
        return;
    };
    let done = work(&job, Path::new(&folder));
    std::process::exit(if done.is_ok() { 0 } else { 3 });
}

/// Runs a job with the n-th operation failing, for every n, and checks each time what is left.
fn exhaust(job: &str, kind: &str, check: impl Fn(&Path, bool)) {
    for n in 1.. {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), content("old")).unwrap();
        save(&folder.path().join("model"), "old").unwrap();
        fs::write(folder.path().join("model/notes.txt"), "mine").unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("JOB", job)
            .env("FOLDER", folder.path())
            .env("SPARSE_ENCODER_FAULT", format!("{kind}@{n}"))
            .output()
            .unwrap();
        let fired = String::from_utf8_lossy(&output.stderr).contains("fault injected");
        let succeeded = output.status.success();
        if !fired {
            assert!(succeeded, "{output:?}");
            assert!(n > 4, "only {n} operations");
            check(folder.path(), true);
            return;
        }
        check(folder.path(), succeeded);
        if kind == "kill" {
            // The next process to come tidies up.
            remove_leftovers(folder.path()).unwrap();
            remove_leftovers(&folder.path().join("model")).unwrap();
        }
        if kind != "full" {
            // What a full disk can't take is found again by its name.
            let left = |directory: &Path| {
                let entries = fs::read_dir(directory).unwrap();
                let names = entries.map(|entry| entry.unwrap().file_name());
                let hidden = |name: &std::ffi::OsString| name.to_string_lossy().starts_with('.');
                names.filter(hidden).collect::<Vec<_>>()
            };
            let both = [left(folder.path()), left(&folder.path().join("model"))];
            // Removing is an operation too, and may be the one that fails.
            let removal = String::from_utf8_lossy(&output.stderr).contains(": remove `");
            assert!(
                both.iter().all(Vec::is_empty) || removal,
                "{job} {kind}@{n}: {both:?}"
            );
        }
    }
}

const KINDS: &[&str] = &["fail", "short", "full", "kill"];

#[test]
fn a_file_is_old_or_new() {
    for kind in KINDS {
        exhaust("file", kind, |folder, succeeded| {
            let text = fs::read_to_string(folder.join("file")).unwrap();
            assert!(text == content("new") || text == content("old") && !succeeded);
        });
    }
}

#[test]
fn a_directory_is_old_or_new_and_keeps_what_is_not_ours() {
    for kind in KINDS {
        exhaust("directory", kind, |folder, succeeded| {
            let state = state(&folder.join("model"));
            assert!(
                state == "new" || state == "old" && !succeeded,
                "{kind}: {state}"
            );
            assert!(folder.join("model/notes.txt").exists());
        });
    }
}

#[test]
fn a_new_directory_is_whole_or_absent() {
    for kind in KINDS {
        exhaust("absent", kind, |folder, succeeded| {
            let there = folder.join("absent").exists();
            assert!(there || !succeeded);
            assert!(!there || state(&folder.join("absent")) == "new");
        });
    }
}

#[test]
fn without_its_manifest_a_directory_that_cannot_be_moved_shows_that_it_is_not_whole() {
    for kind in KINDS {
        exhaust("inside", kind, |folder, succeeded| {
            let model = folder.join("model");
            assert!(model.join("notes.txt").exists());
            if model.join("manifest").exists() || succeeded {
                let state = state(&model);
                assert!(
                    state == "new" || state == "old" && !succeeded,
                    "{kind}: {state}"
                );
            }
        });
    }
}
