//! A tar archive read from front to back, one header and one content after another.

use crate::archive_encoding::ArchiveEncoding;
use crate::sparse_content::{MAX_MAP_BYTES, SparseContent};
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;
use tar::{Archive, Entry};

/// Bytes that a member's headers may take, long names and extensions among them.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Headers and contents of a tar archive fill whole blocks of this many bytes.
const BLOCK_BYTES: u64 = 512;

const READ_BYTES: usize = 1 << 18;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Folder,
    /// The same file as the member of this path.
    HardLink(Vec<u8>),
    /// Another name for this path, as seen from the member's folder.
    SymbolicLink(Vec<u8>),
    /// A device, a pipe, or part of another volume.
    Special,
    /// No member at all, but a note of the program that wrote the archive.
    Note,
}

/// What a member's header says.
#[derive(Debug)]
pub(crate) struct Member {
    /// The path inside the archive as it is written there, or bytes that are not UTF-8.
    pub(crate) path: Result<String, Vec<u8>>,
    /// Size of the content.
    pub(crate) bytes: u64,
    /// Time of the last change, in milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) modified_ms: i64,
    pub(crate) kind: MemberKind,
    /// Where its headers begin, in bytes of the archive as it is without compression.
    pub(crate) place: u64,
}

/// A member's content, or why that member alone cannot be read.
pub(crate) type MemberContent = Result<Vec<u8>, String>;

/// Where the reader stands between two members.
pub(crate) struct MemberStream {
    reader: Counted,
    /// Bytes of the last member's content that were not read, and of the padding behind it.
    unread_bytes: u64,
    padding_bytes: u64,
    holes: Holes,
    max_bytes: u64,
}

/// What the content in hand needs besides reading it.
enum Holes {
    None,
    /// To be put in where the header says.
    Described(SparseContent),
    /// They are in: GNU's own format was read together with its header.
    Filled(Vec<u8>),
}

impl MemberStream {
    /// Opens an archive at a place between two members. Contents over `max_bytes` are not going to be read.
    pub(crate) fn open(path: &Path, encoding: ArchiveEncoding, place: u64, max_bytes: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let reader: Box<dyn Read + Send> = match encoding {
            ArchiveEncoding::Plain => {
                if place > 0 {
                    file.seek(SeekFrom::Start(place))?;
                }
                Box::new(BufReader::with_capacity(READ_BYTES, file))
            }
            ArchiveEncoding::Gzip => {
                let file = BufReader::with_capacity(READ_BYTES, file);
                let mut reader = BufReader::new(MultiGzDecoder::new(file));
                skip(&mut reader, place)?;
                Box::new(reader)
            }
        };
        let reader = Counted { reader, position: place };
        Ok(Self { reader, unread_bytes: 0, padding_bytes: 0, holes: Holes::None, max_bytes })
    }

    /// Goes on at a place further back in the archive. Returns whether it lies there.
    pub(crate) fn skip_to(&mut self, place: u64) -> io::Result<bool> {
        let Some(bytes) = place.checked_sub(self.reader.position) else { return Ok(false) };
        (self.unread_bytes, self.padding_bytes) = (0, 0);
        skip(&mut self.reader, bytes).map(|skipped| skipped == bytes)
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
        let place = self.reader.position;
        // The tar crate's iterator borrows its archive, so it cannot be kept beside it. Each member gets an archive of
        // its own that begins at its header; contents are read below without the crate's help.
        let left = Cell::new(MAX_HEADER_BYTES);
        let mut archive = Archive::new(Bounded { reader: &mut self.reader, left: &left });
        let mut entries = archive.entries()?;
        let Some(mut entry) = entries.next().transpose()? else { return Ok(None) };
        let mut path = entry.path_bytes().into_owned();
        let kind = kind_of(&entry, &path);
        let mut bytes = entry.size();
        let mut stored_bytes = if let MemberKind::HardLink(_) = &kind {
            // As GNU tar reads them: some programs note the size of the other file here.
            0
        } else if entry.header().entry_type().is_gnu_sparse() {
            // A sparse file's size is not what it takes in the archive.
            entry.header().entry_size()?
        } else {
            bytes
        };
        let padding_bytes = (BLOCK_BYTES - stored_bytes % BLOCK_BYTES) % BLOCK_BYTES;
        let modified_ms = entry.header().mtime().map_or(0, seconds_to_ms);
        let mut holes = Holes::None;
        if entry.header().entry_type().is_gnu_sparse() {
            if bytes <= self.max_bytes {
                left.set(left.get().saturating_add(stored_bytes));
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                if (content.len() as u64) < bytes {
                    return Err(ends_early());
                }
                (holes, stored_bytes) = (Holes::Filled(content), 0);
            }
        } else if let Some(mut sparse) = pax_holes(&mut entry)? {
            path = sparse.path.take().unwrap_or(path);
            bytes = sparse.bytes;
            holes = Holes::Described(sparse);
        }
        (self.unread_bytes, self.padding_bytes, self.holes) = (stored_bytes, padding_bytes, holes);
        let path = String::from_utf8(path).map_err(|error| error.into_bytes());
        Ok(Some(Member { path, bytes, modified_ms, kind, place }))
    }

    /// The content of the member that [`MemberStream::next_member`] gave last; its size is to be checked before.
    ///
    /// # Errors
    /// When the archive ends inside it.
    pub(crate) fn content(&mut self) -> io::Result<MemberContent> {
        let holes = match std::mem::replace(&mut self.holes, Holes::None) {
            Holes::Filled(content) => return Ok(Ok(content)),
            Holes::Described(holes) => Some(holes),
            Holes::None => None,
        };
        // What is stored of a file with holes is less than the file, but for the map.
        if holes.as_ref().is_some_and(|holes| self.unread_bytes > holes.bytes.saturating_add(MAX_MAP_BYTES)) {
            return Ok(Err("more is stored of it than its size".to_owned()));
        }
        let bytes = std::mem::take(&mut self.unread_bytes);
        let mut content = Vec::new();
        self.reader.by_ref().take(bytes).read_to_end(&mut content)?;
        if (content.len() as u64) < bytes {
            return Err(ends_early());
        }
        Ok(match holes {
            Some(holes) => holes.expand(&content),
            None => Ok(content),
        })
    }
}

fn kind_of(entry: &Entry<'_, impl Read>, path: &[u8]) -> MemberKind {
    let link = || entry.link_name_bytes().unwrap_or_default().into_owned();
    match entry.header().entry_type().as_byte() {
        b'1' => MemberKind::HardLink(link()),
        b'2' => MemberKind::SymbolicLink(link()),
        b'5' | b'D' => MemberKind::Folder,
        b'3' | b'4' | b'6' | b'M' | b'V' => MemberKind::Special,
        b'g' => MemberKind::Note,
        // Archives from before POSIX know a folder by its name alone. Unknown kinds count as files, as POSIX wants it.
        _ if path.ends_with(b"/") => MemberKind::Folder,
        _ => MemberKind::File,
    }
}

fn pax_holes(entry: &mut Entry<'_, impl Read>) -> io::Result<Option<SparseContent>> {
    let Some(records) = entry.pax_extensions()? else { return Ok(None) };
    let records = records.filter_map(Result::ok);
    let records: Vec<_> = records.filter_map(|record| Some((record.key().ok()?, record.value_bytes()))).collect();
    SparseContent::of(records.into_iter()).map_err(io::Error::other)
}

fn seconds_to_ms(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(0).saturating_mul(1000)
}

fn skip(reader: &mut impl Read, bytes: u64) -> io::Result<u64> {
    io::copy(&mut reader.take(bytes), &mut io::sink())
}

fn ends_early() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends inside a member")
}

/// A reader that knows how far it has come.
struct Counted {
    reader: Box<dyn Read + Send>,
    position: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

/// A reader that ends early. The bound can be moved while it is read.
struct Bounded<'a> {
    reader: &'a mut Counted,
    left: &'a Cell<u64>,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        let read = self.reader.by_ref().take(left).read(buffer)?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}
