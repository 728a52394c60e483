//! `descry search`

use crate::connection::{Target, explain};
use crate::contact_sheet::{self, Row};
use crate::metadata_file::parse_time;
use crate::output::say;
use anyhow::Context as _;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use descry_proto::search::v1::search_request::Query;
use descry_proto::search::v1::{Filter, Hit, SearchRequest, SearchResponse};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Find the people who match a description.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry search \"a man in a red hoodie with a black backpack\"
  descry search \"a woman in a long purple coat\" --camera c2 --from 2026-05-01T08:00:00Z --sheet hits.png
  descry search --image suspect.jpg --limit 20 --json")]
pub(crate) struct Arguments {
    /// The description.
    #[arg(value_name = "TEXT", required_unless_present = "image", conflicts_with = "image")]
    text: Vec<String>,
    /// An image of the person instead of a description.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Number of hits.
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    limit: u32,
    /// Only this person; may be given several times.
    #[arg(long, value_name = "ID")]
    person: Vec<String>,
    /// Only this camera; may be given several times.
    #[arg(long, value_name = "ID")]
    camera: Vec<String>,
    /// Captured at or after this time, such as 2026-05-01T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Captured before this time.
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write a contact sheet of the hits.
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,
    /// Folder that was indexed, where the images for the contact sheet are [default: the path at indexing time].
    #[arg(long, value_name = "DIR", requires = "sheet")]
    images: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let time = |text: &Option<String>| text.as_deref().map(parse_time).transpose();
    let filter = Filter {
        captured_from: time(&arguments.from)?,
        captured_before: time(&arguments.before)?,
        person_ids: arguments.person,
        camera_ids: arguments.camera,
    };
    let (query, title) = match &arguments.image {
        Some(path) => {
            let content = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            (Query::Image(content.into()), path.display().to_string())
        }
        None => {
            // Unquoted words are one description, as people type it.
            let text = arguments.text.join(" ");
            (Query::Text(text.clone()), text)
        }
    };
    let reply = search(&arguments.target, query, arguments.limit, filter).await?;
    if arguments.json {
        say!("{}", reply_json(&reply));
    } else {
        print_table(&reply);
    }
    if let Some(sheet) = &arguments.sheet {
        let row = Row { title, cells: reply.hits.iter().map(|hit| cell(hit, arguments.images.as_deref())).collect() };
        contact_sheet::write(sheet, &[row])?;
        if !arguments.json {
            say!("contact sheet: {}", sheet.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the service.
pub(crate) async fn search(
    target: &Target,
    query: Query,
    limit: u32,
    filter: Filter,
) -> anyhow::Result<SearchResponse> {
    let request = SearchRequest { gallery: target.gallery.clone(), query: Some(query), limit, filter: Some(filter) };
    let reply = target.connect().await?.search(request).await;
    Ok(reply.map_err(|status| explain(&status))?.into_inner())
}

/// A hit's picture and caption.
pub(crate) fn cell(hit: &Hit, images: Option<&Path>) -> contact_sheet::Cell {
    let metadata = hit.metadata.clone().unwrap_or_default();
    let image = match images {
        Some(folder) => Some(folder.join(&hit.image_id)),
        None => metadata.attributes.get(crate::index::PATH_ATTRIBUTE).map(PathBuf::from),
    };
    let person = metadata.person_id.map(|person| format!("#{person}")).unwrap_or_default();
    contact_sheet::Cell { image, caption: format!("{:.3} {person}", hit.score) }
}

fn print_table(reply: &SearchResponse) {
    if reply.truncated {
        say!("the description is longer than the model reads; its end did not count");
    }
    if reply.hits.is_empty() {
        say!("no image in the gallery meets the conditions");
        return;
    }
    let mut table = Table::new();
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["", "score", "image", "person", "camera", "captured"]);
    for (index, hit) in reply.hits.iter().enumerate() {
        let metadata = hit.metadata.clone().unwrap_or_default();
        table.add_row([
            (index + 1).to_string(),
            format!("{:.4}", hit.score),
            hit.image_id.clone(),
            metadata.person_id.unwrap_or_default(),
            metadata.camera_id.unwrap_or_default(),
            metadata.captured_at.map(|time| time.to_string()).unwrap_or_default(),
        ]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    say!("{table}");
}

fn reply_json(reply: &SearchResponse) -> Value {
    let hits: Vec<Value> = reply
        .hits
        .iter()
        .map(|hit| {
            let metadata = hit.metadata.clone().unwrap_or_default();
            let attributes: std::collections::BTreeMap<String, String> = metadata.attributes.into_iter().collect();
            json!({
                "image_id": hit.image_id,
                "score": hit.score,
                "person_id": metadata.person_id,
                "camera_id": metadata.camera_id,
                "captured_at": metadata.captured_at.map(|time| time.to_string()),
                "attributes": attributes,
            })
        })
        .collect();
    json!({ "fingerprint": reply.fingerprint, "truncated": reply.truncated, "hits": hits })
}
