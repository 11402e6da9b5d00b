//! Mutations of safetensors files: a header whose length stands in front, then numbers.

use super::text;
use crate::random::Random;

/// A number that isn't one a weight should be.
const INTERESTING: [f32; 6] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    3e38,
    1e-40,
    -1e30,
];

/// One mutation of header, length or values.
pub(super) fn mutate(random: &mut Random, bytes: Vec<u8>) -> Vec<u8> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return bytes;
    };
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some((header, data)) = rest.split_at_checked(length) else {
        return bytes;
    };
    let (mut header, mut data) = (header.to_vec(), data.to_vec());
    let mut stated = None;
    match random.below(8) {
        0 => {
            let length = header.len() as u64;
            let lengths = [
                0,
                1,
                length.saturating_sub(1),
                length + 1,
                length + data.len() as u64,
                1 << 31,
                1 << 53,
                u64::MAX,
                u64::MAX - 7,
            ];
            stated = random.pick(&lengths).copied();
        }
        1 => poison(random, &mut data),
        2 => {
            let cut = random.below(data.len());
            data.truncate(cut);
        }
        3 => {
            let more = 1 + random.below(64);
            data.extend(std::iter::repeat_n(0, more));
        }
        _ => header = text::mutate_json(random, header),
    }
    if random.one_in(6) {
        // The length is left as it was.
        stated = stated.or(Some(length as u64));
    }
    let stated = stated.unwrap_or(header.len() as u64);
    let mut changed = stated.to_le_bytes().to_vec();
    changed.extend(header);
    changed.extend(data);
    changed
}

fn poison(random: &mut Random, data: &mut [u8]) {
    let value = *random.pick(&INTERESTING).unwrap_or(&0.0);
    let numbers = data.len() / 4;
    let (first, count) = if random.one_in(3) {
        (0, numbers)
    } else {
        (random.below(numbers), 1 + random.below(100))
    };
    for number in data.chunks_exact_mut(4).skip(first).take(count) {
        number.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_mostly_stays_right() {
        let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend(1.0_f32.to_le_bytes());
        let mut right = 0;
        for number in 0..400 {
            let changed = mutate(&mut Random::new("tensors", number), file.clone());
            let (length, rest) = changed.split_first_chunk().unwrap();
            let length = u64::from_le_bytes(*length) as usize;
            // Right where the header ends at it.
            right += usize::from(rest.get(length - 1.min(length)) == Some(&b'}'));
        }
        assert!((150..380).contains(&right), "{right}");
        assert_eq!(
            mutate(&mut Random::new("tensors", 0), b"short".to_vec()),
            b"short"
        );
    }
}
