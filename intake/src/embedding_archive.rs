//! Writes embeddings into a NumPy archive (.npz).

use crate::IntakeError;
use crate::npy_header::{ElementKind, NpyHeader};
use crate::partial_file::PartialFile;
use ndarray::ArrayView2;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// An archive of named arrays that NumPy and [`EmbeddingFile`](crate::EmbeddingFile) read. It appears under its name when
/// it is finished; dropped before, nothing stays.
pub struct EmbeddingArchive {
    zip: ZipWriter<BufWriter<File>>,
    partial: PartialFile,
}

impl EmbeddingArchive {
    /// Begins an archive.
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`], before any work is done for it.
    pub fn create(path: &Path) -> Result<Self, IntakeError> {
        let (partial, file) = PartialFile::create(path)?;
        Ok(Self { zip: ZipWriter::new(BufWriter::new(file)), partial })
    }

    /// Adds an array of embeddings.
    ///
    /// # Shapes
    /// - `rows`: `[count, dimension]` f32
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`], also for a name that was there before.
    pub fn add_rows(&mut self, name: &str, rows: ArrayView2<'_, f32>) -> Result<(), IntakeError> {
        let shape = vec![rows.nrows() as u64, rows.ncols() as u64];
        let header = NpyHeader { kind: ElementKind::Float32, is_fortran: false, shape };
        self.add(name, &header, |writer| {
            // Elements come in rows, whatever the order in memory.
            rows.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))
        })
    }

    /// Adds an array of texts, as NumPy's `<U`. Zero characters at the end of a text are lost there.
    ///
    /// # Errors
    /// As [`EmbeddingArchive::add_rows`].
    pub fn add_texts(&mut self, name: &str, texts: &[String]) -> Result<(), IntakeError> {
        let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
        let (kind, shape) = (ElementKind::Unicode(longest), vec![texts.len() as u64]);
        self.add(name, &NpyHeader { kind, is_fortran: false, shape }, |writer| {
            for text in texts {
                let padding = longest - text.chars().count();
                for character in text.chars().chain(std::iter::repeat_n('\0', padding)) {
                    writer.write_all(&u32::from(character).to_le_bytes())?;
                }
            }
            Ok(())
        })
    }

    /// Completes the archive and gives it its name.
    ///
    /// # Errors
    /// [`IntakeError::Unwritable`].
    pub fn finish(self) -> Result<(), IntakeError> {
        let Self { zip, partial } = self;
        let file = zip.finish().map_err(io::Error::other).and_then(|writer| {
            // Flushes what is buffered.
            writer.into_inner().map_err(io::IntoInnerError::into_error)
        });
        let file = file.map_err(IntakeError::unwritable(partial.path()))?;
        partial.publish(file)
    }

    fn add(
        &mut self,
        name: &str,
        header: &NpyHeader,
        fill: impl FnOnce(&mut BufWriter<&mut ZipWriter<BufWriter<File>>>) -> io::Result<()>,
    ) -> Result<(), IntakeError> {
        // As NumPy does: stored, so that it can be mapped into memory, and with sizes of 64 bits.
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
        let written = self.zip.start_file(format!("{name}.npy"), options).map_err(io::Error::other).and_then(|()| {
            // Elements are written one by one; the archive's checksum works better on many at once.
            let mut writer = BufWriter::with_capacity(1 << 16, &mut self.zip);
            header.write(&mut writer)?;
            fill(&mut writer)?;
            writer.flush()
        });
        written.map_err(IntakeError::unwritable(self.partial.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn numpy_readers_understand_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.npz");
        let rows = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let mut archive = EmbeddingArchive::create(&path).unwrap();
        archive.add_rows("images", rows.view()).unwrap();
        archive.add_rows("texts", rows.t()).unwrap();
        archive.add_texts("image_ids", &["ä.jpg".to_owned(), String::new()]).unwrap();
        assert!(archive.add_rows("images", rows.view()).is_err());
        assert!(!path.exists());
        archive.finish().unwrap();
        let mut reader = ndarray_npy::NpzReader::new(File::open(&path).unwrap()).unwrap();
        let images: Array2<f32> = reader.by_name("images").unwrap();
        let texts: Array2<f32> = reader.by_name("texts").unwrap();
        assert_eq!(images, rows);
        assert_eq!(texts, rows.t());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_stays_of_an_unfinished_archive() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = EmbeddingArchive::create(&folder.path().join("e.npz")).unwrap();
        archive.add_texts("a", &[]).unwrap();
        drop(archive);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
