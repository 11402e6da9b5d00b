//! The beginning of a long text, which all its kept tokens come from.

/// Bytes of text for each token that is kept: ten times as many as words have.
const BYTES_PER_TOKEN: usize = 64;

/// Texts up to this length are tokenized as a whole.
const LEAST_BYTES: usize = 1 << 14;

/// By how much a beginning grows that had too few tokens.
const GROWTH: usize = 8;

/// Longer and longer beginnings of a text of which `max_length` tokens are kept. Each ends before a blank, where no token
/// goes on; the last is the whole text.
pub(super) fn beginnings(text: &str, max_length: usize) -> impl Iterator<Item = &str> {
    let first = max_length.saturating_mul(BYTES_PER_TOKEN).max(LEAST_BYTES);
    let lengths = std::iter::successors(Some(first), |length| length.checked_mul(GROWTH));
    let mut is_whole = false;
    lengths.map_while(move |length| {
        if is_whole {
            return None;
        }
        let start = text.floor_char_boundary(length);
        let blank = text[start..].find(char::is_whitespace);
        let part = blank.map_or(text, |blank| &text[..start + blank]);
        is_whole = part.len() == text.len();
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_end_before_a_blank_and_grow_to_the_whole() {
        let text = "é words ".repeat(60_000);
        let parts: Vec<&str> = beginnings(&text, 8).collect();
        assert_eq!(parts.len(), 3);
        assert!(parts[0].len() >= LEAST_BYTES && parts[0].len() < LEAST_BYTES + 10);
        assert!(text[parts[0].len()..].starts_with(' '));
        assert_eq!(parts[2].len(), text.len());
        for text in ["", "short", " ", &"x".repeat(100_000)] {
            assert_eq!(beginnings(text, 8).collect::<Vec<_>>(), [text]);
        }
    }
}
