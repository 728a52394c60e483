//! `descry gallery copy`

use super::note::GalleryNote;
use crate::connection::{self, Server};
use crate::interrupt;
use crate::job::embedding_batches::{BATCHES_AHEAD, Batch, Destination, send_embeddings};
use crate::job::{Job, JobArguments, SharedJournal};
use crate::listing::Pages;
use anyhow::Context as _;
use descry_intake::FileVersion;
use descry_proto::search::v1::CreateGalleryRequest;
use std::process::ExitCode;
use tokio::sync::mpsc;

/// Copy a gallery to another service, without encoding anything again.
///
/// Settings and retention go with it. Running it again continues: images that are there already are passed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery copy lobby --to http://other:50051
  descry gallery copy lobby --server http://old:50051 --to http://new:50051 --as lobby-2026")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Address of the service that gets the copy.
    #[arg(long, value_name = "URL")]
    to: String,
    /// Name of the copy [default: the same].
    #[arg(long = "as", value_name = "NAME")]
    copy_name: Option<String>,
    #[command(flatten)]
    job: JobArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, server, to, copy_name, job: job_arguments } = arguments;
    let interrupt = interrupt::at_signal()?;
    let mut source = server.connect().await?;
    let mut client = connection::connect(&to).await?;
    let gallery = super::get(&mut source, &name).await?;
    let note = GalleryNote::of(&gallery);
    let request = CreateGalleryRequest {
        name: copy_name.unwrap_or_else(|| name.clone()),
        settings: Some(note.settings()),
        retention: Some(note.retention()),
        fingerprint: gallery.fingerprint.clone(),
        embedding_dimension: gallery.embedding_dimension,
    };
    let copy = super::find_or_create(&mut client, request).await?;
    super::check_model(&copy, &gallery.fingerprint)?;
    let mut job = Job::open(&job_arguments, SharedJournal::default(), Some(gallery.images), &interrupt)?;
    // One generation from the first page to the last, whatever is switched meanwhile.
    let address = super::generation_address(&gallery.name, gallery.generation);
    let pages = Pages::all(source, &address, true, job_arguments.retry_for());
    let (batches, incoming) = mpsc::channel(BATCHES_AHEAD);
    let reading = tokio::spawn(read_pages(pages, name, batches));
    let destination = Destination { client, gallery: copy.name, fingerprint: gallery.fingerprint };
    let is_complete = send_embeddings(&destination, incoming, &mut job).await?;
    if is_complete {
        reading.await.context("reading the gallery")?;
    } else {
        reading.abort();
    }
    let mut report = job.finish(is_complete)?;
    if is_complete {
        // The gallery was counted before it was read; what was deleted meanwhile is not missing.
        report.not_sent = 0;
    }
    report.print(job_arguments.json);
    Ok(report.exit_code())
}

/// Hands on each page as a batch. Ends early when nobody takes them.
async fn read_pages(mut pages: Pages, gallery: String, batches: mpsc::Sender<anyhow::Result<Batch>>) {
    loop {
        let batch = match pages.next().await {
            Ok(None) => return,
            Ok(Some(images)) => {
                let mut batch = Batch::default();
                for image in images {
                    // Without a journal, nobody asks for the version.
                    batch.push(image, gallery.clone(), FileVersion { bytes: 0, modified_ms: 0 });
                }
                Ok(batch)
            }
            Err(error) => Err(error),
        };
        let is_over = batch.is_err();
        if batches.send(batch).await.is_err() || is_over {
            return;
        }
    }
}
