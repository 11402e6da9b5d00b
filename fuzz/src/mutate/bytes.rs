//! Mutations that know nothing of the file.

use crate::random::Random;

/// Bytes that parsers stumble over.
const INTERESTING: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\x80",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\r",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"\t",
    b",",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\0\0\0\0\0\0\0\x80",
    b"\0\0\xc0\x7f",
    b"\0\0\x80\x7f",
];

/// One blind mutation; `other` is what is spliced in.
pub(super) fn mutate(random: &mut Random, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    let at = random.below(bytes.len());
    match random.below(10) {
        0 | 1 => flip(random, &mut bytes),
        2 => set(random, &mut bytes),
        3 => bytes.truncate(at),
        4 => {
            if !bytes.is_empty() {
                let span = random.span(bytes.len());
                bytes.drain(span);
            }
        }
        5 => repeat(random, &mut bytes),
        6 => insert(random, &mut bytes, at),
        7 => overwrite(random, &mut bytes, at),
        8 => splice(random, &mut bytes, at, other),
        _ => match random.below(6) {
            0 => bytes.clear(),
            1 => bytes.fill(0),
            2 => bytes = other.to_vec(),
            3 => {
                let more = 1 + random.below(4096);
                bytes.extend((0..more).map(|_| random.bits() as u8));
            }
            _ => {
                let span = random.span(bytes.len().max(1));
                for byte in bytes.get_mut(span).into_iter().flatten() {
                    *byte = random.bits() as u8;
                }
            }
        },
    }
    bytes
}

fn flip(random: &mut Random, bytes: &mut [u8]) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len());
        let bit = random.below(8);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }
}

fn set(random: &mut Random, bytes: &mut [u8]) {
    let value = *random
        .pick(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'-', b'9'])
        .unwrap_or(&0);
    // Headers and footers hold what is worth most.
    let at = match random.below(3) {
        0 => random.below(bytes.len().min(64)),
        1 => bytes.len().saturating_sub(1 + random.below(64)),
        _ => random.below(bytes.len()),
    };
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn repeat(random: &mut Random, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let span = random.span(bytes.len());
    let end = span.end;
    let times = if random.one_in(8) { 100 } else { 1 };
    let copy = bytes[span].repeat(times);
    if copy.len() <= 1 << 20 {
        bytes.splice(end..end, copy);
    }
}

fn insert(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let new = random.pick(INTERESTING).copied().unwrap_or_default();
    bytes.splice(at..at, new.iter().copied());
}

fn overwrite(random: &mut Random, bytes: &mut [u8], at: usize) {
    let new = random.pick(INTERESTING).copied().unwrap_or_default();
    let at = if random.one_in(2) { at - at % 4 } else { at };
    for (byte, new) in bytes.iter_mut().skip(at).zip(new) {
        *byte = *new;
    }
}

/// The start of one file and the end of another.
fn splice(random: &mut Random, bytes: &mut Vec<u8>, at: usize, other: &[u8]) {
    let from = random.below(other.len());
    bytes.truncate(at);
    bytes.extend(&other[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_can_be_mutated() {
        for number in 0..300 {
            let mut random = Random::new("empty", number);
            let bytes = mutate(&mut random, Vec::new(), b"");
            mutate(&mut random, bytes, b"other");
        }
    }

    #[test]
    fn a_splice_has_the_start_of_one_and_the_end_of_the_other() {
        let mut bytes = b"aaaa".to_vec();
        splice(&mut Random::new("splice", 0), &mut bytes, 2, b"bbbb");
        assert!(bytes.starts_with(b"aab") && bytes.ends_with(b"b"));
    }
}
