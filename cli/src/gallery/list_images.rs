//! `descry gallery list-images`

use crate::filter::FilterArguments;
use crate::hit_json::metadata_json;
use crate::output::{has_failed, say, say_lines};
use crate::search::attributes_text;
use crate::server::Server;
use crate::time::column_time;
use descry_proto::search::v1::StoredImage;
use serde_json::{Value, json};
use std::process::ExitCode;

/// List a gallery's images with what is known of them, in an order of the store's own.
///
/// A line an image: its id, person, camera, time of capture and attributes, with tabs between them. They come page after
/// page, so a gallery of any size can be listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery list-images lobby --camera c2 --limit 20
  descry gallery list-images lobby --person 17
  descry gallery list-images lobby --json > lobby.jsonl")]
pub(super) struct Arguments {
    /// The gallery, or a generation of one such as lobby.2.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    filter: FilterArguments,
    /// At most so many images [default: all].
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, server, filter, limit, json: is_json } = arguments;
    let filter = filter.filter()?;
    let mut listing = server.connect().await?.images(&name);
    if let Some(filter) = filter {
        listing = listing.matching(filter);
    }
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0
        && let Some(images) = listing.next().await?
    {
        for image in images.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            if is_json {
                say!("{}", image_json(image));
            } else {
                say_lines!("{}", line(image));
            }
            left -= 1;
        }
        if has_failed() {
            // Nothing is gained by reading the rest.
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn image_json(image: &StoredImage) -> Value {
    let mut object = metadata_json(&image.metadata.clone().unwrap_or_default());
    object.insert("image_id".to_owned(), json!(image.image_id));
    let sha256 = (!image.content_sha256.is_empty()).then_some(&image.content_sha256);
    object.insert("content_sha256".to_owned(), json!(sha256));
    Value::Object(object)
}

/// For people and for `cut`: a field that is not known is empty.
fn line(image: &StoredImage) -> String {
    let metadata = image.metadata.clone().unwrap_or_default();
    let attributes = attributes_text(&metadata);
    let fields = [
        image.image_id.clone(),
        metadata.person_id.unwrap_or_default(),
        metadata.camera_id.unwrap_or_default(),
        column_time(metadata.captured_at),
        attributes,
    ];
    // The tabs between fields stay tabs, those in fields don't.
    fields.map(|field| descry_terminal::Printable(&field).to_string()).join("\t").trim_end().to_owned()
}
