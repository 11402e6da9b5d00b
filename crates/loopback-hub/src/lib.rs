//! A small hub on the loopback address, for tests of what downloads and uploads.
//!
//! [`LoopbackHub`] holds models and data sets in memory and answers the part of the Hugging Face hub's HTTP API that clients
//! use: information and listings of a repository, files with `ETag`, `Range` and the redirect of large files to another
//! address, converted Parquet files, creation of repositories and branches, commits and pull requests. It counts requests and
//! fails on request.
//!
//! ```
//! use loopback_hub::{Fault, LoopbackHub, READER};
//!
//! let hub = LoopbackHub::start();
//! let commit = hub.add_model("org/tiny", [("config.json", "{}"), ("model.safetensors", "...")]);
//! hub.set_private("org/tiny"); // needs the token `READER` or `WRITER` now
//! hub.fail("model.safetensors", Fault::Cut { after: 2 }, 1); // the first answer with this file breaks off
//!
//! // ... let the code under test download "org/tiny" from `hub.endpoint()` ...
//!
//! assert_eq!(hub.count("GET", "config.json"), 0);
//! assert_eq!(commit.len(), 40);
//! # let _ = READER;
//! ```
//!
//! A test of a program sets `HF_ENDPOINT` to [`LoopbackHub::endpoint`] and `HF_HOME` to a temporary directory. Everything ends
//! when the hub is dropped.

mod answer;
mod api;
mod fault;
#[path = "../../sparse-hub/src/git_object.rs"]
mod git_object; // Shared as a file: a crate of its own would be more than these few lines.
mod http;
mod refusal;
mod store;
mod write;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

pub use fault::Fault;
use fault::Planned;
pub use store::PullRequest;
use store::{Kind, Repository, Store};

/// A token that may read everything.
pub const READER: &str = "hf_loopback_reader";

/// A token that may read and write everything.
pub const WRITER: &str = "hf_loopback_writer";

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD` or `POST`.
    pub method: String,
    /// Path and query, percent-encoded as sent.
    pub target: String,
    /// First byte of the `Range` header, if there was one.
    pub range_start: Option<u64>,
    /// Status of the answer.
    pub status: u16,
}

/// A hub that listens on a port of its own until it is dropped.
#[derive(Debug)]
pub struct LoopbackHub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    store: Store,
    faults: Vec<Planned>,
    requests: Vec<Request>,
}

impl LoopbackHub {
    /// Starts a hub without repositories.
    ///
    /// # Panics
    ///
    /// If no port of the loopback address is free.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            std::thread::spawn(move || serve(&listener, address, &state, &stop))
        };
        Self {
            address,
            state,
            stop,
            thread: Some(thread),
        }
    }

    /// The hub's address, such as `http://127.0.0.1:40123`: what `HF_ENDPOINT` is set to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a model, or a commit to the branch `main` of one that is there. Gives the commit.
    pub fn add_model<P: Into<String>, C: Into<Vec<u8>>>(
        &self,
        id: &str,
        files: impl IntoIterator<Item = (P, C)>,
    ) -> String {
        self.add(Kind::Model, id, "main", files)
    }

    /// Adds a data set, or a commit to the branch `main` of one that is there. Gives the commit.
    pub fn add_dataset<P: Into<String>, C: Into<Vec<u8>>>(
        &self,
        id: &str,
        files: impl IntoIterator<Item = (P, C)>,
    ) -> String {
        self.add(Kind::Dataset, id, "main", files)
    }

    /// Adds the files that the hub would have converted a data set to: `(config, split, Parquet file)`, numbered from 0 within
    /// a split.
    pub fn add_converted<C: Into<Vec<u8>>>(
        &self,
        id: &str,
        files: impl IntoIterator<Item = (&'static str, &'static str, C)>,
    ) -> String {
        let mut numbers: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let files: Vec<(String, Vec<u8>)> = files
            .into_iter()
            .map(|(config, split, content)| {
                let number = numbers.entry((config, split)).or_default();
                let path = format!("{config}/{split}/{number:04}.parquet");
                *number += 1;
                (path, content.into())
            })
            .collect();
        self.add(Kind::Dataset, id, "refs/convert/parquet", files)
    }

    /// Adds every file below a directory as a model. Gives the commit.
    ///
    /// # Panics
    ///
    /// If the directory can't be read.
    pub fn add_model_directory(&self, id: &str, directory: &Path) -> String {
        let mut files = Vec::new();
        collect(directory, directory, &mut files);
        self.add_model(id, files)
    }

    /// Adds every file below a directory as a data set. Gives the commit.
    ///
    /// # Panics
    ///
    /// If the directory can't be read.
    pub fn add_dataset_directory(&self, id: &str, directory: &Path) -> String {
        let mut files = Vec::new();
        collect(directory, directory, &mut files);
        self.add_dataset(id, files)
    }

    /// Adds a commit with these files to a branch of a model, which is made from nothing if it is not there. Gives the commit.
    pub fn add_model_revision<P: Into<String>, C: Into<Vec<u8>>>(
        &self,
        id: &str,
        branch: &str,
        files: impl IntoIterator<Item = (P, C)>,
    ) -> String {
        self.add(Kind::Model, id, branch, files)
    }

    fn add<P: Into<String>, C: Into<Vec<u8>>>(
        &self,
        kind: Kind,
        id: &str,
        branch: &str,
        files: impl IntoIterator<Item = (P, C)>,
    ) -> String {
        let files = files
            .into_iter()
            .map(|(path, content)| (path.into(), content.into()))
            .collect();
        let mut state = self.lock();
        let repository = state.store.get_or_create(kind, id);
        repository.commit(branch, "add files", "", files, &[])
    }

    /// From now on, only requests with a token see this model or data set.
    pub fn set_private(&self, id: &str) {
        self.each(id, |repository| repository.private = true);
    }

    /// From now on, this model or data set answers that its owner has to grant access first.
    pub fn set_gated(&self, id: &str) {
        self.each(id, |repository| repository.gated = true);
    }

    fn each(&self, id: &str, change: impl Fn(&mut Repository)) {
        for repository in self.lock().store.repositories_named(id) {
            change(repository);
        }
    }

    /// Lets the next `times` answers to requests whose target contains `target` fail.
    pub fn fail(&self, target: &str, fault: Fault, times: usize) {
        self.lock().faults.push(Planned {
            target: target.to_string(),
            fault,
            left: times,
        });
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// Number of requests so far of a method whose target contains `target`.
    pub fn count(&self, method: &str, target: &str) -> usize {
        self.lock()
            .requests
            .iter()
            .filter(|request| request.method == method && request.target.contains(target))
            .count()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.lock().requests.clear();
    }

    /// The files of a model at a branch or commit; `None` if there is no such model or revision.
    pub fn model_files(&self, id: &str, revision: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let state = self.lock();
        let repository = state.store.get(Kind::Model, id)?;
        let (_, commit) = repository.resolve(revision)?;
        Some(
            commit
                .files
                .iter()
                .map(|(path, content)| (path.clone(), content.to_vec()))
                .collect(),
        )
    }

    /// Whether a model is private; `None` if there is none of this name.
    pub fn is_private(&self, id: &str) -> Option<bool> {
        let state = self.lock();
        Some(state.store.get(Kind::Model, id)?.private)
    }

    /// Title and description of the last commit of a model's branch.
    pub fn last_commit(&self, id: &str, branch: &str) -> Option<(String, String)> {
        let state = self.lock();
        let (_, commit) = state.store.get(Kind::Model, id)?.resolve(branch)?;
        Some((commit.title.clone(), commit.description.clone()))
    }

    /// The pull requests of a model.
    pub fn pull_requests(&self, id: &str) -> Vec<PullRequest> {
        let state = self.lock();
        state
            .store
            .get(Kind::Model, id)
            .map(|repository| repository.pull_requests.clone())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for LoopbackHub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Answers connections, each in a thread, until `stop` is set.
fn serve(listener: &TcpListener, address: SocketAddr, state: &Mutex<State>, stop: &AtomicBool) {
    std::thread::scope(|scope| {
        for stream in listener.incoming() {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let Ok(mut stream) = stream else { continue };
            scope.spawn(move || {
                if let Some(request) = http::read(&mut stream) {
                    let response = answer::answer(state, address, &request);
                    http::write(&mut stream, &request, response);
                }
            });
        }
    });
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let name = path
            .strip_prefix(root)
            .expect("a file below its directory")
            .to_string_lossy()
            .replace('\\', "/");
        files.push((name, std::fs::read(&path).expect("the file can be read")));
    }
}
