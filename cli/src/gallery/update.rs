//! `descry gallery update`

use crate::connection::{Client, Server, answer};
use crate::job::retry;
use crate::listing::{PAGE_IMAGES, Pages};
use crate::metadata::{PATH_ATTRIBUTE, image_metadata};
use crate::output::say;
use crate::progress;
use anyhow::Context as _;
use descry_intake::{KnownMetadata, read_metadata};
use descry_proto::search::v1::UpdateImagesRequest;
use descry_proto::search::v1::update_images_request::Change;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Replace what is known of images, without encoding them again.
///
/// A record replaces everything that was known of its image, except where its file is. Images without a record stay as
/// they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  descry gallery update lobby --metadata crops.csv")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Records with image_id, and person_id, camera_id, captured_at or attributes (CSV, JSON Lines or Parquet).
    #[arg(long, value_name = "FILE")]
    metadata: PathBuf,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, server, metadata: path } = arguments;
    let records = tokio::task::spawn_blocking(move || read_metadata(&path)).await.context("reading metadata")??;
    let mut client = server.connect().await?;
    let total = records.len();
    let mut records: Vec<(String, KnownMetadata)> = records.into_iter().collect();
    records.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let bar = progress::bar(total, "records");
    let mut updated = 0;
    for group in records.chunks(PAGE_IMAGES) {
        updated += update(&mut client, &name, group).await?;
        bar.inc(group.len() as u64);
    }
    bar.finish_and_clear();
    say!("{updated} of {total} records are of images in gallery {name}; those images were updated");
    Ok(ExitCode::SUCCESS)
}

async fn update(client: &mut Client, gallery: &str, records: &[(String, KnownMetadata)]) -> anyhow::Result<u64> {
    let image_ids = records.iter().map(|(image_id, _)| image_id.clone()).collect();
    let stored = Pages::of_ids(client.clone(), gallery, image_ids, retry::PATIENCE).collect().await?;
    let mut paths: HashMap<String, String> = HashMap::new();
    for image in stored {
        let path = image.metadata.and_then(|mut metadata| metadata.attributes.remove(PATH_ATTRIBUTE));
        paths.extend(path.map(|path| (image.image_id, path)));
    }
    let change = |(image_id, known): &(String, KnownMetadata)| {
        let mut metadata = image_metadata(known.clone());
        if let Some(path) = paths.remove(image_id) {
            metadata.attributes.entry(PATH_ATTRIBUTE.to_owned()).or_insert(path);
        }
        Change { image_id: image_id.clone(), metadata: Some(metadata) }
    };
    let changes = records.iter().map(change).collect();
    let request = UpdateImagesRequest { gallery: gallery.to_owned(), changes };
    Ok(answer(client.update_images(request).await)?.updated)
}
