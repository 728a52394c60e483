//! `descry gallery remove`

use crate::connection::{Client, Server, answer};
use crate::filter::FilterArguments;
use crate::output::say;
use descry_proto::search::v1::{DeleteImagesRequest, Filter};
use std::process::ExitCode;

/// Images named in one request.
const IDS_TOGETHER: usize = 1000;

/// Remove images from a gallery, by their ids or by what is known of them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery remove lobby --image c1/0001.jpg --image c1/0002.jpg
  descry gallery remove lobby --person 17
  descry gallery remove lobby --camera c1 --before 2026-05-01T00:00:00Z")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Remove this image; may be given several times.
    #[arg(long = "image", value_name = "ID")]
    images: Vec<String>,
    #[command(flatten)]
    filter: FilterArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, server, images, filter } = arguments;
    let filter = filter.filter();
    let choices = "give the images with --image, or conditions such as --person, --camera or --before";
    anyhow::ensure!(images.is_empty() || filter.is_none(), "{choices}, not both");
    anyhow::ensure!(!images.is_empty() || filter.is_some(), "{choices}; `descry gallery delete` removes all of them");
    let mut client = server.connect().await?;
    let deleted = match filter {
        Some(filter) => delete_matching(&mut client, &name, filter).await?,
        None => delete_ids(&mut client, &name, &images).await?,
    };
    say!("removed {deleted} images from gallery {name}");
    if (deleted as usize) < images.len() {
        say!("{} of the images named were not there", images.len() - deleted as usize);
    }
    Ok(ExitCode::SUCCESS)
}

async fn delete_matching(client: &mut Client, gallery: &str, filter: Filter) -> anyhow::Result<u64> {
    let request =
        DeleteImagesRequest { gallery: gallery.to_owned(), filter: Some(filter), ..DeleteImagesRequest::default() };
    Ok(answer(client.delete_images(request).await)?.deleted)
}

/// Removes the images of a gallery, or of a generation of one. Returns how many existed.
pub(super) async fn delete_ids(client: &mut Client, address: &str, image_ids: &[String]) -> anyhow::Result<u64> {
    let mut deleted = 0;
    for group in image_ids.chunks(IDS_TOGETHER) {
        let request = DeleteImagesRequest {
            gallery: address.to_owned(),
            image_ids: group.to_vec(),
            ..DeleteImagesRequest::default()
        };
        deleted += answer(client.delete_images(request).await)?.deleted;
    }
    Ok(deleted)
}
