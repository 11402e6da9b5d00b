//! Threads, open files and memory of a long run.
#![cfg(target_os = "linux")]

use std::fs;
use std::sync::{Arc, Mutex};

use sparse_train::{
    Callback, CallbackContext, IntervalStrategy, TrainerControl, TrainingArguments,
};

use crate::support::{arguments, splade_run, table};

/// What the process holds.
#[derive(Debug, Clone, Copy)]
struct Holds {
    threads: u64,
    files: usize,
    /// Resident memory in KiB.
    memory: u64,
}

impl Holds {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let number = |key: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self {
            threads: number("Threads:"),
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            memory: number("VmRSS:"),
        }
    }
}

/// Looks after every step.
#[derive(Debug)]
struct Watch(Arc<Mutex<Vec<Holds>>>);

impl Callback for Watch {
    fn on_step_end(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.0.lock().unwrap().push(Holds::now());
    }
}

#[test]
fn threads_files_and_memory_stay_as_they_are() {
    const STEPS: usize = 120;
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let evaluator: sparse_eval::EvaluatorConfig = serde_json::from_value(serde_json::json!({
        "type": "triplet",
        "name": "watched",
        "path": crate::support::golden("training/a_splade_mnrl/data.jsonl"),
    }))
    .unwrap();
    let arguments = TrainingArguments {
        max_steps: STEPS as i64,
        eval_strategy: IntervalStrategy::Steps,
        eval_steps: Some(2.0),
        ..arguments(folder.path())
    };
    let mut trainer = splade_run(arguments)
        .eval_dataset(table("a_splade_mnrl"))
        .evaluator(evaluator.init().unwrap())
        .callback(Watch(Arc::clone(&seen)))
        .build()
        .unwrap();
    trainer.train().unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), STEPS);
    // By a third of the run, everything that is kept is there.
    let (middle, end) = (&seen[STEPS / 3..2 * STEPS / 3], &seen[2 * STEPS / 3..]);
    let most =
        |part: &[Holds], value: &dyn Fn(&Holds) -> u64| part.iter().map(value).max().unwrap();
    for (what, value, slack) in [
        (
            "threads",
            &(|holds: &Holds| holds.threads) as &dyn Fn(&Holds) -> u64,
            0,
        ),
        ("open files", &|holds: &Holds| holds.files as u64, 0),
        // Twenty evaluations and forty steps must not keep a tenth of a mebibyte each.
        ("KiB", &|holds: &Holds| holds.memory, 6 << 10),
    ] {
        let (before, after) = (most(middle, value), most(end, value));
        assert!(after <= before + slack, "{after} {what}, {before} before");
    }
}
