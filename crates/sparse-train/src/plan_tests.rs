//! The length of a run, and its way through the epochs.

use sparse_data::{Column, Table};
use sparse_losses::LossConfig;

use super::*;

/// Pairs of which several can't be in one batch, so that epochs without duplicates differ in length.
fn datasets() -> Vec<DatasetWithLoss> {
    let texts = |prefix: &str, n: usize| -> Vec<String> {
        (0..40).map(|row| format!("{prefix}{}", row % n)).collect()
    };
    let columns = [
        ("query", Column::from(texts("q", 40))),
        ("answer", Column::from(texts("a", 11))),
    ];
    let table = Table::from_columns(columns).unwrap();
    vec![DatasetWithLoss {
        name: "default".to_owned(),
        roles: table.roles().unwrap(),
        data: table.into(),
        loss: Arc::from(LossConfig::default().init().unwrap()),
    }]
}

fn plan(change: impl FnOnce(&mut TrainingArguments)) -> Plan {
    let mut arguments = TrainingArguments {
        per_device_train_batch_size: 8,
        gradient_accumulation_steps: 2,
        ..TrainingArguments::default()
    };
    change(&mut arguments);
    Plan::new(&arguments, &datasets()).unwrap()
}

fn without_duplicates(max_steps: i64) -> Plan {
    plan(|arguments| {
        arguments.batch_sampler = BatchSamplerKind::NoDuplicates;
        arguments.max_steps = max_steps;
    })
}

#[test]
fn a_run_without_an_end_is_planned_at_once() {
    // 5 batches of 8 rows, 3 updates an epoch.
    for max_steps in [1_000_000_000, i64::MAX] {
        let mut plan = plan(|arguments| arguments.max_steps = max_steps);
        let last = max_steps as usize - 1;
        assert_eq!(plan.total_steps(), max_steps as usize);
        assert_eq!(plan.n_epochs(), (max_steps as usize).div_ceil(3));
        let epoch = plan.epoch_of(last).unwrap().unwrap();
        assert_eq!((epoch.number, epoch.first_update), (last / 3, last / 3 * 3));
        assert_eq!(plan.batches_from(last - 3).unwrap().take(2).count(), 2);
        assert_eq!(plan.epoch_of(epoch.end()).unwrap(), None);
    }
    let plan = plan(|arguments| arguments.num_train_epochs = 1e18);
    assert_eq!(plan.total_steps(), 3_000_000_000_000_000_000);
    let plan = self::plan(|arguments| arguments.num_train_epochs = 1e300);
    assert_eq!(plan.total_steps(), i64::MAX as usize);
    assert_eq!(
        without_duplicates(i64::MAX).total_steps(),
        i64::MAX as usize
    );
}

#[test]
fn a_batch_larger_than_the_data_holds_all_of_it() {
    for batch_sampler in [
        BatchSamplerKind::BatchSampler,
        BatchSamplerKind::NoDuplicates,
    ] {
        let mut plan = plan(|arguments| {
            arguments.batch_sampler = batch_sampler;
            arguments.per_device_train_batch_size = usize::MAX;
            arguments.gradient_accumulation_steps = usize::MAX;
        });
        let epoch = plan.epoch_of(0).unwrap().unwrap();
        assert_eq!(epoch.updates, 1);
        assert_eq!(plan.micro_batches(&epoch, 0), 0..epoch.batches);
        let batches = plan.batches_from(0).unwrap().take(epoch.batches);
        let rows: usize = batches.map(|batch| batch.unwrap().1.num_rows()).sum();
        assert_eq!(rows, 40);
    }
}

#[test]
fn the_last_epoch_is_cut_short() {
    let mut plan = plan(|arguments| arguments.num_train_epochs = 1.5);
    // 1.5 · 3 = 4.5 updates, rounded up.
    assert_eq!((plan.total_steps(), plan.n_epochs()), (5, 2));
    let epoch = plan.epoch_of(4).unwrap().unwrap();
    assert_eq!((epoch.number, epoch.first_update, epoch.end()), (1, 3, 6));
    // An epoch that has begun belongs to the run.
    assert_eq!(plan.epoch_of(5).unwrap(), Some(epoch));
    assert_eq!(plan.epoch_of(6).unwrap(), None);
    assert_eq!(plan.micro_batches(&epoch, 1), 2..4);
    assert_eq!(plan.micro_batches(&epoch, 2), 4..5);
    let rows = |plan: &mut Plan, update| -> Vec<usize> {
        let batches = plan.batches_from(update).unwrap();
        batches.map(|batch| batch.unwrap().1.num_rows()).collect()
    };
    assert_eq!(rows(&mut plan, 0), [8; 10]);
    assert_eq!(rows(&mut plan, 4), [8; 3]);
    assert_eq!(rows(&mut plan, 6), [0; 0]);
}

/// Every epoch of a run up to an update, and the batches of it.
#[test]
fn epochs_of_different_lengths_follow_each_other() {
    let mut whole = without_duplicates(60);
    let mut epochs = vec![whole.epoch_of(0).unwrap().unwrap()];
    while let Some(epoch) = whole.epoch_of(epochs[epochs.len() - 1].end()).unwrap() {
        assert_eq!(epoch.number, epochs.len());
        assert_eq!(epoch.first_update, epochs[epochs.len() - 1].end());
        epochs.push(epoch);
    }
    let lengths: std::collections::BTreeSet<usize> =
        epochs.iter().map(|epoch| epoch.batches).collect();
    assert!(lengths.len() > 1, "{lengths:?}");
    let last = epochs[epochs.len() - 1];
    assert!(last.first_update < 60 && last.end() >= 60);

    // The same from any place, whether the epochs before were looked at or not.
    let first: Vec<Batch> = whole
        .batches_from(0)
        .unwrap()
        .map(|batch| batch.unwrap().1)
        .collect();
    assert_eq!(
        first.len(),
        epochs.iter().map(|epoch| epoch.batches).sum::<usize>()
    );
    for epoch in [epochs[1], last] {
        let before: usize = epochs[..epoch.number].iter().map(|e| e.batches).sum();
        let mut plan = without_duplicates(60);
        plan.go_on_from(epoch.position()).unwrap();
        let update = epoch.first_update + 1;
        assert_eq!(plan.epoch_of(update).unwrap(), Some(epoch));
        let rest: Vec<Batch> = plan
            .batches_from(update)
            .unwrap()
            .map(|batch| batch.unwrap().1)
            .collect();
        assert_eq!(rest, first[before + 2..]);
    }
}

#[test]
fn a_run_goes_on_from_far_within_without_looking_at_what_was_before() {
    let mut plan = without_duplicates(i64::MAX);
    let position = Position {
        epoch: 300_000_000,
        first_update: 1_000_000_000,
    };
    plan.go_on_from(position).unwrap();
    let epoch = plan.epoch_of(1_000_000_001).unwrap().unwrap();
    assert_eq!(epoch.position(), position);
    assert_eq!(plan.batches_from(1_000_000_001).unwrap().take(9).count(), 9);
}
