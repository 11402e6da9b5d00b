//! Callbacks: when they are called, what they may ask for, and what a checkpoint keeps of them.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use sparse_train::{
    Callback, CallbackContext, IntervalStrategy, Resume, SaveStrategy, TrainerControl,
    TrainingArguments,
};

use crate::support::{arguments, encoder, golden, loss, splade_run, table, weights};

/// Hook, step and epoch of every call.
type Events = Arc<Mutex<Vec<(String, u64, f64)>>>;

/// Notes every call, and sets a flag in one of them.
#[derive(Debug)]
struct Recorder {
    events: Events,
    /// Hook, step and flag.
    stop: Option<(String, u64, String)>,
}

impl Recorder {
    fn note(&self, hook: &str, context: &CallbackContext<'_>, control: &mut TrainerControl) {
        let step = context.state.global_step as u64;
        let epoch = (context.state.epoch * 1e6).round() / 1e6;
        self.events
            .lock()
            .unwrap()
            .push((hook.to_owned(), step, epoch));
        let Some((_, _, flag)) = self
            .stop
            .as_ref()
            .filter(|stop| stop.0 == hook && stop.1 == step)
        else {
            return;
        };
        match flag.as_str() {
            "should_epoch_stop" => control.should_epoch_stop = true,
            "should_training_stop" => control.should_training_stop = true,
            "should_evaluate" => control.should_evaluate = true,
            other => panic!("unknown flag {other}"),
        }
    }
}

macro_rules! note {
    ($($hook:ident($($name:ident: $argument:ty),*))*) => {
        $(fn $hook(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl, $($name: $argument),*) {
            $(let _ = $name;)*
            self.note(stringify!($hook), context, control);
        })*
    };
}

impl Callback for Recorder {
    note! {
        on_init_end() on_train_begin() on_train_end() on_epoch_begin() on_epoch_end() on_step_begin() on_substep_end()
        on_pre_optimizer_step() on_optimizer_step() on_step_end() on_prediction_step()
        on_evaluate(metrics: &[(String, f64)])
        on_save(checkpoint: &Path)
        on_log(logs: &[(String, f64)])
    }
}

fn strategy(value: &Value, default: IntervalStrategy) -> IntervalStrategy {
    if value.is_null() {
        default
    } else {
        serde_json::from_value(value.clone()).unwrap()
    }
}

#[test]
fn they_are_called_in_the_order_of_the_reference() {
    let text = fs::read_to_string(golden("callbacks/order.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let runs = golden["runs"].as_object().unwrap();
    assert_eq!(runs.len(), 5);
    for (name, run) in runs {
        let expected: Vec<(String, u64, f64)> =
            serde_json::from_value(run["events"].clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let asked = &run["arguments"];
        let arguments = TrainingArguments {
            max_steps: -1,
            num_train_epochs: asked["num_train_epochs"].as_f64().unwrap(),
            gradient_accumulation_steps: 2,
            eval_strategy: strategy(&asked["eval_strategy"], IntervalStrategy::Steps),
            eval_steps: asked["eval_steps"].as_f64(),
            save_strategy: match asked["save_strategy"].as_str() {
                Some("no") => SaveStrategy::No,
                _ => SaveStrategy::Steps,
            },
            save_steps: asked["save_steps"].as_f64().unwrap_or(500.0),
            ..arguments(folder.path())
        };
        let events = Events::default();
        let recorder = Recorder {
            events: events.clone(),
            stop: serde_json::from_value::<Option<Value>>(run["stop"].clone())
                .unwrap()
                .map(|stop| {
                    let text = |key: &str| stop[key].as_str().unwrap().to_owned();
                    (text("hook"), stop["step"].as_u64().unwrap(), text("flag"))
                }),
        };
        let rows = table("a_splade_mnrl");
        let n_rows = run["rows"].as_u64().unwrap() as usize;
        sparse_train::Trainer::builder(encoder("splade-max"), arguments)
            .train_dataset(
                sparse_data::Dataset::from(rows.clone())
                    .head(n_rows)
                    .unwrap(),
            )
            .eval_dataset(sparse_data::Dataset::from(rows).head(16).unwrap())
            .loss(loss(serde_json::json!({
                "type": "splade",
                "document_regularizer_weight": 0.003,
                "query_regularizer_weight": 0.005,
                "loss": { "type": "multiple_negatives_ranking" },
            })))
            .callback(recorder)
            .build()
            .unwrap()
            .train()
            .unwrap();
        let events = events.lock().unwrap().clone();
        assert_eq!(events, expected, "{name}");
    }
}

/// Ends every epoch after its second update.
#[derive(Debug)]
struct ShortEpochs {
    updates: usize,
}

impl Callback for ShortEpochs {
    fn on_epoch_begin(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.updates = 0;
    }

    fn on_step_end(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {
        self.updates += 1;
        control.should_epoch_stop = self.updates == 2;
        // The position in the data shows in the epoch.
        let passed = context.state.epoch.fract();
        assert!((passed - self.updates as f64 / 13.0).abs() < 1e-9);
    }
}

#[test]
fn a_run_with_short_epochs_resumes_where_it_was() {
    let run = |folder: &Path, resume: &Resume| {
        let arguments = TrainingArguments {
            max_steps: -1,
            num_train_epochs: 3.0,
            save_strategy: SaveStrategy::Steps,
            save_steps: 2.0,
            ..arguments(folder)
        };
        let mut trainer = splade_run(arguments)
            .callback(ShortEpochs { updates: 0 })
            .build()
            .unwrap();
        let output = trainer.train_from(resume).unwrap();
        assert_eq!(output.global_step, 6);
        weights(&trainer.encoder())
    };
    let folder = tempfile::tempdir().unwrap();
    let whole = run(folder.path(), &Resume::No);
    // Both were written while an epoch was being ended.
    for step in [2, 4] {
        let checkpoint = folder.path().join(format!("checkpoint-{step}"));
        assert_eq!(run(folder.path(), &Resume::From(checkpoint)), whole);
    }
}

/// 12 steps with an evaluation and a checkpoint every 2.
fn evaluated(folder: &Path) -> TrainingArguments {
    TrainingArguments {
        max_steps: 12,
        eval_strategy: IntervalStrategy::Steps,
        eval_steps: Some(2.0),
        save_strategy: SaveStrategy::Steps,
        save_steps: 2.0,
        load_best_model_at_end: true,
        ..arguments(folder)
    }
}

fn head(n: usize) -> sparse_data::Table {
    sparse_data::Dataset::from(table("a_splade_mnrl"))
        .head(n)
        .unwrap()
}

#[test]
fn a_run_that_gets_no_better_stops_early_and_resumes_its_count() {
    let stopping = |folder: &Path| TrainingArguments {
        early_stopping_patience: Some(3),
        // Texts per second of an evaluation never rise so far.
        metric_for_best_model: Some("loss".into()),
        early_stopping_threshold: 1e6,
        ..evaluated(folder)
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |resume: &Resume| {
        let mut trainer = splade_run(stopping(folder.path()))
            .eval_dataset(head(8))
            .build()
            .unwrap();
        trainer.train_from(resume).unwrap().global_step
    };
    // The first evaluation counts as better, the next three as not.
    assert_eq!(run(&Resume::No), 8);
    let state = |step: usize| -> Value {
        let path = folder
            .path()
            .join(format!("checkpoint-{step}/trainer_state.json"));
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let callbacks = &state(6)["stateful_callbacks"];
    assert_eq!(
        callbacks["EarlyStoppingCallback"]["attributes"]["early_stopping_patience_counter"],
        2
    );
    assert_eq!(callbacks["TrainerControl"]["args"]["should_save"], true);
    // After a resume the count goes on where it was.
    let resume = Resume::From(folder.path().join("checkpoint-6"));
    assert_eq!(run(&resume), 8);
}

#[test]
fn an_unknown_metric_is_an_error_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let build = |metric: &str, evaluators: bool| {
        let arguments = TrainingArguments {
            metric_for_best_model: Some(metric.into()),
            ..evaluated(folder.path())
        };
        let mut builder = splade_run(arguments).eval_dataset(head(8));
        if evaluators {
            let texts = || vec!["a text".to_owned()];
            let config = sparse_eval::TripletConfig {
                name: "dev".into(),
                ..sparse_eval::TripletConfig::default()
            };
            let triplets =
                sparse_eval::TripletEvaluator::new(texts(), texts(), texts(), config).unwrap();
            builder = builder.evaluator(Box::new(triplets));
        }
        builder
            .build()
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for known in [
        "loss",
        "eval_loss",
        "base_loss",
        "query_regularizer_loss",
        "dev_dot_accuracy",
    ] {
        build(known, true).unwrap();
    }
    let message = build("dev_dot_acuracy", true).unwrap_err();
    assert_eq!(
        message,
        "`arguments.metric_for_best_model` = \"dev_dot_acuracy\" is measured by no evaluation (did you mean \
         `eval_dev_dot_accuracy`?); known: loss, dev_dot_accuracy, dev_anchor_active_dims, dev_anchor_sparsity_ratio, \
         dev_positive_active_dims, dev_positive_sparsity_ratio, dev_negative_active_dims, dev_negative_sparsity_ratio"
    );
    assert!(
        build("dev_dot_accuracy", false)
            .unwrap_err()
            .contains("known: loss")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// One field of a protocol buffer: its number, and its value as a number or as bytes.
fn field<'a>(data: &mut &'a [u8]) -> (u64, u64, &'a [u8]) {
    fn varint(data: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = data[0];
            *data = &data[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let key = varint(data);
    let (number, length) = match key & 7 {
        0 => (varint(data), 0),
        1 => (0, 8),
        2 => (0, varint(data) as usize),
        5 => (0, 4),
        other => panic!("wire type {other}"),
    };
    let (value, rest) = data.split_at(length);
    *data = rest;
    (key >> 3, number, value)
}

/// CRC-32C by a table, unlike the writer, masked.
fn masked_crc(data: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|byte| (0..8).fold(byte, |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))))
        .collect();
    let crc = data.iter().fold(u32::MAX, |crc, byte| {
        (crc >> 8) ^ table[((crc ^ u32::from(*byte)) & 0xff) as usize]
    });
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Step, tag and value of every scalar, and the tags of texts.
fn read_events(path: &Path) -> (Vec<(u64, String, f32)>, Vec<String>) {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let (mut scalars, mut texts, mut events) = (Vec::new(), Vec::new(), 0);
    while !rest.is_empty() {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(word(&rest[8..]), masked_crc(&rest[..8]));
        let mut event = &rest[12..12 + length];
        assert_eq!(word(&rest[12 + length..]), masked_crc(event));
        rest = &rest[16 + length..];
        let mut step = 0;
        while !event.is_empty() {
            match field(&mut event) {
                (1, _, time) => assert!(f64::from_le_bytes(time.try_into().unwrap()) > 1.7e9),
                (2, number, _) => step = number,
                (3, _, version) => {
                    assert_eq!((events, version), (0, b"brain.Event:2".as_slice()));
                }
                (5, _, mut summary) => {
                    let (_, _, mut value) = field(&mut summary);
                    let (_, _, tag) = field(&mut value);
                    let tag = String::from_utf8(tag.to_vec()).unwrap();
                    match field(&mut value) {
                        (2, _, number) => {
                            let number = f32::from_le_bytes(number.try_into().unwrap());
                            scalars.push((step, tag, number));
                        }
                        _ => texts.push(tag),
                    }
                }
                (number, ..) => panic!("field {number}"),
            }
        }
        events += 1;
    }
    (scalars, texts)
}

#[test]
fn logs_go_where_they_are_reported_to() {
    let folder = tempfile::tempdir().unwrap();
    let arguments: TrainingArguments = serde_json::from_value(serde_json::json!({
        "output_dir": folder.path(), "report_to": ["tensorboard", "jsonl", "codecarbon"], "run_name": "first",
        "per_device_train_batch_size": 8, "max_steps": 4, "logging_steps": 2, "eval_strategy": "steps", "save_strategy": "no",
    }))
    .unwrap();
    let mut trainer = splade_run(arguments).eval_dataset(head(8)).build().unwrap();
    trainer.train().unwrap();

    let lines = fs::read_to_string(folder.path().join("logs.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let history: Vec<Value> = trainer
        .state()
        .log_history
        .iter()
        .cloned()
        .map(Value::Object)
        .collect();
    assert_eq!(lines, history);
    assert_eq!(lines.len(), 5);

    let events: Vec<_> = fs::read_dir(folder.path().join("runs/first"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(events.len(), 1);
    let (scalars, texts) = read_events(&events[0]);
    assert_eq!(texts, ["args/text_summary"]);
    let expected: usize = history
        .iter()
        .map(|log| log.as_object().unwrap().len() - 1)
        .sum();
    assert_eq!(scalars.len(), expected, "every figure but the step");
    for (step, tag, value) in scalars {
        let key = match tag.split_once('/').unwrap() {
            ("train", key) => key.to_owned(),
            (split, key) => format!("{split}_{key}"),
        };
        let logged = history
            .iter()
            .find(|log| {
                log["step"] == step && !log[&key].is_null() || log["step"] == step && key == "epoch"
            })
            .unwrap_or_else(|| panic!("{tag} at {step}"));
        assert_eq!(
            logged[&key].as_f64().unwrap() as f32,
            value,
            "{tag} at {step}"
        );
    }
    assert!(folder.path().join("emissions.csv").is_file());
    assert!(folder.path().join("training_curve.svg").is_file());
}
