//! What a job would send, without a service.

use super::IndexJob;
use crate::{ClientError, EmbeddingJob};
use descry_intake::{EmbeddingFile, Failure, FailureReport, ImageEntry, InputSummary, MAX_FRAME_PIXELS, SkippedEntry};

/// Problems that are kept one by one; the others are counted.
const KEPT_PROBLEMS: usize = 20;

/// What the encoder takes where nothing else is configured, in bytes of a file.
const MAX_IMAGE_BYTES: u64 = 20 << 20;

/// What is in the inputs of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Images, or embeddings, that would be sent.
    pub images: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Images that cannot be read or have no usable id.
    pub problems: u64,
    /// Some of them, the first 20.
    pub first_problems: Vec<Failure>,
    /// What is to be said of the inputs besides.
    pub inputs: InputSummary,
}

impl IndexJob {
    /// Looks through the inputs, and decodes every image, as the service does: what cannot be decoded is a problem here
    /// as there. Blocks its thread.
    ///
    /// # Errors
    /// [`ClientError::Intake`] for inputs, metadata and the file of failures.
    pub fn survey(&self) -> Result<Survey, ClientError> {
        let mut failures = self.options.failures.as_deref().map(FailureReport::create).transpose()?;
        let mut source = super::source_of(&self.inputs, self.source_options(), self.boxes.clone())?;
        let mut survey = Survey::default();
        survey.count(source.by_ref().map(look_at), |bytes| *bytes, failures.as_mut())?;
        survey.inputs = source.summary();
        Ok(survey)
    }
}

impl EmbeddingJob {
    /// Looks through the file. Blocks its thread.
    ///
    /// # Errors
    /// [`ClientError::Intake`] for the file, its metadata and the file of failures.
    pub fn survey(&self) -> Result<Survey, ClientError> {
        let mut failures = self.options.failures.as_deref().map(FailureReport::create).transpose()?;
        let mut file = EmbeddingFile::open(&self.path, self.reading.clone())?;
        let row_bytes = 4 * file.dimension() as u64;
        let mut survey = Survey::default();
        survey.count(file.by_ref(), |_| row_bytes, failures.as_mut())?;
        survey.inputs = file.summary();
        Ok(survey)
    }
}

/// The size of an image that can be encoded.
fn look_at(item: Result<ImageEntry, SkippedEntry>) -> Result<u64, SkippedEntry> {
    let entry = item?;
    let (image_id, origin) = (entry.image_id.clone(), entry.origin.clone());
    let content = entry.read(MAX_IMAGE_BYTES).map_err(|error| error.to_string());
    let bytes = content.and_then(|content| {
        // The encoder's limit of pixels is that of frames. Whether it is turned upright changes nothing of whether it can be read.
        descry_model::decode_image(&content, MAX_FRAME_PIXELS, false).map_err(|error| error.to_string())?;
        Ok(content.len() as u64)
    });
    bytes.map_err(|reason| SkippedEntry { image_id, origin, reason })
}

impl Survey {
    fn count<Found>(
        &mut self,
        items: impl Iterator<Item = Result<Found, SkippedEntry>>,
        bytes_of: impl Fn(&Found) -> u64,
        mut failures: Option<&mut FailureReport>,
    ) -> Result<(), ClientError> {
        for item in items {
            match item {
                Ok(found) => {
                    self.images += 1;
                    self.bytes += bytes_of(&found);
                }
                Err(skipped) => {
                    let failure = Failure::from(skipped);
                    if let Some(failures) = &mut failures {
                        failures.write(&failure)?;
                    }
                    self.problems += 1;
                    if self.first_problems.len() < KEPT_PROBLEMS {
                        self.first_problems.push(failure);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_images_problems_and_strays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("crops")).unwrap();
        std::fs::write(folder.path().join("crops/a.bmp"), one_pixel()).unwrap();
        // What only who looks into a file sees.
        std::fs::write(folder.path().join("crops/empty.jpg"), b"").unwrap();
        std::fs::write(folder.path().join("crops/text.jpg"), b"no image").unwrap();
        std::fs::write(folder.path().join("crops/c.heic"), b"").unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("crops/b.jpg")).unwrap();
        let metadata = folder.path().join("m.csv");
        std::fs::write(&metadata, "image_id\na.bmp\nz.jpg\n").unwrap();
        let job =
            IndexJob { inputs: vec![folder.path().join("crops")], metadata: Some(metadata), ..IndexJob::default() };
        let survey = job.survey().unwrap();
        assert_eq!((survey.images, survey.bytes, survey.problems), (1, one_pixel().len() as u64, 3));
        let InputSummary { left_out, notes, unused_metadata, first_unused_metadata } = survey.inputs;
        assert_eq!((unused_metadata, first_unused_metadata), (1, vec!["z.jpg".to_owned()]));
        assert!(notes.is_empty() && left_out.to_string().contains(".heic"), "{left_out}");
    }

    /// A Windows bitmap of one pixel.
    fn one_pixel() -> Vec<u8> {
        let mut file = b"BM".to_vec();
        // Of the file: its size, nothing, where the pixels begin. Of the picture: size of this header, width, height.
        for number in [58_u32, 0, 54, 40, 1, 1] {
            file.extend(number.to_le_bytes());
        }
        // One plane of 24 bits a pixel, and nothing else that is told.
        file.extend([1, 0, 24, 0]);
        file.extend([0; 24]);
        file.extend([1, 2, 3, 0]);
        file
    }
}
