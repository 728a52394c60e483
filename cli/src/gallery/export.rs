//! `descry gallery export`

use super::note::GalleryNote;
use crate::connection::Server;
use crate::job::retry;
use crate::listing::Pages;
use crate::metadata::known_metadata;
use crate::output::say;
use crate::{interrupt, progress};
use anyhow::Context as _;
use descry_intake::{EmbeddingRow, GalleryFile, GalleryFileHeader};
use descry_model::Fingerprint;
use descry_proto::search::v1::StoredImage;
use std::path::PathBuf;
use std::process::ExitCode;

/// Write a gallery's embeddings and metadata into a Parquet file.
///
/// `descry gallery import` makes a gallery of it again; every Parquet reader understands it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry gallery export lobby lobby.parquet")]
pub(super) struct Arguments {
    /// The gallery, or a generation of one such as lobby.2.
    #[arg(value_name = "NAME")]
    name: String,
    /// The file to write.
    #[arg(value_name = "FILE.parquet")]
    file: PathBuf,
    #[command(flatten)]
    server: Server,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, file: path, server } = arguments;
    let is_parquet = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
    anyhow::ensure!(is_parquet, "{}: the name must end in .parquet, so that it can be imported again", path.display());
    let interrupt = interrupt::at_signal()?;
    let mut client = server.connect().await?;
    let gallery = super::get(&mut client, &name).await?;
    let header = GalleryFileHeader {
        fingerprint: gallery.fingerprint.parse::<Fingerprint>().context("the service names a model that is none")?,
        dimension: gallery.embedding_dimension as usize,
        gallery_json: serde_json::to_string(&GalleryNote::of(&gallery)).context("writing JSON")?,
    };
    let mut file = GalleryFile::create(&path, header)?;
    let bar = progress::counter(Some(gallery.images), "images");
    // One generation from the first page to the last, whatever is switched meanwhile.
    let address = super::generation_address(&gallery.name, gallery.generation);
    let mut pages = Pages::all(client, &address, true, retry::PATIENCE);
    while let Some(images) = pages.next().await? {
        anyhow::ensure!(!interrupt.is_cancelled(), "interrupted; {} was not written", path.display());
        bar.inc(images.len() as u64);
        let rows: Vec<EmbeddingRow> = images.into_iter().map(embedding_row).collect();
        tokio::task::block_in_place(|| file.write(&rows))?;
    }
    let rows = tokio::task::block_in_place(|| file.finish())?;
    bar.finish_and_clear();
    say!("{}: {rows} images of gallery {name}, model {}", path.display(), super::short(&gallery.fingerprint));
    Ok(ExitCode::SUCCESS)
}

fn embedding_row(image: StoredImage) -> EmbeddingRow {
    EmbeddingRow {
        image_id: image.image_id,
        values: image.embedding,
        metadata: known_metadata(image.metadata.unwrap_or_default()),
        content_sha256: Some(image.content_sha256).filter(|digits| !digits.is_empty()),
    }
}
