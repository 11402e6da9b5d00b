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
    let files = Files::download(hub, id, splits)?;
    let collection = |split: &&str| {
        let texts = |config: &str| files.tables(config, split).and_then(|part| texts(&part));
        let mut relevant = BTreeMap::<String, BTreeSet<String>>::new();
        for table in files.tables("qrels", split)? {
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

/// The files of a data set, downloaded, by configuration and split.
struct Files(BTreeMap<(String, String), Vec<PathBuf>>);

impl Files {
    const CONFIGS: [&'static str; 3] = ["corpus", "queries", "qrels"];

    fn download(hub: &Hub, id: &str, splits: &[&str]) -> Result<Self> {
        let wanted =
            |config: &str, split: &str| Self::CONFIGS.contains(&config) && splits.contains(&split);
        let converted = hub.converted_parquet(id);
        if let Ok(files) = &converted {
            let known = files.iter().filter(|file| !file.is_partial);
            let names = known.clone().map(|file| (&*file.config, &*file.split));
            if first_missing(splits, names).is_none() {
                let files: Vec<_> = known
                    .filter(|file| wanted(&file.config, &file.split))
                    .cloned()
                    .collect();
                let paths = hub.download_converted(id, &files)?;
                let names = files.into_iter().map(|file| (file.config, file.split));
                return Ok(Self::new(names.zip(paths)));
            }
        }
        // The data set's own files count where the conversion is missing or incomplete.
        let repo = Repo::dataset(id)?;
        let listing = match (hub.listing(&repo), converted) {
            (Ok(listing), _) => listing,
            (Err(_), Err(error)) | (Err(error), Ok(_)) => return Err(error.into()),
        };
        let own = listing.files.iter().filter_map(|file| {
            let (config, name) = file.path.split_once('/')?;
            let (split, _) = name.strip_suffix(".parquet")?.split_once('-')?;
            Some((config, split, &*file.path))
        });
        let own: Vec<_> = own.collect();
        if let Some((config, split)) =
            first_missing(splits, own.iter().map(|file| (file.0, file.1)))
        {
            let known: BTreeSet<&str> = own
                .iter()
                .filter(|file| file.0 == config)
                .map(|file| file.1)
                .collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::Data(format!(
                "data set `{id}` has no Parquet file of the configuration `{config}`, split `{split}`; splits of `{config}`: {known}"
            )));
        }
        let own: Vec<_> = own
            .into_iter()
            .filter(|file| wanted(file.0, file.1))
            .collect();
        let paths: Vec<_> = own.iter().map(|file| file.2).collect();
        let paths = hub.download(&repo, &listing, &paths)?.files;
        let names = own
            .iter()
            .map(|file| (file.0.to_owned(), file.1.to_owned()));
        Ok(Self::new(names.zip(paths)))
    }

    fn new(files: impl Iterator<Item = ((String, String), PathBuf)>) -> Self {
        let mut by_name = BTreeMap::<_, Vec<_>>::new();
        for (name, path) in files {
            by_name.entry(name).or_default().push(path);
        }
        Self(by_name)
    }

    fn tables(&self, config: &str, split: &str) -> Result<Vec<Table>> {
        let paths = self.0.get(&(config.to_owned(), split.to_owned()));
        let tables = paths
            .into_iter()
            .flatten()
            .map(|path| Table::load(&DatasetConfig::from_path(path)));
        Ok(tables.collect::<Result<_, _>>()?)
    }
}

/// The first configuration and split without a file.
fn first_missing<'a>(
    splits: &[&'a str],
    names: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<(&'static str, &'a str)> {
    let names: BTreeSet<_> = names.collect();
    splits
        .iter()
        .flat_map(|&split| Files::CONFIGS.map(|config| (config, split)))
        .find(|name| !names.contains(name))
}
