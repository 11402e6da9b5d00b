//! Tables and texts in Markdown.

/// A table, each line led by `indent`, the columns as wide as their cells.
pub(super) fn markdown(
    header: &[String],
    rows: &[Vec<String>],
    indent: &str,
    centered: bool,
) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(column))
                .chain([&header[column]]);
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        })
        .collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, &width)| {
            let missing = width.saturating_sub(cell.chars().count());
            format!(" {cell}{} ", " ".repeat(missing))
        });
        format!("{indent}|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule: Vec<String> = widths
        .iter()
        .map(|width| {
            format!(
                ":{}{}",
                "-".repeat(*width),
                if centered { ":" } else { "-" }
            )
        })
        .collect();
    let mut text = line(header);
    text.push_str(&format!("{indent}|{}|\n", rule.join("|")));
    text.extend(rows.iter().map(|row| line(row)));
    text
}

/// A text that can stand in a cell.
pub(super) fn cell(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "\\|");
    text.replace("\r\n", "<br>").replace(['\n', '\r'], "<br>")
}

/// The beginning of a text, as code in a cell.
pub(super) fn code(text: &str, longest: usize) -> String {
    let short: String = text.chars().take(longest).collect();
    let more = if short.len() < text.len() { "..." } else { "" };
    format!("<code>{}{more}</code>", cell(&short))
}

/// A figure with at most four decimals.
pub(super) fn rounded(value: f64) -> String {
    format!("{}", (value * 1e4).round() / 1e4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cant_break_out_of_their_cells() {
        assert_eq!(
            code("a|b\n<script>", 100),
            "<code>a\\|b<br>&lt;script></code>"
        );
        assert_eq!(code("äöü", 2), "<code>äö...</code>");
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            markdown(&row(["Metric", "Value"]), &[row(["a", "0.5"])], "", false),
            "| Metric | Value |\n|:-------|:------|\n| a      | 0.5   |\n"
        );
    }
}
