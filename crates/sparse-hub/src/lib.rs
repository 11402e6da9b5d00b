//! Models and data sets of the Hugging Face hub: cached downloads and uploads.
//!
//! [`Hub`] is a small synchronous client. It downloads into the cache that Python's `huggingface_hub` uses, in the same
//! layout, so that a model is on the disk once; it resumes broken downloads, tries again when the hub is busy, checks every
//! file against the object id that the hub lists, and uses what is in the cache when there is no network.
//!
//! ```no_run
//! use sparse_hub::{Hub, HubOptions, Repo, UploadOptions};
//!
//! # fn main() -> sparse_hub::Result<()> {
//! let hub = Hub::new(HubOptions::default())?;
//! let directory = hub.model_directory("naver/splade-v3")?;
//! println!("downloaded to {}", directory.display());
//!
//! for file in hub.converted_parquet("sentence-transformers/natural-questions")? {
//!     println!("{} {}: {}", file.config, file.split, file.path);
//! }
//!
//! let repo = Repo::model("me/my-model")?;
//! let pushed = hub.upload_folder(&repo, "runs/my-model/final".as_ref(), &UploadOptions::default())?;
//! println!("{}", pushed.url);
//! # Ok(())
//! # }
//! ```
//!
//! # Settings
//!
//! [`HubOptions`] has what a caller may choose; what it leaves open comes from the environment, as in Python:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `HF_ENDPOINT` | address of the hub, `https://huggingface.co` by default |
//! | `HF_HUB_CACHE`, `HF_HOME` | the cache; `$HF_HOME/hub`, by default `~/.cache/huggingface/hub` |
//! | `HF_TOKEN`, `HF_TOKEN_PATH` | the token, or the file with it; `$HF_HOME/token` by default |
//! | `HF_HUB_OFFLINE` | `1`: nothing but the cache is used |
//! | `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies, `socks5://` among them |
//!
//! # Boundary
//!
//! This crate knows nothing of models or tables: it moves files. It is the only one that talks to the hub.

mod cache;
mod classify;
mod client;
mod download;
mod error;
mod failure;
mod git_object;
mod listing;
mod mask;
mod model;
mod options;
mod parquet;
mod repo;
mod snapshot;
mod upload;

pub use error::{Error, Result};
pub use listing::{Listing, RepoFile};
pub use options::HubOptions;
pub use parquet::ParquetFile;
pub use repo::{Repo, RepoKind};
pub use snapshot::{Hub, Snapshot};
pub use upload::{Upload, UploadOptions};
