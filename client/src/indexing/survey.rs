//! What a job would send, without a service.

use super::IndexJob;
use crate::{ClientError, EmbeddingJob};
use descry_intake::{EmbeddingFile, Failure, FailureReport, ImageSource, SkippedEntry};

/// Problems that are kept one by one; the others are counted.
const KEPT_PROBLEMS: usize = 20;

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
    /// Records of the metadata file without an image.
    pub unused_metadata: usize,
    /// The first of their image ids by name.
    pub first_unused_metadata: Option<String>,
}

impl IndexJob {
    /// Looks through the inputs. Blocks its thread.
    ///
    /// # Errors
    /// [`ClientError::Intake`] for inputs, metadata and the file of failures.
    pub fn survey(&self) -> Result<Survey, ClientError> {
        let mut failures = self.options.failures.as_deref().map(FailureReport::create).transpose()?;
        let mut source = ImageSource::open(&self.inputs, self.source_options())?;
        let mut survey = Survey::default();
        survey.count(source.by_ref(), |entry| entry.version.bytes, failures.as_mut())?;
        (survey.unused_metadata, survey.first_unused_metadata) = source.unused_metadata();
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
        let file = EmbeddingFile::open(&self.path, self.reading.clone())?;
        let row_bytes = 4 * file.dimension() as u64;
        let mut survey = Survey::default();
        survey.count(file, |_| row_bytes, failures.as_mut())?;
        Ok(survey)
    }
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
        std::fs::write(folder.path().join("crops/a.jpg"), b"abc").unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("crops/b.jpg")).unwrap();
        let metadata = folder.path().join("m.csv");
        std::fs::write(&metadata, "image_id\na.jpg\nz.jpg\n").unwrap();
        let job =
            IndexJob { inputs: vec![folder.path().join("crops")], metadata: Some(metadata), ..IndexJob::default() };
        let survey = job.survey().unwrap();
        assert_eq!((survey.images, survey.bytes, survey.problems), (1, 3, 1));
        assert_eq!((survey.unused_metadata, survey.first_unused_metadata.as_deref()), (1, Some("z.jpg")));
    }
}
