//! The callbacks of a run and what a checkpoint keeps of them.

use serde_json::{Map, Value, json};

use super::{Callback, TrainerControl};

const CONTROL: &str = "TrainerControl";
const SKIPPED: &str = "skipped_updates";

/// `stateful_callbacks` of `trainer_state.json`: the control flags, under the reference's keys, and the state of every callback
/// that has one; a list where several have the same name.
pub(crate) fn states(
    callbacks: &[Box<dyn Callback>],
    control: &TrainerControl,
    skipped: usize,
) -> Map<String, Value> {
    let mut attributes = Map::new();
    if skipped > 0 {
        attributes.insert(SKIPPED.to_owned(), skipped.into());
    }
    let flags = json!({
        "args": {
            "should_epoch_stop": control.should_epoch_stop,
            "should_evaluate": control.should_evaluate,
            "should_log": control.should_log,
            "should_save": control.should_save,
            "should_training_stop": control.should_training_stop,
        },
        "attributes": attributes,
    });
    let mut states = Map::new();
    states.insert(CONTROL.to_owned(), flags);
    for callback in callbacks {
        let Some(state) = callback.state() else {
            continue;
        };
        match states.get_mut(callback.name()) {
            None => {
                states.insert(callback.name().to_owned(), state);
            }
            Some(Value::Array(list)) => list.push(state),
            Some(first) => *first = json!([first.take(), state]),
        }
    }
    states.sort_keys();
    states
}

/// Gives every callback the state that a checkpoint kept of it.
pub(crate) fn restore(callbacks: &mut [Box<dyn Callback>], states: &Map<String, Value>) {
    let mut taken: Vec<&str> = Vec::new();
    for callback in callbacks {
        let name = callback.name();
        let earlier = taken.iter().filter(|other| **other == name).count();
        let state = match states.get(name) {
            Some(Value::Array(list)) => list.get(earlier),
            Some(state) if earlier == 0 => Some(state),
            _ => None,
        };
        if let Some(state) = state {
            callback.restore(state);
            taken.push(name);
        }
    }
}

/// Updates that `should_epoch_stop` had left out when a checkpoint was written, and whether it was just ending an epoch.
pub(crate) fn skipped(states: &Map<String, Value>) -> (usize, bool) {
    let control = states.get(CONTROL);
    let skipped = control.and_then(|control| control["attributes"][SKIPPED].as_u64());
    let stopping = control.and_then(|control| control["args"]["should_epoch_stop"].as_bool());
    (skipped.unwrap_or(0) as usize, stopping.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Counter(u64);

    impl Callback for Counter {
        fn state(&self) -> Option<Value> {
            Some(json!({ "args": {}, "attributes": { "count": self.0 } }))
        }
        fn restore(&mut self, state: &Value) {
            self.0 = state["attributes"]["count"].as_u64().unwrap();
        }
        fn name(&self) -> &'static str {
            "Counter"
        }
    }

    #[test]
    fn states_return_to_whom_they_belong() {
        let counters = |values: &[u64]| {
            let counters = values.iter();
            let counters = counters.map(|&value| Box::new(Counter(value)) as Box<dyn Callback>);
            counters.collect::<Vec<_>>()
        };
        for values in [&[5][..], &[3, 4]] {
            let control = TrainerControl {
                should_epoch_stop: true,
                ..TrainerControl::default()
            };
            let kept = states(&counters(values), &control, 7);
            assert_eq!(skipped(&kept), (7, true));
            let mut restored = counters(&vec![0; values.len()]);
            restore(&mut restored, &kept);
            assert_eq!(states(&restored, &control, 7), kept);
        }
        assert_eq!(skipped(&Map::new()), (0, false));
    }
}
