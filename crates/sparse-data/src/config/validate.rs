//! What can be said about a data set without reading it.

use super::{DatasetConfig, Paths};
use crate::error::{Error, Result};

impl DatasetConfig {
    /// Checks what can be checked without a file.
    ///
    /// # Errors
    ///
    /// If not exactly one source is given, settings contradict each other, or the split can't be parsed.
    pub fn validate(&self) -> Result<()> {
        let setting = |key, problem: &str| {
            Err(Error::Setting {
                key,
                problem: problem.to_owned(),
            })
        };
        let sources: Vec<&str> = [
            ("path", self.path.is_some()),
            ("hub", self.hub.is_some()),
            ("database", self.database.is_some()),
            ("retrieval", self.retrieval.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect();
        match sources.as_slice() {
            [] => {
                return setting(
                    "path",
                    "is missing: a data set needs `path`, `hub`, `database` or `retrieval`",
                );
            }
            [_] => {}
            [first, second, ..] => {
                let problem = format!(
                    "is one way to name a data set; `{first}` and `{second}` can't both be given"
                );
                return setting("path", &problem);
            }
        }
        if self
            .path
            .as_ref()
            .is_some_and(|paths| paths.as_slice().is_empty())
        {
            return setting("path", "is an empty list");
        }
        if self.hub.is_none() {
            for (key, given) in [("subset", &self.subset), ("revision", &self.revision)] {
                if given.is_some() {
                    return setting(key, "belongs to `hub`");
                }
            }
        }
        match &self.database {
            Some(_) if self.table.is_some() && self.query.is_some() => {
                return setting("query", "and `table` can't both be given");
            }
            Some(_) if self.format.is_some() || self.delimiter.is_some() => {
                return setting(
                    "format",
                    "and `delimiter` belong to `path`, not to `database`",
                );
            }
            Some(database) => database.validate()?,
            None => {
                for (key, given) in [("table", &self.table), ("query", &self.query)] {
                    if given.is_some() {
                        return setting(key, "belongs to `database`");
                    }
                }
            }
        }
        if self.retrieval.is_some() {
            if self.format.is_some() || self.delimiter.is_some() {
                return setting(
                    "format",
                    "and `delimiter` belong to `path`, not to `retrieval`",
                );
            }
            if !self.lookups.is_empty() {
                return setting(
                    "lookups",
                    "belong to `path`; a retrieval folder is joined by itself",
                );
            }
        }
        let is_remote = |path: &String| crate::source::scheme(path).is_some();
        let paths = self.path.as_ref().map_or(&[][..], Paths::as_slice);
        if !self.storage_options.is_empty() && !paths.iter().any(is_remote) {
            return setting("storage_options", "belong to a `path` in an object store");
        }
        if self.columns.as_ref().is_some_and(Vec::is_empty) {
            return setting("columns", "is an empty list");
        }
        if self.delimiter.is_some_and(|delimiter| {
            !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r')
        }) {
            return setting(
                "delimiter",
                "must be one ASCII character, neither a quote nor a line end",
            );
        }
        match self.buffer_rows {
            Some(_) if !self.streaming => {
                return setting("buffer_rows", "belongs to `streaming = true`");
            }
            Some(0) => return setting("buffer_rows", "must be at least 1; got 0"),
            _ => {}
        }
        self.limits.validate()?;
        self.split_expression()?;
        Ok(())
    }
}
