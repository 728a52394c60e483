//! A tar archive read from front to back, one member after another.

use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use tar::Archive;

/// Bytes that a member's headers may take, long names and extensions among them.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Headers and contents of a tar archive fill whole blocks of this many bytes.
const BLOCK_BYTES: u64 = 512;

/// What a member's header says.
#[derive(Debug)]
pub(crate) struct Member {
    /// The path inside the archive as it is written there, or bytes that are not UTF-8.
    pub(crate) path: Result<String, Vec<u8>>,
    /// Size of the content.
    pub(crate) bytes: u64,
    /// Time of the last change, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) modified_ms: i64,
    /// Whether it is a regular file, and no folder or link.
    pub(crate) is_file: bool,
}

/// The members of an archive. The content of each is read with [`TarMembers::content`] or left out.
pub(crate) struct TarMembers {
    reader: Box<dyn Read + Send>,
    /// Bytes of the last member's content that were not read, and of the padding behind it.
    unread_bytes: u64,
    padding_bytes: u64,
}

impl TarMembers {
    /// Opens a plain archive, or with `compressed` one in gzip.
    pub(crate) fn open(path: &Path, compressed: bool) -> io::Result<Self> {
        let file = BufReader::with_capacity(1 << 18, File::open(path)?);
        let reader: Box<dyn Read + Send> =
            if compressed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
        Ok(Self { reader, unread_bytes: 0, padding_bytes: 0 })
    }

    /// The next member's header, or `None` behind the last.
    ///
    /// # Errors
    /// When the archive is damaged or ends inside a member; nothing behind can be read then.
    pub(crate) fn next_member(&mut self) -> io::Result<Option<Member>> {
        let unread_bytes = std::mem::take(&mut self.unread_bytes);
        if skip(&mut self.reader, unread_bytes)? < unread_bytes {
            return Err(ends_early());
        }
        // Some programs leave out the padding of the last member.
        skip(&mut self.reader, std::mem::take(&mut self.padding_bytes))?;
        // The tar crate's iterator borrows its archive, so it cannot be kept beside it. Each member gets an archive of
        // its own that begins at its header; contents are read below without the crate's help.
        let mut archive = Archive::new(self.reader.by_ref().take(MAX_HEADER_BYTES));
        let mut entries = archive.entries()?;
        let Some(entry) = entries.next().transpose()? else { return Ok(None) };
        let header = entry.header();
        // A sparse file's size is not what it takes in the archive.
        let kind = header.entry_type();
        let stored_bytes = if kind.is_gnu_sparse() { header.entry_size()? } else { entry.size() };
        let modified_ms = header.mtime().map_or(0, |seconds| i64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(|error| error.into_bytes());
        let member = Member { path, bytes: entry.size(), modified_ms, is_file: kind.is_file() };
        self.unread_bytes = stored_bytes;
        self.padding_bytes = (BLOCK_BYTES - stored_bytes % BLOCK_BYTES) % BLOCK_BYTES;
        Ok(Some(member))
    }

    /// The content of the member that [`TarMembers::next_member`] gave last; its size is to be checked before.
    ///
    /// # Errors
    /// When the archive ends inside it.
    pub(crate) fn content(&mut self) -> io::Result<Vec<u8>> {
        let bytes = std::mem::take(&mut self.unread_bytes);
        let mut content = Vec::new();
        self.reader.by_ref().take(bytes).read_to_end(&mut content)?;
        if (content.len() as u64) < bytes {
            return Err(ends_early());
        }
        Ok(content)
    }
}

fn skip(reader: &mut impl Read, bytes: u64) -> io::Result<u64> {
    io::copy(&mut reader.take(bytes), &mut io::sink())
}

fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends inside a member")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_read_or_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        let long_name = format!("{}/c.jpg", "folder".repeat(30));
        for (name, content) in [("a.jpg", vec![1_u8; 700]), ("b.jpg", vec![2; 512]), (long_name.as_str(), vec![3; 5])] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mtime(7);
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        builder.into_inner().unwrap();
        for read in [true, false] {
            let mut members = TarMembers::open(&path, false).unwrap();
            let mut names = Vec::new();
            while let Some(member) = members.next_member().unwrap() {
                assert!(member.is_file);
                assert_eq!(member.modified_ms, 7000);
                names.push((member.path.unwrap(), member.bytes));
                if read {
                    assert_eq!(members.content().unwrap(), vec![names.len() as u8; member.bytes as usize]);
                }
            }
            let expected = [("a.jpg".to_owned(), 700), ("b.jpg".to_owned(), 512), (long_name.clone(), 5)];
            assert_eq!(names, expected);
        }
    }
}
