//! Named figures.

use std::fmt;

/// Named figures in the order in which they were computed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    values: Vec<(String, f64)>,
    primary: Option<String>,
}

impl Metrics {
    /// No figures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a figure: in its old place if the name is known, at the end otherwise.
    pub fn insert(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        match self.values.iter_mut().find(|entry| entry.0 == name) {
            Some(entry) => entry.1 = value,
            None => self.values.push((name, value)),
        }
    }

    /// Takes in all figures of `other`; later ones overwrite earlier ones of the same name.
    pub fn extend(&mut self, other: impl IntoIterator<Item = (String, f64)>) {
        other
            .into_iter()
            .for_each(|(name, value)| self.insert(name, value));
    }

    /// The figure of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values
            .iter()
            .find(|entry| entry.0 == name)
            .map(|entry| entry.1)
    }

    /// Names and figures in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, f64)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
    }

    /// Number of figures.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Name of the figure that stands for all, if the evaluator has one.
    pub fn primary(&self) -> Option<&str> {
        self.primary.as_deref()
    }

    /// Says which figure stands for all.
    pub fn with_primary(mut self, name: impl Into<String>) -> Self {
        self.primary = Some(name.into());
        self
    }

    /// The same figures, each name (the primary one's too) led by `prefix` and an underscore; unchanged for an empty prefix.
    pub fn prefixed(&self, prefix: &str) -> Self {
        if prefix.is_empty() {
            return self.clone();
        }
        let add = |name: &String| format!("{prefix}_{name}");
        Self {
            values: self
                .values
                .iter()
                .map(|(name, value)| (add(name), *value))
                .collect(),
            primary: self.primary.as_ref().map(add),
        }
    }

    /// As a JSON object; figures that are not finite become `null`.
    pub fn to_json(&self) -> serde_json::Value {
        let entries = self
            .values
            .iter()
            .map(|(name, value)| (name.clone(), serde_json::Value::from(*value)));
        serde_json::Value::Object(entries.collect())
    }
}

impl IntoIterator for Metrics {
    type Item = (String, f64);
    type IntoIter = std::vec::IntoIter<(String, f64)>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl FromIterator<(String, f64)> for Metrics {
    fn from_iter<T: IntoIterator<Item = (String, f64)>>(entries: T) -> Self {
        let mut metrics = Self::new();
        metrics.extend(entries);
        metrics
    }
}

impl fmt::Display for Metrics {
    /// One `name: figure` a line, four decimals.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter()
            .try_for_each(|(name, value)| writeln!(formatter, "{name}: {value:.4}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_prefixed_once_and_for_all() {
        let mut metrics = Metrics::new().with_primary("dot_ndcg@10");
        metrics.insert("dot_ndcg@10", 0.5);
        metrics.insert("avg_flops", 2.0);
        let named = metrics.prefixed("dev").prefixed("eval");
        assert_eq!(named.primary(), Some("eval_dev_dot_ndcg@10"));
        assert_eq!(named.get("eval_dev_avg_flops"), Some(2.0));
        assert_eq!(metrics.prefixed(""), metrics);
    }

    #[test]
    fn order_is_kept_and_repeated_names_overwrite() {
        let mut metrics = Metrics::new();
        metrics.extend([
            ("b".to_owned(), 1.0),
            ("a".to_owned(), 2.0),
            ("b".to_owned(), f64::NAN),
        ]);
        assert_eq!(metrics.to_json().to_string(), r#"{"b":null,"a":2.0}"#);
        assert_eq!(metrics.to_string(), "b: NaN\na: 2.0000\n");
    }
}
