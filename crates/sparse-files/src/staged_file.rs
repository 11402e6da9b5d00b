//! A file that appears under its name when it is complete.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fault;
use crate::leftovers::{PARTIAL, sweep};
use crate::operation;
use crate::registry::{Entry, staging_name};

/// Bytes that are written at a time.
const BUFFER: usize = 256 << 10;

/// A file that is written beside its place and moved there by [`finish`](Self::finish). Dropped before, it leaves nothing.
///
/// A link stays one: what it points to is replaced. What is no regular file (a device, a pipe) is written to directly, and
/// never replaced. A file that is there already keeps its permissions.
#[derive(Debug)]
pub struct StagedFile {
    writer: BufWriter<Checked>,
    /// `None` where bytes go directly to a device or pipe.
    staged: Option<Staged>,
}

/// Where a file waits, and where it goes.
#[derive(Debug)]
struct Staged {
    entry: Entry,
    target: PathBuf,
    permissions: Option<Permissions>,
}

impl StagedFile {
    /// Begins the file that shall stand at `path`.
    ///
    /// # Errors
    ///
    /// If `path` is a directory, or its directory is missing or can't be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let existing = fs::metadata(path).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            let source = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(Error::new("write", path, source));
        }
        if existing.as_ref().is_some_and(|known| !known.is_file()) || is_of_system(path) {
            return Self::direct(path);
        }
        let target = resolve(path).map_err(|source| Error::new("create", path, source))?;
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it isn't the name of a file");
            return Err(Error::new("create", path, source));
        };
        if !parent.is_dir() {
            let source = io::Error::new(io::ErrorKind::NotFound, "its directory doesn't exist");
            return Err(Error::new("create", path, source));
        }
        sweep(parent, name.to_str())?;
        let (entry, file) = stage(&target)?;
        Ok(Self {
            writer: buffered(file, path),
            staged: Some(Staged {
                entry,
                target,
                permissions: existing.map(|known| known.permissions()),
            }),
        })
    }

    fn direct(path: &Path) -> Result<Self> {
        // Appending makes no difference to a device, and keeps what is there of a file that stdout was redirected to.
        let opened = File::options().append(true).open(path);
        let file = opened.map_err(|source| Error::new("write", path, source))?;
        Ok(Self {
            writer: buffered(file, path),
            staged: None,
        })
    }

    /// Puts the complete file in its place, after its bytes have reached the disk.
    ///
    /// # Errors
    ///
    /// If the last bytes can't be written or the file not renamed. What stood there before still does.
    pub fn finish(mut self) -> Result<()> {
        let path = self.writer.get_ref().path.clone();
        let flushed = self.writer.flush();
        flushed.map_err(|error| Error::written(error, &path))?;
        let Some(staged) = self.staged.take() else {
            return Ok(());
        };
        let Staged {
            entry,
            target,
            permissions,
        } = staged;
        let file = &self.writer.get_ref().file;
        if let Some(permissions) = permissions {
            let set = file.set_permissions(permissions);
            set.map_err(|source| Error::new("write", &path, source))?;
        }
        operation::sync(file, &path)?;
        entry.publish(|staging| operation::rename(staging, &target))?;
        let synced = operation::sync_directory(target.parent().unwrap_or(Path::new(".")));
        synced.map_err(|error| Error { path, ..error })
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        // A buffer that goes without having been flushed would try once more, to a file that nobody will see.
        if self.staged.is_some() {
            self.writer.get_mut().is_dropped = true;
        }
    }
}

/// Writes a whole file.
///
/// # Errors
///
/// As those of [`StagedFile`].
pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    let mut file = StagedFile::create(path)?;
    let written = file.write_all(bytes.as_ref());
    written.map_err(|error| Error::written(error, path))?;
    file.finish()
}

pub(crate) fn buffered(file: File, path: &Path) -> BufWriter<Checked> {
    let checked = Checked {
        file,
        path: path.to_path_buf(),
        is_dropped: false,
    };
    BufWriter::with_capacity(BUFFER, checked)
}

/// A file whose errors name it.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    is_dropped: bool,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_dropped {
            return Ok(bytes.len());
        }
        let written = fault::before_write(&self.path, bytes.len())
            .and_then(|length| self.file.write(&bytes[..length]));
        written.map_err(|source| match source.kind() {
            io::ErrorKind::Interrupted => source,
            _ => Error::new("write", &self.path, source).into(),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Creates the file that waits beside `target`, and locks it so that nobody takes it for abandoned.
fn stage(target: &Path) -> Result<(Entry, File)> {
    loop {
        let staging = target.with_file_name(staging_name(target, PARTIAL));
        let (entry, file) = Entry::new(&staging, || operation::create_new(&staging))?;
        // Best effort: not every file system has locks.
        let _ = file.try_lock();
        // Somebody who tidied up just now may have taken the file for abandoned, before it was locked.
        if staging.exists() {
            return Ok((entry, file));
        }
    }
}

/// Devices and what a process has open, by name.
fn is_of_system(path: &Path) -> bool {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    cfg!(unix) && (path.starts_with("/dev") || path.starts_with("/proc")) && path.exists()
}

/// The file that a chain of links ends at, whether or not it exists.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    /// As many links as Linux follows.
    const LINKS: usize = 40;
    let mut path = std::path::absolute(path)?;
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&path) else {
            return Ok(path);
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "too many symbolic links",
    ))
}
