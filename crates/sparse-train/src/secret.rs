//! Secrets kept out of messages.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands for a secret.
pub(crate) const HIDDEN: &str = "***";

/// What a secret looks like, and by which group of it the rest is kept.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    // User and password of an address. A password may hold an `@` or a slash that should have been escaped, but what begins
    // with a number and a slash is a port and a path.
    const USER: &str = r#"(?P<keep>[A-Za-z][A-Za-z0-9+.-]*://)(?:[^\s"'`<>/@:]*:(?:\d*[^\s"'`<>/\d][^\s"'`<>]*|\d*)|[^\s"'`<>/@:]*)(?P<end>@)"#;
    // The same of a database, where a number and a slash may well be a password.
    const DATABASE: &str = r#"(?P<keep>\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|redis|sqlserver)://)[^\s"'`<>]*(?P<end>@)"#;
    // The value of a key that is called so, whatever it looks like.
    const KEY: &str = r#"(?i)(?P<keep>\b(?:[a-z0-9_-]*(?:password|passwd|secret)[a-z0-9_-]*|(?:hub|hf|access|auth|api|session|bearer)[_-]?token|api[_-]?key|[a-z_]*access[_-]key(?:[_-]id)?)["']?\s*[=:]\s*)(?:"[^"\n]*"?|'[^'\n]*'?|[^\s,;&)}\]"'`]+)"#;
    // The same in the query of an address.
    const QUERY: &str = r#"(?i)(?P<keep>[?&](?:token|sig|signature|x-amz-[a-z-]+|x-goog-[a-z-]+)=|\btoken=)[^\s&"'`]+"#;
    // Tokens of the hub and of others, keys of AWS.
    const TOKEN: &str = r"(?P<keep>\b(?:hf|ghp|gho|ghs|github_pat)_)[A-Za-z0-9_]{8,}";
    const AWS: &str = r"(?P<keep>\b(?:AKIA|ASIA))[A-Z0-9]{12,}\b";
    [DATABASE, USER, KEY, QUERY, TOKEN, AWS]
        .iter()
        .filter_map(|pattern| Regex::new(pattern).ok())
        .collect()
});

/// A text without what looks like a secret: user and password of an address, tokens of the hub, keys of AWS, and the values of
/// keys such as `hub_token` and `password`. `***` stands in the place of each.
///
/// For whoever shows a message that quotes what a user wrote.
///
/// # Example
///
/// ```
/// use sparse_train::mask_secrets;
///
/// assert_eq!(
///     mask_secrets("postgres://me:secret@host/shop: no such table"),
///     "postgres://***@host/shop: no such table"
/// );
/// assert_eq!(mask_secrets("hub_token = \"hf_abc\""), "hub_token = ***");
/// ```
pub fn mask_secrets(text: &str) -> String {
    let mut masked = text.to_owned();
    for pattern in PATTERNS.iter() {
        let replaced = pattern.replace_all(&masked, |found: &Captures<'_>| {
            let part = |name| found.name(name).map_or("", |group| group.as_str());
            format!("{}{HIDDEN}{}", part("keep"), part("end"))
        });
        masked = replaced.into_owned();
    }
    masked
}

/// Whether the value of a key of a training file may be a secret, or hold one.
pub(crate) fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key).to_lowercase();
    [
        "token", "password", "passwd", "secret", "url", "key", "database",
    ]
    .iter()
    .any(|word| name.split(['_', '-']).any(|part| part == *word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(PATTERNS.len(), 6);
    }

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (text, expected) in [
            ("postgres://me:s3@h/db", "postgres://***@h/db"),
            ("postgres://me:p@s/w@h:1/db", "postgres://***@h:1/db"),
            ("postgres://me:123/4@h/db", "postgres://***@h/db"),
            ("postgres://h:5432/db", "postgres://h:5432/db"),
            ("http://hf_abcdefghij@hub", "http://***@hub"),
            ("got `hf_abcdefghij`", "got `hf_***`"),
            (
                "hub_token = \"hf_abcdefghij\" # mine",
                "hub_token = *** # mine",
            ),
            (
                "{\"hub_token\":\"x\",\"seed\":1}",
                "{\"hub_token\":***,\"seed\":1}",
            ),
            ("arguments.hub_token=abc", "arguments.hub_token=***"),
            ("PGPASSWORD='a b' psql", "PGPASSWORD=*** psql"),
            (
                "aws_secret_access_key = abc/def",
                "aws_secret_access_key = ***",
            ),
            ("AKIAIOSFODNN7EXAMPLE", "AKIA***"),
            (
                "s3://b/k?X-Amz-Signature=ab12&x=1",
                "s3://b/k?X-Amz-Signature=***&x=1",
            ),
            // What only looks alike.
            ("special token: [UNK]", "special token: [UNK]"),
            ("unknown key: lerning_rate", "unknown key: lerning_rate"),
            ("https://host:80/a@b", "https://host:80/a@b"),
            (
                "https://huggingface.co/a/b/tree/x@main",
                "https://huggingface.co/a/b/tree/x@main",
            ),
            ("set HF_TOKEN to one", "set HF_TOKEN to one"),
            ("ndcg@10: 0.4, see hf_hub", "ndcg@10: 0.4, see hf_hub"),
        ] {
            assert_eq!(mask_secrets(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_that_hold_secrets_are_known() {
        for key in [
            "arguments.hub_token",
            "train_dataset[0].database",
            "aws_secret_access_key",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "arguments.token_budget.x",
            "tokenization_cache_mb",
            "keyword",
            "seed",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
