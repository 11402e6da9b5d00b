//! Several devices, or several threads on one, that share the work of encoding.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use burn::module::Module;
use burn::tensor::Device;
use sparse_index::SparseMatrix;

use super::SparseEncoder;
use super::encode::WINDOW;
use crate::{EncodeOptions, EncodeProgress, Error, Result};

/// Texts of a chunk at most, as in the reference.
const LARGEST_CHUNK: usize = 5000;

/// Copies of an encoder that encode at the same time, one thread each: what the reference's multi-process pool does.
///
/// Rows come in the order of the texts, with the values that one encoder gives them. A device may be named several times; on a
/// CPU, where a single encoder uses all cores for its matrices already, that gains little.
///
/// ```no_run
/// use burn::tensor::Device;
/// use sparse_model::{EncodeOptions, EncoderPool, SparseEncoder};
///
/// # fn main() -> sparse_model::Result<()> {
/// let device = Device::default();
/// let encoder = SparseEncoder::from_pretrained("splade-tiny-bert", &device)?;
/// let pool = EncoderPool::new(&encoder, &[device.clone(), device])?;
/// let embeddings = pool.encode_document(&["one text", "another"], &EncodeOptions::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EncoderPool {
    workers: Vec<SparseEncoder>,
}

impl EncoderPool {
    /// Puts a copy of an encoder, in its plain state, on each device. The encoder stays where it is.
    ///
    /// # Errors
    ///
    /// If there is no device.
    pub fn new(encoder: &SparseEncoder, devices: &[Device]) -> Result<Self> {
        if devices.is_empty() {
            return Err(Error::Option {
                name: "devices",
                problem: "is empty; expected at least one".to_string(),
            });
        }
        let plain = if encoder.device().is_autodiff() {
            encoder.valid()
        } else {
            encoder.clone()
        };
        let copy = |device: &Device| plain.clone().to_device(device);
        Ok(Self {
            workers: devices.iter().map(copy).collect(),
        })
    }

    /// Number of workers.
    pub fn n_workers(&self) -> usize {
        self.workers.len()
    }

    /// Encodes texts as [`SparseEncoder::encode`] does. The progress that the options ask for counts the texts of all workers.
    ///
    /// # Errors
    ///
    /// As [`SparseEncoder::encode`]; the other workers stop after the chunk that they are at.
    pub fn encode<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EncodeOptions,
    ) -> Result<SparseMatrix> {
        if let [only] = self.workers.as_slice() {
            return only.encode(texts, options);
        }
        options.validate()?;
        let options = &self.workers[0].with_resolved_prompt(options)?;
        let share = texts.len().div_ceil(self.workers.len()).div_ceil(10);
        let chunk_size = share.clamp(1, LARGEST_CHUNK);
        let chunks: Vec<&[S]> = texts.chunks(chunk_size).collect();
        let results: Vec<Mutex<Option<Result<SparseMatrix>>>> =
            chunks.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let done = Arc::new(AtomicUsize::new(0));
        let options = counted(options, &done, texts.len());
        std::thread::scope(|scope| {
            for worker in &self.workers {
                let (chunks, results, next, options) = (&chunks, &results, &next, &options);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(chunk) = chunks.get(index) else {
                            return;
                        };
                        let result = worker.encode(chunk, options);
                        if result.is_err() {
                            next.store(chunks.len(), Ordering::Relaxed);
                        }
                        *lock(&results[index]) = Some(result);
                    }
                });
            }
        });
        let mut all = SparseMatrix::new(self.workers[0].embedding_dimension());
        for (index, result) in results.into_iter().enumerate() {
            // A chunk without a result was skipped because of an error, which comes sooner or later in this order.
            let result = result
                .into_inner()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            let result = result
                .transpose()
                .map_err(|error| error.of_text(|row| index * chunk_size + row));
            if let Some(rows) = result? {
                append(&mut all, &rows)?;
            }
        }
        Ok(all)
    }

    /// Encodes queries as [`SparseEncoder::encode_query`] does.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_query<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EncodeOptions,
    ) -> Result<SparseMatrix> {
        self.encode(texts, &self.workers[0].query_options(options))
    }

    /// Encodes documents as [`SparseEncoder::encode_document`] does.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_document<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &EncodeOptions,
    ) -> Result<SparseMatrix> {
        self.encode(texts, &self.workers[0].document_options(options))
    }

    /// Encodes any number of texts in their order, in memory that does not grow with them, as
    /// [`SparseEncoder::encode_stream`] does. `sink` runs on the calling thread and gets the rows in order; it is waited for.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode), or what `sink` fails with, which ends the encoding.
    pub fn encode_stream<S: AsRef<str> + Send + Sync, E: From<Error>>(
        &self,
        texts: impl IntoIterator<Item = S>,
        options: &EncodeOptions,
        mut sink: impl FnMut(SparseMatrix) -> Result<(), E>,
    ) -> Result<usize, E> {
        options.validate()?;
        let options = &self.workers[0].with_resolved_prompt(options)?;
        let window_size = options.batch_size.saturating_mul(WINDOW);
        // What is being encoded or waits for its turn: the only texts and rows in memory.
        let most = 2 * self.workers.len();
        let mut texts = texts.into_iter();
        let (job_sender, jobs) = mpsc::sync_channel::<(usize, Vec<S>)>(most);
        let jobs = Mutex::new(jobs);
        let (result_sender, results) = mpsc::channel();
        std::thread::scope(|scope| {
            for worker in &self.workers {
                let (jobs, result_sender) = (&jobs, result_sender.clone());
                scope.spawn(move || {
                    loop {
                        let job = lock(jobs).recv();
                        let Ok((index, window)) = job else { return };
                        // Who waits for this window must hear of a panic.
                        let encode = AssertUnwindSafe(|| worker.encode(&window, options));
                        let result = catch_unwind(encode);
                        drop(window);
                        // The caller has left, with an error of its own.
                        if result_sender.send((index, result)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(result_sender);
            // Moved in here, so that leaving early ends the workers.
            let job_sender = job_sender;
            let results = results;
            let (mut sent, mut given, mut total) = (0, 0, 0);
            let mut waiting = BTreeMap::new();
            let mut more = true;
            loop {
                while more && sent - given < most {
                    let window: Vec<S> = texts.by_ref().take(window_size).collect();
                    more = !window.is_empty();
                    if more {
                        total += window.len();
                        if job_sender.send((sent, window)).is_err() {
                            more = false;
                        }
                        sent += 1;
                    }
                }
                if given == sent {
                    return Ok(total);
                }
                let Ok((index, result)) = results.recv() else {
                    return Ok(total);
                };
                waiting.insert(index, result);
                while let Some(result) = waiting.remove(&given) {
                    let rows = result.unwrap_or_else(|panic| resume_unwind(panic));
                    sink(rows.map_err(|error| error.of_text(|row| given * window_size + row))?)?;
                    given += 1;
                }
            }
        })
    }
}

/// The options, with a progress that counts over all workers.
fn counted(options: &EncodeOptions, done: &Arc<AtomicUsize>, total: usize) -> EncodeOptions {
    let mut options = options.clone();
    if let Some(progress) = options.progress.take() {
        let (done, batch_size) = (Arc::clone(done), options.batch_size);
        options.progress = Some(Arc::new(move |of_chunk: EncodeProgress| {
            // The last batch of a chunk may be short.
            let batch = match of_chunk.done % batch_size {
                0 => batch_size.min(of_chunk.done),
                short => short,
            };
            let done = done.fetch_add(batch, Ordering::Relaxed) + batch;
            progress(EncodeProgress {
                done,
                total,
                tokens: of_chunk.tokens,
            });
        }));
    }
    options
}

fn append(all: &mut SparseMatrix, rows: &SparseMatrix) -> Result<()> {
    all.append(rows).map_err(Error::of_matrix)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
