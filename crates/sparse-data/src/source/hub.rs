//! Data sets of the hub: the Parquet files that the hub converts every public data set to, or a repository's own files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sparse_hub::{Hub, HubOptions, Listing, ParquetFile, Repo};

use super::files::{data_files, directory_splits};
use super::{DataFile, Format, SplitFiles};
use crate::error::{Error, Result, list_names, nearest};

/// A file of the hub, downloaded together with the others of its split when the first of them is read.
#[derive(Debug, Clone)]
pub(crate) struct HubFile {
    files: Arc<HubFiles>,
    index: usize,
}

#[derive(Debug)]
struct HubFiles {
    hub: Hub,
    id: String,
    origin: Origin,
    places: OnceLock<Vec<PathBuf>>,
}

#[derive(Debug)]
enum Origin {
    Converted(Vec<ParquetFile>),
    Own(Repo, Listing, Vec<String>),
}

impl HubFile {
    /// The id of the data set, and the path in its repository.
    pub(super) fn shown(&self) -> String {
        format!("{}: {}", self.files.id, self.path())
    }

    pub(super) fn path(&self) -> &str {
        match &self.files.origin {
            Origin::Converted(files) => &files[self.index].path,
            Origin::Own(_, _, paths) => &paths[self.index],
        }
    }

    /// Where the file lies in the cache.
    pub(super) fn download(&self) -> Result<PathBuf> {
        let HubFiles {
            hub,
            id,
            origin,
            places,
        } = &*self.files;
        if places.get().is_none() {
            let downloaded = match origin {
                Origin::Converted(files) => hub.download_converted(id, files)?,
                Origin::Own(repo, listing, paths) => hub.download(repo, listing, paths)?.files,
            };
            // Another thread may have been faster, with the same places.
            let _ = places.set(downloaded);
        }
        let place = places.get().and_then(|places| places.get(self.index));
        place.cloned().ok_or_else(|| Error::MissingFile {
            path: self.shown().into(),
            nearest: None,
        })
    }
}

/// The files of a data set by split.
pub(crate) fn splits(
    options: HubOptions,
    id: &str,
    subset: Option<&str>,
) -> Result<Vec<SplitFiles>> {
    let own_revision = options.revision.is_some();
    let hub = Hub::new(options)?;
    if !own_revision {
        match hub.converted_parquet(id) {
            Ok(files) if !files.is_empty() => return converted(&hub, id, subset, files),
            // Private data sets, for example, are not converted.
            Ok(_) | Err(sparse_hub::Error::RevisionNotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let repo = Repo::dataset(id)?;
    let listing = hub.listing(&repo)?;
    own(&hub, id, subset, repo, listing)
}

fn converted(
    hub: &Hub,
    id: &str,
    subset: Option<&str>,
    files: Vec<ParquetFile>,
) -> Result<Vec<SplitFiles>> {
    let subsets = distinct(files.iter().map(|file| file.config.as_str()));
    let subset = match subset {
        Some(subset) => known_subset(id, subset, &subsets)?,
        None if subsets.len() == 1 || subsets.contains(&"default") => {
            let default = subsets.iter().find(|name| **name == "default");
            default.copied().unwrap_or(subsets[0])
        }
        None => return Err(missing_subset(id, &subsets)),
    };
    let of_subset = || files.iter().filter(|file| file.config == subset);
    let splits = distinct(of_subset().map(|file| file.split.as_str()));
    Ok(splits
        .into_iter()
        .map(|split| {
            let files: Vec<ParquetFile> = of_subset()
                .filter(|file| file.split == split)
                .cloned()
                .collect();
            if files.iter().any(|file| file.is_partial) {
                tracing::warn!("the hub has converted only a part of split `{split}` of `{id}`");
            }
            let n = files.len();
            SplitFiles {
                name: split.to_owned(),
                files: hub_files(hub, id, Origin::Converted(files), n),
            }
        })
        .collect())
}

/// The files of the repository itself, told apart as those of a directory are; a subset is a folder.
fn own(
    hub: &Hub,
    id: &str,
    subset: Option<&str>,
    repo: Repo,
    listing: Listing,
) -> Result<Vec<SplitFiles>> {
    let all: Vec<String> = listing
        .files
        .iter()
        .map(|file| file.path.clone())
        .filter(|path| Format::from_path(Path::new(path)).is_some())
        .collect();
    let paths: Vec<String> = match subset {
        None => all,
        Some(subset) => {
            let folders = all
                .iter()
                .filter_map(|path| Some(path.rsplit_once('/')?.0))
                .flat_map(|folder| folder.split('/'));
            let subset = known_subset(id, subset, &distinct(folders))?;
            let folders = |path: &str| path.split('/').rev().skip(1).any(|part| part == subset);
            all.iter().filter(|path| folders(path)).cloned().collect()
        }
    };
    let n = paths.len();
    let names: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    let files = hub_files(hub, id, Origin::Own(repo, listing, paths), n);
    let mut splits = directory_splits(id, data_files(files.into_iter().zip(names)))?;
    // Only what is read is downloaded, so each split gets its own group.
    for split in &mut splits {
        regroup(&mut split.files);
    }
    Ok(splits)
}

fn hub_files(hub: &Hub, id: &str, origin: Origin, n: usize) -> Vec<DataFile> {
    let files = Arc::new(HubFiles {
        hub: hub.clone(),
        id: id.to_owned(),
        origin,
        places: OnceLock::new(),
    });
    let file = |index| {
        DataFile::Hub(HubFile {
            files: Arc::clone(&files),
            index,
        })
    };
    (0..n).map(file).collect()
}

/// Makes a group of its own out of files of a repository.
fn regroup(files: &mut Vec<DataFile>) {
    let Some(DataFile::Hub(HubFile { files: group, .. })) = files.first().cloned() else {
        return;
    };
    let Origin::Own(repo, listing, _) = &group.origin else {
        return;
    };
    let paths: Vec<String> = files
        .iter()
        .filter_map(|file| match file {
            DataFile::Hub(file) => Some(file.path().to_owned()),
            _ => None,
        })
        .collect();
    let n = paths.len();
    let origin = Origin::Own(repo.clone(), listing.clone(), paths);
    *files = hub_files(&group.hub, &group.id, origin, n);
}

/// Names without repeats, in the order in which they come.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

fn known_subset<'a>(id: &str, subset: &'a str, known: &[&str]) -> Result<&'a str> {
    if known.contains(&subset) {
        return Ok(subset);
    }
    Err(Error::UnknownSubset {
        place: id.to_owned(),
        subset: subset.to_owned(),
        nearest: nearest(subset, known.iter().copied()),
        known: list_names(known.iter().copied()),
    })
}

fn missing_subset(id: &str, known: &[&str]) -> Error {
    Error::Setting {
        key: "subset",
        problem: format!(
            "is missing: `{id}` has the subsets {}",
            list_names(known.iter().copied())
        ),
    }
}
