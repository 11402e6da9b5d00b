//! A data set in messages and logs, without its secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::{DatasetConfig, Paths};
use crate::source::{database_place, is_secret, masked};

impl DatasetConfig {
    /// What the source is called in messages.
    pub(crate) fn place(&self) -> String {
        let folder = self
            .retrieval
            .as_ref()
            .map(|folder| folder.display().to_string());
        let paths = self.path.as_ref().map(|paths| {
            let shown = paths.as_slice().iter().map(|path| masked(path));
            shown.collect::<Vec<_>>().join(", ")
        });
        let database = self
            .database
            .as_ref()
            .map(|url| database_place(url, self.table.as_deref()));
        paths
            .or_else(|| self.hub.clone())
            .or(database)
            .or(folder)
            .or_else(|| self.name.clone())
            .unwrap_or_default()
    }
}

/// Without the secrets of an object store.
impl fmt::Debug for DatasetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            path,
            storage_options,
            hub,
            subset,
            revision,
            database,
            table,
            query,
            retrieval,
            format,
            delimiter,
            split,
            lookups,
            sql,
            columns,
            streaming,
            buffer_rows,
            limits,
        } = self;
        let shown = |(name, value): (&'_ String, &'_ String)| {
            let value = if is_secret(name) { "***" } else { value };
            (name.clone(), masked(value).into_owned())
        };
        let storage_options: BTreeMap<String, String> = storage_options.iter().map(shown).collect();
        f.debug_struct("DatasetConfig")
            .field("name", name)
            .field("path", path)
            .field("storage_options", &storage_options)
            .field("hub", hub)
            .field("subset", subset)
            .field("revision", revision)
            .field("database", database)
            .field("table", table)
            .field("query", query)
            .field("retrieval", retrieval)
            .field("format", format)
            .field("delimiter", delimiter)
            .field("split", split)
            .field("lookups", lookups)
            .field("sql", sql)
            .field("columns", columns)
            .field("streaming", streaming)
            .field("buffer_rows", buffer_rows)
            .field("limits", limits)
            .finish()
    }
}

/// Serializes the settings of a store that are no secrets.
pub(super) fn without_secrets<S: Serializer>(
    options: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let public = options.iter().filter(|(name, _)| !is_secret(name));
    serializer.collect_map(public.map(|(name, value)| (name, masked(value))))
}

/// Addresses without accounts and signatures.
impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(path) => serializer.serialize_str(&masked(path)),
            Self::Many(paths) => serializer.collect_seq(paths.iter().map(|path| masked(path))),
        }
    }
}

/// Addresses without accounts and signatures.
impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(path) => f.debug_tuple("One").field(&masked(path)).finish(),
            Self::Many(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| masked(path)).collect();
                f.debug_tuple("Many").field(&paths).finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Table;

    #[test]
    fn secrets_are_not_shown() {
        let config = DatasetConfig {
            path: Some("https://me:hush@host/a.csv?X-Amz-Signature=hush".into()),
            database: Some("postgres://me:hush@host/shop".into()),
            storage_options: [
                ("aws_secret_access_key".to_owned(), "hush".to_owned()),
                ("aws_endpoint".to_owned(), "https://u:hush@store".to_owned()),
            ]
            .into(),
            ..DatasetConfig::default()
        };
        let serialized = serde_json::to_string(&config).unwrap();
        let shown = format!("{config:?} {} {serialized}", config.place());
        assert!(!shown.contains("hush"), "{shown}");
        let again: DatasetConfig = serde_json::from_str(&serialized).unwrap();
        assert_eq!(again.path, Some("https://host/a.csv".into()));
        assert_eq!(
            again.storage_options,
            [("aws_endpoint".to_owned(), "https://store".to_owned())].into()
        );
        assert!(
            shown.contains("\"aws_endpoint\": \"https://store\""),
            "{shown}"
        );
        let database = DatasetConfig {
            path: None,
            ..config.clone()
        };
        let shown = format!("{} {:?}", database.place(), config.validate());
        assert!(!shown.contains("hush"), "{shown}");
        let wrong = DatasetConfig {
            storage_options: BTreeMap::new(),
            ..DatasetConfig::from_path("ftp://me:hush@host/a.csv?key=hush")
        };
        let error = Table::load(&wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`path` = \"ftp://host/a.csv\" is no address: `ftp` is none of s3, gs, http, https"
        );
        assert!(!format!("{error:?}").contains("hush"));
    }
}
