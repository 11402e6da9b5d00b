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
