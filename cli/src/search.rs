//! `descry search`

mod query;
mod table;

use crate::contact_sheet::{self, Row};
use crate::filter::FilterArguments;
use crate::hit_json;
use crate::output::say;
use crate::server::Target;
use clap::ValueEnum;
use descry_client::PATH_ATTRIBUTE;
use descry_proto::search::v1::{Fusion, Hit, RefineRequest, SearchRequest};
use query::PartArguments;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Find the people who match a description.
///
/// A query may have several parts: what further witnesses say, what the person does not look like, images of the person,
/// and images of the gallery that look alike.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry search \"a man in a red hoodie with a black backpack\"
  descry search \"a man in a red hoodie\" --also \"he pushes a bicycle\" --not \"a backpack\"
  descry search \"a woman in a long purple coat\" --camera c2 --from 2026-05-01T08:00:00Z --sheet hits.png
  descry search --image suspect.jpg --limit 20 --json
  descry search --like c1/0001.jpg --not-camera c1 --by-person
  descry search \"a man in a red hoodie\" --accept c1/0001.jpg --reject c2/0007.jpg")]
pub(crate) struct Arguments {
    /// The description.
    #[arg(value_name = "TEXT", required_unless_present_any = ["also", "image", "like"])]
    text: Vec<String>,
    #[command(flatten)]
    parts: PartArguments,
    #[command(flatten)]
    target: Target,
    /// How several parts become one ranking: `embedding` looks for their sum, `rrf` joins their rankings.
    #[arg(long, value_enum, value_name = "KIND", default_value = "embedding")]
    fusion: FusionName,
    /// Number of hits.
    #[arg(long, short = 'n', default_value_t = 10, value_name = "N")]
    limit: u32,
    /// Leave out so many hits from the top.
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: u32,
    /// No hits below this cosine similarity.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f32>,
    #[command(flatten)]
    filter: FilterArguments,
    /// One hit for each person, with all cameras and times.
    #[arg(long)]
    by_person: bool,
    /// Leave out images that are almost the same as a better hit [default similarity: 0.97].
    #[arg(long, value_name = "SIMILARITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.97")]
    no_duplicates: Option<f32>,
    /// Compare every image, however long it takes.
    #[arg(long)]
    exact: bool,
    /// A hit of the same search that shows the person: ranks the rest anew; may be given several times.
    #[arg(long, value_name = "IMAGE_ID")]
    accept: Vec<String>,
    /// A hit of the same search that does not show the person; may be given several times.
    #[arg(long, value_name = "IMAGE_ID")]
    reject: Vec<String>,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FusionName {
    Embedding,
    Rrf,
}

impl Arguments {
    fn request(&self) -> anyhow::Result<SearchRequest> {
        let fusion = match self.fusion {
            FusionName::Embedding => Fusion::Embedding,
            FusionName::Rrf => Fusion::ReciprocalRank,
        };
        Ok(SearchRequest {
            gallery: self.target.gallery.clone(),
            query: None,
            limit: self.limit,
            filter: self.filter.filter(),
            parts: self.parts.parts(&self.text)?,
            fusion: fusion.into(),
            offset: self.offset,
            min_score: self.min_score,
            group_by_person: self.by_person,
            suppress_duplicates_above: self.no_duplicates.unwrap_or_default(),
            exact: self.exact,
        })
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let request = arguments.request()?;
    let connection = arguments.target.connect().await?;
    let reply = if arguments.accept.is_empty() && arguments.reject.is_empty() {
        connection.search(request).await?
    } else {
        let request = RefineRequest {
            search: Some(request),
            accepted_ids: arguments.accept.clone(),
            rejected_ids: arguments.reject.clone(),
        };
        connection.refine(request).await?
    };
    if arguments.json {
        say!("{}", hit_json::reply(&reply));
    } else {
        table::print(&reply, arguments.by_person);
    }
    if let Some(sheet) = &arguments.sheet {
        let cells = reply.hits.iter().map(|hit| cell(hit, arguments.images.as_deref())).collect();
        contact_sheet::write(sheet, &[Row { title: arguments.parts.title(&arguments.text), cells }])?;
        if !arguments.json {
            say!("contact sheet: {}", sheet.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A hit's picture and caption.
pub(crate) fn cell(hit: &Hit, images: Option<&Path>) -> contact_sheet::Cell {
    let metadata = hit.metadata.clone().unwrap_or_default();
    let image = match images {
        Some(folder) => Some(folder.join(&hit.image_id)),
        None => metadata.attributes.get(PATH_ATTRIBUTE).map(PathBuf::from),
    };
    let person = metadata.person_id.map(|person| format!("#{person}")).unwrap_or_default();
    contact_sheet::Cell { image, caption: format!("{:.3} {person}", hit.score) }
}
