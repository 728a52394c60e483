//! `descry gallery create`

use super::description::{retention_advice, retention_question, retention_text, short};
use crate::confirmation::confirm;
use crate::output::say;
use crate::server::Server;
use crate::time::parse_span_ms;
use anyhow::Context as _;
use clap::ValueEnum;
use descry_client::{ClientError, Connection};
use descry_model::Fingerprint;
use descry_proto::search::v1::{
    CreateGalleryRequest, GallerySettings, QdrantSettings, Quantization, Retention, SearchAccuracy,
};
use std::process::ExitCode;
use tonic::Code;

/// Create a gallery.
///
/// It is made for the model that the service's encoder runs, unless another is named. Attributes, shards and index
/// settings stay as they are decided here. A gallery that exists already stays as it is; if it was never told how long to keep
/// images, it is now, and it is asked first where some are older already.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery create lobby
  descry gallery create lobby --attribute weather --retain 30d --retain-camera c1=7d
  descry gallery create city --shards 6 --replicas 2 --quantization int8
  descry gallery create foreign --fingerprint HEX --dimension 512")]
pub(super) struct Arguments {
    /// Name: small letters, digits, '-' and '_'.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// Attribute that filters may name; may be given several times.
    #[arg(long, value_name = "NAME")]
    attribute: Vec<String>,
    /// Turn images upright as their EXIF data says, when they are indexed, searched for and shown; otherwise pixels are
    /// taken as they are stored, as in the code of the published methods.
    #[arg(long)]
    apply_exif_orientation: bool,
    /// How long images are kept, such as 30d, 12h, 90m or forever.
    #[arg(long, value_name = "SPAN", value_parser = parse_span_ms)]
    retain: Option<u64>,
    /// How long the images of one camera are kept; may be given several times.
    #[arg(long, value_name = "CAMERA=SPAN", value_parser = parse_camera_span)]
    retain_camera: Vec<(String, u64)>,
    /// Shards of the collection in Qdrant.
    #[arg(long, value_name = "N")]
    shards: Option<u32>,
    /// Copies of each shard in Qdrant.
    #[arg(long, value_name = "N")]
    replicas: Option<u32>,
    /// Copies that confirm a write in Qdrant.
    #[arg(long, value_name = "N")]
    write_consistency: Option<u32>,
    /// Keep embeddings on disk in Qdrant.
    #[arg(long)]
    on_disk: bool,
    /// Links of each image in Qdrant's index.
    #[arg(long, value_name = "N")]
    hnsw_m: Option<u64>,
    /// Candidates looked at while Qdrant's index is built.
    #[arg(long, value_name = "N")]
    hnsw_ef: Option<u64>,
    /// Images that a search in Qdrant keeps in view: more find more, and take longer [default: 512].
    #[arg(long, value_name = "N")]
    search_ef: Option<u32>,
    /// Shorten embeddings in Qdrant's memory.
    #[arg(long, value_enum, value_name = "KIND")]
    quantization: Option<QuantizationName>,
    /// The model, where no encoder of the service runs it.
    #[arg(long, value_name = "HEX", requires = "dimension")]
    fingerprint: Option<Fingerprint>,
    /// Length of that model's embeddings.
    #[arg(long, value_name = "N", requires = "fingerprint")]
    dimension: Option<u32>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum QuantizationName {
    /// A byte a value.
    Int8,
    /// A bit a value.
    Binary,
}

impl Arguments {
    fn request(self) -> CreateGalleryRequest {
        let quantization = match self.quantization {
            None => Quantization::Unspecified,
            Some(QuantizationName::Int8) => Quantization::Int8,
            Some(QuantizationName::Binary) => Quantization::Binary,
        };
        let qdrant = QdrantSettings {
            shard_number: self.shards,
            replication_factor: self.replicas,
            write_consistency_factor: self.write_consistency,
            on_disk_vectors: self.on_disk.then_some(true),
            hnsw_m: self.hnsw_m,
            hnsw_ef_construct: self.hnsw_ef,
            quantization: quantization.into(),
            accuracy: self.search_ef.map(|hnsw_ef| SearchAccuracy { hnsw_ef: Some(hnsw_ef), ..Default::default() }),
        };
        let qdrant = (qdrant != QdrantSettings::default()).then_some(qdrant);
        let retention = Retention {
            default_ms: self.retain.unwrap_or_default(),
            camera_ms: self.retain_camera.into_iter().collect(),
        };
        CreateGalleryRequest {
            name: self.name,
            settings: Some(GallerySettings {
                indexed_attributes: self.attribute,
                qdrant,
                apply_exif_orientation: self.apply_exif_orientation,
            }),
            // Nothing said changes nothing of a gallery that exists already.
            retention: (retention != Retention::default()).then_some(retention),
            fingerprint: self.fingerprint.map(|fingerprint| fingerprint.to_string()).unwrap_or_default(),
            embedding_dimension: self.dimension.unwrap_or_default(),
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let connection = arguments.server.connect().await?;
    let is_asked = !arguments.yes;
    let request = arguments.request();
    let wanted = request.retention.clone();
    if is_asked
        && let Some(question) = question(&connection, &request).await?
        && !confirm(&question)?
    {
        say!("nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let gallery = connection.create_gallery(request).await?;
    say!("gallery {} for model {}, {} images", gallery.name, short(&gallery.fingerprint), gallery.images);
    if let Some(advice) = retention_advice(&gallery) {
        say!("it keeps images: {}. {advice}", retention_text(&gallery));
    }
    if wanted.is_some_and(|wanted| Some(wanted) != gallery.retention) {
        say!("it was told before how long it keeps images; `descry gallery retain` changes that");
    }
    Ok(ExitCode::SUCCESS)
}

/// What to ask where the gallery exists already and would be told for the first time how long to keep its images.
async fn question(connection: &Connection, request: &CreateGalleryRequest) -> Result<Option<String>, ClientError> {
    let Some(retention) = request.retention.clone() else { return Ok(None) };
    match connection.gallery(&request.name).await {
        Ok(gallery) if gallery.retention.as_ref().is_none_or(|kept| *kept == Retention::default()) => {
            Ok(retention_question(&connection.preview_retention(&request.name, retention).await?))
        }
        Ok(_) => Ok(None),
        Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `CAMERA=SPAN`; the camera's name may hold further `=`.
pub(super) fn parse_camera_span(text: &str) -> anyhow::Result<(String, u64)> {
    let (camera, span) = text
        .rsplit_once('=')
        .filter(|(camera, _)| !camera.is_empty())
        .with_context(|| format!("{text:?} is not CAMERA=SPAN such as c1=7d"))?;
    Ok((camera.to_owned(), parse_span_ms(span)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_have_spans_of_their_own() {
        assert_eq!(parse_camera_span("a=b=45s").unwrap(), ("a=b".to_owned(), 45_000));
        assert_eq!(parse_camera_span("c1=forever").unwrap().1, 0);
        for wrong in ["c1", "=7d", "c1=", "c1=7"] {
            assert!(parse_camera_span(wrong).is_err(), "{wrong}");
        }
    }
}
