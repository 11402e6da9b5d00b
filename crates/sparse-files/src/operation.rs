//! The operations on the disk that the rest is made of. Each can be made to fail, see [`fault`].

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::fault;

/// Creates a file that doesn't exist yet.
pub(crate) fn create_new(path: &Path) -> Result<File> {
    let created = fault::before("create", path).and_then(|()| File::create_new(path));
    created.map_err(|source| Error::new("create", path, source))
}

/// Creates a directory, in a directory that exists.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    let created = fault::before("create", path).and_then(|()| fs::create_dir(path));
    created.map_err(|source| Error::new("create", path, source))
}

/// Makes a directory and those above it; one that is there already is as good.
///
/// # Errors
///
/// If it can't be made.
pub fn create_dir_all(path: &Path) -> Result<()> {
    let created = fault::before("create", path).and_then(|()| fs::create_dir_all(path));
    created.map_err(|source| Error::new("create", path, source))
}

/// Waits until the content of a file is on the disk.
pub(crate) fn sync(file: &File, path: &Path) -> Result<()> {
    let synced = fault::before("sync", path).and_then(|()| file.sync_all());
    synced.map_err(|source| Error::new("sync", path, source))
}

/// Waits until the names in a directory are on the disk. Some file systems don't know how, and have nothing to lose by it.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    fault::before("sync", path).map_err(|source| Error::new("sync", path, source))?;
    #[cfg(unix)]
    match File::open(path).and_then(|directory| directory.sync_all()) {
        Err(source)
            if ![io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported]
                .contains(&source.kind()) =>
        {
            return Err(Error::new("sync", path, source));
        }
        _ => {}
    }
    Ok(())
}

/// Gives a file or directory another name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    let renamed = fault::before("rename", to).and_then(|()| fs::rename(from, to));
    renamed.map_err(|source| Error::new("rename", to, source))
}

/// Exchanges the names of two directories in one step, where the system can.
///
/// # Errors
///
/// Of kind [`Unsupported`](io::ErrorKind::Unsupported) where it can't.
pub(crate) fn exchange(one: &Path, other: &Path) -> Result<()> {
    let exchanged = fault::before("rename", other).and_then(|()| exchange_names(one, other));
    exchanged.map_err(|source| Error::new("rename", other, source))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange_names(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|errno| {
        if [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].contains(&errno) {
            io::ErrorKind::Unsupported.into()
        } else {
            errno.into()
        }
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange_names(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives a file a second name; copies it where the file system has no links.
pub(crate) fn link(from: &Path, to: &Path) -> Result<()> {
    let linked = fault::before("create", to).and_then(|()| {
        if fs::symlink_metadata(from)?.is_symlink() {
            return link_symbolic(from, to);
        }
        fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ()))
    });
    linked.map_err(|source| Error::new("create", to, source))
}

#[cfg(unix)]
fn link_symbolic(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(fs::read_link(from)?, to)
}

#[cfg(not(unix))]
fn link_symbolic(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map(|_| ())
}

/// Removes a file; one that is gone is none to remove.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    let removed = fault::before("remove", path).and_then(|()| fs::remove_file(path));
    ignore_missing(removed).map_err(|source| Error::new("remove", path, source))
}

/// Removes a directory with all that is in it.
pub(crate) fn remove_dir_all(path: &Path) -> Result<()> {
    let removed = fault::before("remove", path).and_then(|()| fs::remove_dir_all(path));
    ignore_missing(removed).map_err(|source| Error::new("remove", path, source))
}

fn ignore_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
