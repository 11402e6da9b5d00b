//! Secrets kept out of messages: passwords in addresses, and tokens.

use std::error::Error;
use std::fmt;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// A text without the user and the password of addresses, and without tokens of the hub.
pub(crate) fn mask(text: &str) -> String {
    without_tokens(&without_users(text))
}

/// `scheme://user:password@host` becomes `scheme://***@host`.
fn without_users(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + "://".len());
        masked.push_str(before);
        let end = after
            .find(|c: char| c.is_whitespace() || "/?#`\"'<>()".contains(c))
            .unwrap_or(after.len());
        let (authority, remains) = after.split_at(end);
        // A password may hold an `@` that should have been escaped: the last one ends it. One with a slash ends later.
        let long = after.split(|c: char| c.is_whitespace() || "`\"'<>()".contains(c));
        let long = long.into_iter().next().unwrap_or_default();
        rest = match (authority.rfind('@'), long.rfind('@')) {
            (Some(at), _) => {
                masked.push_str(HIDDEN);
                masked.push_str(&authority[at..]);
                remains
            }
            (None, Some(at)) if authority.contains(':') && !port(authority) => {
                masked.push_str(HIDDEN);
                &after[at..]
            }
            _ => after,
        };
    }
    masked.push_str(rest);
    masked
}

/// Whether an authority ends with the number of a port.
fn port(authority: &str) -> bool {
    let number = authority.rsplit(':').next().unwrap_or_default();
    number.bytes().all(|byte| byte.is_ascii_digit())
}

/// `hf_` and what follows it as one word becomes `hf_***`.
fn without_tokens(text: &str) -> String {
    const LEAST: usize = 8;
    let mut parts = text.split("hf_");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(part.len());
        let begins_word = !masked.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        masked.push_str("hf_");
        if begins_word && end >= LEAST {
            masked.push_str(HIDDEN);
            masked.push_str(&part[end..]);
        } else {
            masked.push_str(part);
        }
    }
    masked
}

/// An error whose text had a secret in it.
struct Masked(String);

impl fmt::Display for Masked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Masked({:?})", self.0)
    }
}

impl Error for Masked {}

/// The error itself, or where it or a cause of it would show a secret, its text without.
pub(crate) fn masked(
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> Box<dyn Error + Send + Sync> {
    let error = error.into();
    let shown = crate::failure::chain(&*error);
    let whole = format!("{shown} {error:?}");
    if mask(&whole) == whole {
        error
    } else {
        Box::new(Masked(mask(&shown)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_are_hidden_and_nothing_else() {
        for (text, expected) in [
            ("https://me:pw@hub.local/x", "https://***@hub.local/x"),
            (
                "failed to reach http://me:p@ss@hub:8080: no",
                "failed to reach http://***@hub:8080: no",
            ),
            ("`http://me:p/w@hub`", "`http://***@hub`"),
            ("https://hf_abcdefghij@hub", "https://***@hub"),
            ("token hf_abcdefghij1 is bad", "token hf_*** is bad"),
            ("a://u:p@b c://v:q@d", "a://***@b c://***@d"),
            ("https://hub:8080/a@b", "https://hub:8080/a@b"),
            ("https://hub/datasets/x@main", "https://hub/datasets/x@main"),
            (
                "hf_hub 1.0, my_hf_abcdefghij",
                "hf_hub 1.0, my_hf_abcdefghij",
            ),
            ("ünïcode://é:ß@ö", "ünïcode://***@ö"),
            ("", ""),
        ] {
            assert_eq!(mask(text), expected);
        }
    }

    #[test]
    fn an_error_that_shows_a_secret_becomes_its_text() {
        let plain = masked(std::io::Error::other("no route"));
        assert!(plain.downcast_ref::<std::io::Error>().is_some());
        let secret = masked(std::io::Error::other("http://me:pw@hub is down"));
        assert_eq!(
            format!("{secret} {secret:?}"),
            "http://***@hub is down Masked(\"http://***@hub is down\")"
        );
    }
}
