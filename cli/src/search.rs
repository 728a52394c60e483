//! `descry search`

mod accuracy;
mod advice;
mod query;
mod table;

pub(crate) use table::attributes_text;

use crate::contact_sheet::{Pictures, Row, SheetFile};
use crate::filter::FilterArguments;
use crate::hit_json;
use crate::output::say;
use crate::server::Target;
use accuracy::AccuracyArguments;
use clap::ValueEnum;
use descry_client::{ClientError, Connection};
use descry_proto::search::v1::{Fusion, GroupBy, Pool, RefineRequest, SearchRequest, SearchResponse};
use query::PartArguments;
use std::path::PathBuf;
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
  descry search \"a woman in a long purple coat\" --camera c2 --from 2026-05-01T08:00:00Z --sheet hits.html
  descry search --image suspect.jpg --limit 20 --json
  descry search --like c1/0001.jpg --not-camera c1 --by person
  descry search \"a man in a red hoodie\" --by track --pool best --json
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
    /// What hits are: images, or one hit for each person or each camera's track, with all cameras and times.
    #[arg(long, value_enum, value_name = "KIND", default_value = "image")]
    by: ByName,
    /// The same as `--by person`.
    #[arg(long, conflicts_with = "by")]
    by_person: bool,
    /// How persons and tracks are scored: `best` by their nearest image, `mean` by their images' mean embedding [default:
    /// mean].
    #[arg(long, value_enum, value_name = "HOW")]
    pool: Option<PoolName>,
    /// Leave out images that are almost the same as a better hit [default similarity: 0.97].
    #[arg(long, value_name = "SIMILARITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.97")]
    no_duplicates: Option<f32>,
    /// Compare every image, however long it takes.
    #[arg(long)]
    exact: bool,
    #[command(flatten)]
    accuracy: AccuracyArguments,
    /// A hit of the same search that shows the person: ranks the rest anew; may be given several times.
    #[arg(long, value_name = "IMAGE_ID")]
    accept: Vec<String>,
    /// A hit of the same search that does not show the person; may be given several times.
    #[arg(long, value_name = "IMAGE_ID")]
    reject: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Write a contact sheet of the hits: a picture, or a page that holds its pictures.
    ///
    /// Images are turned upright only where the gallery's images are, so the sheet shows what was searched.
    #[arg(long, value_name = "FILE.png|.jpg|.html")]
    sheet: Option<SheetFile>,
    /// Folder that was indexed, where the images for the contact sheet are [default: the path at indexing time].
    ///
    /// Only files in this folder are opened; without it only such whose names end as those of images.
    #[arg(long, value_name = "DIR", requires = "sheet")]
    images: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FusionName {
    Embedding,
    Rrf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ByName {
    Image,
    Person,
    Track,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PoolName {
    Best,
    Mean,
}

impl Arguments {
    fn by(&self) -> GroupBy {
        match self.by {
            _ if self.by_person => GroupBy::Person,
            ByName::Image => GroupBy::Image,
            ByName::Person => GroupBy::Person,
            ByName::Track => GroupBy::Track,
        }
    }

    fn pool(&self) -> anyhow::Result<Pool> {
        anyhow::ensure!(
            self.pool.is_none() || self.by() != GroupBy::Image,
            "--pool says how persons and tracks are scored; give --by person or --by track with it"
        );
        Ok(match self.pool {
            None => Pool::Unspecified,
            Some(PoolName::Best) => Pool::Best,
            Some(PoolName::Mean) => Pool::Mean,
        })
    }

    fn request(&self) -> anyhow::Result<SearchRequest> {
        let fusion = match self.fusion {
            FusionName::Embedding => Fusion::Embedding,
            FusionName::Rrf => Fusion::ReciprocalRank,
        };
        Ok(SearchRequest {
            gallery: self.target.gallery.clone(),
            query: None,
            limit: self.limit,
            filter: self.filter.filter()?,
            parts: self.parts.parts(&self.text)?,
            fusion: fusion.into(),
            offset: self.offset,
            min_score: self.min_score,
            // For a service of an earlier version, which ranks persons by their best images.
            group_by_person: self.by() == GroupBy::Person,
            group_by: self.by().into(),
            pool: self.pool()?.into(),
            suppress_duplicates_above: self.no_duplicates.unwrap_or_default(),
            exact: self.exact,
            max_sightings: 0,
            accuracy: self.accuracy.message(),
        })
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if let Some(sheet) = &arguments.sheet {
        sheet.check()?;
    }
    let request = arguments.request()?;
    let connection = arguments.target.connect().await?;
    let reply = match search(&connection, &arguments, request.clone()).await {
        Ok(reply) => reply,
        Err(error) => return Err(arguments.target.explained(&connection, error).await),
    };
    if arguments.json {
        say!("{}", hit_json::reply(&reply));
    } else {
        let (gallery, offset) = (arguments.target.gallery.as_str(), arguments.offset);
        table::print(&reply, &table::Shown { gallery, by: arguments.by(), offset });
    }
    if reply.hits.len() < request.limit as usize
        && let Some(filter) = &request.filter
    {
        advice::warn_of_unknown_values(&connection, &arguments.target.gallery, filter).await;
    }
    if let Some(sheet) = &arguments.sheet {
        write_sheet(&connection, &arguments, sheet, &reply).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn search(
    connection: &Connection,
    arguments: &Arguments,
    request: SearchRequest,
) -> Result<SearchResponse, ClientError> {
    if arguments.accept.is_empty() && arguments.reject.is_empty() {
        return connection.search(request).await;
    }
    let request = RefineRequest {
        search: Some(request),
        accepted_ids: arguments.accept.clone(),
        rejected_ids: arguments.reject.clone(),
    };
    connection.refine(request).await
}

async fn write_sheet(
    connection: &Connection,
    arguments: &Arguments,
    sheet: &SheetFile,
    reply: &SearchResponse,
) -> anyhow::Result<()> {
    let gallery = &arguments.target.gallery;
    // A generation such as `lobby.2` has the settings of its gallery.
    let name = gallery.split_once('.').map_or(gallery.as_str(), |(name, _)| name);
    let settings = connection.gallery(name).await?.settings.unwrap_or_default();
    let pictures = Pictures::from(arguments.images.as_deref(), settings.apply_exif_orientation)?;
    sheet.write(&[Row::of(arguments.parts.title(&arguments.text), reply, arguments.offset, &pictures)?])?;
    if !arguments.json {
        say!("contact sheet: {}", sheet.path().display());
    }
    Ok(())
}
