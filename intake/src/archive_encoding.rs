//! What a file of a tar archive is compressed with, by its first bytes: names are often wrong.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// How the members lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveEncoding {
    Plain,
    Gzip,
}

/// First bytes of what is not read, what it is, and what unpacks it.
const OTHERS: [(&[u8], &str, &str); 7] = [
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "zstd -d"),
    (b"BZh", "compressed with bzip2", "bunzip2"),
    (b"\xfd7zXZ\0", "compressed with xz", "unxz"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4", "lz4 -d"),
    (b"PK\x03\x04", "a ZIP archive", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x"),
    (b"Rar!", "a RAR archive", "unrar x"),
];

impl ArchiveEncoding {
    /// Looks at the beginning of a file.
    ///
    /// # Errors
    /// The system's; and for compressions that are not read, what it is and what unpacks it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut start = Vec::new();
        File::open(path)?.take(8).read_to_end(&mut start)?;
        if start.starts_with(b"\x1f\x8b") {
            return Ok(Self::Gzip);
        }
        match OTHERS.iter().find(|(signature, ..)| start.starts_with(signature)) {
            Some((_, what, tool)) => Err(io::Error::other(format!(
                "it is {what}; tar archives are read plain or in gzip, so unpack it first (`{tool}`)"
            ))),
            None => Ok(Self::Plain),
        }
    }
}
