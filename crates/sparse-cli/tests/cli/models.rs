//! Models that are damaged, or of little use: what the commands say of them.

use std::fs;
use std::path::Path;

use crate::support::{binary, model, run, stdout};

/// A copy of a model of random weights that a test may spoil.
fn copy_of_model() -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    copy(&model(), directory.path());
    directory
}

/// Overwrites the last weight of a model.
fn set_last_weight(directory: &Path, value: f32) {
    let path = directory.join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&value.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Runs a command, which must end with code 2 and say all of `parts`.
fn refused(arguments: &[&str], parts: &[&str]) {
    let output = run(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` isn't in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn weights_too_large_for_half_precision_are_not_converted() {
    let directory = copy_of_model();
    set_last_weight(directory.path(), 1e5);
    let (model, target) = (
        directory.path().to_str().unwrap(),
        directory.path().join("half"),
    );
    let arguments = [
        "convert",
        "--model",
        model,
        "--output",
        target.to_str().unwrap(),
    ];
    refused(
        &[&arguments[..], &["--weights", "f16"]].concat(),
        &["1 of its values do not fit into float16", "65504"],
    );
    assert!(!target.exists());
    stdout(&run(&[&arguments[..], &["--weights", "bf16"]].concat()));
}

#[test]
fn vectors_that_are_not_finite_name_text_and_parameter() {
    let directory = copy_of_model();
    set_last_weight(directory.path(), f32::NAN);
    let model = directory.path().to_str().unwrap();
    for arguments in [
        &["decode", "--model", model, "the cat"][..],
        &["similarity", "--model", model, "the cat", "the dog"],
    ] {
        refused(
            arguments,
            &[
                "text 0",
                "NaN in dimension",
                "1 of the",
                "parameters",
                model,
            ],
        );
    }
}

#[test]
fn a_text_without_any_active_dimension_is_told() {
    let model = model().with_file_name("inference-free");
    let model = model.to_str().unwrap();
    for arguments in [
        &["decode", "--model", model, "--task", "query", ""][..],
        &["similarity", "--model", model, "", "the dog"],
    ] {
        let output = binary().args(arguments).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
        assert!(message.contains("is all zero"), "{message}");
    }
}

#[test]
fn damaged_models_are_refused_by_every_command() {
    let directory = copy_of_model();
    let path = directory.path();
    fs::remove_file(path.join("modules.json")).unwrap();
    let model = path.to_str().unwrap();
    let output = path.join("out");
    let output = output.to_str().unwrap();
    for arguments in [
        &["decode", "--model", model, "the cat"][..],
        &["similarity", "--model", model, "the cat", "the dog"],
        &["inspect", "--model", model],
        &["convert", "--model", model, "--output", output],
        &["push", "--model", model, "--repo-id", "me/model"],
    ] {
        refused(arguments, &[model, "is damaged", "no `modules.json`"]);
    }
}
