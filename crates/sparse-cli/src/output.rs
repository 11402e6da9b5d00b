//! Results on stdout, everything else on stderr.

use std::io::{self, Write};

/// Writes a line of a result. A reader that has gone (`| head`) isn't an error.
pub(crate) fn line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("failed to write to stdout: {error}"),
        )),
        Ok(()) => Ok(()),
    }
}

/// Writes a line that is no result.
pub(crate) fn to_stderr(text: &str) {
    crate::progress::suspend(|| {
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    });
}

/// A table with its columns aligned: the first to the left, the others to the right.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(header[column].chars().count())
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let render = |cells: Vec<&str>| {
        let cells = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                if column == 0 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![render(header.to_vec())];
    lines.push(
        widths
            .iter()
            .map(|width| "-".repeat(*width))
            .collect::<Vec<_>>()
            .join("  "),
    );
    lines.extend(
        rows.iter()
            .map(|row| render(row.iter().map(String::as_str).collect())),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["BM25".to_owned(), "0.7203".to_owned()],
            vec!["é".to_owned(), "1".to_owned()],
        ];
        let expected = "model  ndcg@10\n-----  -------\nBM25    0.7203\né            1";
        assert_eq!(super::table(&["model", "ndcg@10"], &rows), expected);
    }
}
