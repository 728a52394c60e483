//! `descry hold place`

use crate::filter::FilterArguments;
use crate::output::say;
use crate::server::Target;
use descry_proto::search::v1::{Filter, PlaceHoldRequest};
use std::process::ExitCode;

/// Hold images: they stay as they are until the hold is lifted.
///
/// All conditions that are given hold together; without any, the whole gallery is held, and cannot be deleted either. Images
/// that come later and meet the conditions are held too. Placing the same hold again is harmless.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry hold place case-17 --gallery lobby --person 17 --reason \"theft of a bag, 2026-117\"
  descry hold place night --gallery lobby --camera c2 --from 2026-05-01T20:00:00Z --before 2026-05-02T06:00:00Z --reason 2026-118
  descry hold place two --gallery lobby --image c1/0001.jpg --image c1/0002.jpg --reason 2026-119
  descry hold place all --gallery lobby --reason \"order of the court, 12 C 34\"")]
pub(super) struct Arguments {
    /// Name of the hold: small letters, digits, '-' and '_'.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    target: Target,
    /// Why the images are held, such as the number of a case. It is kept with the hold and stands in the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only this image; may be given several times.
    #[arg(long = "image", value_name = "ID")]
    images: Vec<String>,
    #[command(flatten)]
    filter: FilterArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, target, reason, images, filter } = arguments;
    let filter = filter.filter()?;
    let filter = match images.is_empty() {
        true => filter,
        false => Some(Filter { image_ids: images, ..filter.unwrap_or_default() }),
    };
    let is_of_all = filter.is_none();
    let request = PlaceHoldRequest { gallery: target.gallery.clone(), name, filter, reason };
    let connection = target.connect().await?;
    let hold = match connection.place_hold(request).await {
        Ok(hold) => hold,
        Err(error) => return Err(target.explained(&connection, error).await),
    };
    let (name, gallery, images) = (&hold.name, &hold.gallery, hold.images);
    let until = format!("until `descry hold lift {name} --gallery {gallery}`");
    if is_of_all {
        say!("hold {name} keeps gallery {gallery} and its {images} images, and all that come later, {until}");
    } else if images == 0 {
        say!("hold {name}: no image of gallery {gallery} meets it yet; those that come later are kept, {until}");
    } else {
        say!("hold {name} keeps {images} images of gallery {gallery}, and those that come later, {until}");
    }
    Ok(ExitCode::SUCCESS)
}
