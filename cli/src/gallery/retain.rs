//! `descry gallery retain`

use super::create::parse_camera_span;
use super::description::{retention_advice, retention_question, retention_text};
use crate::confirmation::confirm;
use crate::output::say;
use crate::server::Server;
use crate::time::parse_span_ms;
use descry_proto::search::v1::SetRetentionRequest;
use std::process::ExitCode;

/// Change how long images are kept.
///
/// The time counts from an image's capture, or from indexing where its capture time is not known. What is not named here
/// stays as it was. Where images are older already than they are to be kept, it is asked first: the service's next sweep
/// removes them, but for those under a hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery retain lobby --default 30d
  descry gallery retain lobby --default forever --camera c1=7d --camera c2=12h
  descry gallery retain lobby --default 30d --yes")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// For all cameras without a time of their own, such as 30d, 12h, 90m or forever.
    #[arg(long, value_name = "SPAN", value_parser = parse_span_ms, required_unless_present = "camera")]
    default: Option<u64>,
    /// For one camera; may be given several times.
    #[arg(long, value_name = "CAMERA=SPAN", value_parser = parse_camera_span)]
    camera: Vec<(String, u64)>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { name, server, default, camera, yes } = arguments;
    let connection = server.connect().await?;
    let retention = connection.retention_with(&name, default, camera).await?;
    if !yes {
        let preview = connection.preview_retention(&name, retention.clone()).await?;
        if let Some(question) = retention_question(&preview)
            && !confirm(&question)?
        {
            say!("nothing was changed");
            return Ok(ExitCode::FAILURE);
        }
    }
    let request = SetRetentionRequest { gallery: name, retention: Some(retention), validate_only: false };
    let gallery = connection.set_retention(request).await?;
    say!("gallery {} keeps images: {}", gallery.name, retention_text(&gallery));
    if let Some(advice) = retention_advice(&gallery) {
        say!("{advice}");
    }
    Ok(ExitCode::SUCCESS)
}
