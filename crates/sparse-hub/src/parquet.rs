//! The Parquet files that the hub makes of data sets.

use crate::{Hub, Listing, Repo, Result};

/// The branch onto which the hub converts.
const CONVERTED: &str = "refs/convert/parquet";

/// A converted file of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParquetFile {
    /// Configuration, also called subset; `default` for most data sets.
    pub config: String,
    /// Split, such as `train`.
    pub split: String,
    /// Path in the repository, on the branch with the converted files.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Whether the hub converted only the beginning of the split.
    pub is_partial: bool,
}

impl Hub {
    /// The Parquet files that the hub has made of a data set, whatever its own format is: in the order of configurations,
    /// splits and numbers. Their revision is a branch of its own, so that the one in the options plays no part.
    ///
    /// # Errors
    ///
    /// As [`listing`](Self::listing); a data set that the hub does not convert has no such revision.
    pub fn converted_parquet(&self, id: &str) -> Result<Vec<ParquetFile>> {
        Ok(parquet_files(&self.converted_listing(id)?))
    }

    /// Downloads converted files, as far as they are not in the cache yet, and gives their places in the same order.
    ///
    /// # Errors
    ///
    /// As [`download`](Self::download).
    pub fn download_converted(
        &self,
        id: &str,
        files: &[ParquetFile],
    ) -> Result<Vec<std::path::PathBuf>> {
        let listing = self.converted_listing(id)?;
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let snapshot = self.download_at(&Repo::dataset(id)?, CONVERTED, &listing, &paths)?;
        Ok(snapshot.files)
    }

    fn converted_listing(&self, id: &str) -> Result<Listing> {
        self.listing_at(&Repo::dataset(id)?, CONVERTED)
    }
}

/// Paths are `<config>/<split>/<number>.parquet`; the split of a file that is only a part begins with `partial-`.
fn parquet_files(listing: &Listing) -> Vec<ParquetFile> {
    listing
        .files
        .iter()
        .filter_map(|file| {
            let mut parts = file.path.split('/');
            let (config, split, name) = (parts.next()?, parts.next()?, parts.next()?);
            if parts.next().is_some() || !name.ends_with(".parquet") {
                return None;
            }
            let whole = split.strip_prefix("partial-");
            Some(ParquetFile {
                config: config.to_string(),
                split: whole.unwrap_or(split).to_string(),
                path: file.path.clone(),
                size: file.size,
                is_partial: whole.is_some(),
            })
        })
        .collect()
}
