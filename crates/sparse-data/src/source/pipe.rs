//! Pipes: what can be read once only is kept in a temporary file, because most formats are read twice.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sparse_files::TemporaryDirectory;

use super::limits::{raised_by, shown};
use super::{Format, ReadLimits, compression, io_error, malformed};
use crate::error::Result;

/// Whether a path names the standard input, or something else that can be read only once.
pub(crate) fn is_pipe(path: &Path) -> bool {
    is_standard_input(path) || is_special(path)
}

/// `-`, unless a file has that name.
pub(super) fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-") && !path.exists()
}

#[cfg(unix)]
fn is_special(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata()
        .is_ok_and(|found| found.file_type().is_fifo() || is_terminal(path, &found))
}

#[cfg(not(unix))]
fn is_special(_: &Path) -> bool {
    false
}

#[cfg(unix)]
fn is_terminal(path: &Path, found: &std::fs::Metadata) -> bool {
    use std::io::IsTerminal;
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_char_device() && File::open(path).is_ok_and(|file| file.is_terminal())
}

/// Whether a path names a device, whose bytes may never end.
pub(super) fn is_device(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        path.metadata().is_ok_and(|found| {
            let kind = found.file_type();
            kind.is_block_device()
                || kind.is_socket()
                || (kind.is_char_device() && !is_terminal(path, &found))
        })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Copies all that a pipe gives to a temporary file, whose name has the endings that the pipe's lacks; a pipe without an end is
/// refused before it fills the disk.
pub(super) fn keep(path: &Path, limits: &ReadLimits) -> Result<(TemporaryDirectory, PathBuf)> {
    let failed = |source| io_error(path, source);
    let mut source: Box<dyn Read> = if is_standard_input(path) {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut start = Vec::new();
    let longest = MAGIC
        .iter()
        .map(|(magic, _)| magic.len())
        .max()
        .unwrap_or(0);
    source
        .by_ref()
        .take(longest as u64)
        .read_to_end(&mut start)
        .map_err(failed)?;
    let folder = TemporaryDirectory::create("sparse-data-")?;
    let target = folder.path().join(name(path, &start));
    let mut file = File::create(&target).map_err(|source| io_error(&target, source))?;
    let mut rest = start
        .as_slice()
        .chain(source)
        .take(limits.max_pipe_bytes.saturating_add(1));
    let mut block = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        // Apart from each other, so that a full disk isn't said to be a pipe that can't be read.
        let n = rest.read(&mut block).map_err(failed)?;
        if n == 0 {
            return Ok((folder, target));
        }
        total += n as u64;
        if total > limits.max_pipe_bytes {
            let problem = format!(
                "gave more than {}; write it to a file and read that, or set {}",
                shown(limits.max_pipe_bytes),
                raised_by("max_pipe_bytes")
            );
            return Err(malformed(path, problem));
        }
        file.write_all(&block[..n])
            .map_err(|source| io_error(&target, source))?;
    }
}

/// How compressed files begin.
const MAGIC: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
];

/// A name that tells what the pipe's own, such as `/dev/fd/63`, doesn't.
fn name(path: &Path, start: &[u8]) -> String {
    let own = path.file_name().map(|name| name.to_string_lossy());
    let mut name = match own {
        Some(own) if Format::from_path(path).is_some() => own.into_owned(),
        _ => "data".to_owned(),
    };
    if !compression(Path::new(&name)).is_compressed()
        && let Some((_, ending)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic))
    {
        name.push('.');
        name.push_str(ending);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_pipe_has_the_endings_that_its_bytes_ask_for() {
        for (path, start, expected) in [
            ("/dev/fd/63", &b"\x1f\x8b\x08"[..], "data.gz"),
            ("/dev/fd/63", b"{\"a\"", "data"),
            ("-", b"", "data"),
            ("pipes/a.jsonl", b"{}", "a.jsonl"),
            ("pipes/a.jsonl.gz", b"\x1f\x8b\x08", "a.jsonl.gz"),
            ("pipes/a.csv", b"BZh9", "a.csv.bz2"),
        ] {
            assert_eq!(name(Path::new(path), start), expected);
        }
    }

    #[test]
    #[cfg(unix)]
    fn devices_are_told_from_files() {
        assert!(is_device(Path::new("/dev/zero")) && !is_pipe(Path::new("/dev/zero")));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_device(file.path()) && !is_pipe(file.path()));
    }
}
