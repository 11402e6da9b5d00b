//! Tests of the public API: reference values, gradients, degenerate batches, the overview page.

mod catalogue;
mod golden_cases;
mod golden_csr;
mod golden_schedules;
mod gradients;
mod overview;
mod reader;
mod robustness;
