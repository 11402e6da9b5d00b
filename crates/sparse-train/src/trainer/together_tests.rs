//! Loss and gradients of an update of several processes, against those of one process with the same global batch.

use std::sync::Arc;

use serde_json::{Value, json};
use sparse_data::{MultiDatasetKind, Table};
use sparse_model::SparseEncoder;

use super::gradient_tests::{
    Gradients, config, csr, distance, encoder_directory, first_update_of, load, splade, table,
    with_dropout,
};
use crate::TrainingArguments;
use crate::distributed::Solo;
use crate::distributed::threads::Threads;

/// Loss and gradients of one process, and of each of several threads in the place of processes.
fn compare(
    size: usize,
    encoder: &(dyn Fn() -> SparseEncoder + Sync),
    tables: &(dyn Fn() -> Vec<Table> + Sync),
    loss: &Value,
    alone: impl Fn(&mut TrainingArguments),
    together: impl Fn(&mut TrainingArguments) + Sync,
) {
    let (value, gradients) = first_update_of(Arc::new(Solo), encoder(), tables(), loss, alone);
    let results: Vec<(f64, Gradients)> = std::thread::scope(|scope| {
        let threads = Threads::of(size).into_iter().map(|thread| {
            let together = &together;
            scope.spawn(move || {
                first_update_of(Arc::new(thread), encoder(), tables(), loss, together)
            })
        });
        let threads: Vec<_> = threads.collect();
        let ended = threads.into_iter();
        ended.map(|thread| thread.join().unwrap()).collect()
    });
    for (rank, result) in results.iter().enumerate() {
        assert!(
            (result.0 - value).abs() <= 1e-5 * value,
            "{} against {value}",
            result.0
        );
        let distance = distance(&result.1, &gradients);
        assert!(distance <= 1e-5, "process {rank} of {size}: {distance}");
        assert_eq!(result, &results[0], "process {rank} to the bit");
    }
}

fn batches(rows: usize, accumulation: usize) -> impl Fn(&mut TrainingArguments) {
    move |arguments| {
        arguments.per_device_train_batch_size = rows;
        arguments.gradient_accumulation_steps = accumulation;
    }
}

fn exact(arguments: &mut TrainingArguments) {
    arguments.exact_regularizer = true;
}

#[test]
fn processes_take_turns_with_micro_batches() {
    let encoder = || with_dropout("splade-max");
    let tables = || vec![table("a_splade_mnrl")];
    let loss = splade("multiple_negatives_ranking");
    let alone = |accumulation: usize| {
        move |arguments: &mut TrainingArguments| {
            batches(2, accumulation)(arguments);
            exact(arguments);
        }
    };
    for size in [2, 3] {
        compare(size, &encoder, &tables, &loss, alone(size), batches(2, 1));
    }
    // With accumulation the regularizers of all rounds, and with caching.
    compare(2, &encoder, &tables, &loss, alone(4), |arguments| {
        batches(2, 2)(arguments);
        exact(arguments);
    });
    compare(2, &encoder, &tables, &loss, alone(2), |arguments| {
        batches(2, 1)(arguments);
        arguments.mini_batch_size = Some(1);
    });
}

#[test]
fn half_precision_is_that_of_one_process() {
    let encoder = || with_dropout("splade-max");
    let tables = || vec![table("a_splade_mnrl")];
    let loss = splade("multiple_negatives_ranking");
    type Choose = fn(&mut TrainingArguments);
    let precisions: [Choose; 2] = [|a| a.bf16 = true, |a| a.fp16 = true];
    for choose in precisions {
        let alone = |arguments: &mut TrainingArguments| {
            batches(2, 2)(arguments);
            exact(arguments);
            choose(arguments);
        };
        let together = |arguments: &mut TrainingArguments| {
            batches(2, 1)(arguments);
            choose(arguments);
        };
        compare(2, &encoder, &tables, &loss, alone, together);
    }
}

#[test]
fn gathered_rows_are_one_batch_whatever_the_number_of_processes() {
    let mut loss = splade("multiple_negatives_ranking");
    loss["loss"]["gather_across_devices"] = json!(true);
    let encoder = || with_dropout("splade-max");
    let tables = || vec![table("a_splade_mnrl")];
    for (size, accumulation) in [(2, 1), (4, 1), (2, 2)] {
        let alone = batches(8 / accumulation, accumulation);
        let together = batches(8 / size / accumulation, accumulation);
        compare(size, &encoder, &tables, &loss, alone, &together);
        let alone = batches(8 / accumulation, accumulation);
        compare(size, &encoder, &tables, &loss, alone, |arguments| {
            together(arguments);
            arguments.mini_batch_size = Some(3);
        });
    }
}

/// An autoencoder stands between the vectors and the loss: its gradient counts once.
#[test]
fn an_autoencoder_sees_every_batch() {
    let encoder = || with_dropout("csr");
    let tables = || vec![table("d_csr")];
    compare(2, &encoder, &tables, &csr(), batches(4, 2), batches(4, 1));
    let mut gathers = csr();
    gathers["loss"]["gather_across_devices"] = json!(true);
    compare(2, &encoder, &tables, &gathers, batches(8, 1), batches(4, 1));
}

#[test]
fn a_process_without_a_batch_takes_part() {
    let encoder = || load(&encoder_directory("inference-free"));
    let tables = || vec![table("e_inference_free")];
    let loss = splade("multiple_negatives_ranking");
    // All rows in one batch.
    let change = |arguments: &mut TrainingArguments| {
        batches(1000, 1)(arguments);
        arguments.router_mapping = [("question", "query"), ("answer", "document")]
            .map(|(column, route)| (column.to_owned(), route.into()))
            .into();
    };
    compare(2, &encoder, &tables, &loss, change, change);
}

#[test]
fn data_sets_of_one_update_have_their_own_losses() {
    let encoder = || with_dropout("splade-max");
    let tables = || {
        ["a", "b"]
            .map(|name| {
                let mut config = config("a_splade_mnrl");
                config.name = Some(name.to_owned());
                Table::load(&config).unwrap()
            })
            .to_vec()
    };
    let loss = splade("multiple_negatives_ranking");
    let in_turn = |arguments: &mut TrainingArguments| {
        arguments.multi_dataset_batch_sampler = MultiDatasetKind::RoundRobin;
    };
    let alone = |arguments: &mut TrainingArguments| {
        batches(2, 3)(arguments);
        exact(arguments);
        in_turn(arguments);
    };
    let together = |arguments: &mut TrainingArguments| {
        batches(2, 1)(arguments);
        in_turn(arguments);
    };
    compare(3, &encoder, &tables, &loss, alone, together);
}
