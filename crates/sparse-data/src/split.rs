//! The split mini-language: `train`, `dev[:1000]`, `train[10%:20%]`, `test[:33%]+train[1:-1]`.

use std::ops::Range;

use crate::error::{Error, Result, list_names, nearest};

/// How a percentage becomes a number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    /// `p·N/100`, half to even.
    Closest,
    /// `p·⌊N/100⌋`.
    PctOneDropRemainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    from: Option<i64>,
    to: Option<i64>,
    percent: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    bounds: Option<Bounds>,
    rounding: Rounding,
}

/// A parsed split expression, the language of Hugging Face Datasets: a sum of splits or slices of splits.
///
/// Bounds are row numbers, negative from the end, or percentages of the rows. A bound beyond the end is clamped, but a
/// slice without a single row is an error.
///
/// ```
/// use sparse_data::SplitExpression;
///
/// let split: SplitExpression = "train[:10%]+dev[-2:]".parse()?;
/// let sizes = |name: &str| if name == "train" { 1_000 } else { 10 };
/// assert_eq!(split.names().collect::<Vec<_>>(), ["train", "dev"]);
/// assert_eq!(split.ranges(sizes)?, [("train", 0..100), ("dev", 8..10)]);
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitExpression {
    expression: String,
    parts: Vec<Part>,
}

impl SplitExpression {
    /// Names of the splits, in order, repeats included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.name.as_str())
    }

    /// Whether every part is a whole split.
    pub(crate) fn is_whole(&self) -> bool {
        self.parts.iter().all(|part| part.bounds.is_none())
    }

    /// The rows of each part, given the number of rows of each split.
    ///
    /// # Errors
    ///
    /// If a slice has no rows, or `pct1_dropremainder` is asked of fewer than 100 rows.
    pub fn ranges(&self, num_rows: impl Fn(&str) -> usize) -> Result<Vec<(&str, Range<usize>)>> {
        self.parts
            .iter()
            .map(|part| {
                let range = self.range(part, num_rows(&part.name))?;
                Ok((part.name.as_str(), range))
            })
            .collect()
    }

    /// Replaces the name of a part that is not among `known` by its other name.
    pub(crate) fn with_names(mut self, other: impl Fn(&str) -> &str, known: &[&str]) -> Self {
        for part in &mut self.parts {
            if !known.contains(&part.name.as_str()) && known.contains(&other(&part.name)) {
                part.name = other(&part.name).to_owned();
            }
        }
        self
    }

    /// Fails on a split that is not among `known`.
    pub(crate) fn check_names(&self, place: &str, known: &[&str]) -> Result<()> {
        for name in self.names() {
            if !known.contains(&name) {
                return Err(Error::UnknownSplit {
                    place: place.to_owned(),
                    split: name.to_owned(),
                    nearest: nearest(name, known.iter().copied()),
                    known: list_names(known.iter().copied()),
                });
            }
        }
        Ok(())
    }

    fn range(&self, part: &Part, num_rows: usize) -> Result<Range<usize>> {
        let Some(bounds) = part.bounds else {
            return Ok(0..num_rows);
        };
        if bounds.percent && part.rounding == Rounding::PctOneDropRemainder && num_rows < 100 {
            return Err(self.error(format!(
                "`pct1_dropremainder` needs at least 100 rows, and `{}` has {num_rows}",
                part.name
            )));
        }
        let rows = |bound: i64| -> usize {
            let rows = match (bounds.percent, part.rounding) {
                (false, _) => bound,
                (true, Rounding::Closest) => {
                    (bound as f64 * num_rows as f64 / 100.0).round_ties_even() as i64
                }
                (true, Rounding::PctOneDropRemainder) => {
                    bound.saturating_mul(num_rows as i64 / 100)
                }
            };
            let rows = if rows < 0 {
                rows.saturating_add(num_rows as i64)
            } else {
                rows
            };
            rows.clamp(0, num_rows as i64) as usize
        };
        let range = bounds.from.map_or(0, rows)..bounds.to.map_or(num_rows, rows);
        if !bounds.percent && bounds.to.is_some_and(|to| to > num_rows as i64) {
            tracing::warn!(
                "`split = \"{}\"` ends beyond the {num_rows} rows of `{}`; taking all",
                self.expression,
                part.name
            );
        }
        if range.is_empty() {
            return Err(self.error(format!(
                "the slice of `{}` has no rows: it runs from row {} to row {} of {num_rows}",
                part.name, range.start, range.end
            )));
        }
        Ok(range)
    }

    fn error(&self, problem: String) -> Error {
        Error::Split {
            expression: self.expression.clone(),
            problem,
        }
    }
}

impl std::str::FromStr for SplitExpression {
    type Err = Error;

    fn from_str(expression: &str) -> Result<Self> {
        let error = |problem: String| Error::Split {
            expression: expression.to_owned(),
            problem: format!(
                "{problem}; expected for example train, train[:1000], train[10%:20%], train+dev"
            ),
        };
        let parts = expression
            .split('+')
            .map(|part| parse_part(part.trim()).map_err(error))
            .collect::<Result<Vec<_>>>()?;
        let mut roundings = parts
            .iter()
            .filter(|part| part.bounds.is_some_and(|bounds| bounds.percent))
            .map(|part| part.rounding);
        if let Some(first) = roundings.next()
            && roundings.any(|rounding| rounding != first)
        {
            return Err(error("one sum can't mix two ways of rounding".to_owned()));
        }
        Ok(Self {
            expression: expression.to_owned(),
            parts,
        })
    }
}

fn parse_part(text: &str) -> Result<Part, String> {
    let name_end = text.find(['[', '(']).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(name_end);
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    };
    if !name.split('.').all(is_word) {
        return Err(format!("`{name}` is not the name of a split"));
    }
    let mut bounds = None;
    if let Some(inner) = rest.strip_prefix('[') {
        let (inner, after) = inner.split_once(']').ok_or("a `]` is missing")?;
        bounds = Some(parse_bounds(inner)?);
        rest = after;
    }
    let rounding = match rest {
        "" | "(closest)" => Rounding::Closest,
        "(pct1_dropremainder)" => Rounding::PctOneDropRemainder,
        other => {
            return Err(format!(
                "`{other}` is neither (closest) nor (pct1_dropremainder)"
            ));
        }
    };
    Ok(Part {
        name: name.to_owned(),
        bounds,
        rounding,
    })
}

fn parse_bounds(text: &str) -> Result<Bounds, String> {
    let (from, to) = text
        .split_once(':')
        .ok_or_else(|| format!("`[{text}]` has no `:`"))?;
    let mut percent = false;
    let mut bound = |text: &str| -> Result<Option<i64>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let digits = text.strip_suffix('%');
        percent |= digits.is_some();
        let digits = digits.unwrap_or(text).trim();
        let well_formed = digits
            .strip_prefix(['-', '+'])
            .unwrap_or(digits)
            .chars()
            .all(|c| c.is_ascii_digit() || c == '_');
        match digits.replace('_', "").parse() {
            Ok(number) if well_formed => Ok(Some(number)),
            _ => Err(format!(
                "`{text}` is neither a whole number nor a percentage"
            )),
        }
    };
    let (from, to) = (bound(from)?, bound(to)?);
    if percent
        && [from, to]
            .into_iter()
            .flatten()
            .any(|bound| bound.abs() > 100)
    {
        return Err("a percentage must lie between -100% and 100%".to_owned());
    }
    Ok(Bounds { from, to, percent })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(expression: &str, num_rows: usize) -> Range<usize> {
        let split: SplitExpression = expression.parse().unwrap();
        split.ranges(|_| num_rows).unwrap()[0].1.clone()
    }

    #[test]
    fn slices_follow_the_rules_of_the_reference() {
        let cases = [
            ("train", 0..1005),
            ("train[:1_000]", 0..1000),
            ("train[-1000:]", 5..1005),
            ("train[1:-1]", 1..1004),
            ("train[:2000]", 0..1005),
            ("train[-2000:3]", 0..3),
            ("train[:10%]", 0..100), // 100.5, half to even
            ("train[:30%]", 0..302), // 301.5, half to even
            ("train[40%:60%]", 402..603),
            ("train[:-5%]", 0..955), // -50.25 from the end
            ("train[:10](closest)", 0..10),
            ("train[:10%](pct1_dropremainder)", 0..100), // 10 · ⌊1005/100⌋
            ("train[ 1 : 50% ]", 10..502),               // both are percents
        ];
        for (expression, expected) in cases {
            assert_eq!(range(expression, 1005), expected, "{expression}");
        }
    }

    #[test]
    fn sums_keep_their_order() {
        let split: SplitExpression = "test[:33%] + train[1:-1]".parse().unwrap();
        let ranges = split
            .ranges(|name| if name == "test" { 100 } else { 10 })
            .unwrap();
        assert_eq!(ranges, [("test", 0..33), ("train", 1..9)]);
    }

    #[test]
    fn malformed_expressions_say_why() {
        for expression in [
            "",
            "train[",
            "train[5]",
            "train[a:b]",
            "train[:1.5]",
            "tr ain",
            "train[:5](up)",
            "train[:500%]",
            "a+",
            "train[:--5]",
        ] {
            let error = expression
                .parse::<SplitExpression>()
                .unwrap_err()
                .to_string();
            assert!(error.contains("expected for example train"), "{error}");
        }
        assert!(
            "a[:1%]+b[:1%](pct1_dropremainder)"
                .parse::<SplitExpression>()
                .is_err()
        );
    }

    #[test]
    fn slices_without_rows_and_unknown_splits_are_errors() {
        let split: SplitExpression = "train[500:]".parse().unwrap();
        assert_eq!(
            split.ranges(|_| 100).unwrap_err().to_string(),
            "`split = \"train[500:]\"`: the slice of `train` has no rows: it runs from row 100 to row 100 of 100"
        );
        let split: SplitExpression = "trian".parse().unwrap();
        assert_eq!(
            split
                .check_names("data", &["train", "test"])
                .unwrap_err()
                .to_string(),
            "`data` has no split `trian`; did you mean `train`?; it has `train`, `test`"
        );
    }
}
