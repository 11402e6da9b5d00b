//! A dataset with its loss.

use std::sync::Arc;

use sparse_data::{ColumnRoles, Dataset};
use sparse_losses::Loss;

/// A dataset and its loss.
#[derive(Debug)]
pub(crate) struct DatasetWithLoss {
    pub(crate) name: String,
    pub(crate) data: Dataset,
    pub(crate) roles: ColumnRoles,
    pub(crate) loss: Arc<dyn Loss>,
}
