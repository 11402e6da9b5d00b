//! Errors as a user sees them.

use std::error::Error;

/// An error with its causes, as the command line prints it.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}

/// A text on one line, cut after `longest` characters.
pub(crate) fn one_line(text: &str, longest: usize) -> String {
    let flat: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if flat.chars().count() <= longest {
        return flat;
    }
    flat.chars().take(longest).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_flattened_and_cut() {
        assert_eq!(one_line("a\nb", 9), "a b");
        assert_eq!(one_line("abcdef", 3), "abc…");
    }

    #[test]
    fn causes_follow_the_error_they_explain() {
        let cause = "x".parse::<i32>().unwrap_err();
        let error = std::io::Error::other(cause);
        assert_eq!(with_causes(&error), "invalid digit found in string");
    }
}
