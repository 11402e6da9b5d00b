//! Tests of the public API: reference values, gradients, degenerate batches, the overview page.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its data has failed"
)]

mod catalogue;
mod golden_cases;
mod golden_csr;
mod golden_schedules;
mod gradients;
mod overview;
mod reader;
mod robustness;
