//! All readers against many inputs, in processes that may die.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::targets::Target;
use crate::{Result, files, shown, worker};

/// Longest time of one input.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Address space of a worker in KiB: what is above ends it, so that an input can't take the machine with it. What counts as a
/// failure is the resident memory, [`worker::MEMORY_LIMIT`].
const ADDRESS_SPACE: u64 = 4 << 20;

/// Failures of one target after which it is given up: everything is broken then.
const MANY_DEATHS: usize = 200;

/// What to run.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The program that runs workers: this crate's binary.
    pub program: PathBuf,
    /// Where seeds, inputs and failures go.
    pub folder: PathBuf,
    /// Readers to feed.
    pub targets: Vec<&'static Target>,
    /// Inputs of each.
    pub mutations: u64,
    /// Number of the first input.
    pub seed: u64,
    /// Processes at a time.
    pub processes: usize,
}

/// What became of one target's inputs.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Inputs that were read and used.
    pub ok: u64,
    /// Inputs that were refused, or could not be used, with a message.
    pub refused: u64,
    /// Inputs that failed.
    pub failed: u64,
    /// Failures by kind and place: the first input, its message, and how many.
    pub failures: BTreeMap<String, Failure>,
    /// Longest time of an input in seconds.
    pub slowest: f64,
    /// Largest memory of an input in bytes.
    pub peak: u64,
    /// Deaths of processes.
    deaths: usize,
}

/// One kind of failure.
#[derive(Debug, Clone)]
pub struct Failure {
    /// panic, signal, time, memory, unnamed or wrong.
    pub kind: String,
    /// What was said.
    pub message: String,
    /// Number of the first input.
    pub first: u64,
    /// How many inputs.
    pub count: u64,
}

/// Inputs of one target that one process runs.
#[derive(Debug)]
struct Batch {
    target: usize,
    numbers: Range<u64>,
}

impl Campaign {
    /// Runs it, and gives the tally of each target.
    ///
    /// # Errors
    ///
    /// If seeds can't be made or workers can't be started.
    pub fn run(&self) -> Result<Vec<Tally>> {
        fs::create_dir_all(&self.folder)?;
        for target in &self.targets {
            // Of an earlier campaign.
            let _ = fs::remove_dir_all(self.failures().join(target.name));
            self.write_seeds(target)?;
        }
        let tallies: Vec<Mutex<Tally>> = self.targets.iter().map(|_| Mutex::default()).collect();
        let batches = Mutex::new(self.batches());
        let next_worker = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.processes.max(1))
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        while let Some(batch) = lock(&batches).pop_front() {
                            let number = next_worker.fetch_add(1, Ordering::Relaxed);
                            self.run_batch(batch, &tallies, number)?;
                        }
                        Ok(())
                    })
                })
                .collect();
            threads.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .map_err(|_| "a thread of the campaign panicked")?
            })
        })?;
        Ok(tallies
            .into_iter()
            .map(|tally| tally.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect())
    }

    /// Where the first input of every kind of failure is kept.
    pub fn failures(&self) -> PathBuf {
        self.folder.join("failures")
    }

    fn batches(&self) -> VecDeque<Batch> {
        let end = self.seed.saturating_add(self.mutations);
        let mut batches = VecDeque::new();
        for (number, target) in self.targets.iter().enumerate() {
            let mut start = self.seed;
            while start < end {
                let stop = end.min(start.saturating_add(target.batch as u64));
                batches.push_back(Batch {
                    target: number,
                    numbers: start..stop,
                });
                start = stop;
            }
        }
        batches
    }

    fn seeds(&self, target: &Target) -> PathBuf {
        self.folder.join("seeds").join(target.name)
    }

    fn write_seeds(&self, target: &Target) -> Result<()> {
        let folder = self.seeds(target);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let output = Command::new(&self.program)
            .args(["seeds", target.name])
            .arg(&folder)
            .envs(environment(&self.folder))
            .output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("failed to make the seeds of {}: {said}", target.name).into());
        }
        Ok(())
    }

    /// Runs a batch, in as many processes as die of it.
    fn run_batch(&self, batch: Batch, tallies: &[Mutex<Tally>], number: usize) -> Result<()> {
        let target = self.targets[batch.target];
        let tally = &tallies[batch.target];
        let mut numbers = batch.numbers;
        while !numbers.is_empty() {
            if lock(tally).deaths >= MANY_DEATHS {
                return Ok(());
            }
            let folder = self.folder.join(format!("worker-{number}"));
            fs::create_dir_all(&folder)?;
            let ended = self.run_worker(target, &folder, &numbers, tally)?;
            let input = folder.join(worker::INPUT);
            match ended {
                None => numbers.start = numbers.end,
                Some((died_at, kind, message)) => {
                    let mut tally = lock(tally);
                    tally.deaths += 1;
                    self.record(target, &mut tally, died_at, kind, &message, &input)?;
                    numbers.start = died_at + 1;
                }
            }
            fs::remove_dir_all(&folder)?;
        }
        Ok(())
    }

    /// One process; gives the input that it died of.
    fn run_worker(
        &self,
        target: &Target,
        folder: &Path,
        numbers: &Range<u64>,
        tally: &Mutex<Tally>,
    ) -> Result<Option<(u64, &'static str, String)>> {
        let errors = folder.join("stderr");
        let mut child = limited(&self.program)
            .args(["worker", target.name])
            .arg(self.seeds(target))
            .arg(folder)
            .args([numbers.start.to_string(), numbers.end.to_string()])
            .envs(environment(&self.folder))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&errors)?)
            .spawn()?;
        let out = child.stdout.take().ok_or("the worker has no output")?;
        let lines = lines(BufReader::new(out));
        let mut current = numbers.start;
        let mut done = 0;
        let silent = loop {
            match lines.recv_timeout(TIME_LIMIT) {
                Ok(line) => {
                    let report: Value = serde_json::from_str(&line)?;
                    if let Some(number) = report["begin"].as_u64() {
                        current = number;
                        continue;
                    }
                    done += 1;
                    let mut tally = lock(tally);
                    tally.take(&report);
                    if let (Some(kind), Some(message)) =
                        (report["kind"].as_str(), report["message"].as_str())
                    {
                        self.record(
                            target,
                            &mut tally,
                            current,
                            kind,
                            message,
                            &folder.join(worker::failed(current)),
                        )?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    break true;
                }
                Err(RecvTimeoutError::Disconnected) => break false,
            }
        };
        let status = child.wait()?;
        if silent {
            let message = format!("no answer within {} s", TIME_LIMIT.as_secs());
            return Ok(Some((current, "time", message)));
        }
        if status.success() && done == numbers.end - numbers.start {
            return Ok(None);
        }
        let said = fs::read_to_string(&errors).unwrap_or_default();
        let message = format!("{}: {}", ending(status), last_words(&said));
        Ok(Some((current, "signal", message)))
    }

    /// Counts a failure, and keeps the first input of its kind.
    fn record(
        &self,
        target: &Target,
        tally: &mut Tally,
        number: u64,
        kind: &str,
        message: &str,
        input: &Path,
    ) -> Result<()> {
        tally.failed += 1;
        let key = format!("{kind} {}", essence(message));
        let known = tally.failures.entry(key).or_insert_with(|| Failure {
            kind: kind.to_owned(),
            message: message.to_owned(),
            first: number,
            count: 0,
        });
        known.count += 1;
        if known.count == 1 && input.is_dir() {
            let kept = self.failures().join(target.name).join(number.to_string());
            files::write(&kept, &files::read(input)?)?;
        }
        Ok(())
    }
}

impl Tally {
    fn take(&mut self, report: &Value) {
        if report["kind"].is_null() {
            match report["outcome"].as_str() {
                Some("ok") => self.ok += 1,
                _ => self.refused += 1,
            }
        }
        self.slowest = self.slowest.max(report["seconds"].as_f64().unwrap_or(0.0));
        self.peak = self.peak.max(report["peak"].as_u64().unwrap_or(0));
    }

    /// Inputs that were run.
    pub fn inputs(&self) -> u64 {
        self.ok + self.refused + self.failed
    }
}

/// The table of a campaign, and a list of what failed.
pub fn report(campaign: &Campaign, tallies: &[Tally]) -> String {
    use std::fmt::Write;
    let mut text = format!(
        "{:<12} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}\n",
        "target", "inputs", "ok", "refused", "failures", "slowest", "peak MB"
    );
    for (target, tally) in campaign.targets.iter().zip(tallies) {
        let _ = writeln!(
            text,
            "{:<12} {:>8} {:>8} {:>8} {:>8} {:>8.2} s {:>8}",
            target.name,
            tally.inputs(),
            tally.ok,
            tally.refused,
            tally.failed,
            tally.slowest,
            tally.peak >> 20
        );
    }
    for (target, tally) in campaign.targets.iter().zip(tallies) {
        for failure in tally.failures.values() {
            let _ = writeln!(
                text,
                "\n{} ({}, {} inputs): {}\n  cargo xtask fuzz --target {} --seed {} --mutations 1",
                target.name,
                failure.kind,
                failure.count,
                failure.message,
                target.name,
                failure.first
            );
        }
        if tally.deaths >= MANY_DEATHS {
            let _ = writeln!(
                text,
                "\n{}: given up after {MANY_DEATHS} deaths",
                target.name
            );
        }
    }
    text
}

/// A command whose address space is limited, where there is a shell for it.
fn limited(program: &Path) -> Command {
    if cfg!(unix) {
        let mut command = Command::new("sh");
        let script = format!("ulimit -c 0; ulimit -v {ADDRESS_SPACE}; exec \"$0\" \"$@\"");
        command.args(["-c", &script]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Nothing outside of the campaign's folder is reached: neither the hub nor a home directory.
fn environment(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    vec![
        ("HF_HUB_OFFLINE", "1".into()),
        ("HF_ENDPOINT", "http://127.0.0.1:9".into()),
        ("HF_HOME", folder.join("home")),
        ("HOME", folder.join("home")),
        ("TMPDIR", folder.to_owned()),
        ("RAYON_NUM_THREADS", "2".into()),
    ]
}

/// Lines as they come, from a thread of their own so that waiting for one can end.
fn lines(reader: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in reader.lines().map_while(std::io::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A message without what differs from input to input.
fn essence(message: &str) -> String {
    let mut kept = String::new();
    let mut quoted = false;
    for character in message.chars() {
        match character {
            '`' | '"' => quoted = !quoted,
            _ if quoted || character.is_ascii_digit() => {}
            _ => kept.push(character),
        }
    }
    shown::one_line(&kept, 250)
}

/// The last line of a process that is neither a backtrace's nor empty.
fn last_words(said: &str) -> &str {
    let is_said = |line: &&str| {
        !line.is_empty()
            && !line.starts_with([' ', '\t'])
            && !line.starts_with("note: ")
            && !line.starts_with("stack backtrace")
    };
    said.lines().rfind(is_said).unwrap_or("nothing was said")
}

fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return format!("killed by signal {signal}");
    }
    status.to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_one_kind_are_one() {
        assert_eq!(
            essence("row 7 of `a.csv` is 3"),
            essence("row 12 of `b.csv` is 4")
        );
        assert_ne!(essence("row 7 is empty"), essence("row 7 is long"));
    }

    #[test]
    fn every_input_is_in_one_batch() {
        let campaign = Campaign {
            program: "p".into(),
            folder: "f".into(),
            targets: crate::targets::TARGETS.iter().collect(),
            mutations: 1001,
            seed: 5,
            processes: 2,
        };
        let of_csv: Vec<u64> = campaign
            .batches()
            .into_iter()
            .filter(|batch| campaign.targets[batch.target].name == "checkpoint")
            .flat_map(|batch| batch.numbers)
            .collect();
        assert_eq!(of_csv, (5..1006).collect::<Vec<_>>());
    }
}
