//! Brings a new generation level with the one that serves.

use super::missing::{MissingImages, Supply};
use super::{ModelChange, ModelChangeObserver, Surplus};
use crate::indexing::open_source;
use crate::job::image_stream::send_images;
use crate::job::reader::{MAX_IMAGE_BYTES, Reader};
use crate::job::{Job, SharedJournal};
use crate::{ClientError, Difference, JobReport};
use descry_intake::{SourceOptions, TimeSources};
use descry_proto::search::v1::index_images_request::Start;
use std::time::Duration;

/// Passes without an image before something is said to be missing for good: an image that is being indexed just now is
/// in one generation a moment earlier than in the other.
const IDLE_PASSES: u32 = 3;
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// How filling ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filled {
    /// The last comparison found nothing missing, and no surplus that is not to be kept.
    Complete(Difference),
    /// The caller stopped it. It goes on when it is called again.
    Stopped,
}

impl ModelChange {
    /// Fills the new generation until a comparison finds no difference. Images that are removed from the gallery meanwhile
    /// are passed over.
    ///
    /// # Errors
    /// [`ClientError::CannotEncode`] and [`ClientError::MissingForGood`] where files are missing or have changed;
    /// [`ClientError::Surplus`]; [`ClientError::Incomplete`] when the service was away for too long;
    /// [`ClientError::Intake`], [`ClientError::NoImages`] and [`ClientError::Refused`].
    pub async fn fill(&self, observer: &mut dyn ModelChangeObserver) -> Result<Filled, ClientError> {
        let mut idle_passes = 0;
        loop {
            let Some(difference) = self.compare(observer).await? else { return Ok(Filled::Stopped) };
            let Difference { missing, surplus, .. } = difference;
            let surplus_is_settled = surplus == 0 || self.options.surplus == Surplus::Keep;
            if missing == 0 && surplus_is_settled {
                return Ok(Filled::Complete(difference));
            }
            if self.options.job.stop.is_cancelled() {
                return Ok(Filled::Stopped);
            }
            let removed = if self.options.surplus == Surplus::Drop {
                self.connection.remove_images(&self.address(self.new), &difference.surplus_ids).await?.count
            } else {
                0
            };
            let report =
                if missing == 0 { JobReport::default() } else { self.send_missing(&difference, observer).await? };
            if report.is_interrupted {
                return Ok(Filled::Stopped);
            }
            if missing == 0 && self.options.surplus == Surplus::Refuse {
                return Err(ClientError::Surplus { surplus, surplus_ids: difference.surplus_ids });
            }
            if report.failed > 0 {
                return Err(ClientError::CannotEncode(Box::new(report)));
            }
            idle_passes = if report.indexed == 0 && removed == 0 { idle_passes + 1 } else { 0 };
            if idle_passes >= IDLE_PASSES {
                return Err(ClientError::MissingForGood { missing, missing_ids: difference.missing_ids });
            }
            if idle_passes > 0 {
                tokio::time::sleep(IDLE_PAUSE).await;
            }
        }
    }

    /// What the new generation lacks of the old one, and has beyond it. None when the caller stopped it.
    async fn compare(&self, observer: &mut dyn ModelChangeObserver) -> Result<Option<Difference>, ClientError> {
        let comparison = self.connection.compare(&self.gallery, self.new, self.old);
        let mut comparison = comparison.retry_for(self.options.job.retry_for);
        while comparison.advance().await? {
            observer.compared(comparison.examined(), comparison.total());
            if self.options.job.stop.is_cancelled() {
                observer.comparison_ended();
                return Ok(None);
            }
        }
        observer.comparison_ended();
        Ok(Some(comparison.into_difference()))
    }

    /// Encodes what is missing.
    async fn send_missing(
        &self,
        difference: &Difference,
        observer: &mut dyn ModelChangeObserver,
    ) -> Result<JobReport, ClientError> {
        let options = &self.options;
        let are_all_named = difference.missing == difference.missing_ids.len() as u64;
        let named = are_all_named.then(|| difference.missing_ids.clone());
        let (supply, wanted) = match named {
            named if !options.images.is_empty() => {
                let reading = SourceOptions {
                    root: options.root.clone(),
                    metadata: None,
                    prefix: String::new(),
                    allow_unmatched: true,
                    max_image_bytes: MAX_IMAGE_BYTES,
                    times: TimeSources::default(),
                };
                observer.opening();
                let source = open_source(options.images.clone(), reading, None).await?;
                (Supply::Files(Box::new(source)), named.map(|ids| ids.into_iter().collect()))
            }
            Some(ids) => (Supply::Named(ids.into_iter()), None),
            None => {
                let listing = self.connection.images(&self.address(self.old)).retry_for(options.job.retry_for);
                (Supply::Stored(Box::new(listing)), None)
            }
        };
        let mut missing = MissingImages::new(self, supply, wanted);
        let job = Job::open(&options.job, SharedJournal::default(), Some(difference.missing), observer)?;
        let mut job = job.passing_over_removed();
        let (reader, steps) = Reader::new(SharedJournal::default());
        let reading = tokio::task::spawn_blocking(move || {
            reader.read(missing.by_ref());
            missing.into_error()
        });
        let start = Start {
            gallery: self.gallery.clone(),
            create: false,
            generation: self.new,
            max_images_per_second: options.max_images_per_second.unwrap_or_default(),
            ..Default::default()
        };
        let is_complete = send_images(&mut self.connection.service(), &start, steps, &mut job).await?;
        if let Some(error) = reading.await.map_err(ClientError::panicked("reading images"))? {
            return Err(error);
        }
        job.finish(is_complete)
    }
}
