//! Parameters by the reference's names.

use burn::module::ParamId;

/// A parameter of an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedParameter {
    /// The reference's name, such as `0.model.bert.encoder.layer.0.output.dense.weight`.
    pub name: String,
    /// Class of the module that it belongs to, such as `SparseStaticEmbedding`, and its name within, with a dot between.
    pub class_name: String,
    /// The parameter's identity in the module; it survives `train()`, `valid()` and every update.
    pub id: ParamId,
    /// Its shape, as in the weights file.
    pub shape: Vec<usize>,
    /// Whether it belongs to a layer norm, and so is exempt from weight decay.
    pub is_norm: bool,
    /// Whether training changes it.
    pub trainable: bool,
}

/// A parameter of one module: what its name is in memory and in the file.
#[derive(Debug, Clone)]
pub(crate) struct ParameterEntry {
    pub(crate) id: ParamId,
    /// Name within the module, as the reference's state dictionary has it.
    pub(crate) name: String,
    /// Key in the weights file that saving writes.
    pub(crate) file_key: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) is_norm: bool,
}
