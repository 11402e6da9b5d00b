//! `train` in several processes, started by Open MPI's `mpirun`.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Workshop, stdout};

/// `mpirun` in the folder of a workshop.
fn mpirun(workshop: &Workshop) -> Command {
    let mut command = Command::new("mpirun");
    command
        .current_dir(workshop.folder.path())
        .args(["--allow-run-as-root", "--oversubscribe"]);
    command
}

/// Adds `n` processes that train.
fn processes<'a>(command: &'a mut Command, n: usize, settings: &[&str]) -> &'a mut Command {
    command.args([
        "-n",
        &n.to_string(),
        env!("CARGO_BIN_EXE_sparse-encoder"),
        "train",
        "train.toml",
    ]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("these tests need Open MPI's `mpirun`: {error}"))
}

fn messages(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A workshop whose model has dropout, so that masks must not depend on who embeds a text.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    let path = workshop.copy_model().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["hidden_dropout_prob"] = json!(0.1);
    config["attention_probs_dropout_prob"] = json!(0.1);
    fs::write(&path, config.to_string()).unwrap();
    workshop
}

const EVERY_STEP: [&str; 4] = [
    "model.name_or_path=model",
    "arguments.logging_steps=1",
    "arguments.learning_rate=1e-3",
    "arguments.save_strategy=steps",
];

/// Losses, gradient norms and active dimensions of each step.
fn trajectory(directory: &Path) -> Vec<[f64; 3]> {
    let text = fs::read_to_string(directory.join("checkpoint-6/trainer_state.json")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    let logs = state["log_history"].as_array().unwrap();
    logs.iter()
        .filter_map(|log| {
            let number = |key: &str| log[key].as_f64();
            Some([
                number("loss")?,
                number("grad_norm")?,
                number("document_active_dims")?,
            ])
        })
        .collect()
}

/// Trains in `n` processes, 1 without `mpirun`, and returns what each step logged.
fn train(workshop: &Workshop, n: usize, more: &[&str]) -> Vec<[f64; 3]> {
    let out = workshop.path("out");
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    let settings = [&EVERY_STEP[..], more].concat();
    if n == 1 {
        let settings: Vec<&str> = settings.iter().flat_map(|one| ["--set", one]).collect();
        stdout(&workshop.train(&settings));
    } else {
        let output = output(processes(&mut mpirun(workshop), n, &settings));
        // One process speaks: the metrics come once.
        let metrics = stdout(&output);
        assert_eq!(metrics.matches("train_loss").count(), 1, "{metrics}");
        assert!(messages(&output).contains(&format!("{n} processes")));
    }
    assert!(out.join("final/model.safetensors").is_file());
    trajectory(&out)
}

fn assert_follows(several: &[[f64; 3]], one: &[[f64; 3]]) {
    assert_eq!(several.len(), 6);
    assert_eq!(one.len(), 6);
    for (step, (several, one)) in several.iter().zip(one).enumerate() {
        for (a, b) in several.iter().zip(one) {
            let tolerance = 1e-5 * b.abs().max(1.0);
            assert!(
                (a - b).abs() <= tolerance,
                "step {}: {several:?} against {one:?}",
                step + 1
            );
        }
    }
}

/// 16 pairs in batches of 3: the last update of an epoch has fewer batches than there are processes, and the last batch
/// fewer rows than the others.
#[test]
fn two_and_four_processes_follow_one_that_accumulates() {
    let workshop = workshop();
    let batch = "arguments.per_device_train_batch_size=3";
    for n in [2, 4] {
        let several = train(&workshop, n, &[batch]);
        let accumulation = format!("arguments.gradient_accumulation_steps={n}");
        let exact = "arguments.exact_regularizer=true";
        let one = train(&workshop, 1, &[batch, &accumulation, exact]);
        assert_follows(&several, &one);
    }
}

#[test]
fn with_gathered_negatives_they_follow_one_with_the_whole_batch() {
    let workshop = workshop();
    workshop.write_config(
        r#"
[loss]
type = "splade"
document_regularizer_weight = 3e-3
query_regularizer_weight = 5e-3
loss = { type = "multiple_negatives_ranking", gather_across_devices = true }
"#,
    );
    // 12 rows, and 4 in the last batch of an epoch.
    let one = train(&workshop, 1, &["arguments.per_device_train_batch_size=12"]);
    for (n, rows) in [(2, 6), (4, 3)] {
        let batch = format!("arguments.per_device_train_batch_size={rows}");
        assert_follows(&train(&workshop, n, &[&batch]), &one);
    }
}

/// A run of two processes that goes on until something ends it.
struct Running {
    child: Child,
    started: Instant,
}

impl Running {
    fn start(workshop: &Workshop) -> Self {
        let settings = [
            "arguments.max_steps=100000",
            "arguments.save_strategy=steps",
            "arguments.save_steps=3",
            "arguments.save_total_limit=2",
        ];
        let child = processes(&mut mpirun(workshop), 2, &settings)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let this = Self {
            child,
            started: Instant::now(),
        };
        while !workshop
            .path("out/checkpoint-3/trainer_state.json")
            .exists()
        {
            assert!(
                this.started.elapsed() < Duration::from_secs(60),
                "no checkpoint"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        this
    }

    /// Sends a signal to one of the processes.
    fn signal(&self, signal: &str, rank: usize) {
        let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
        let mpirun = self.child.id();
        let children =
            fs::read_to_string(format!("/proc/{mpirun}/task/{mpirun}/children")).unwrap();
        let process = children.split_whitespace().find(|process| {
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            environment
                .split(|&byte| byte == 0)
                .any(|variable| variable == wanted.as_bytes())
        });
        let sent = Command::new("kill")
            .args([signal, process.unwrap()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end: its exit code, messages, and how long it took.
    fn end(mut self) -> (Option<i32>, String, Duration) {
        let waiting = Instant::now();
        let mut messages = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut messages).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, messages, waiting.elapsed())
    }
}

fn last_step(workshop: &Workshop) -> usize {
    let entries = fs::read_dir(workshop.path("out")).unwrap();
    let steps = entries.filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_prefix("checkpoint-")?.parse::<usize>().ok()
    });
    steps.max().unwrap()
}

fn resume(workshop: &Workshop) {
    let step = last_step(workshop);
    let end = format!("arguments.max_steps={}", step + 2);
    let mut command = mpirun(workshop);
    processes(&mut command, 2, &[&end]).arg("--resume");
    let output = output(&mut command);
    assert!(stdout(&output).contains("animals_dot_ndcg@10"));
    let messages = messages(&output);
    let resumed = format!("at step {step}");
    assert_eq!(messages.matches(&resumed).count(), 1, "{messages}");
}

#[test]
fn a_process_that_dies_ends_the_others_and_the_run_goes_on_from_its_checkpoint() {
    let workshop = Workshop::new();
    let running = Running::start(&workshop);
    running.signal("-KILL", 1);
    let (code, messages, time) = running.end();
    assert_ne!(code, Some(0));
    // Generous: what it rules out is waiting for ever.
    assert!(time < Duration::from_secs(20), "{time:?}");
    assert!(messages.contains("rank 1"), "{messages}");
    assert!(messages.contains("signal 9"), "{messages}");
    resume(&workshop);
}

#[test]
fn an_interrupt_of_one_process_ends_all_with_a_checkpoint() {
    let workshop = Workshop::new();
    let running = Running::start(&workshop);
    running.signal("-INT", 1);
    let (code, messages, _) = running.end();
    assert_eq!(code, Some(130), "{messages}");
    let checkpoint = format!(
        "go on with: --resume out/checkpoint-{}",
        last_step(&workshop)
    );
    assert!(messages.contains(&checkpoint), "{messages}");
    resume(&workshop);
}

#[test]
fn a_process_that_fails_says_so_and_ends_the_others() {
    let workshop = Workshop::new();
    let cases = [
        (
            "train_dataset.0.path=missing.tsv",
            Some(2),
            ["process 1 of 2", "missing.tsv"],
        ),
        (
            "arguments.learning_rate=1e-4",
            Some(1),
            ["process 1 of 2", "differs from process 0 in its arguments"],
        ),
    ];
    for (setting, code, expected) in cases {
        let mut command = mpirun(&workshop);
        processes(&mut command, 1, &[]).arg(":");
        processes(&mut command, 1, &[setting]);
        let output = output(&mut command);
        let messages = messages(&output);
        assert_eq!(output.status.code(), code, "{messages}");
        for text in expected {
            assert!(messages.contains(text), "{text}: {messages}");
        }
        assert!(!workshop.path("out").exists());
    }
}

#[test]
fn what_fails_everywhere_is_said_once() {
    let workshop = Workshop::new();
    let setting = ["arguments.learning_rte=1e-4"];
    let output = output(processes(&mut mpirun(&workshop), 4, &setting));
    let messages = messages(&output);
    assert_eq!(output.status.code(), Some(2), "{messages}");
    assert_eq!(messages.matches("learning_rte").count(), 1, "{messages}");
    assert!(messages.contains("process 0 of 4"), "{messages}");
}
