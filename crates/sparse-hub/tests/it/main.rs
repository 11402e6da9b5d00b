//! Downloads and uploads over a hub on the loopback address.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod downloads;
mod failures;
mod support;
mod uploads;
