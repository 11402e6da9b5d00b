//! Names that git gives to the content of files, by which downloads are checked.
//!
//! A hub's listing has for every file the id of its git object: SHA-1 over a short header and the content. For a file in
//! large-file storage the content is a pointer, three lines that name the SHA-256 of the file itself. So one id checks either
//! kind, and tells the SHA-256 of a file that is here already.

use std::io::{self, Read};

/// Id of a file's content in git: `sha1("blob " + length + "\0" + content)`, in hexadecimal digits.
///
/// # Errors
///
/// If the content can't be read.
pub(crate) fn blob_id(length: u64, mut content: impl Read) -> io::Result<String> {
    let mut sha1 = Sha1::new();
    sha1.update(format!("blob {length}\0").as_bytes());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(sha1.finish()),
            read => sha1.update(&buffer[..read]),
        }
    }
}

/// What git holds in place of a file in large-file storage.
pub(crate) fn lfs_pointer(sha256: &str, length: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {length}\n")
}

/// SHA-1 (FIPS 180-4). Git's names are made of it; it protects from accidents, not from an attacker.
#[derive(Debug)]
struct Sha1 {
    state: [u32; 5],
    block: [u8; 64],
    filled: usize,
    length: u64,
}

impl Sha1 {
    fn new() -> Self {
        Self {
            state: [
                0x6745_2301,
                0xefcd_ab89,
                0x98ba_dcfe,
                0x1032_5476,
                0xc3d2_e1f0,
            ],
            block: [0; 64],
            filled: 0,
            length: 0,
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let taken = bytes.len().min(64 - self.filled);
            self.block[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == 64 {
                self.compress();
                self.filled = 0;
            }
        }
    }

    fn finish(mut self) -> String {
        let bits = self.length * 8;
        self.update(&[0x80]);
        while self.filled != 56 {
            self.update(&[0]);
        }
        self.update(&bits.to_be_bytes());
        self.state.map(|word| format!("{word:08x}")).concat()
    }

    fn compress(&mut self) {
        let mut words = [0u32; 80];
        for (word, bytes) in words.iter_mut().zip(self.block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for index in 16..80 {
            words[index] =
                (words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16])
                    .rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = self.state;
        for (index, word) in words.into_iter().enumerate() {
            let (mixed, constant) = match index {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (state, value) in self.state.iter_mut().zip([a, b, c, d, e]) {
            *state = state.wrapping_add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        // `git hash-object` of an empty file and of "hello\n".
        assert_eq!(
            blob_id(0, &b""[..]).unwrap(),
            "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
        );
        assert_eq!(
            blob_id(6, &b"hello\n"[..]).unwrap(),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }

    #[test]
    fn the_standards_vectors_hold() {
        let digest = |text: &[u8]| {
            let mut sha1 = Sha1::new();
            sha1.update(text);
            sha1.finish()
        };
        assert_eq!(digest(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            digest(&[b'a'; 1_000_000]),
            "34aa973cd4c4daa4f61eeb2bdbad27316534016f"
        );
    }

    #[test]
    fn a_pointer_has_the_id_that_the_hub_lists() {
        // openai-community/gpt2, flax_model.msgpack: its SHA-256, size and git object id in the hub's listing.
        let pointer = lfs_pointer(
            "d88b0d6a6ff9c3f8151f9d3228f57092aaea997f09af009eefd7373a77b5abb9",
            497_764_107,
        );
        assert_eq!(
            blob_id(pointer.len() as u64, pointer.as_bytes()).unwrap(),
            "8095a62ccb4d806da7666fcda07467e2d150218e"
        );
    }
}
