//! `train` from start to end.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Workshop, binary, run, stdout};

#[test]
fn a_run_ends_with_a_model_and_its_metrics() {
    let workshop = Workshop::new();
    let output = workshop.train(&["--set", "arguments.eval_on_start=true"]);
    let metrics: Value = serde_json::from_str(&stdout(&output)).unwrap();
    for key in [
        "train_runtime",
        "train_loss",
        "train_samples_per_second",
        "epoch",
        "animals_dot_ndcg@10",
    ] {
        assert!(metrics[key].is_number(), "{key}: {metrics}");
    }
    let messages = String::from_utf8(output.stderr).unwrap();
    for text in [
        "BM25",
        "before",
        "after",
        "what the model makes of a few texts",
    ] {
        assert!(messages.contains(text), "{text}: {messages}");
    }
    // What was saved is a model by itself.
    let model = workshop.path("out/final");
    stdout(&run(&[
        "decode",
        "--model",
        model.to_str().unwrap(),
        "the cat",
    ]));
    for name in [
        "modules.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        "1_SpladePooling/config.json",
    ] {
        assert!(model.join(name).is_file(), "{name}");
    }
}

#[cfg(not(feature = "mpi"))]
#[test]
fn one_of_several_processes_needs_mpi() {
    let workshop = Workshop::new();
    let output = binary()
        .current_dir(workshop.folder.path())
        .args(["train", "train.toml"])
        .env("OMPI_COMM_WORLD_SIZE", "2")
        .env("OMPI_COMM_WORLD_RANK", "0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(messages.contains("--features mpi"), "{messages}");
    assert!(!workshop.path("out").exists());
}

#[test]
fn ctrl_c_ends_after_the_step_with_a_checkpoint() {
    let workshop = Workshop::new();
    let mut child = binary()
        .current_dir(workshop.folder.path())
        .args([
            "train",
            "train.toml",
            "--set",
            "arguments.max_steps=100000",
            "--set",
            "arguments.save_strategy=steps",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first_step = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.starts_with("step 1/"));
    assert!(first_step.is_some());
    let interrupted = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let rest = rest.join("\n");
    assert!(
        rest.contains("go on with: --resume out/checkpoint-"),
        "{rest}"
    );

    let checkpoints: Vec<_> = fs::read_dir(workshop.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // A run that has logged twice leaves its curve, too.
        .filter(|path| !path.ends_with("training_curve.svg"))
        .collect();
    assert_eq!(checkpoints.len(), 1, "{checkpoints:?}");
    let state = fs::read_to_string(checkpoints[0].join("trainer_state.json")).unwrap();
    let step = serde_json::from_str::<Value>(&state).unwrap()["global_step"]
        .as_u64()
        .unwrap();
    // It goes on where it stopped, and to the end.
    let end = format!("arguments.max_steps={}", step + 2);
    let output = workshop.train(&["--resume", "--set", &end]);
    assert!(stdout(&output).contains("animals_dot_ndcg@10"));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains(&format!("at step {step}"))
    );
}
