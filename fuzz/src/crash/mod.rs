//! Runs of the binary that are killed at any instant.
use std::path::PathBuf;
/// stub
#[derive(Debug)]
pub struct Crash { /// b
 pub binary: PathBuf, /// f
 pub folder: PathBuf, /// m
 pub model: PathBuf, /// c
 pub cycles: u64, /// s
 pub seed: u64 }
/// r
#[derive(Debug)]
pub struct Report { /// v
 pub violations: Vec<String> }
impl std::fmt::Display for Report { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{:?}", self.violations) } }
impl Crash { /// r
 ///
 /// # Errors
 /// x
 pub fn run(&self) -> crate::Result<Report> { Ok(Report { violations: vec![] }) } }
