//! `descry gallery import`

use super::note::GalleryNote;
use crate::connection::Server;
use crate::index::embedding_file::{self, EmbeddingJob};
use crate::interrupt;
use crate::job::JobArguments;
use anyhow::Context as _;
use descry_intake::EmbeddingOptions;
use descry_proto::search::v1::CreateGalleryRequest;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a gallery of an exported file, with its settings and retention.
///
/// Running it again continues: images that are there already are passed over.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery import lobby.parquet
  descry gallery import lobby.parquet --gallery lobby-2026 --server http://other:50051")]
pub(super) struct Arguments {
    /// A file that `descry gallery export` wrote.
    #[arg(value_name = "FILE.parquet")]
    file: PathBuf,
    #[command(flatten)]
    server: Server,
    /// Name of the gallery [default: the one it was exported from].
    #[arg(long, value_name = "NAME")]
    gallery: Option<String>,
    #[command(flatten)]
    job: JobArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { file: path, server, gallery, job } = arguments;
    let interrupt = interrupt::at_signal()?;
    let file = embedding_file::open(&path, EmbeddingOptions::default()).await?;
    let note = file.gallery_json().map(serde_json::from_str::<GalleryNote>).transpose();
    let note = note.with_context(|| format!("{} says nothing usable of its gallery", path.display()))?;
    let note = note.unwrap_or_default();
    let name = gallery.unwrap_or_else(|| note.name.clone());
    anyhow::ensure!(!name.is_empty(), "{} does not name its gallery; give --gallery NAME", path.display());
    let gallery = CreateGalleryRequest {
        name,
        settings: Some(note.settings()),
        retention: Some(note.retention()),
        ..CreateGalleryRequest::default()
    };
    let mut client = server.connect().await?;
    let embedding_job = EmbeddingJob { file, path, gallery, journal: None, job: &job };
    let report = embedding_file::send(&mut client, embedding_job, &interrupt).await?;
    report.print(job.json);
    Ok(report.exit_code())
}
