//! Runs that end badly: killed at any instant, on a full disk, with a damaged checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::{Workshop, binary, stdout};

const STEPS: &str = "arguments.max_steps=40";

/// Forty steps, each of which leaves a checkpoint.
const EVERY_STEP: &[&str] = &[
    "train",
    "train.toml",
    "--set",
    STEPS,
    "--set",
    "arguments.save_strategy=steps",
    "--set",
    "arguments.save_steps=1",
    "--set",
    "arguments.save_total_limit=3",
    "--set",
    "arguments.logging_steps=1",
];

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    // Nothing is evaluated: the tests are about the weights.
    let text = fs::read_to_string(workshop.path("train.toml")).unwrap();
    let (training, _) = text.split_once("[[evaluator]]").unwrap();
    workshop.write("train.toml", training.as_bytes());
    workshop
}

fn train(workshop: &Workshop, more: &[&str]) -> Command {
    let mut command = binary();
    command
        .current_dir(workshop.folder.path())
        .args(EVERY_STEP)
        .args(more);
    command
}

fn output(workshop: &Workshop, more: &[&str]) -> Output {
    train(workshop, more).output().unwrap()
}

/// Checkpoints by step.
fn checkpoints(workshop: &Workshop) -> BTreeMap<usize, PathBuf> {
    let entries = fs::read_dir(workshop.path("out")).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name()?.to_str()?;
            Some((name.strip_prefix("checkpoint-")?.parse().ok()?, path))
        })
        .collect()
}

/// What a run leaves: model, optimizer, and the loss of every step.
fn result(workshop: &Workshop) -> (Vec<u8>, Vec<u8>, Vec<String>) {
    let read = |name: &str| fs::read(workshop.path(name)).unwrap();
    let state: serde_json::Value =
        serde_json::from_slice(&read("out/checkpoint-40/trainer_state.json")).unwrap();
    let history = state["log_history"].as_array().unwrap();
    let losses = history
        .iter()
        .filter_map(|entry| Some(format!("{} {}", entry["step"], entry.get("loss")?)))
        .collect();
    (
        read("out/final/model.safetensors"),
        read("out/checkpoint-40/optimizer.safetensors"),
        losses,
    )
}

#[test]
fn a_run_killed_at_any_instants_ends_with_the_same_bytes() {
    let whole = workshop();
    stdout(&output(&whole, &[]));
    let expected = result(&whole);
    assert_eq!(expected.2.len(), 40);

    let killed = workshop();
    // Pauses in milliseconds out of a linear congruence: as good as random, and the same in every run of the test.
    let mut state = 7_u64;
    let mut kills = 0;
    for _ in 0..12 {
        let more: &[&str] = if checkpoints(&killed).is_empty() {
            &[]
        } else {
            &["--resume"]
        };
        let mut child = train(&killed, more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(100 + (state >> 33) % 400));
        if child.try_wait().unwrap().is_some() {
            // It came to its end first.
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0, "no run was killed");
    let more: &[&str] = if checkpoints(&killed).is_empty() {
        &[]
    } else {
        &["--resume"]
    };
    stdout(&output(&killed, more));
    let found = result(&killed);
    assert_eq!(found.2, expected.2);
    assert!(found.0 == expected.0, "the weights differ");
    assert!(found.1 == expected.1, "the optimizer's state differs");
    let leftovers: Vec<_> = fs::read_dir(killed.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert_eq!(leftovers, Vec::<String>::new());
}

fn cut_in_half(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

#[test]
fn a_damaged_checkpoint_is_left_out_and_the_one_before_it_taken() {
    let workshop = workshop();
    stdout(&output(&workshop, &[]));
    let expected = result(&workshop);
    assert_eq!(
        checkpoints(&workshop).into_keys().collect::<Vec<_>>(),
        [38, 39, 40]
    );
    let out = workshop.path("out");
    cut_in_half(&out.join("checkpoint-40/model.safetensors"));
    // One that was being replaced when the run was killed, and one that was being written.
    fs::rename(
        out.join("checkpoint-39"),
        out.join(".checkpoint-39.replaced-1-0"),
    )
    .unwrap();
    fs::create_dir(out.join(".checkpoint-41.saving-1-0")).unwrap();
    let resumed = output(&workshop, &["--resume"]);
    let log = String::from_utf8(resumed.stderr.clone()).unwrap();
    stdout(&resumed);
    assert!(
        log.contains("`out/checkpoint-40` is broken and left out: `model.safetensors` isn't whole"),
        "{log}"
    );
    assert!(
        log.contains("resumed from `out/checkpoint-39` at step 39"),
        "{log}"
    );
    assert!(!out.join(".checkpoint-41.saving-1-0").exists());
    assert!(result(&workshop) == expected, "another result");

    // Asked for by name, it is an error.
    cut_in_half(&out.join("checkpoint-40/optimizer.safetensors"));
    let named = output(&workshop, &["--resume", "out/checkpoint-40"]);
    assert_eq!(named.status.code(), Some(2));
    let log = String::from_utf8(named.stderr).unwrap();
    assert!(
        log.contains("`out/checkpoint-40`: is broken: `optimizer.safetensors` isn't whole"),
        "{log}"
    );
}

/// `ulimit -f` lets a write fail as a full disk does, once the signal that would come with it is ignored.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_checkpoint_before_it() {
    let workshop = workshop();
    let run = |limit: &str, more: &str| {
        let script = format!(
            "trap '' XFSZ; ulimit -f {limit}; exec \"$0\" {} {more}",
            EVERY_STEP.join(" ")
        );
        Command::new("sh")
            .current_dir(workshop.folder.path())
            .args(["-c", &script, env!("CARGO_BIN_EXE_sparse-encoder")])
            .output()
            .unwrap()
    };
    let ten = "--set arguments.max_steps=10";
    stdout(&run("unlimited", ten));
    // 64 blocks are less than the weights take.
    let failed = run("64", "--resume");
    assert_eq!(failed.status.code(), Some(1));
    let log = String::from_utf8(failed.stderr).unwrap();
    for part in [
        "checkpoint `out/checkpoint-11` cannot be saved",
        "go on from it with `--resume out/checkpoint-10`",
        "File too large",
    ] {
        assert!(log.contains(part), "{log}");
    }
    assert_eq!(
        checkpoints(&workshop).into_keys().collect::<Vec<_>>(),
        [8, 9, 10]
    );
    let leftovers = fs::read_dir(workshop.path("out")).unwrap();
    assert!(
        leftovers
            .map(|entry| entry.unwrap().file_name())
            .all(|name| !name.to_string_lossy().starts_with('.'))
    );
    stdout(&run("unlimited", "--resume"));

    // The same without a full disk between.
    let whole = self::workshop();
    stdout(&output(&whole, &["--set", "arguments.max_steps=10"]));
    stdout(&output(&whole, &["--resume"]));
    assert!(result(&workshop) == result(&whole), "another result");
}
