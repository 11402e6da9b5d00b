//! Texts with their ids from a file, as encoding and searching take them.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use xxhash_rust::xxh3::xxh3_128;

use crate::config::DatasetConfig;
use crate::error::{Error, Result, list_names};
use crate::ids::{id_text, joined_text, repeated, usual_texts};
use crate::source::{Choice, DataFile, Format, unknown_column};
use crate::stream::{Parts, Rows};
use crate::table::Table;

/// The texts of a source, and their ids, if it has a column `_id` or `id`: read a part at a time, as often as needed.
///
/// In memory are the rows of one part, however large the source is. What is not asked for may hold what it likes: only the
/// columns of ids and texts are read.
///
/// # Example
///
/// ```no_run
/// use sparse_data::Texts;
///
/// let texts = Texts::open("corpus.jsonl.gz".as_ref(), None, &[])?;
/// texts.check_ids()?;
/// for row in texts.rows() {
///     let row = row?;
///     println!("{:?}: {}", row.id, row.text);
/// }
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Texts {
    rows: Rows,
    /// Names of the columns.
    columns: Vec<String>,
    id: Option<String>,
}

/// A text with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRow {
    /// The id; none if the source has no ids.
    pub id: Option<String>,
    /// The text: its columns joined by a blank, without blanks at the ends if there are several.
    pub text: String,
}

impl Texts {
    /// Finds the texts of a file, a directory or a pattern; `-` is the standard input. `format` is needed where the name doesn't
    /// tell. `columns` are those of the text, joined with a blank: by default `title` (if there) and `text`, or the only one
    /// beside an id. Files are gone through once, unless they are Parquet.
    ///
    /// # Errors
    ///
    /// If there is no such file or column, the file is malformed, or a column holds no texts.
    pub fn open(path: &Path, format: Option<Format>, columns: &[String]) -> Result<Self> {
        let config = DatasetConfig {
            format,
            ..DatasetConfig::from_path(path)
        };
        Self::open_with(path, &config, columns)
    }

    /// As [`open`](Self::open), read as `config` says, whose `path` may differ where the name is not UTF-8.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, config: &DatasetConfig, columns: &[String]) -> Result<Self> {
        if path.to_str().is_some() {
            return Self::load(config, columns);
        }
        let files = [DataFile::Local(path.to_owned())];
        let options = config.read_options(choice(columns));
        Self::of(Rows::of_files(&files, &options)?, columns)
    }

    /// As [`open`](Self::open), of any source that a configuration describes. What needs all rows in memory (`retrieval`, `sql`,
    /// `query`, `lookups`) is read at once.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and if the configuration is not valid.
    pub fn load(config: &DatasetConfig, columns: &[String]) -> Result<Self> {
        let rows = match config.needs_memory() {
            Some(_) => Rows::of_table(Table::load(config)?)?,
            None => Rows::open(config, choice(columns))?,
        };
        Self::of(rows, columns)
    }

    fn of(rows: Rows, wanted: &[String]) -> Result<Self> {
        let empty = Table::from_normal(Arc::clone(&rows.schema), Vec::new(), None);
        let empty = empty.with_name(&rows.place);
        let (id, columns) = find(&rows.place, &empty.column_names(), wanted)?;
        for column in &columns {
            let index = empty.column_index(column)?;
            empty.check_text(index)?;
        }
        Ok(Self { rows, columns, id })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        usize::try_from(self.rows.num_rows).unwrap_or(usize::MAX)
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.rows.num_rows == 0
    }

    /// All texts, in order.
    pub fn rows(&self) -> TextRows {
        TextRows {
            parts: self.rows.parts(&self.rows.schema),
            texts: self.clone(),
            part: None,
            next: 0,
        }
    }

    /// Goes through all ids before hours are spent on the texts; 24 bytes for each are in memory.
    ///
    /// # Errors
    ///
    /// If two rows have one id, or one has none; the message names both.
    pub fn check_ids(&self) -> Result<()> {
        let Some(column) = &self.id else {
            return Ok(());
        };
        let mut seen: Vec<([u64; 2], u64)> = Vec::with_capacity(self.len());
        self.each_id(column, |id, _, _| {
            let hash = xxh3_128(id.as_bytes());
            seen.push(([(hash >> 64) as u64, hash as u64], seen.len() as u64));
            Ok(())
        })?;
        seen.sort_unstable();
        let repeats = seen.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        // The first of them in the source.
        let first = repeats.map(|pair| (pair[1].1, pair[0].1)).min();
        let Some((second, first)) = first else {
            return Ok(());
        };
        let mut row = 0;
        let mut origin = None;
        self.each_id(column, |id, file, number| {
            if row == first {
                origin = Some((file.to_owned(), number));
            }
            if row == second
                && let Some((first_file, first)) = &origin
            {
                return Err(repeated(column, id, (first_file, *first), (file, number)));
            }
            row += 1;
            Ok(())
        })
    }

    /// Visits every id, with its file and its row there.
    fn each_id(
        &self,
        column: &str,
        mut visit: impl FnMut(&str, &str, u64) -> Result<()>,
    ) -> Result<()> {
        let field = self.rows.schema.field_with_name(column);
        let fields: Vec<_> = field.into_iter().cloned().collect();
        for part in self.rows.parts(&Arc::new(Schema::new(fields))) {
            let part = part?;
            let index = part.column_index(column)?;
            for row in 0..part.num_rows() {
                let (file, number) = part.origin(row);
                visit(&id_text(&part, index, row)?, file, number)?;
            }
        }
        Ok(())
    }
}

/// The rows of [`Texts`].
#[derive(Debug)]
pub struct TextRows {
    texts: Texts,
    parts: Parts,
    /// The part that is read, and its next row.
    part: Option<Table>,
    next: usize,
}

impl TextRows {
    fn read(&mut self) -> Result<Option<TextRow>> {
        let part = loop {
            match &self.part {
                Some(part) if self.next < part.num_rows() => break part,
                _ => {}
            }
            let Some(part) = self.parts.next().transpose()? else {
                return Ok(None);
            };
            (self.part, self.next) = (Some(part), 0);
        };
        let row = self.next;
        self.next += 1;
        let columns = self.texts.columns.iter();
        let columns = columns.map(|column| part.column_index(column));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let id = self.texts.id.as_ref().map(|id| {
            let index = part.column_index(id)?;
            id_text(part, index, row)
        });
        Ok(Some(TextRow {
            id: id.transpose()?,
            text: joined_text(part, &columns, row)?,
        }))
    }
}

impl Iterator for TextRows {
    type Item = Result<TextRow>;

    fn next(&mut self) -> Option<Result<TextRow>> {
        self.read().transpose()
    }
}

/// The columns of id and text.
fn choice(wanted: &[String]) -> Choice {
    let wanted = wanted.to_vec();
    Choice::by(move |place, names| {
        let (id, mut texts) = find(place, names, &wanted)?;
        if let Some(id) = id.filter(|id| !texts.contains(id)) {
            texts.insert(0, id);
        }
        Ok(texts)
    })
}

/// The columns of id and text among `names`.
fn find(place: &str, names: &[&str], wanted: &[String]) -> Result<(Option<String>, Vec<String>)> {
    let id = ["_id", "id"].into_iter().find(|id| names.contains(id));
    if let Some(missing) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(unknown_column(place, missing, names));
    }
    let texts = if wanted.is_empty() {
        let usual = usual_texts(names, id).ok_or_else(|| Error::Columns {
            place: place.to_owned(),
            problem: format!(
                "which of the columns {} holds the texts can't be told; choose one with --column (in Rust with `columns`)",
                list_names(names.iter().copied())
            ),
        })?;
        usual.into_iter().map(str::to_owned).collect()
    } else {
        wanted.to_vec()
    };
    Ok((id.map(str::to_owned), texts))
}
