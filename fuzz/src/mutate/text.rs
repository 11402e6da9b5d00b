//! Mutations of JSON, TOML, CSV and other text by its tokens.

use std::ops::Range;

use crate::random::Random;

/// What numbers are replaced by.
const NUMBERS: [&str; 20] = [
    "0",
    "-1",
    "1",
    "0.5",
    "-0.0",
    "255",
    "65536",
    "1000000",
    "2147483647",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "-1e400",
    "1e-400",
    "NaN",
    "1e18",
];

/// What values are replaced by.
const VALUES: [&str; 10] = [
    "[]",
    "{}",
    "null",
    "true",
    "\"\"",
    "[[]]",
    "[null]",
    "{\"a\": {}}",
    "\"NaN\"",
    "inf",
];

/// What strings are replaced by, quotes included.
const STRINGS: [&str; 12] = [
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\u{feff}\"",
    "\"..\"",
    "\"../../x\"",
    "\"a/b\"",
    "\"é\u{301}\u{1f468}\u{200d}\u{1f469}\"",
    "\"-1\"",
    "\"(((((\"",
    "\"*\"",
];

/// A piece of text that means something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: TokenKind,
    span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    Number,
    /// With its quotes.
    Quoted,
    Word,
    Mark(u8),
}

/// One mutation of a JSON text.
pub(super) fn mutate_json(random: &mut Random, bytes: Vec<u8>) -> Vec<u8> {
    let tokens = tokens(&bytes);
    if random.one_in(3) {
        let keys = keys(&tokens);
        if let Some(&key) = random.pick(&keys) {
            return mutate_key(random, bytes, &tokens, key, &keys);
        }
    }
    mutate_token(random, bytes, &tokens)
}

/// One mutation of a text whose lines count.
pub(super) fn mutate_lines(random: &mut Random, bytes: Vec<u8>) -> Vec<u8> {
    if random.one_in(3) {
        return mutate_line(random, &bytes);
    }
    let tokens = tokens(&bytes);
    let keys = keys(&tokens);
    if random.one_in(3)
        && let Some(&key) = random.pick(&keys)
    {
        return mutate_key(random, bytes, &tokens, key, &keys);
    }
    mutate_token(random, bytes, &tokens)
}

fn tokens(bytes: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let while_it = |is: &dyn Fn(u8) -> bool| {
            bytes[at..]
                .iter()
                .position(|&byte| !is(byte))
                .map_or(bytes.len(), |n| at + n)
        };
        let (kind, end) = match byte {
            b'"' => (TokenKind::Quoted, end_of_quoted(bytes, at)),
            b'-' | b'0'..=b'9' => (
                TokenKind::Number,
                while_it(&|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)),
            ),
            byte if byte.is_ascii_alphabetic() || byte >= 0x80 || byte == b'_' => (
                TokenKind::Word,
                while_it(&|byte| {
                    byte.is_ascii_alphanumeric() || byte >= 0x80 || b"_-.".contains(&byte)
                }),
            ),
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            byte => (TokenKind::Mark(byte), at + 1),
        };
        tokens.push(Token {
            kind,
            span: at..end,
        });
        at = end;
    }
    tokens
}

fn end_of_quoted(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        at += if byte == b'\\' { 2 } else { 1 };
        if byte == b'"' || byte == b'\n' {
            break;
        }
    }
    at.min(bytes.len())
}

/// Positions of the tokens that name a value: a string or word before `:` or `=`.
fn keys(tokens: &[Token]) -> Vec<usize> {
    (0..tokens.len().saturating_sub(1))
        .filter(|&at| {
            matches!(tokens[at].kind, TokenKind::Quoted | TokenKind::Word)
                && matches!(tokens[at + 1].kind, TokenKind::Mark(b':' | b'='))
        })
        .collect()
}

/// The end of the value that begins at token `at`, brackets balanced.
fn end_of_value(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (number, token) in tokens.iter().enumerate().skip(at) {
        match token.kind {
            TokenKind::Mark(b'[' | b'{') => depth += 1,
            TokenKind::Mark(b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return number + 1;
        }
    }
    tokens.len()
}

fn mutate_token(random: &mut Random, mut bytes: Vec<u8>, tokens: &[Token]) -> Vec<u8> {
    let Some(token) = random.pick(tokens) else {
        return bytes;
    };
    let position = tokens.iter().position(|other| other == token).unwrap_or(0);
    let mut span = token.span.clone();
    let new: Vec<u8> = match token.kind {
        TokenKind::Number if !random.one_in(5) => number(random),
        TokenKind::Quoted if !random.one_in(5) => quoted(random, &bytes, tokens, &span),
        TokenKind::Word if !random.one_in(5) => word(random, &bytes, tokens),
        TokenKind::Mark(_) if random.one_in(4) => random
            .pick(&[",", ":", "[", "]", "{", "}", "\"", "\t", "\n", "="])
            .map(|mark| mark.as_bytes().to_vec())
            .unwrap_or_default(),
        // A whole value, if one begins here.
        _ => {
            let end = end_of_value(tokens, position);
            span.end = tokens[end - 1].span.end;
            value(random)
        }
    };
    bytes.splice(span, new);
    bytes
}

fn number(random: &mut Random) -> Vec<u8> {
    random.pick(&NUMBERS).copied().unwrap_or_default().into()
}

fn value(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => bomb(random),
        1..=3 => number(random),
        4 | 5 => random.pick(&STRINGS).copied().unwrap_or_default().into(),
        _ => random.pick(&VALUES).copied().unwrap_or_default().into(),
    }
}

/// Nesting that a recursive parser falls over.
fn bomb(random: &mut Random) -> Vec<u8> {
    let depth = *random.pick(&[100, 127, 128, 1000, 100_000]).unwrap_or(&100);
    let (open, close) = if random.one_in(2) {
        ("[", "]")
    } else {
        ("{\"a\":", "}")
    };
    let inner = if open == "[" { "" } else { "1" };
    let closed = if random.one_in(3) { 0 } else { depth };
    format!("{}{inner}{}", open.repeat(depth), close.repeat(closed)).into()
}

fn quoted(random: &mut Random, bytes: &[u8], tokens: &[Token], span: &Range<usize>) -> Vec<u8> {
    match random.below(6) {
        0 | 1 => random.pick(&STRINGS).copied().unwrap_or_default().into(),
        2 => {
            // Longer.
            let times = *random.pick(&[2, 100, 20_000]).unwrap_or(&2);
            let inner = bytes
                .get(span.start + 1..span.end.saturating_sub(1))
                .unwrap_or_default();
            let mut longer = b"\"".to_vec();
            longer.extend(inner.repeat(times.min((1 << 20) / inner.len().max(1))));
            longer.push(b'"');
            longer
        }
        3 => number(random),
        _ => another(random, bytes, tokens, TokenKind::Quoted),
    }
}

fn word(random: &mut Random, bytes: &[u8], tokens: &[Token]) -> Vec<u8> {
    match random.below(4) {
        0 => Vec::new(),
        1 => number(random),
        2 => value(random),
        _ => another(random, bytes, tokens, TokenKind::Word),
    }
}

/// Another token of the text.
fn another(random: &mut Random, bytes: &[u8], tokens: &[Token], kind: TokenKind) -> Vec<u8> {
    let alike: Vec<&Token> = tokens.iter().filter(|token| token.kind == kind).collect();
    random
        .pick(&alike)
        .map(|token| bytes[token.span.clone()].to_vec())
        .unwrap_or_default()
}

/// Removes, doubles or renames a key, or replaces its value.
fn mutate_key(
    random: &mut Random,
    mut bytes: Vec<u8>,
    tokens: &[Token],
    key: usize,
    keys: &[usize],
) -> Vec<u8> {
    let value_start = (key + 2).min(tokens.len() - 1);
    let end = end_of_value(tokens, value_start);
    let entry = tokens[key].span.start..tokens[end - 1].span.end;
    let comma_end = match tokens.get(end) {
        Some(token) if token.kind == TokenKind::Mark(b',') => token.span.end,
        _ => entry.end,
    };
    match random.below(5) {
        0 => {
            bytes.drain(entry.start..comma_end);
        }
        1 => {
            let mut copy = bytes[entry.start..comma_end].to_vec();
            if comma_end == entry.end {
                copy.push(b',');
            }
            bytes.splice(entry.start..entry.start, copy);
        }
        2 => {
            let other = keys[random.below(keys.len())];
            let name = bytes[tokens[other].span.clone()].to_vec();
            bytes.splice(tokens[key].span.clone(), name);
        }
        3 => {
            let at = tokens[key].span.end - 1;
            bytes.insert(at, b'x');
        }
        _ => {
            let span = tokens[value_start].span.start..entry.end;
            if span.start <= span.end {
                let new = value(random);
                bytes.splice(span, new);
            }
        }
    }
    bytes
}

/// Removes, doubles, moves, cuts or joins lines, or lengthens one.
fn mutate_line(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if lines.is_empty() {
        return bytes.to_vec();
    }
    let at = random.below(lines.len());
    let other = random.below(lines.len());
    match random.below(7) {
        0 => {
            lines.remove(at);
        }
        1 => {
            let copy = lines[at].clone();
            lines.insert(other, copy);
        }
        2 => lines.swap(at, other),
        3 => {
            let cut = random.below(lines[at].len());
            lines[at].truncate(cut);
            lines[at].push(b'\n');
        }
        4 => {
            while lines[at].last().is_some_and(u8::is_ascii_whitespace) {
                lines[at].pop();
            }
        }
        5 => lines.insert(at, b"\n".to_vec()),
        _ => {
            let times = *random.pick(&[2, 50, 5000]).unwrap_or(&2);
            let times = times.min((1 << 20) / lines[at].len().max(1));
            while lines[at].last().is_some_and(u8::is_ascii_whitespace) {
                lines[at].pop();
            }
            let mark = *random.pick(b",\t \"").unwrap_or(&b',');
            let mut line = lines[at].clone();
            line.push(mark);
            lines[at] = line.repeat(times);
            lines[at].push(b'\n');
        }
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"a": 1, "b": {"c": [1, -2.5e3]}, "d": "x\"y"}"#;

    #[test]
    fn tokens_are_found() {
        let found: Vec<(TokenKind, &str)> = tokens(JSON.as_bytes())
            .into_iter()
            .filter(|token| !matches!(token.kind, TokenKind::Mark(_)))
            .map(|token| (token.kind, &JSON[token.span]))
            .collect();
        let (number, quoted) = (TokenKind::Number, TokenKind::Quoted);
        assert_eq!(
            found,
            [
                (quoted, "\"a\""),
                (number, "1"),
                (quoted, "\"b\""),
                (quoted, "\"c\""),
                (number, "1"),
                (number, "-2.5e3"),
                (quoted, "\"d\""),
                (quoted, "\"x\\\"y\""),
            ]
        );
    }

    #[test]
    fn the_value_of_a_key_ends_with_its_brackets() {
        let tokens = tokens(JSON.as_bytes());
        let keys = keys(&tokens);
        let value = |key: usize| {
            let end = end_of_value(&tokens, keys[key] + 2);
            &JSON[tokens[keys[key] + 2].span.start..tokens[end - 1].span.end]
        };
        assert_eq!(
            [value(0), value(1), value(3)],
            ["1", r#"{"c": [1, -2.5e3]}"#, r#""x\"y""#]
        );
    }

    #[test]
    fn many_mutations_of_json_stay_json() {
        let mut whole = 0;
        for seed in 0..1000 {
            let changed = mutate_json(&mut Random::new("json", seed), JSON.into());
            whole += usize::from(serde_json::from_slice::<serde_json::Value>(&changed).is_ok());
        }
        assert!(whole > 300, "{whole}");
    }

    #[test]
    fn any_text_can_be_mutated() {
        for text in [
            "",
            "\n",
            "\"",
            "a,b\n1,2\n",
            "[x]\ny = 1\n",
            "=",
            ":",
            "\"k\":",
            "é",
        ] {
            for seed in 0..200 {
                let mut random = Random::new(text, seed);
                let bytes = mutate_lines(&mut random, text.into());
                mutate_json(&mut random, bytes);
            }
        }
    }
}
