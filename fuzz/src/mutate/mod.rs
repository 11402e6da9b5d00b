//! Inputs out of seeds: a few mutations each, by the kind of the file.

mod bytes;
mod tensors;
mod text;

use crate::files::{Files, base_name};
use crate::random::Random;

/// A changed copy of one of `seeds`, a function of `name` and `number`; only files that `may_change` takes are touched.
///
/// # Panics
///
/// If there is no seed with such a file.
pub fn input(
    name: &str,
    number: u64,
    seeds: &[Files],
    may_change: impl Fn(&str) -> bool,
) -> (Files, Vec<String>) {
    let mut random = Random::new(name, number);
    let mut files = random.pick(seeds).expect("a target has seeds").clone();
    let changeable: Vec<String> = files
        .keys()
        .filter(|name| may_change(name))
        .cloned()
        .collect();
    assert!(!changeable.is_empty(), "no file of the seed may change");
    // Another file of the same kind, for splices.
    let others: Vec<&Vec<u8>> = seeds
        .iter()
        .flatten()
        .filter(|(name, _)| may_change(name))
        .map(|(_, bytes)| bytes)
        .collect();
    let mut changed = Vec::new();
    let rounds = if random.one_in(4) { 2 } else { 1 };
    for _ in 0..rounds {
        let file = &changeable[random.below(changeable.len())];
        // A missing file is an input, too, where there are several.
        if changeable.len() > 1 && random.one_in(40) {
            files.remove(file);
        } else if let Some(bytes) = files.get_mut(file) {
            let other = others[random.below(others.len())];
            *bytes = mutated(&mut random, file, std::mem::take(bytes), other);
        }
        changed.push(file.clone());
    }
    (files, changed)
}

/// Kinds of files that mutators know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Lines,
    Tensors,
    Bytes,
}

impl Kind {
    fn of(name: &str) -> Self {
        match base_name(name).rsplit_once('.') {
            Some((_, "json")) => Self::Json,
            Some((_, "jsonl" | "csv" | "tsv" | "toml" | "trec" | "txt" | "md")) => Self::Lines,
            Some((_, "safetensors")) => Self::Tensors,
            _ => Self::Bytes,
        }
    }
}

fn mutated(random: &mut Random, name: &str, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    let kind = Kind::of(name);
    let times = match random.below(8) {
        0 => 3,
        1 | 2 => 2,
        _ => 1,
    };
    for _ in 0..times {
        // One of four is blind to the structure.
        bytes = match kind {
            Kind::Json if !random.one_in(4) => text::mutate_json(random, bytes),
            Kind::Lines if !random.one_in(4) => text::mutate_lines(random, bytes),
            Kind::Tensors if !random.one_in(4) => tensors::mutate(random, bytes),
            _ => bytes::mutate(random, bytes, other),
        };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds() -> Vec<Files> {
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        vec![
            [
                file("a.json", r#"{"a": 1, "b": ["x", 2.5]}"#),
                file("keep", "k"),
            ]
            .into(),
            [file("t.csv", "a,b\n1,2\n3,4\n"), file("keep", "k")].into(),
        ]
    }

    #[test]
    fn an_input_is_a_function_of_its_number() {
        let of = |number| input("t", number, &seeds(), |name| name != "keep");
        let mut different = std::collections::BTreeSet::new();
        for number in 0..500 {
            let (files, changed) = of(number);
            assert_eq!(of(number), (files.clone(), changed));
            assert_eq!(files["keep"], b"k");
            different.insert(files);
        }
        assert!(different.len() > 300, "{}", different.len());
    }
}
