//! Addresses and settings without what nobody else may see.

use std::borrow::Cow;

/// Whether the value of a setting with this name must not be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 6] = ["key", "secret", "token", "password", "credential", "sas"];
    let name = name.to_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// A text in which every address has lost its user, password, query and fragment: an account may be a token, and a query a
/// signature.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, address) = rest.split_at(start + 3);
        shown.push_str(before);
        let ends = |c: char| {
            c.is_whitespace() || matches!(c, '`' | '"' | '\'' | '(' | ')' | '<' | '>' | ',')
        };
        let (address, after) = address.split_at(address.find(ends).unwrap_or(address.len()));
        let path = address.split(['?', '#']).next().unwrap_or_default();
        // A password may hold a slash, so what counts is the last `@` before the query.
        shown.push_str(path.rsplit_once('@').map_or(path, |(_, place)| place));
        rest = after;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_queries_are_not_shown() {
        for (text, shown) in [
            ("data/pairs.csv", "data/pairs.csv"),
            ("data/what?.csv", "data/what?.csv"),
            ("https://me:pw@host/a.csv?X-Sig=s", "https://host/a.csv"),
            ("https://token@host/a b", "https://host/a b"),
            ("s3://key:se/cret@bucket/a", "s3://bucket/a"),
            (
                "postgres://me:123/4@host:5432/db",
                "postgres://host:5432/db",
            ),
            (
                "error for (https://host/x?sig=1): refused, then https://u:p@h/",
                "error for (https://host/x): refused, then https://h/",
            ),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn settings_that_are_secrets_are_known_by_their_names() {
        for name in [
            "aws_secret_access_key",
            "AWS_SESSION_TOKEN",
            "google_service_account_key",
            "password",
        ] {
            assert!(is_secret(name), "{name}");
        }
        assert!(!is_secret("aws_endpoint") && !is_secret("aws_region"));
    }
}
