//! The trainer from outside.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod arguments;
mod callbacks;
mod damaged;
mod flat;
mod guards;
mod hub;
mod model_card;
mod optimizers;
mod precision;
mod regulation;
mod resume;
mod several;
mod streaming;
mod support;
mod trajectories;
