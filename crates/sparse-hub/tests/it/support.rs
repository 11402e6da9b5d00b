//! A hub, a cache and a client.

use std::path::{Path, PathBuf};

use loopback_hub::LoopbackHub;
use sparse_hub::{Hub, HubOptions};

pub(crate) struct Workshop {
    pub(crate) hub: LoopbackHub,
    pub(crate) cache: tempfile::TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self {
            hub: LoopbackHub::start(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    /// A workshop with a model whose weights are `size` bytes.
    pub(crate) fn with_model(size: usize) -> Self {
        let this = Self::new();
        this.hub.add_model(
            "org/tiny",
            [
                ("config.json", b"{}".to_vec()),
                ("model.safetensors", bytes(size)),
                ("pytorch_model.bin", b"old".to_vec()),
                ("tokenizer.json", b"{\"model\": {}}".to_vec()),
            ],
        );
        this
    }

    pub(crate) fn options(&self) -> HubOptions {
        HubOptions::default()
            .with_endpoint(self.hub.endpoint())
            .with_cache_dir(self.cache.path())
            .with_token("")
            .with_retries(3, 1)
    }

    pub(crate) fn client(&self) -> Hub {
        Hub::new(self.options()).unwrap()
    }

    pub(crate) fn offline(&self) -> Hub {
        Hub::new(self.options().with_local_files_only(true)).unwrap()
    }

    /// A path below the model's part of the cache.
    pub(crate) fn in_cache(&self, path: &str) -> PathBuf {
        self.cache.path().join("models--org--tiny").join(path)
    }
}

/// Bytes that repeat late.
pub(crate) fn bytes(size: usize) -> Vec<u8> {
    (0..size)
        .map(|index| (index * index / 7 + index) as u8)
        .collect()
}

/// Names in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
