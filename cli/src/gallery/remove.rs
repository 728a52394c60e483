//! `descry gallery remove`

use crate::filter::FilterArguments;
use crate::output::say;
use crate::server::Server;
use descry_client::RemovedImages;
use std::process::ExitCode;

/// Remove images from a gallery, by their ids or by what is known of them.
///
/// Images that a hold keeps stay; `descry hold list` tells which holds there are.
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
    let filter = filter.filter()?;
    let choices = "give the images with --image, or conditions such as --person, --camera or --before";
    anyhow::ensure!(images.is_empty() || filter.is_none(), "{choices}, not both");
    anyhow::ensure!(!images.is_empty() || filter.is_some(), "{choices}; `descry gallery delete` removes all of them");
    let connection = server.connect().await?;
    let RemovedImages { count, held } = match filter {
        Some(filter) => connection.remove_matching(&name, filter).await?,
        None => connection.remove_images(&name, &images).await?,
    };
    say!("removed {count} images from gallery {name}");
    if held > 0 {
        say!("{held} more are under a hold and stay; `descry hold list --gallery {name}` tells why");
    }
    let not_there = (images.len() as u64).saturating_sub(count + held);
    if not_there > 0 {
        say!("{not_there} of the images named were not there");
    }
    Ok(ExitCode::SUCCESS)
}
