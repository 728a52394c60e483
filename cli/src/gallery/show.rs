//! `descry gallery show`

use super::description::{gallery_json, gallery_object, index_state, retention_text, short};
use crate::output::say;
use crate::server::Server;
use crate::time::time_text;
use descry_proto::search::v1::Recall;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Show a gallery: its images, its models, how it is searched, and how long images are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery show lobby
  descry gallery show lobby --json")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = arguments.server.connect().await?;
    let gallery = connection.gallery(&arguments.name).await?;
    let generations = connection.generations(&arguments.name).await?;
    if arguments.json {
        let mut object = gallery_object(&gallery);
        let all = generations.generations.iter().map(gallery_json).collect::<Value>();
        object.insert("generations".to_owned(), all);
        object.insert("active_generation".to_owned(), json!(generations.active));
        say!("{}", Value::Object(object));
        return Ok(ExitCode::SUCCESS);
    }
    let created = time_text(gallery.created_at);
    say!("gallery     {}, created {created}", gallery.name);
    say!("images      {}, about {} in memory", gallery.images, HumanBytes(gallery.bytes));
    say!("model       {}, {} values", gallery.fingerprint, gallery.embedding_dimension);
    say!("search      {}", index_state(&gallery));
    if let Some(recall) = &gallery.recall {
        let (percent, Recall { searches, hits, .. }) = (100.0 * recall.share, *recall);
        say!("            finds {percent:.1} % of the {hits} nearest, in {searches} searches of late");
    }
    say!("kept        {}", retention_text(&gallery));
    if gallery.past_retention > 0 {
        say!("            {} images are older; the next sweep removes them", gallery.past_retention);
    }
    if gallery.held > 0 {
        let (held, name) = (gallery.held, &gallery.name);
        say!("held        {held} images stay whatever happens; `descry hold list --gallery {name}` tells why");
    }
    let settings = gallery.settings.clone().unwrap_or_default();
    let upright = if settings.apply_exif_orientation { "turned upright as EXIF says" } else { "as they are stored" };
    say!("pixels      {upright}");
    let attributes = settings.indexed_attributes;
    say!("attributes  {}", if attributes.is_empty() { "none to filter by".to_owned() } else { attributes.join(", ") });
    say!("calibrated  {}", if gallery.calibrated { "yes" } else { "no; `descry gallery calibrate` does it" });
    for generation in &generations.generations {
        let serves = if generation.generation == generations.active { ", serves" } else { "" };
        let (number, images) = (generation.generation, generation.images);
        say!("generation  {number}: model {}, {images} images{serves}", short(&generation.fingerprint));
    }
    Ok(ExitCode::SUCCESS)
}
