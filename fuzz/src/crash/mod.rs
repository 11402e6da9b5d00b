//! Runs of the binary that are killed at any instant, started again, and looked at after every kill.

mod job;
mod report;
mod training;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::files::{self, Files};
use crate::random::Random;
use job::Job;
pub use report::{Counts, Report};

/// What to kill, and how often.
#[derive(Debug, Clone)]
pub struct Crash {
    /// The command line's binary.
    pub binary: PathBuf,
    /// Where the runs take place.
    pub folder: PathBuf,
    /// A small model.
    pub model: PathBuf,
    /// How many processes are started.
    pub cycles: u64,
    /// Of the instants.
    pub seed: u64,
}

/// Kills of one life after which it may come to its end.
const KILLS_OF_A_LIFE: usize = 12;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Killed,
    Finished,
}

impl Crash {
    /// Runs it. Each job first runs undisturbed: that is what the others are compared with.
    ///
    /// # Errors
    ///
    /// If the binary can't be started, or fails undisturbed.
    pub fn run(&self) -> Result<Report> {
        if !self.binary.is_file() {
            return Err(format!("no binary at `{}`", self.binary.display()).into());
        }
        let _ = fs::remove_dir_all(&self.folder);
        let mut report = Report::default();
        // Training has the most states to be killed in.
        let shares = [
            (Job::Train, 2),
            (Job::Lines, 1),
            (Job::Parquet, 1),
            (Job::Index, 1),
        ];
        let of_all: u64 = shares.iter().map(|(_, share)| share).sum();
        for (job, share) in shares {
            let counts = self.run_job(
                job,
                (self.cycles * share).div_ceil(of_all),
                &mut report.violations,
            )?;
            report.jobs.push((job.name(), counts));
        }
        Ok(report)
    }

    fn run_job(&self, job: Job, cycles: u64, violations: &mut Vec<String>) -> Result<Counts> {
        let folder = self.folder.join(job.name());
        let whole = folder.join("undisturbed");
        job.prepare(&whole, &self.model)?;
        let started = Instant::now();
        let output = self.command(job, &whole).output()?;
        let duration = started.elapsed();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} fails undisturbed: {said}", job.name()).into());
        }
        let expected = files::read(&whole)?;
        let mut counts = Counts::default();
        let mut life = 0;
        while counts.cycles < cycles {
            let place = folder.join("killed");
            let mut life_of = Life {
                crash: self,
                job,
                place: &place,
                expected: &expected,
                duration,
                random: Random::new(job.name(), self.seed.wrapping_mul(1_000_003) + life),
                left: BTreeSet::new(),
            };
            if let Err(violation) = life_of.run(&mut counts, cycles) {
                let kept = folder.join(format!("violation-{life}"));
                fs::rename(&place, &kept)?;
                violations.push(format!(
                    "{}, life {life}: {violation} (kept in `{}`)",
                    job.name(),
                    kept.display()
                ));
            }
            life += 1;
        }
        counts.lives = life;
        Ok(counts)
    }

    fn command(&self, job: Job, folder: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(folder)
            .args(job.arguments(folder, &self.model))
            .env("HF_HUB_OFFLINE", "1");
        command
    }
}

/// One run from its first start to its end, through all kills.
struct Life<'a> {
    crash: &'a Crash,
    job: Job,
    place: &'a Path,
    expected: &'a Files,
    duration: Duration,
    random: Random,
    /// What the last kill left beside the files.
    left: BTreeSet<String>,
}

impl Life<'_> {
    /// Starts, kills and looks until the run ends; an error is a violation.
    fn run(&mut self, counts: &mut Counts, cycles: u64) -> Result<()> {
        self.job.prepare(self.place, &self.crash.model)?;
        let old = files::read(self.place)?;
        let mut kills = 0;
        loop {
            // The last cycle, too, is one that comes to its end.
            let kill = kills < KILLS_OF_A_LIFE && counts.cycles + 1 < cycles;
            counts.cycles += 1;
            let resumes = self.job.resumes(self.place);
            counts.resumes += u64::from(resumes);
            match self.start(kill)? {
                Ending::Finished => {
                    counts.finished += 1;
                    let found = files::read(self.place)?;
                    self.job.check_end(&found, self.expected)?;
                    return self.check_leftovers(&found, true);
                }
                Ending::Killed => {
                    kills += 1;
                    let found = files::read(self.place)?;
                    *counts
                        .kills
                        .entry(self.job.phase(&found, &old))
                        .or_default() += 1;
                    self.job.check_kill(&found, &old, self.expected)?;
                    self.check_leftovers(&found, false)?;
                }
            }
        }
    }

    fn start(&mut self, kill: bool) -> Result<Ending> {
        let errors = self.crash.folder.join("stderr");
        let mut child = self
            .crash
            .command(self.job, self.place)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&errors)?)
            .spawn()?;
        if kill {
            let micros = self.duration.as_micros() as usize;
            let instant = Duration::from_micros(self.random.below(micros) as u64);
            std::thread::sleep(instant);
            if child.try_wait()?.is_none() {
                child.kill()?;
            }
        }
        let status = child.wait()?;
        if status.success() {
            return Ok(Ending::Finished);
        }
        if kill && status.code().is_none() {
            return Ok(Ending::Killed);
        }
        let said = fs::read_to_string(&errors).unwrap_or_default();
        let message = said
            .lines()
            .find(|line| line.starts_with("error"))
            .unwrap_or(&said);
        Err(format!("it can't go on ({status}): {message}").into())
    }

    /// Leftovers are those of one kill at most, and none after an undisturbed end.
    fn check_leftovers(&mut self, found: &Files, ended: bool) -> Result<()> {
        let left = self.job.leftovers(self.place, found)?;
        let older: Vec<&String> = left.intersection(&self.left).collect();
        let newer = left.difference(&self.left).count();
        if !older.is_empty() && (ended || newer > 0) {
            return Err(format!(
                "leftovers pile up: {left:?}, of which {older:?} are of an earlier kill"
            )
            .into());
        }
        if ended && !left.is_empty() {
            return Err(format!("it ends and leaves {left:?}").into());
        }
        self.left = left;
        Ok(())
    }
}
