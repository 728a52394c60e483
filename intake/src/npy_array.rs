//! Arrays inside a NumPy archive (.npz), read row by row.

use crate::npy_header::{ElementKind, NpyHeader};
use flate2::bufread::DeflateDecoder;
use half::f16;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use zip::{CompressionMethod, ZipArchive};

/// Bytes fetched from the file at once.
const BUFFER_BYTES: usize = 1 << 18;

/// A NumPy archive. Each array is read through a file handle of its own, so that several can be read side by side.
pub(crate) struct NpyArchive {
    path: PathBuf,
    zip: ZipArchive<BufReader<File>>,
}

impl NpyArchive {
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|error| format!("not a readable NumPy archive (.npz): {error}"))?;
        Ok(Self { path: path.to_owned(), zip })
    }

    /// The array of that name, if there is one.
    pub(crate) fn array(&mut self, name: &str) -> Result<Option<NpyArray>, String> {
        let Some(index) = self.zip.index_for_name(&format!("{name}.npy")) else { return Ok(None) };
        let in_array = |reason: String| format!("array {name:?}: {reason}");
        let array = self.member(index).and_then(|mut reader| {
            let header = NpyHeader::read(&mut reader)?;
            Ok(NpyArray { header, reader, bytes: Vec::new() })
        });
        array.map(Some).map_err(in_array)
    }

    fn member(&mut self, index: usize) -> Result<Box<dyn Read + Send>, String> {
        let member = self.zip.by_index_raw(index).map_err(|error| error.to_string())?;
        if member.encrypted() {
            return Err("encrypted; save it without a password".to_owned());
        }
        let (compression, compressed_bytes) = (member.compression(), member.compressed_size());
        let start = member.data_start().ok_or("the archive is damaged")?;
        let mut file = File::open(&self.path).map_err(|error| error.to_string())?;
        file.seek(SeekFrom::Start(start)).map_err(|error| error.to_string())?;
        let stored = BufReader::with_capacity(BUFFER_BYTES, file).take(compressed_bytes);
        if compression == CompressionMethod::STORE {
            Ok(Box::new(stored))
        } else if compression == CompressionMethod::DEFLATE {
            Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, DeflateDecoder::new(stored))))
        } else {
            Err(format!("compressed with {compression}; save it with np.savez or np.savez_compressed"))
        }
    }
}

/// An array whose elements are read from front to back.
pub(crate) struct NpyArray {
    pub(crate) header: NpyHeader,
    reader: Box<dyn Read + Send>,
    bytes: Vec<u8>,
}

impl NpyArray {
    /// The next `count` numbers.
    pub(crate) fn floats(&mut self, count: usize) -> Result<Vec<f32>, String> {
        let kind = self.header.kind;
        let bytes = self.read(count)?;
        match kind {
            ElementKind::Float16 => {
                Ok(bytes.as_chunks::<2>().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect())
            }
            ElementKind::Float32 => {
                Ok(bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
            }
            ElementKind::Float64 => {
                Ok(bytes.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32).collect())
            }
            ElementKind::Unicode(_) | ElementKind::Bytes(_) => Err("texts where numbers are expected".to_owned()),
        }
    }

    /// The next text.
    pub(crate) fn text(&mut self) -> Result<String, String> {
        let kind = self.header.kind;
        let bytes = self.read(1)?;
        match kind {
            ElementKind::Unicode(_) => {
                let characters: Vec<u32> =
                    bytes.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
                let length = characters.iter().rposition(|&character| character != 0).map_or(0, |last| last + 1);
                let text = characters[..length].iter().map(|&character| char::from_u32(character));
                text.collect::<Option<String>>().ok_or_else(|| "a text that is no Unicode".to_owned())
            }
            ElementKind::Bytes(_) => {
                let length = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
                let text = std::str::from_utf8(&bytes[..length]);
                text.map(str::to_owned).map_err(|_| "a text that is not UTF-8".to_owned())
            }
            ElementKind::Float16 | ElementKind::Float32 | ElementKind::Float64 => {
                Err("numbers where texts are expected; save texts as np.array(texts, dtype=str)".to_owned())
            }
        }
    }

    /// The next `count` elements. The caller bounds them: their size is that of an element by the header's limits.
    fn read(&mut self, count: usize) -> Result<&[u8], String> {
        self.bytes.resize(count * self.header.kind.bytes(), 0);
        self.reader.read_exact(&mut self.bytes).map_err(|error| format!("cannot be read: {error}"))?;
        Ok(&self.bytes)
    }
}
