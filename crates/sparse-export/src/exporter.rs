//! Writes vectors for an engine.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use sparse_files::{StagedDirectory, StagedFile, create_dir_all};
use sparse_index::{SparseMatrix, SparseRow};
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::{Engine, Keys, Profile};
use crate::error::{Error, Result};
use crate::layout::ciff::Ciff;
use crate::layout::{Entry, LINES, Layout, layout};
use crate::options::{Options, Side};
use crate::vocabulary::TokenKeys;

/// What an export came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Vectors in the files.
    pub n_written: usize,
    /// Vectors that were left out, since they have no active dimension and the engine takes none without.
    pub n_empty: usize,
    /// Weights that became the impact 0, and were left out.
    pub n_lost_weights: usize,
    /// Most active dimensions of a vector in the files.
    pub most_active: usize,
}

/// Writes vectors as an engine loads them: a directory with the vectors, and the statement, mapping or schema for them.
///
/// The directory is complete when [`finish`](Self::finish) has run; an exporter that is dropped before leaves nothing. Files of
/// other names in a directory that stands there already stay, so that queries can go beside documents.
#[derive(Debug)]
pub struct Exporter {
    directory: StagedDirectory,
    engine: Engine,
    profile: Profile,
    side: Side,
    options: Options,
    keys: TokenKeys,
    /// Hashes of the ids so far.
    ids: BTreeSet<u128>,
    body: Body,
    summary: Summary,
}

/// Where vectors go.
enum Body {
    Records {
        layout: &'static dyn Layout,
        file: StagedFile,
        buffer: String,
    },
    Ciff(Ciff),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Records { .. } => "Records",
            Self::Ciff(_) => "Ciff",
        })
    }
}

/// The files of the Common Index File Format.
const CIFF_FILES: [&str; 2] = ["documents.ciff", "queries.ciff"];

/// What belongs to a side, of what there is for documents and queries.
fn of_side<T>(side: Side, [documents, queries]: [T; 2]) -> T {
    match side {
        Side::Document => documents,
        Side::Query => queries,
    }
}

/// What stands before the first vector, between two, and after the last.
fn frame(layout: &dyn Layout, side: Side) -> [&'static str; 3] {
    of_side(side, [layout.frame(), LINES])
}

impl Exporter {
    /// Begins an export to `directory`.
    ///
    /// # Errors
    ///
    /// If the engine needs a vocabulary or a scale that `options` lacks, refuses a name, or the directory cannot be made.
    pub fn create(
        directory: impl AsRef<Path>,
        engine: Engine,
        side: Side,
        options: Options,
    ) -> Result<Self> {
        options.check(engine)?;
        let profile = engine.profile();
        let keys = match (profile.keys, &options.vocabulary) {
            (Keys::Token { refused, longest }, Some(vocabulary)) => {
                TokenKeys::new(vocabulary.clone(), refused, longest)
            }
            _ => TokenKeys::default(),
        };
        let directory = StagedDirectory::create(directory)?;
        let body = match layout(engine) {
            None => Body::Ciff(Ciff::default()),
            Some(layout) => {
                let path = directory.path().join(of_side(side, layout.files()));
                if let Some(parent) = path.parent() {
                    create_dir_all(parent)?;
                }
                Body::Records {
                    layout,
                    file: StagedFile::create(&path)?,
                    buffer: frame(layout, side)[0].to_owned(),
                }
            }
        };
        Ok(Self {
            directory,
            engine,
            profile,
            side,
            options,
            keys,
            ids: BTreeSet::new(),
            body,
            summary: Summary::default(),
        })
    }

    /// Appends vectors: an id for each row.
    ///
    /// # Errors
    ///
    /// If the engine refuses an id or a vector (the message names it), there are not as many ids as rows, or the disk is full.
    pub fn push(&mut self, ids: &[String], vectors: &SparseMatrix) -> Result<()> {
        if vectors.n_cols() != self.options.n_dims {
            return Err(Error::Dimensions {
                expected: self.options.n_dims,
                actual: vectors.n_cols(),
            });
        }
        if vectors.n_rows() != ids.len() {
            return Err(Error::Length {
                ids: ids.len(),
                vectors: vectors.n_rows(),
            });
        }
        for (id, row) in ids.iter().zip(vectors.rows()) {
            self.push_row(id, row)?;
        }
        Ok(())
    }

    fn push_row(&mut self, id: &str, row: SparseRow<'_>) -> Result<()> {
        self.check_id(id)?;
        if !self.ids.insert(xxh3_128(id.as_bytes())) {
            return Err(Error::DuplicateId { id: id.to_owned() });
        }
        let impacts = self.options.impacts;
        let first = match self.profile.keys {
            Keys::Index { first } => first,
            Keys::Token { .. } => 0,
        };
        let mut entries = Vec::with_capacity(row.nnz());
        for (index, weight) in row.iter() {
            self.check_weight(id, index, weight)?;
            let impact = match impacts {
                None => 0,
                Some(impacts) => impacts
                    .impact(weight)
                    .ok_or_else(|| Error::ImpactOverflow {
                        id: id.to_owned(),
                        index,
                        value: weight,
                        scale: impacts.scale(),
                        max: impacts.max(),
                    })?,
            };
            if impacts.is_some() && impact == 0 {
                self.summary.n_lost_weights += 1;
                continue;
            }
            entries.push(Entry {
                index: index + first,
                token: self.keys.get(index),
                weight,
                impact,
            });
        }
        if let Some(limit) = self.profile.most_active
            && entries.len() > limit
        {
            return Err(Error::TooManyActive {
                engine: self.engine,
                id: id.to_owned(),
                actual: entries.len(),
                limit,
            });
        }
        if entries.is_empty() && !self.profile.takes_empty {
            self.summary.n_empty += 1;
            return Ok(());
        }
        match &mut self.body {
            Body::Ciff(ciff) => {
                ciff.push(id, entries.iter().map(|entry| (entry.index, entry.impact)))
            }
            Body::Records {
                layout,
                file,
                buffer,
            } => {
                if self.summary.n_written > 0 {
                    buffer.push_str(frame(*layout, self.side)[1]);
                }
                match self.side {
                    Side::Document => layout.document(buffer, &self.options, id, &entries),
                    Side::Query => layout.query(buffer, &self.options, id, &entries),
                }
                write(file, buffer, of_side(self.side, layout.files()))?;
            }
        }
        self.summary.n_written += 1;
        self.summary.most_active = self.summary.most_active.max(entries.len());
        Ok(())
    }

    fn check_id(&self, id: &str) -> Result<()> {
        let refuse = |expected| {
            Err(Error::Id {
                engine: self.engine,
                id: id.to_owned(),
                expected,
            })
        };
        if id.is_empty() {
            return refuse("of at least one character");
        }
        match self.profile.longest_id {
            Some(512) if id.len() > 512 => return refuse("of at most 512 bytes"),
            Some(longest) if id.len() > longest => return refuse("of at most 65,535 bytes"),
            _ => {}
        }
        if !self.profile.takes_blank_id && id.contains(char::is_whitespace) {
            return refuse("without blanks");
        }
        if id.contains('\0') {
            return refuse("without zero bytes");
        }
        Ok(())
    }

    fn check_weight(&self, id: &str, index: u32, value: f32) -> Result<()> {
        let limit = match self.side {
            Side::Query => self.profile.largest_query_weight,
            Side::Document => None,
        };
        let is_taken = value.is_finite()
            && (value > 0.0 || !self.profile.is_positive)
            && limit.is_none_or(|limit| value <= limit);
        if is_taken {
            return Ok(());
        }
        Err(Error::Weight {
            engine: self.engine,
            id: id.to_owned(),
            index,
            value,
            limit,
        })
    }

    /// Writes what is left, and puts the directory in its place.
    ///
    /// # Errors
    ///
    /// If there was no vector, or the disk is full.
    pub fn finish(self) -> Result<Summary> {
        if self.summary.n_written == 0 {
            return Err(Error::Empty);
        }
        let mut ours = Vec::new();
        match self.body {
            Body::Ciff(ciff) => {
                let name = of_side(self.side, CIFF_FILES);
                self.directory.write_with(name, |out| ciff.write(out))?;
                ours.push(name);
            }
            Body::Records {
                layout,
                mut file,
                mut buffer,
            } => {
                buffer.push_str(frame(layout, self.side)[2]);
                write(&mut file, &mut buffer, of_side(self.side, layout.files()))?;
                file.finish()?;
                ours.push(of_side(self.side, layout.files()));
                let beside = match self.side {
                    Side::Document => layout.load(&self.options, self.summary.most_active),
                    Side::Query => layout.search(&self.options),
                };
                if let Some((name, text)) = beside {
                    self.directory.write(name, text)?;
                    ours.push(name);
                }
            }
        }
        self.directory
            .replace(|path| ours.iter().any(|name| Path::new(name) == path))?;
        Ok(self.summary)
    }
}

fn write(file: &mut StagedFile, buffer: &mut String, name: &str) -> Result<()> {
    let written = file.write_all(buffer.as_bytes());
    buffer.clear();
    written.map_err(|error| sparse_files::Error::written(error, Path::new(name)).into())
}
