//! What came of the kills.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of one job.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Processes that were started.
    pub cycles: u64,
    /// Runs from their first start to their end.
    pub lives: u64,
    /// Kills by what the process was doing.
    pub kills: BTreeMap<&'static str, u64>,
    /// Starts from a checkpoint.
    pub resumes: u64,
    /// Processes that came to their end.
    pub finished: u64,
}

/// Counts of all jobs, and what should not have been.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Counts by the job's name.
    pub jobs: Vec<(&'static str, Counts)>,
    /// What was found wrong.
    pub violations: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<16} {:>7} {:>7} {:>7} {:>8} {:>9}  kills by phase",
            "job", "cycles", "runs", "kills", "resumes", "finished"
        )?;
        for (name, counts) in &self.jobs {
            let kills: u64 = counts.kills.values().sum();
            let phases: Vec<String> = counts
                .kills
                .iter()
                .map(|(phase, kills)| format!("{phase} {kills}"))
                .collect();
            writeln!(
                f,
                "{name:<16} {:>7} {:>7} {kills:>7} {:>8} {:>9}  {}",
                counts.cycles,
                counts.lives,
                counts.resumes,
                counts.finished,
                phases.join(", ")
            )?;
        }
        let cycles: u64 = self.jobs.iter().map(|(_, counts)| counts.cycles).sum();
        writeln!(f, "{cycles} cycles, {} violations", self.violations.len())?;
        for violation in &self.violations {
            writeln!(f, "\n{violation}")?;
        }
        Ok(())
    }
}
