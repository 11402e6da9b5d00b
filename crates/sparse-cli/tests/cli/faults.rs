//! Every operation on the disk fails once, in every way, in the commands that write most.
//!
//! `cargo xtask test --slow` goes through all operations of a training; the tests of every day through a part of them.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{Workshop, binary, model, stdout};

/// How an operation fails: it alone, a write after half of its bytes, it and all that follow, and with the process.
const KINDS: [&str; 4] = ["fail", "short", "full", "kill"];

fn run(workshop: &Workshop, arguments: &[&str], fault: Option<String>) -> Output {
    let mut command = binary();
    command
        .current_dir(workshop.folder.path())
        .args(arguments)
        .envs(fault.map(|fault| ("SPARSE_ENCODER_FAULT", fault)));
    command.output().unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What happened to the n-th operation; `None` if there were fewer.
fn injected(output: &Output) -> Option<String> {
    let log = log(output);
    let line = log.lines().find(|line| line.starts_with("fault injected"));
    line.map(str::to_owned)
}

fn hidden(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

/// A result in one file, replaced under every fault: it is the old or the new.
fn one_file(arguments: &[&str], result: &str) {
    let workshop = Workshop::new();
    stdout(&run(&workshop, arguments, None));
    let new = fs::read(workshop.path(result)).unwrap();
    for kind in KINDS {
        for n in 1.. {
            workshop.write(result, b"old");
            let output = run(&workshop, arguments, Some(format!("{kind}@{n}")));
            let left = fs::read(workshop.path(result)).unwrap();
            let Some(fault) = injected(&output) else {
                assert!(output.status.success() && left == new);
                assert!(n > 4, "only {n} operations");
                break;
            };
            let is_new = left == new;
            assert!(is_new || left == b"old", "{kind}: {fault}");
            assert!(is_new || !output.status.success(), "{kind}: {fault}");
            if kind == "kill" {
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{}", log(&output));
            assert!(log(&output).contains(result), "{}", log(&output));
            assert_eq!(hidden(workshop.folder.path()), Vec::<String>::new());
        }
        // What a kill left goes with the next run.
        stdout(&run(&workshop, arguments, None));
        assert_eq!(hidden(workshop.folder.path()), Vec::<String>::new());
    }
}

#[test]
fn vectors_are_old_or_new() {
    let model = model().display().to_string();
    for result in ["vectors.jsonl", "vectors.parquet"] {
        let input = "data/corpus.jsonl";
        one_file(
            &[
                "encode", "--model", &model, "--input", input, "--output", result,
            ],
            result,
        );
    }
}

#[test]
fn an_index_is_old_or_new() {
    let model = model().display().to_string();
    let (input, result) = ("data/corpus.jsonl", "corpus.index");
    one_file(
        &[
            "index", "--model", &model, "--input", input, "--output", result,
        ],
        result,
    );
}

const TRAIN: &[&str] = &[
    "train",
    "train.toml",
    "--set",
    "arguments.max_steps=4",
    "--set",
    "arguments.save_strategy=steps",
    "--set",
    "arguments.save_steps=1",
    "--set",
    "arguments.save_total_limit=2",
];

/// The weights at the end, and the optimizer's state.
fn trained(workshop: &Workshop) -> [Vec<u8>; 2] {
    [
        "out/final/model.safetensors",
        "out/checkpoint-4/optimizer.safetensors",
    ]
    .map(|name| fs::read(workshop.path(name)).unwrap())
}

fn has_checkpoint(workshop: &Workshop) -> bool {
    let entries = fs::read_dir(workshop.path("out")).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name())
        .any(|name| name.to_string_lossy().starts_with("checkpoint-"))
}

/// A training under the faults of `numbers`, each followed by one that resumes: the end is the same.
fn training(kind: &str, numbers: impl Iterator<Item = usize>) -> bool {
    let whole = Workshop::new();
    stdout(&run(&whole, TRAIN, None));
    let expected = trained(&whole);
    for n in numbers {
        let workshop = Workshop::new();
        let output = run(&workshop, TRAIN, Some(format!("{kind}@{n}")));
        let Some(fault) = injected(&output) else {
            assert!(output.status.success());
            return true;
        };
        let mut again = TRAIN.to_vec();
        if has_checkpoint(&workshop) {
            again.push("--resume");
        }
        let resumed = run(&workshop, &again, None);
        assert!(
            resumed.status.success(),
            "{kind}: {fault}\n{}",
            log(&resumed)
        );
        assert!(
            !log(&resumed).contains("is broken"),
            "{kind}: {fault}: half a checkpoint has a name\n{}",
            log(&resumed)
        );
        assert!(trained(&workshop) == expected, "{kind}: {fault}");
        assert_eq!(hidden(&workshop.path("out")), Vec::<String>::new());
    }
    false
}

#[test]
fn a_training_under_some_faults_ends_with_the_same_bytes() {
    for (kind, first) in KINDS.into_iter().zip([3, 12, 21, 5]) {
        training(kind, (first..200).step_by(37));
    }
}

#[ignore = "hundreds of trainings"]
#[test]
fn a_training_under_every_fault_ends_with_the_same_bytes() {
    for kind in KINDS {
        assert!(training(kind, 1..), "the operations have an end");
    }
}
