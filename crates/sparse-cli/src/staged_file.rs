//! Files that appear under their name only when they are complete.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

/// A file that is written beside its place and moved there by [`finish`](Self::finish). Dropped before, it leaves nothing.
#[derive(Debug)]
pub(crate) struct StagedFile {
    writer: BufWriter<File>,
    staging: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl StagedFile {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Failure::input(format!(
                "`{}` is a directory; expected the name of a file",
                path.display()
            )));
        }
        let staging = path.with_extension(format!("partial-{}", std::process::id()));
        let file = File::create(&staging).map_err(|error| {
            Failure::run(format!("failed to create `{}`: {error}", staging.display()))
        })?;
        Ok(Self {
            writer: BufWriter::new(file),
            staging,
            path: path.to_path_buf(),
            finished: false,
        })
    }

    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        Ok(writeln!(self.writer, "{text}")?)
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.writer.flush()?;
        std::fs::rename(&self.staging, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.finished {
            // Whatever went wrong is reported; what is left of the attempt is of no use.
            let _ = std::fs::remove_file(&self.staging);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut file = StagedFile::create(&path).unwrap();
        file.line("one").unwrap();
        assert!(!path.exists());
        assert_eq!(names(), 1);
        drop(file);
        assert_eq!(names(), 0);
        let mut file = StagedFile::create(&path).unwrap();
        file.line("two").unwrap();
        file.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(names(), 1);
        assert!(StagedFile::create(folder.path()).is_err());
    }
}
