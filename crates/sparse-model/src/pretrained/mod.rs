//! Model directories: what lies in them, reading and writing.

mod file;
mod hub;
mod json;
mod layout;
mod own_files;
mod pickle;
mod reader;
mod safetensors;
mod save;
mod weights;

pub(crate) use file::{is_there, read_limited};
pub(crate) use hub::FoundModel;
pub use hub::ModelSource;
pub(crate) use json::{
    entry, from_object, python_literal, read_array, read_object, read_object_or_empty, read_table,
    shortened, to_pretty, warn_of_unknown,
};
pub(crate) use layout::{
    ModuleEntry, SentenceTransformersConfig, check_without_listing, join_inside, load_modules,
    short_class,
};
pub use own_files::check_target;
pub(crate) use reader::{Aliases, ParameterReader, parameter_id};
pub(crate) use save::{DirectoryWriter, save_directory};
pub use save::{TensorBytes, write_safetensors};
pub(crate) use weights::Weights;
