//! The little YAML that a card begins with.

use serde_json::Value;

/// A value as YAML in block style, at `indent` spaces.
pub(super) fn block(value: &Value, indent: usize) -> String {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                format!(
                    "{pad}{}:{}",
                    scalar(&Value::String(key.clone())),
                    below(value, indent)
                )
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                // The first key of a map stands on the line of the dash.
                let text = match item {
                    Value::Object(entries) if !entries.is_empty() => block(item, indent + 2),
                    other => format!("{}\n", scalar(other)),
                };
                format!("{pad}- {}", text.trim_start())
            })
            .collect(),
        other => format!("{pad}{}\n", scalar(other)),
    }
}

/// What follows a key: a scalar on its line, or lines below. Lists stand at the indent of their key.
fn below(value: &Value, indent: usize) -> String {
    match value {
        Value::Object(entries) if !entries.is_empty() => format!("\n{}", block(value, indent + 2)),
        Value::Array(items) if !items.is_empty() => format!("\n{}", block(value, indent)),
        other => format!(" {}\n", scalar(other)),
    }
}

/// A text in plain style where no reader could take it for something else, in double quotes otherwise; JSON is YAML for the
/// rest.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "~",
    ];
    let starts = text.starts_with(|c: char| c.is_alphabetic());
    let safe = |c: char| c.is_alphanumeric() || " -_./@()'+".contains(c);
    // `loss:SpladeLoss` is a text, `a: b` and `a:` would be maps.
    let colons = text.match_indices(':').all(|(index, _)| {
        text[index + 1..]
            .chars()
            .next()
            .is_some_and(|next| !next.is_whitespace())
    });
    starts
        && colons
        && text.chars().all(|c| safe(c) || c == ':')
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn maps_lists_and_texts_are_laid_out_as_the_reference_does() {
        let value = json!({
            "language": ["en"],
            "tags": ["loss:SpladeLoss", "dataset_size:44"],
            "widget": [{ "text": "Is it: yes?" }, { "text": "A man." }, { "text": "no" }, { "text": "# 1\n2" }],
            "model-index": [{ "name": "m", "results": [{ "task": { "type": "t" }, "metrics": [{ "value": 0.5 }] }] }],
            "empty": [],
        });
        let expected = "language:\n- en\ntags:\n- loss:SpladeLoss\n- dataset_size:44\nwidget:\n- text: \"Is it: yes?\"\n- text: A man.\n\
                        - text: \"no\"\n- text: \"# 1\\n2\"\nmodel-index:\n- name: m\n  results:\n  - task:\n      type: t\n    metrics:\n    \
                        - value: 0.5\nempty: []\n";
        assert_eq!(block(&value, 0), expected);
    }
}
