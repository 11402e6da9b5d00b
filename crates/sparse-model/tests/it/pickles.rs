//! Pickled weights: archives that are damaged or contradict themselves, and files from before PyTorch 1.6.

use std::path::Path;

use sparse_model::EncodeOptions;

use crate::support::{copy_of, golden, load, open, refused};

const WEIGHTS: &str = "pytorch_model.bin";

/// An archive of weights, and where the entry of each of its members begins in the list at its end.
struct Archive {
    bytes: Vec<u8>,
    entries: Vec<(String, usize)>,
}

impl Archive {
    fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let starts = bytes.windows(4).enumerate();
        let starts = starts.filter(|(_, window)| window == b"PK\x01\x02");
        let entries = starts
            .map(|(at, _)| {
                let name = &bytes[at + 46..at + 46 + number(at + 28)];
                (String::from_utf8(name.to_vec()).unwrap(), at)
            })
            .collect();
        Self { bytes, entries }
    }

    /// Name and entry of the member whose name ends so.
    fn entry(&self, end: &str) -> (&str, usize) {
        let found = self.entries.iter().find(|(name, _)| name.ends_with(end));
        let (name, at) = found.unwrap();
        (name, *at)
    }

    /// First byte of a member's content.
    fn content(&self, end: &str) -> usize {
        let (_, entry) = self.entry(end);
        let header = u32::from_le_bytes(self.bytes[entry + 42..entry + 46].try_into().unwrap());
        let header = header as usize;
        let number =
            |at: usize| usize::from(self.bytes[at]) + 256 * usize::from(self.bytes[at + 1]);
        header + 30 + number(header + 26) + number(header + 28)
    }
}

#[test]
fn a_flipped_bit_is_found_and_its_member_named() {
    let directory = copy_of("models/bert-legacy");
    let path = directory.path().join(WEIGHTS);
    let archive = Archive::of(&path);
    for member in ["/data/0", "/data/7"] {
        let (name, _) = archive.entry(member);
        let mut bytes = archive.bytes.clone();
        bytes[archive.content(member) + 5] ^= 1 << 4;
        std::fs::write(&path, bytes).unwrap();
        refused(
            directory.path(),
            &[
                WEIGHTS,
                &format!("member `{name}` have the checksum"),
                "; expected ",
            ],
        );
    }
    // In the list itself.
    let (name, entry) = archive.entry("/data.pkl");
    let mut bytes = archive.bytes.clone();
    bytes[entry + 16] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    refused(
        directory.path(),
        &[WEIGHTS, &format!("member `{name}` have the checksum")],
    );
    // `torch.save` can be told to compute none, and writes 0 then.
    let mut bytes = archive.bytes.clone();
    for (_, entry) in &archive.entries {
        bytes[entry + 16..entry + 20].fill(0);
    }
    std::fs::write(&path, bytes).unwrap();
    open(directory.path()).unwrap();
}

#[test]
fn members_that_are_there_twice_or_overlap_are_refused() {
    let directory = copy_of("models/bert-legacy");
    let path = directory.path().join(WEIGHTS);
    let archive = Archive::of(&path);
    let ((first, one), (second, other)) = (archive.entry("/data/0"), archive.entry("/data/1"));
    let name = other + 46..other + 46 + second.len();
    let mut bytes = archive.bytes.clone();
    bytes[name].copy_from_slice(first.as_bytes());
    std::fs::write(&path, bytes).unwrap();
    refused(
        directory.path(),
        &[WEIGHTS, &format!("member `{first}` is there twice")],
    );

    // Both begin at the same byte.
    let mut bytes = archive.bytes.clone();
    bytes.copy_within(one + 42..one + 46, other + 42);
    std::fs::write(&path, bytes).unwrap();
    refused(
        directory.path(),
        &[
            WEIGHTS,
            // The shorter of the two is named first.
            &format!("members `{second}` and `{first}` overlap"),
        ],
    );
}

/// `encoders/csr` with an autoencoder whose weights are in the old format: see `xtask/python/golden_old_pickle.py`.
fn with_old_format() -> tempfile::TempDir {
    let directory = copy_of("encoders/csr");
    let autoencoder = directory.path().join("2_SparseAutoEncoder");
    std::fs::remove_file(autoencoder.join("model.safetensors")).unwrap();
    std::fs::copy(golden("old-format.bin"), autoencoder.join(WEIGHTS)).unwrap();
    directory
}

#[test]
fn files_from_before_pytorch_1_6_are_read() {
    let texts = ["a text", "another text of more words"];
    let options = EncodeOptions::default();
    let expected = load("encoders/csr").encode(&texts, &options).unwrap();
    let directory = with_old_format();
    let encoder = open(directory.path()).unwrap();
    assert_eq!(encoder.encode(&texts, &options).unwrap(), expected);
}

#[test]
fn broken_files_of_the_old_format_are_refused() {
    let directory = with_old_format();
    let path = directory.path().join("2_SparseAutoEncoder").join(WEIGHTS);
    let bytes = std::fs::read(&path).unwrap();
    let place = |part: &[u8]| {
        let mut windows = bytes.windows(part.len());
        windows.position(|window| window == part).unwrap()
    };
    let spoilt = |at: usize, to: &[u8], part: &str| {
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        std::fs::write(&path, bytes).unwrap();
        refused(directory.path(), &[WEIGHTS, part]);
    };
    spoilt(
        place(b"M\xe9\x03."),
        b"M\xea\x03.",
        "its format is not version 1001",
    );
    let order = place(b"little_endian") + b"little_endian".len();
    let order = order
        + bytes[order..]
            .iter()
            .position(|byte| *byte == 0x88)
            .unwrap();
    spoilt(order, b"\x89", "its numbers are big-endian");
    spoilt(place(b"FloatStorage"), b"FloodStorage", "is a FloodStorage");
    spoilt(place(b"latent_bias"), b"decoder.lin", "lacks `latent_bias`");
    // The number of elements before a storage.
    let matrix = place(&4096_i64.to_le_bytes());
    let short = 4095_i64.to_le_bytes();
    spoilt(matrix, &short, "has 4095 elements; expected 4096");
    for length in [40, 300, matrix + 4, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        refused(directory.path(), &[WEIGHTS, "cut off"]);
    }
}
