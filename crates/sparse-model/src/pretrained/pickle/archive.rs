//! The zip archive that a `.bin` file of PyTorch is: stored members, never compressed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// A member's bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) start: u64,
    pub(super) length: u64,
    checksum: u32,
}

/// Bytes whose checksum is taken at a time.
const CHUNK: usize = 1 << 20;

/// Longest listing of members that is read.
const LONGEST_LISTING: u64 = 64 << 20;

/// The members of an archive by name, or what is wrong with it.
pub(super) fn members(mut file: &File) -> Result<BTreeMap<String, Member>, String> {
    let io = |error: std::io::Error| error.to_string();
    let file_length = file.metadata().map_err(io)?.len();
    // The end record lies within the last 64 KiB, and is 22 bytes long without its comment.
    let tail_length = file_length.min(65_557);
    let tail = read_at(file, file_length - tail_length, tail_length, file_length)?;
    let end = (0..tail.len().saturating_sub(21))
        .rev()
        .find(|&at| tail[at..].starts_with(b"PK\x05\x06"));
    let end = end.ok_or("it is neither a zip archive nor a file of a PyTorch before 1.6")?;
    let mut listing_length = u64::from(u32_at(&tail, end + 12)?);
    let mut listing_start = u64::from(u32_at(&tail, end + 16)?);
    let mut n_members = u64::from(u16_at(&tail, end + 10)?);
    if listing_start == u64::from(u32::MAX) || listing_length == u64::from(u32::MAX) {
        let locator = end
            .checked_sub(20)
            .filter(|&at| tail[at..].starts_with(b"PK\x06\x07"));
        let record_start = u64_at(&tail, locator.ok_or("its long end record is missing")? + 8)?;
        let record = read_at(file, record_start, 56, file_length)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err("its long end record is damaged".to_string());
        }
        n_members = u64_at(&record, 32)?;
        listing_length = u64_at(&record, 40)?;
        listing_start = u64_at(&record, 48)?;
    }
    if listing_length > LONGEST_LISTING {
        return Err(format!(
            "its list of members is {listing_length} bytes long"
        ));
    }
    let listing = read_at(file, listing_start, listing_length, file_length)?;
    let mut members = BTreeMap::new();
    let mut at = 0;
    while listing[at..].starts_with(b"PK\x01\x02") {
        let method = u16_at(&listing, at + 10)?;
        let mut length = u64::from(u32_at(&listing, at + 24)?);
        let (name_length, extra_length, comment_length) = (
            usize::from(u16_at(&listing, at + 28)?),
            usize::from(u16_at(&listing, at + 30)?),
            usize::from(u16_at(&listing, at + 32)?),
        );
        let mut header = u64::from(u32_at(&listing, at + 42)?);
        let compressed = u32_at(&listing, at + 20)?;
        let checksum = u32_at(&listing, at + 16)?;
        let name_end = at + 46 + name_length;
        let extra_end = name_end + extra_length;
        let cut = || "its list of members is cut off".to_string();
        let name =
            String::from_utf8_lossy(listing.get(at + 46..name_end).ok_or_else(cut)?).into_owned();
        let extra = listing.get(name_end..extra_end).ok_or_else(cut)?;
        long_sizes(extra, &mut length, compressed == u32::MAX, &mut header)?;
        if method != 0 {
            return Err(format!("its member `{name}` is compressed"));
        }
        let local = read_at(file, header, 30, file_length)?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err(format!("its member `{name}` is not where the list says"));
        }
        let start = header + 30 + u64::from(u16_at(&local, 26)?) + u64::from(u16_at(&local, 28)?);
        if start
            .checked_add(length)
            .is_none_or(|end| end > file_length)
        {
            return Err(format!("its member `{name}` is cut off"));
        }
        if members.contains_key(&name) {
            return Err(format!("its member `{name}` is there twice"));
        }
        members.insert(
            name,
            Member {
                start,
                length,
                checksum,
            },
        );
        at = extra_end + comment_length;
        if at > listing.len() {
            return Err(cut());
        }
    }
    if members.len() as u64 != n_members {
        return Err(format!(
            "its list has {} members; expected {n_members}",
            members.len()
        ));
    }
    check_apart(&members)?;
    file.rewind().map_err(io)?;
    Ok(members)
}

/// The bytes of a member.
pub(super) fn read(file: &File, member: &Member) -> Result<Vec<u8>, String> {
    read_at(
        file,
        member.start,
        member.length,
        member.start + member.length,
    )
}

/// Compares a member with its checksum. Where that is 0, none was computed: `torch.save` can be told so.
pub(super) fn check(mut file: &File, name: &str, member: &Member) -> Result<(), String> {
    if member.checksum == 0 {
        return Ok(());
    }
    let io = |error: std::io::Error| error.to_string();
    file.seek(SeekFrom::Start(member.start)).map_err(io)?;
    let (mut bytes, mut hasher) = (vec![0; CHUNK], crc32fast::Hasher::new());
    let mut left = member.length;
    while left > 0 {
        let part = &mut bytes[..left.min(CHUNK as u64) as usize];
        file.read_exact(part).map_err(io)?;
        hasher.update(part);
        left -= part.len() as u64;
    }
    match hasher.finalize() {
        found if found == member.checksum => Ok(()),
        found => Err(format!(
            "the bytes of its member `{name}` have the checksum {found:08x}; expected {:08x}",
            member.checksum
        )),
    }
}

/// Checks that no two members share bytes.
fn check_apart(members: &BTreeMap<String, Member>) -> Result<(), String> {
    let mut ordered: Vec<(&String, &Member)> = members.iter().collect();
    ordered.sort_by_key(|(_, member)| (member.start, member.length));
    for pair in ordered.windows(2) {
        let [(one, first), (other, second)] = pair else {
            continue;
        };
        if first.start + first.length > second.start {
            return Err(format!("its members `{one}` and `{other}` overlap"));
        }
    }
    Ok(())
}

/// Reads sizes that do not fit into 32 bits from the extra field.
fn long_sizes(
    extra: &[u8],
    length: &mut u64,
    has_compressed: bool,
    header: &mut u64,
) -> Result<(), String> {
    let mut at = 0;
    while at + 4 <= extra.len() {
        let (kind, size) = (u16_at(extra, at)?, usize::from(u16_at(extra, at + 2)?));
        if kind == 1 {
            let mut field = at + 4;
            if *length == u64::from(u32::MAX) {
                *length = u64_at(extra, field)?;
                field += 8;
            }
            if has_compressed {
                field += 8;
            }
            if *header == u64::from(u32::MAX) {
                *header = u64_at(extra, field)?;
            }
        }
        at += 4 + size;
    }
    Ok(())
}

/// Reads bytes that must lie within the file.
pub(super) fn read_at(
    mut file: &File,
    start: u64,
    length: u64,
    file_length: u64,
) -> Result<Vec<u8>, String> {
    if start
        .checked_add(length)
        .is_none_or(|end| end > file_length)
    {
        return Err("it is cut off".to_string());
    }
    let mut bytes = vec![0; length as usize];
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or_else(|| "it is cut off".to_string())
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, String> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, String> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
