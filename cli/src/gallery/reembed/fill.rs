//! Brings a new generation level with the one that serves.

use super::missing::{MissingImages, Supply};
use crate::connection::{Client, answer};
use crate::gallery::generation_address;
use crate::gallery::remove::delete_ids;
use crate::index::open_source;
use crate::job::image_stream::send_images;
use crate::job::reader::{MAX_IMAGE_BYTES, Reader};
use crate::job::{Job, JobArguments, Report, SharedJournal};
use crate::listing::{PAGE_IMAGES, Pages};
use anyhow::Context as _;
use descry_intake::SourceOptions;
use descry_proto::search::v1::index_images_request::Start;
use descry_proto::search::v1::{CompareGenerationsRequest, CompareGenerationsResponse};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Ids that a comparison names.
const MAX_NAMED_IDS: u32 = 10_000;
/// Missing images named in an error.
const SHOWN_IDS: usize = 20;
/// Passes without an image before something is said to be missing for good: an image that is being indexed just now is
/// in one generation a moment earlier than in the other.
const IDLE_PASSES: u32 = 3;

/// A change of the model under way.
pub(super) struct Change {
    pub(super) client: Client,
    pub(super) gallery: String,
    /// The generation that serves, and the one that is filled.
    pub(super) old: u32,
    pub(super) new: u32,
    /// Where the images are; empty for where they were indexed.
    pub(super) images: Vec<PathBuf>,
    pub(super) root: Option<PathBuf>,
    /// 0 for as many as the service takes.
    pub(super) max_images_per_second: f32,
    /// What is to become of images that only the new generation has.
    pub(super) drop_surplus: bool,
    pub(super) keep_surplus: bool,
    pub(super) job: JobArguments,
    pub(super) interrupt: CancellationToken,
}

/// How filling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    Complete,
    Interrupted,
}

impl Change {
    /// How a generation is addressed.
    pub(super) fn address(&self, generation: u32) -> String {
        generation_address(&self.gallery, generation)
    }

    /// What the new generation lacks of the old one, and has beyond it.
    pub(super) async fn compare(&self) -> anyhow::Result<CompareGenerationsResponse> {
        let request = CompareGenerationsRequest {
            gallery: self.gallery.clone(),
            generation: self.new,
            against: self.old,
            limit: MAX_NAMED_IDS,
        };
        answer(self.client.clone().compare_generations(request).await)
    }

    /// Fills the new generation until a comparison finds no difference.
    pub(super) async fn fill(&self) -> anyhow::Result<Filled> {
        let mut idle_passes = 0;
        loop {
            let difference = self.compare().await?;
            let surplus_is_settled = difference.surplus == 0 || self.keep_surplus;
            if difference.missing == 0 && surplus_is_settled {
                return Ok(Filled::Complete);
            }
            if self.interrupt.is_cancelled() {
                return Ok(Filled::Interrupted);
            }
            let removed = if self.drop_surplus {
                let address = self.address(self.new);
                delete_ids(&mut self.client.clone(), &address, &difference.surplus_ids).await?
            } else {
                0
            };
            let report =
                if difference.missing == 0 { Report::default() } else { self.send_missing(&difference).await? };
            self.tell_failures(&report);
            if report.is_interrupted {
                return Ok(Filled::Interrupted);
            }
            if difference.missing == 0 && !surplus_is_settled && !self.drop_surplus {
                anyhow::bail!("{}", surplus(&difference));
            }
            if report.failed > 0 {
                anyhow::bail!(
                    "{} images cannot be encoded anew; give their files with --images, or remove them with \
                     `descry gallery remove`. The old model serves on",
                    report.failed
                );
            }
            idle_passes = if report.indexed == 0 && removed == 0 { idle_passes + 1 } else { 0 };
            anyhow::ensure!(idle_passes < IDLE_PASSES, "{}", missing_for_good(&difference));
            if idle_passes > 0 {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// After the switch: adds what came into the old generation alone since the last comparison before it. What the new
    /// one has is newer there; what was deleted is deleted from both.
    pub(super) async fn fill_late(&self) -> anyhow::Result<()> {
        let mut difference = self.compare().await?;
        let mut present = HashSet::new();
        for ids in difference.missing_ids.chunks(PAGE_IMAGES) {
            let address = self.address(self.new);
            let pages = Pages::of_ids(self.client.clone(), &address, ids.to_vec(), self.job.retry_for());
            present.extend(pages.collect().await?.into_iter().map(|image| image.image_id));
        }
        difference.missing_ids.retain(|image_id| !present.contains(image_id));
        difference.missing = difference.missing_ids.len() as u64;
        if difference.missing == 0 {
            return Ok(());
        }
        let report = self.send_missing(&difference).await?;
        self.tell_failures(&report);
        anyhow::ensure!(
            report.failed == 0 && !report.is_interrupted,
            "the new model serves, but images that were indexed during the switch are missing; run the command again, or \
             `descry index` for them"
        );
        Ok(())
    }

    /// For people only: with --json, standard output belongs to a program.
    fn tell_failures(&self, report: &Report) {
        if !self.job.json {
            report.print_failures();
        }
    }

    /// Encodes what is missing.
    async fn send_missing(&self, difference: &CompareGenerationsResponse) -> anyhow::Result<Report> {
        let are_all_named = difference.missing == difference.missing_ids.len() as u64;
        let named = are_all_named.then(|| difference.missing_ids.clone());
        let retry_for = self.job.retry_for();
        let pages = || Pages::all(self.client.clone(), &self.address(self.old), false, retry_for);
        let (supply, wanted) = match named {
            named if !self.images.is_empty() => {
                let options =
                    SourceOptions { root: self.root.clone(), metadata: None, max_image_bytes: MAX_IMAGE_BYTES };
                let source = open_source(self.images.clone(), options).await?;
                (Supply::Files(Box::new(source)), named.map(|ids| ids.into_iter().collect()))
            }
            Some(ids) => (Supply::Named(ids.into_iter()), None),
            None => (Supply::Stored(Box::new(pages())), None),
        };
        let mut missing = MissingImages::new(self, supply, wanted);
        let mut job = Job::open(&self.job, SharedJournal::default(), Some(difference.missing), &self.interrupt)?;
        let (reader, steps) = Reader::new(SharedJournal::default());
        let reading = tokio::task::spawn_blocking(move || {
            reader.read(missing.by_ref());
            missing.into_error()
        });
        let start = Start {
            gallery: self.gallery.clone(),
            create: false,
            generation: self.new,
            max_images_per_second: self.max_images_per_second,
        };
        let is_complete = send_images(&mut self.client.clone(), &start, steps, &mut job).await?;
        if let Some(error) = reading.await.context("reading images")? {
            return Err(error);
        }
        job.finish(is_complete)
    }
}

fn missing_for_good(difference: &CompareGenerationsResponse) -> String {
    let first = difference.missing_ids.iter().take(SHOWN_IDS).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "{} images are missing in the new generation, or its files are not those that were indexed: {first}. Give their \
         files with --images, or remove them with `descry gallery remove`. The old model serves on",
        difference.missing
    )
}

fn surplus(difference: &CompareGenerationsResponse) -> String {
    let first = difference.surplus_ids.iter().take(SHOWN_IDS).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "{} images are only in the new generation: {first}. They were deleted while it was filled, or indexed while it \
         served before a rollback: give --drop-surplus or --keep-surplus. The old model serves on",
        difference.surplus
    )
}
