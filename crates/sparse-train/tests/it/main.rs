//! The trainer from outside.

mod resume;
mod support;
mod trajectories;
