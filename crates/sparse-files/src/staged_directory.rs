//! A directory that appears under its name when it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::leftovers::{REPLACED, SAVING, sweep};
use crate::operation;
use crate::registry::{Entry, remove, staging_name};
use crate::staged_file::{Checked, buffered};

/// A directory that is written beside its place and put there by [`replace`](Self::replace). Dropped before, it leaves
/// nothing.
///
/// A link to a directory stays one. Where nothing can be written beside the directory, or it can't be moved because
/// something is mounted there or this process runs in it, its files are staged inside and replaced one by one.
#[derive(Debug)]
pub struct StagedDirectory {
    entry: Entry,
    target: PathBuf,
    /// Whether the files will be moved into the target one by one.
    is_inside: bool,
    manifest: Option<PathBuf>,
    /// Holds the lock.
    _directory: Option<File>,
}

impl StagedDirectory {
    /// Begins the directory that shall stand at `target`; the directories above it are made.
    ///
    /// # Errors
    ///
    /// If `target` is a file, or no directory can be made there.
    pub fn create(target: impl AsRef<Path>) -> Result<Self> {
        let path = target.as_ref();
        let failed = |source| Error::new("create", path, source);
        if path.as_os_str().is_empty() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the path is empty");
            return Err(failed(source));
        }
        if path.exists() && !path.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let target = if path.exists() {
            fs::canonicalize(path).map_err(failed)?
        } else {
            std::path::absolute(path).map_err(failed)?
        };
        let is_inside = target.is_dir() && !can_be_moved(&target);
        let beside = target.parent().filter(|_| !is_inside);
        let parent = beside.unwrap_or(&target);
        operation::create_dir_all(parent)?;
        let name = target.file_name().unwrap_or_default();
        match Self::stage(&target, parent, name.to_str(), is_inside) {
            Err(error) if !is_inside && target.is_dir() && is_denied(&error) => {
                Self::stage(&target, &target, name.to_str(), true)
            }
            other => other,
        }
    }

    fn stage(target: &Path, parent: &Path, name: Option<&str>, is_inside: bool) -> Result<Self> {
        sweep(parent, name)?;
        loop {
            let staging = parent.join(staging_name(target, SAVING));
            let (entry, ()) = Entry::new(&staging, || operation::create_dir(&staging))?;
            // Locked so that nobody takes it for abandoned. Best effort: not every system can lock directories.
            let directory = File::open(&staging).ok();
            if let Some(directory) = &directory {
                let _ = directory.try_lock();
            }
            // Somebody who tidied up just now may have taken the directory for abandoned, before it was locked.
            if staging.exists() {
                return Ok(Self {
                    entry,
                    target: target.to_path_buf(),
                    is_inside,
                    manifest: None,
                    _directory: directory,
                });
            }
        }
    }

    /// Names the file without which the directory counts as damaged: where files are replaced one by one, it goes first and
    /// comes last, so that no reader takes old files and new ones together.
    #[must_use]
    pub fn with_manifest(mut self, relative: impl Into<PathBuf>) -> Self {
        self.manifest = Some(relative.into());
        self
    }

    /// Where the files wait.
    pub fn path(&self) -> &Path {
        self.entry.path()
    }

    /// Writes a file of the directory, at a relative path; the directories on its way are made.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn write(&self, relative: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
        self.write_with(relative, |file| file.write_all(bytes.as_ref()))
    }

    /// As [`write`](Self::write), piece by piece.
    ///
    /// # Errors
    ///
    /// If it can't be written, or `fill` fails.
    pub fn write_with(
        &self,
        relative: impl AsRef<Path>,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let path = self.path().join(relative.as_ref());
        // What the message names is the file that it would have become.
        let named = self.target.join(relative.as_ref());
        if let Some(parent) = path.parent() {
            operation::create_dir_all(parent)?;
        }
        remove(&path);
        let mut file = buffered(operation::create_new(&path)?, &named);
        let written = fill(&mut file).and_then(|()| file.flush());
        written.map_err(|error| Error::written(error, &named))?;
        let Checked { file, .. } = file.get_ref();
        operation::sync(file, &named)
    }

    /// Puts the complete directory in its place. Of one that stands there, the files that `is_ours` names (by their path in
    /// the directory) go, and all others stay.
    ///
    /// Where two directories can exchange their names (Linux, macOS), there is at every instant one that is whole.
    ///
    /// # Errors
    ///
    /// If the directory can't be moved. What stood there before still does, unless files are replaced one by one.
    pub fn replace(self, is_ours: impl Fn(&Path) -> bool) -> Result<()> {
        let Self {
            entry,
            target,
            is_inside,
            manifest,
            _directory,
        } = self;
        let parent = target.parent().unwrap_or(&target).to_path_buf();
        if is_inside {
            return entry
                .publish(|staging| put_inside(staging, &target, manifest.as_deref(), &is_ours));
        }
        if target.is_dir() {
            keep_others(&target, entry.path(), Path::new(""), &is_ours)?;
        }
        sync_tree(entry.path())?;
        if !target.exists() {
            entry.publish(|staging| operation::rename(staging, &target))?;
            return operation::sync_directory(&parent);
        }
        if let Ok(known) = fs::metadata(&target) {
            // Best effort: a directory of somebody else keeps the usual permissions.
            let _ = fs::set_permissions(entry.path(), known.permissions());
        }
        let old = entry.publish(|staging| match operation::exchange(staging, &target) {
            Ok(()) => Ok(staging.to_path_buf()),
            Err(error) if error.source.kind() == io::ErrorKind::Unsupported => {
                let old = target.with_file_name(staging_name(&target, REPLACED));
                operation::rename(&target, &old)?;
                operation::rename(staging, &target)?;
                Ok(old)
            }
            Err(error) => Err(error),
        })?;
        let synced = operation::sync_directory(&parent);
        operation::remove_dir_all(&old)?;
        synced
    }
}

/// Whether a directory can be given to another: nothing is mounted there, and no process that was started in it, such as the
/// user's shell, would be left in one that is gone.
fn can_be_moved(directory: &Path) -> bool {
    let runs_in_it = std::env::current_dir()
        .and_then(fs::canonicalize)
        .is_ok_and(|current| current.starts_with(directory));
    !runs_in_it && directory.parent().is_some() && !is_mount_point(directory)
}

#[cfg(unix)]
fn is_mount_point(directory: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|known| known.dev()).ok();
    directory
        .parent()
        .is_some_and(|parent| device(parent) != device(directory))
}

#[cfg(not(unix))]
fn is_mount_point(_directory: &Path) -> bool {
    false
}

fn is_denied(error: &Error) -> bool {
    matches!(
        error.source.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Gives the files that aren't ours a second name in the directory that comes. What it has already under that name wins.
fn keep_others(
    from: &Path,
    to: &Path,
    relative: &Path,
    is_ours: &impl Fn(&Path) -> bool,
) -> Result<()> {
    for entry in entries(from)? {
        let relative = relative.join(entry.file_name());
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let has_own = target.exists();
            if !has_own {
                operation::create_dir(&target)?;
            }
            keep_others(&source, &target, &relative, is_ours)?;
            let was_empty = is_empty(&source);
            if !has_own && !was_empty && is_empty(&target) {
                // All it held is ours and has no successor.
                remove(&target);
            }
        } else if !is_ours(&relative) && !target.exists() {
            operation::link(&source, &target)?;
        }
    }
    Ok(())
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Waits until the names in a directory and those below it are on the disk; the files are already.
fn sync_tree(directory: &Path) -> Result<()> {
    for entry in entries(directory)? {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_tree(&entry.path())?;
        }
    }
    operation::sync_directory(directory)
}

/// Moves what is staged inside a directory to its place there.
fn put_inside(
    staging: &Path,
    target: &Path,
    manifest: Option<&Path>,
    is_ours: &impl Fn(&Path) -> bool,
) -> Result<()> {
    if let Some(manifest) = manifest {
        operation::remove_file(&target.join(manifest))?;
        operation::sync_directory(target)?;
    }
    remove_ours(staging, target, Path::new(""), is_ours)?;
    let last = manifest.map(|manifest| staging.join(manifest));
    move_into(staging, target, last.as_deref())?;
    if let (Some(manifest), Some(last)) = (manifest, last) {
        operation::rename(&last, &target.join(manifest))?;
    }
    operation::remove_dir_all(staging)?;
    operation::sync_directory(target)
}

/// Removes our files below `to` that have no successor below `from`.
fn remove_ours(
    from: &Path,
    to: &Path,
    relative: &Path,
    is_ours: &impl Fn(&Path) -> bool,
) -> Result<()> {
    for entry in entries(to)? {
        let (path, successor) = (entry.path(), from.join(entry.file_name()));
        let relative = relative.join(entry.file_name());
        let kind = entry.file_type();
        if !kind.is_ok_and(|kind| kind.is_dir()) {
            if is_ours(&relative) && !successor.exists() {
                operation::remove_file(&path)?;
            }
        } else if path != from {
            let was_empty = is_empty(&path);
            remove_ours(&successor, &path, &relative, is_ours)?;
            if !was_empty && is_empty(&path) {
                remove(&path);
            }
        }
    }
    Ok(())
}

/// Moves all files but one into a directory, one by one.
fn move_into(from: &Path, to: &Path, but: Option<&Path>) -> Result<()> {
    for entry in entries(from)? {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            if !target.is_dir() {
                operation::create_dir(&target)?;
            }
            move_into(&source, &target, but)?;
        } else if but != Some(&source) {
            operation::rename(&source, &target)?;
        }
    }
    operation::sync_directory(to)
}

/// What a directory holds, by name.
fn entries(directory: &Path) -> Result<Vec<fs::DirEntry>> {
    let read = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = read.map_err(|source| Error::new("read", directory, source))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}
