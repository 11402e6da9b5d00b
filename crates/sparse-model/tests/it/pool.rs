//! Encoding by several workers equals encoding by one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use burn::module::Module;
use burn::tensor::Device;
use sparse_index::SparseMatrix;
use sparse_model::{EncodeOptions, EncoderPool, Error, SparseEncoder};

use crate::support::load;

fn texts(n: usize) -> Vec<String> {
    let words = ["cat", "dog", "the", "a river runs", "mountain", "sat on"];
    (0..n)
        .map(|index| {
            let length = 1 + index * 7 % 11;
            let words: Vec<&str> = (0..length)
                .map(|at| words[(index + at * at) % words.len()])
                .collect();
            words.join(" ")
        })
        .collect()
}

fn pool(encoder: &SparseEncoder, workers: usize) -> EncoderPool {
    EncoderPool::new(encoder, &vec![Device::default(); workers]).unwrap()
}

/// Every weight equal to 1e-5.
fn assert_close(left: &SparseMatrix, right: &SparseMatrix) {
    assert_eq!(left.n_rows(), right.n_rows());
    assert_eq!(left.n_cols(), right.n_cols());
    for (left, right) in left.rows().zip(right.rows()) {
        assert_eq!(left.indices(), right.indices());
        for (left, right) in left.values().iter().zip(right.values()) {
            assert!(
                (left - right).abs() <= 1e-5 * right.abs().max(1.0),
                "{left} {right}"
            );
        }
    }
}

#[test]
fn workers_give_what_one_encoder_gives() {
    for name in [
        "encoders/splade-max",
        "encoders/csr",
        "encoders/inference-free",
    ] {
        let encoder = load(name);
        let texts = texts(97);
        let options = EncodeOptions::default().with_batch_size(4);
        let pool = pool(&encoder, 3);
        assert_eq!(pool.n_workers(), 3);
        assert_close(
            &pool.encode_query(&texts, &options).unwrap(),
            &encoder.encode_query(&texts, &options).unwrap(),
        );
        let limited = options.with_max_active_dims(5);
        assert_close(
            &pool.encode_document(&texts, &limited).unwrap(),
            &encoder.encode_document(&texts, &limited).unwrap(),
        );
    }
}

#[test]
fn few_texts_and_none_are_no_exception() {
    let encoder = load("encoders/splade-max");
    let pool = pool(&encoder, 4);
    let options = EncodeOptions::default();
    for n in [0, 1, 3] {
        let texts = texts(n);
        let rows = pool.encode(&texts, &options).unwrap();
        assert_close(&rows, &encoder.encode(&texts, &options).unwrap());
        assert_eq!(rows.n_cols(), 1200);
    }
    assert!(EncoderPool::new(&encoder, &[]).unwrap_err().is_user_error());
}

#[test]
fn a_training_model_is_used_in_its_plain_state() {
    let encoder = load("encoders/splade-max");
    let texts = texts(20);
    let options = EncodeOptions::default();
    let training = encoder.clone().train();
    assert_close(
        &pool(&training, 2).encode(&texts, &options).unwrap(),
        &encoder.encode(&texts, &options).unwrap(),
    );
}

#[test]
fn progress_counts_the_texts_of_all_workers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let options = EncodeOptions::default()
        .with_batch_size(3)
        .with_progress(move |progress| {
            record.lock().unwrap().push((progress.done, progress.total))
        });
    pool(&load("encoders/splade-max"), 2)
        .encode(&texts(50), &options)
        .unwrap();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen.last(), Some(&(50, 50)));
    assert!(
        seen.iter()
            .all(|(done, total)| done <= total && *total == 50)
    );
}

#[test]
fn errors_end_the_work() {
    let pool = pool(&load("encoders/splade-max"), 2);
    let wrong = EncodeOptions::default().with_prompt_name("nonsense");
    assert!(matches!(
        pool.encode(&texts(30), &wrong),
        Err(Error::UnknownPrompt { .. })
    ));
    let result: Result<usize, Error> = pool.encode_stream(texts(3000), &wrong, |_| Ok(()));
    assert!(matches!(result, Err(Error::UnknownPrompt { .. })));
    // The sink's own error comes through, and no further rows go to it.
    let calls = AtomicUsize::new(0);
    let options = EncodeOptions::default().with_batch_size(1);
    let result = pool.encode_stream(texts(500), &options, |_| {
        calls.fetch_add(1, Ordering::Relaxed);
        Err(Error::Device("full".to_string()))
    });
    assert!(matches!(result, Err(Error::Device(_))));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// Texts that count themselves: made, and gone again.
struct Counted {
    text: String,
    alive: Arc<AtomicUsize>,
}

impl AsRef<str> for Counted {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_stream_is_encoded_in_order_and_in_bounded_memory() {
    let encoder = load("encoders/splade-max");
    let options = EncodeOptions::default().with_batch_size(2);
    let n = 2000;
    let expected = encoder.encode(&texts(n), &options).unwrap();

    // 0 stands for the encoder itself.
    for workers in [0, 1, 3] {
        let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stream = texts(n).into_iter().map(|text| {
            let now = alive.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            Counted {
                text,
                alive: Arc::clone(&alive),
            }
        });
        let mut rows = SparseMatrix::new(1200);
        let sink = |part: SparseMatrix| -> Result<(), Error> {
            rows.append(&part).unwrap();
            Ok(())
        };
        let total = match workers {
            0 => encoder.encode_stream(stream, &options, sink),
            _ => pool(&encoder, workers).encode_stream(stream, &options, sink),
        };
        assert_eq!(total.unwrap(), n);
        assert_close(&rows, &expected);
        // Windows of 64 texts, two for each worker, and one that is being filled.
        let most = most.load(Ordering::SeqCst);
        assert!(
            most <= 64 * (2 * workers + 1),
            "{most} texts in memory with {workers} workers"
        );
    }
}
