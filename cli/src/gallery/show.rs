//! `descry gallery show`

use super::note::GalleryNote;
use crate::connection::Server;
use crate::output::say;
use crate::time::format_span;
use descry_proto::search::v1::{Gallery, IndexState};
use indicatif::HumanBytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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
    let mut client = arguments.server.connect().await?;
    let gallery = super::get(&mut client, &arguments.name).await?;
    let generations = super::generations(&mut client, &arguments.name).await?;
    if arguments.json {
        let mut object = gallery_object(&gallery);
        let all = generations.generations.iter().map(gallery_json).collect::<Value>();
        object.insert("generations".to_owned(), all);
        object.insert("active_generation".to_owned(), json!(generations.active));
        say!("{}", Value::Object(object));
        return Ok(ExitCode::SUCCESS);
    }
    let created = gallery.created_at.map(|time| time.to_string()).unwrap_or_default();
    say!("gallery     {}, created {created}", gallery.name);
    say!("images      {}, about {} in memory", gallery.images, HumanBytes(gallery.bytes));
    say!("model       {}, {} values", gallery.fingerprint, gallery.embedding_dimension);
    say!("search      {}", index_state(&gallery));
    say!("kept        {}", retention_text(&gallery));
    let attributes = gallery.settings.clone().unwrap_or_default().indexed_attributes;
    say!("attributes  {}", if attributes.is_empty() { "none to filter by".to_owned() } else { attributes.join(", ") });
    say!("calibrated  {}", if gallery.calibrated { "yes" } else { "no; `descry gallery calibrate` does it" });
    for generation in &generations.generations {
        let serves = if generation.generation == generations.active { ", serves" } else { "" };
        let (number, images) = (generation.generation, generation.images);
        say!("generation  {number}: model {}, {images} images{serves}", super::short(&generation.fingerprint));
    }
    Ok(ExitCode::SUCCESS)
}

/// How the gallery is searched at present, in words.
pub(super) fn index_state(gallery: &Gallery) -> &'static str {
    match gallery.index_state() {
        IndexState::Unspecified => "unknown",
        IndexState::Exact => "exact",
        IndexState::Ready => "index",
        IndexState::Building => "index, being built",
        IndexState::Failed => "index failed",
    }
}

/// How long images are kept, in words; cameras in the order of their names.
pub(super) fn retention_text(gallery: &Gallery) -> String {
    let retention = gallery.retention.clone().unwrap_or_default();
    let cameras: BTreeMap<String, u64> = retention.camera_ms.into_iter().collect();
    let spans = cameras.into_iter().map(|(camera, span_ms)| format!("{camera} {}", format_span(span_ms)));
    std::iter::once(format_span(retention.default_ms)).chain(spans).collect::<Vec<_>>().join(", ")
}

/// For a program.
pub(super) fn gallery_json(gallery: &Gallery) -> Value {
    Value::Object(gallery_object(gallery))
}

fn gallery_object(gallery: &Gallery) -> Map<String, Value> {
    let state = match gallery.index_state() {
        IndexState::Unspecified => "unspecified",
        IndexState::Exact => "exact",
        IndexState::Ready => "ready",
        IndexState::Building => "building",
        IndexState::Failed => "failed",
    };
    // Name, settings and retention as in exported files.
    let note = serde_json::to_value(GalleryNote::of(gallery)).unwrap_or_default();
    let mut object = note.as_object().cloned().unwrap_or_default();
    let fields = [
        ("fingerprint", json!(gallery.fingerprint)),
        ("embedding_dimension", json!(gallery.embedding_dimension)),
        ("images", json!(gallery.images)),
        ("created_at", json!(gallery.created_at.map(|time| time.to_string()))),
        ("generation", json!(gallery.generation)),
        ("index_state", json!(state)),
        ("bytes", json!(gallery.bytes)),
        ("calibrated", json!(gallery.calibrated)),
    ];
    object.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::Retention;

    #[test]
    fn a_gallery_reads_the_same_for_programs_and_people() {
        let camera_ms = [("c2".to_owned(), 0), ("c1".to_owned(), 604_800_000)].into();
        let gallery = Gallery {
            name: "lobby".to_owned(),
            index_state: IndexState::Building.into(),
            retention: Some(Retention { default_ms: 2_592_000_000, camera_ms }),
            ..Gallery::default()
        };
        assert_eq!(retention_text(&gallery), "30d, c1 7d, c2 forever");
        let object = gallery_json(&gallery);
        assert_eq!((&object["name"], &object["index_state"]), (&json!("lobby"), &json!("building")));
        assert_eq!(object["retention"]["camera_ms"]["c1"], 604_800_000);
    }
}
