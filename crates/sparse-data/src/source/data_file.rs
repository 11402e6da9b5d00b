//! A file to read: on this machine, or to be fetched to it.

use std::path::{Path, PathBuf};

use sparse_files::TemporaryDirectory;

use super::hub::HubFile;
use super::remote::RemoteFile;
use super::{Format, ReadLimits, is_pipe, pipe};
use crate::error::{Error, Result};
use crate::table::Table;

/// A file that holds rows.
#[derive(Debug, Clone)]
pub(crate) enum DataFile {
    /// A file of this machine.
    Local(PathBuf),
    /// A file of a store.
    Remote(RemoteFile),
    /// A file of the hub.
    Hub(HubFile),
}

impl DataFile {
    /// The format that the name stands for.
    pub(super) fn format(&self) -> Option<Format> {
        match self {
            Self::Local(path) => Format::from_path(path),
            Self::Remote(file) => Format::from_path(Path::new(file.name())),
            Self::Hub(file) => Format::from_path(Path::new(file.path())),
        }
    }

    /// What the file is called in messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Local(path) if pipe::is_standard_input(path) => "standard input".to_owned(),
            Self::Local(path) => path.display().to_string(),
            Self::Remote(file) => file.url().to_owned(),
            Self::Hub(file) => file.shown(),
        }
    }

    /// The file on this machine: where it is, or a copy that lasts as long as the result.
    pub(crate) fn local(&self, limits: &ReadLimits) -> Result<LocalFile> {
        match self {
            Self::Local(path) if is_pipe(path) => {
                let (folder, kept) = pipe::keep(path, limits)?;
                Ok(LocalFile {
                    path: kept,
                    shown: Some(self.shown()),
                    _folder: Some(folder),
                })
            }
            Self::Local(path) => Ok(LocalFile {
                path: path.clone(),
                shown: None,
                _folder: None,
            }),
            Self::Hub(file) => Ok(LocalFile {
                path: file.download()?,
                shown: Some(file.shown()),
                _folder: None,
            }),
            Self::Remote(file) => {
                let folder = TemporaryDirectory::create("sparse-data-")?;
                let path = folder.path().join(file.name());
                file.fetch(&path)?;
                Ok(LocalFile {
                    path,
                    shown: Some(file.url().to_owned()),
                    _folder: Some(folder),
                })
            }
        }
    }
}

/// A file on this machine, perhaps under a name that says more than where it lies.
#[derive(Debug)]
pub(crate) struct LocalFile {
    pub(crate) path: PathBuf,
    shown: Option<String>,
    /// Removed with the copy in it.
    _folder: Option<TemporaryDirectory>,
}

impl LocalFile {
    /// Calls a table's rows, or an error, after the name and not after the place.
    pub(crate) fn named(&self, read: Result<Table>) -> Result<Table> {
        let Some(shown) = &self.shown else {
            return read;
        };
        read.map(|table| table.with_file(shown))
            .map_err(|error| self.renamed(error))
    }

    /// Calls an error after the name and not after the place.
    pub(crate) fn renamed(&self, error: Error) -> Error {
        match &self.shown {
            Some(shown) => error.about(&self.path, shown),
            None => error,
        }
    }
}
