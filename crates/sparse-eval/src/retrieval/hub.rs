//! Collections of the hub: a data set with the configurations `corpus`, `queries` and `qrels`, a split per collection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sparse_data::{DatasetConfig, Table};
use sparse_hub::{Hub, Repo};

use super::Collection;
use crate::{Error, Result};

/// Reads the collections `splits` of the data set `id`: columns `_id` and `text`, and `query-id` and `corpus-id` (one id or
/// several). Rows with an empty text are left out; every judgement counts as relevant.
///
/// The files are those onto which the hub converts a data set, or else the data set's own Parquet files, named
/// `<configuration>/<split>-….parquet`.
pub(crate) fn load(hub: &Hub, id: &str, splits: &[&str]) -> Result<Vec<Collection>> {
    let files = Files::find(hub, id, splits)?;
    let collection = |split: &&str| {
        let texts = |config: &str| {
            files
                .tables(hub, config, split)
                .and_then(|part| texts(&part))
        };
        let mut relevant = BTreeMap::<String, BTreeSet<String>>::new();
        for table in files.tables(hub, "qrels", split)? {
            for row in 0..table.num_rows() {
                let query = table.value_as_text("query-id", row)?;
                let documents = table.texts("corpus-id", row)?;
                relevant.entry(query).or_default().extend(documents);
            }
        }
        Collection::new(texts("queries")?, texts("corpus")?, &relevant)
            .map_err(|error| Error::Data(format!("data set `{id}`, split `{split}`: {error}")))
    };
    splits.iter().map(collection).collect()
}

fn texts(tables: &[Table]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for table in tables {
        for row in 0..table.num_rows() {
            let text = table.text("text", row)?.unwrap_or_default();
            if !text.is_empty() {
                pairs.push((table.value_as_text("_id", row)?, text.to_owned()));
            }
        }
    }
    Ok(pairs)
}

/// Where the files of a data set lie.
struct Files<'a> {
    id: &'a str,
    /// Configuration, split and path.
    entries: Vec<(String, String, String)>,
    converted: bool,
}

impl<'a> Files<'a> {
    const CONFIGS: [&'static str; 3] = ["corpus", "queries", "qrels"];

    fn find(hub: &Hub, id: &'a str, splits: &[&str]) -> Result<Self> {
        let converted = hub.converted_parquet(id).map(|files| {
            let files = files.into_iter().filter(|file| !file.is_partial);
            files
                .map(|file| (file.config, file.split, file.path))
                .collect()
        });
        let mut entries: Vec<_> = match &converted {
            Ok(entries) => Vec::clone(entries),
            Err(_) => Vec::new(),
        };
        let complete = |entries: &[(String, String, String)]| {
            let has = |config: &str, split: &str| {
                let mut entries = entries.iter();
                entries.any(|entry| entry.0 == config && entry.1 == split)
            };
            splits
                .iter()
                .flat_map(|split| Self::CONFIGS.map(|config| (config, *split)))
                .find(|(config, split)| !has(config, split))
        };
        let mut is_converted = true;
        // An own file counts where the conversion is missing or incomplete.
        if complete(&entries).is_some() {
            let own = match (hub.listing(&Repo::dataset(id)?), converted) {
                (Ok(listing), _) => listing.files,
                // What the conversion lacks is told below.
                (Err(_), Ok(_)) => Vec::new(),
                // The data set as a whole is out of reach: the first answer says why.
                (Err(_), Err(error)) => return Err(error.into()),
            };
            let own: Vec<_> = own
                .iter()
                .filter_map(|file| {
                    let (config, name) = file.path.split_once('/')?;
                    let (split, _) = name.strip_suffix(".parquet")?.split_once('-')?;
                    Some((config.to_owned(), split.to_owned(), file.path.clone()))
                })
                .collect();
            if entries.is_empty() || complete(&own).is_none() {
                (entries, is_converted) = (own, false);
            }
        }
        if let Some((config, split)) = complete(&entries) {
            let known: BTreeSet<&str> = entries
                .iter()
                .filter(|entry| entry.0 == config)
                .map(|entry| entry.1.as_str())
                .collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::Data(format!(
                "data set `{id}` has no Parquet file of the configuration `{config}`, split `{split}`; splits of `{config}`: {known}"
            )));
        }
        Ok(Self {
            id,
            entries,
            converted: is_converted,
        })
    }

    fn tables(&self, hub: &Hub, config: &str, split: &str) -> Result<Vec<Table>> {
        let wanted = self
            .entries
            .iter()
            .filter(|entry| entry.0 == config && entry.1 == split)
            .map(|entry| entry.2.as_str());
        let paths = self.download(hub, &wanted.collect::<Vec<_>>())?;
        let tables = paths
            .iter()
            .map(|path| Table::load(&DatasetConfig::from_path(path)));
        Ok(tables.collect::<Result<_, _>>()?)
    }

    fn download(&self, hub: &Hub, paths: &[&str]) -> Result<Vec<PathBuf>> {
        if self.converted {
            let mut files = hub.converted_parquet(self.id)?;
            files.retain(|file| paths.contains(&file.path.as_str()));
            return Ok(hub.download_converted(self.id, &files)?);
        }
        let repo = Repo::dataset(self.id)?;
        let listing = hub.listing(&repo)?;
        Ok(hub.download(&repo, &listing, paths)?.files)
    }
}
