//! Texts with their ids from a file, as encoding and searching take them.

use std::path::Path;

use crate::config::DatasetConfig;
use crate::error::{Error, Result, list_names};
use crate::ids::{check_unique, id_text, joined_text, usual_texts};
use crate::source::{Choice, DataFile, Format, ReadOptions, read_files, unknown_column};
use crate::table::Table;

/// The texts of a file, and their ids, if it has a column `_id` or `id`.
///
/// What is not asked for may hold what it likes: only the columns of ids and texts are read.
///
/// # Example
///
/// ```no_run
/// use sparse_data::Texts;
///
/// let texts = Texts::open("corpus.jsonl".as_ref(), None, &[])?;
/// texts.check_ids()?;
/// for row in 0..texts.len() {
///     println!("{:?}: {}", texts.id(row)?, texts.text(row)?);
/// }
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Texts {
    table: Table,
    columns: Vec<usize>,
    id: Option<usize>,
}

impl Texts {
    /// Reads a file, a directory or a pattern; `-` is the standard input. `format` is needed where the name doesn't tell.
    /// `columns` are those of the text, joined with a blank: by default `title` (if there) and `text`, or the only one beside
    /// an id.
    ///
    /// # Errors
    ///
    /// If there is no such file or column, the file is malformed, or a column holds no texts.
    pub fn open(path: &Path, format: Option<Format>, columns: &[String]) -> Result<Self> {
        let wanted = columns.to_vec();
        let choice = Choice::by(move |place, names| {
            let (id, mut texts) = find(place, names, &wanted)?;
            if let Some(id) = id.filter(|id| !texts.contains(id)) {
                texts.insert(0, id);
            }
            Ok(texts)
        });
        let table = if path.to_str().is_some() {
            let mut config = DatasetConfig::from_path(path);
            config.format = format;
            config.load_chosen(choice)?
        } else {
            let options = ReadOptions {
                format,
                columns: choice,
                ..ReadOptions::default()
            };
            read_files(&[DataFile::Local(path.to_owned())], &options)?
        };
        let (id, texts) = find(table.place(), &table.column_names(), columns)?;
        let columns = texts
            .iter()
            .map(|column| {
                let index = table.column_index(column)?;
                table.check_text(index)?;
                Ok(index)
            })
            .collect::<Result<Vec<_>>>()?;
        let id = id.map(|id| table.column_index(&id)).transpose()?;
        Ok(Self { table, columns, id })
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.table.num_rows()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The id of a row; none if the file has no ids.
    ///
    /// # Errors
    ///
    /// If there is no such row, or it has no id.
    pub fn id(&self, row: usize) -> Result<Option<String>> {
        self.table.check_row(row)?;
        self.id
            .map(|column| id_text(&self.table, column, row))
            .transpose()
    }

    /// The text of a row: its columns joined by a blank, without blanks at the ends if there are several. A title may be
    /// missing.
    ///
    /// # Errors
    ///
    /// If there is no such row, or it has no text.
    pub fn text(&self, row: usize) -> Result<String> {
        self.table.check_row(row)?;
        joined_text(&self.table, &self.columns, row)
    }

    /// Goes through all ids before hours are spent on the texts.
    ///
    /// # Errors
    ///
    /// If two rows have one id, or one has none; the message names both.
    pub fn check_ids(&self) -> Result<()> {
        match self.id {
            Some(column) => check_unique(&self.table, self.table.column_names()[column]),
            None => Ok(()),
        }
    }
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
