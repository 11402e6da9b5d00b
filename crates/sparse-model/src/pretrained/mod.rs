//! Model directories: what lies in them, reading and writing.

mod archive;
mod hub;
mod json;
mod layout;
mod own_files;
mod pickle;
mod reader;
mod save;
mod weights;

pub(crate) use hub::FoundModel;
pub use hub::ModelSource;
pub(crate) use json::{python_literal, read_json, read_json_or_default, read_object, to_pretty};
pub(crate) use layout::{
    ModuleEntry, SentenceTransformersConfig, join_inside, load_modules, short_class,
};
pub use own_files::check_target;
pub(crate) use reader::{Aliases, ParameterReader, parameter_id};
pub(crate) use save::{DirectoryWriter, save_directory};
pub use save::{TensorBytes, write_safetensors};
pub(crate) use weights::Weights;
