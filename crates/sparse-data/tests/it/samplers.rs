//! What every sampler promises.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use sparse_data::{
    BatchSamplerKind, Column, MultiDatasetKind, MultiDatasetSampler, SampleOrder, SamplerConfig,
    Table,
};

/// Pairs whose texts repeat, and a label.
fn tables() -> impl Strategy<Value = Table> {
    proptest::collection::vec((0_u32..60, 0_u32..200, 0_i64..4), 8..300).prop_map(|mut rows| {
        // Two rows of two labels, and two rows without a common text, so that every sampler has something to do.
        rows.extend([
            (1000, 1001, 0),
            (1002, 1003, 0),
            (1004, 1005, 1),
            (1006, 1007, 1),
        ]);
        let column = |text: fn(&(u32, u32, i64)) -> u32| {
            Column::from(
                rows.iter()
                    .map(|row| format!("t{}", text(row)))
                    .collect::<Vec<_>>(),
            )
        };
        let labels: Vec<i64> = rows.iter().map(|row| row.2).collect();
        Table::from_columns([
            ("query", column(|row| row.0)),
            ("answer", column(|row| row.1)),
            ("label", Column::from(labels)),
        ])
        .unwrap()
    })
}

fn configs() -> impl Strategy<Value = SamplerConfig> {
    use BatchSamplerKind::{
        BatchSampler, GroupByLabel, NoDuplicates, NoDuplicatesHashed, TokenBudget,
    };
    let kinds = proptest::sample::select(vec![
        BatchSampler,
        NoDuplicates,
        NoDuplicatesHashed,
        GroupByLabel,
        TokenBudget,
    ]);
    (kinds, 2_usize..12, any::<bool>(), 0_u64..1000).prop_map(
        |(batch_sampler, half, drop_last, seed)| SamplerConfig {
            batch_sampler,
            batch_size: half * 2,
            drop_last,
            seed,
            token_budget: Some(50),
            ..SamplerConfig::default()
        },
    )
}

proptest! {
    #[test]
    fn every_row_comes_at_most_once_and_all_come_without_drop_last(table in tables(), config in configs(), epoch in 0_u64..5) {
        let roles = table.roles().unwrap();
        let sampler = config.init(&table, &roles).unwrap();
        let batches = sampler.epoch(epoch).unwrap();
        let rows: BTreeSet<usize> = batches.iter().flatten().copied().collect();
        let delivered: usize = batches.iter().map(Vec::len).sum();
        prop_assert_eq!(rows.len(), delivered);
        prop_assert!(rows.iter().all(|&row| row < table.num_rows()));
        prop_assert!(batches.iter().all(|batch| !batch.is_empty()));
        if !config.drop_last && config.batch_sampler != BatchSamplerKind::GroupByLabel {
            prop_assert_eq!(delivered, table.num_rows());
        }
        if config.batch_sampler != BatchSamplerKind::TokenBudget {
            prop_assert!(batches.iter().all(|batch| batch.len() <= config.batch_size));
            prop_assert!(!config.drop_last || batches.iter().all(|batch| batch.len() == config.batch_size));
        }
        // The same seed gives the same order, so a run can go on at any batch; another epoch gives another order.
        prop_assert_eq!(&batches, &config.init(&table, &roles).unwrap().epoch(epoch).unwrap());
        prop_assert!(batches.is_empty() || batches != sampler.epoch(epoch + 1).unwrap());
    }

    #[test]
    fn no_text_comes_twice_in_a_batch(table in tables(), half in 1_usize..20, drop_last in any::<bool>(), reference in any::<bool>()) {
        let config = SamplerConfig {
            batch_sampler: BatchSamplerKind::NoDuplicates,
            batch_size: half * 2,
            drop_last,
            order: if reference { SampleOrder::Reference } else { SampleOrder::Default },
            ..SamplerConfig::default()
        };
        let roles = table.roles().unwrap();
        for rows in config.init(&table, &roles).unwrap().epoch(0).unwrap() {
            let batch = table.batch(&roles, &rows).unwrap();
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            for row in 0..rows.len() {
                let texts: BTreeSet<&str> = batch.columns.iter().map(|column| column.texts[row].as_str()).collect();
                prop_assert!(texts.is_disjoint(&seen));
                seen.extend(texts);
            }
        }
    }

    #[test]
    fn data_sets_mix_in_proportion(a in tables(), b in tables(), config in configs(), epoch in 0_u64..3) {
        let (roles_a, roles_b) = (a.roles().unwrap(), b.roles().unwrap());
        let datasets = [(&a, &roles_a), (&b, &roles_b)];
        let all = MultiDatasetSampler::new(MultiDatasetKind::Proportional, &config, &datasets).unwrap().epoch(epoch).unwrap();
        for (i, (table, _)) in datasets.iter().enumerate() {
            let rows: Vec<usize> = all.iter().filter(|batch| batch.dataset == i).flat_map(|batch| batch.rows.clone()).collect();
            prop_assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), rows.len());
            if !config.drop_last && config.batch_sampler != BatchSamplerKind::GroupByLabel {
                prop_assert_eq!(rows.len(), table.num_rows());
            }
        }
        let turns = MultiDatasetSampler::new(MultiDatasetKind::RoundRobin, &config, &datasets).unwrap().epoch(epoch).unwrap();
        prop_assert!(turns.iter().enumerate().all(|(i, batch)| batch.dataset == i % 2));
        prop_assert_eq!(turns.len() % 2, 0);
    }
}

#[test]
fn the_trainer_of_the_reference_sees_the_same_batches() {
    let golden: serde_json::Value =
        serde_json::from_str(include_str!("../golden/trainer_order.json")).unwrap();
    let texts: Vec<String> = (0..golden["num_rows"].as_u64().unwrap())
        .map(|i| i.to_string())
        .collect();
    let table = Table::from_columns([("text", Column::from(texts))]).unwrap();
    let config = SamplerConfig {
        seed: golden["seed"].as_u64().unwrap(),
        batch_size: golden["batch_size"].as_u64().unwrap() as usize,
        order: SampleOrder::Reference,
        ..SamplerConfig::default()
    };
    let sampler = config.init(&table, &table.roles().unwrap()).unwrap();
    let batches: Vec<Vec<usize>> = [sampler.epoch(0).unwrap(), sampler.epoch(1).unwrap()].concat();
    let expected: Vec<Vec<usize>> = serde_json::from_value(golden["batches"].clone()).unwrap();
    assert_eq!(batches[..expected.len()], expected);
}
