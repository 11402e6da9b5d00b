//! How much of a file may be held in memory.

use std::path::Path;

use super::malformed;
use crate::error::Result;

/// Memory that the rows of a file may take: what was free when reading began. Compressed files, above all, don't show what
/// becomes of them, and a message is better than an end by the system.
#[derive(Debug)]
pub(super) struct Budget {
    free: u64,
    held: u64,
}

impl Budget {
    /// What the machine, or the container, has left; nothing is limited where that isn't known.
    pub(super) fn of_machine() -> Self {
        let free = [machine_bytes(), container_bytes()]
            .into_iter()
            .flatten()
            .min();
        Self::of(free.unwrap_or(u64::MAX))
    }

    fn of(free: u64) -> Self {
        Self { free, held: 0 }
    }

    /// Counts rows of so many bytes.
    pub(super) fn take(&mut self, path: &Path, bytes: usize) -> Result<()> {
        self.held += bytes as u64;
        if self.held <= self.free {
            return Ok(());
        }
        let problem = format!(
            "its rows take more memory than the {} MiB that are free; read a part of it with `split` or `columns`, or train with \
             `streaming = true`",
            self.free >> 20
        );
        Err(malformed(path, problem))
    }
}

/// Memory that Linux can give without swapping.
fn machine_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// What the control group of a container has left.
fn container_bytes() -> Option<u64> {
    let number = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(Path::new("/sys/fs/cgroup").join(name)).ok()?;
        text.trim().parse().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_the_free_memory_are_refused() {
        let mut budget = Budget::of(3 << 20);
        let path = Path::new("a.jsonl.gz");
        budget.take(path, 2 << 20).unwrap();
        let error = budget.take(path, 2 << 20).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "`a.jsonl.gz`: its rows take more memory than the 3 MiB that are free"
            ),
            "{error}"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_machine_has_free_memory() {
        assert!(machine_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
