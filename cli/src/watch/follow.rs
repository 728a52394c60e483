//! `descry watch follow`

use crate::hit_json;
use crate::interrupt;
use crate::output::say;
use crate::server::Target;
use crate::time::parse_time;
use descry_proto::search::v1::WatchMatch;
use prost_types::Timestamp;
use serde_json::Value;
use std::process::ExitCode;

/// Print the images that match, as they are indexed, until Ctrl-C.
///
/// A service that restarts is waited for; what was indexed meanwhile is printed then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry watch follow --gallery lobby
  descry watch follow red-hoodie purple-coat --gallery lobby --since 2026-05-01T08:00:00Z --json")]
pub(super) struct Arguments {
    /// The watches to follow [default: all, also those that are made later].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// Also images that were indexed since this time, such as 2026-05-01T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Print each match as one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { names, target, since, json: is_json } = arguments;
    let interrupt = interrupt::at_signal()?;
    let mut matches = target.connect().await?.matches(&target.gallery, names, since);
    loop {
        tokio::select! {
            found = matches.next() => print(&found?, is_json),
            () = interrupt.cancelled() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn print(found: &WatchMatch, is_json: bool) {
    let hit = found.hit.clone().unwrap_or_default();
    if is_json {
        let mut value = hit_json::hit(&hit);
        if let Some(object) = value.as_object_mut() {
            object.insert("watch".to_owned(), Value::String(found.watch.clone()));
        }
        say!("{value}");
        return;
    }
    let metadata = hit.metadata.unwrap_or_default();
    let time = metadata.captured_at.or(metadata.indexed_at).map(|time| time.to_string()).unwrap_or_default();
    let camera = metadata.camera_id.map(|camera| format!("  camera {camera}")).unwrap_or_default();
    let probability =
        hit.match_probability.map(|share| format!("  probability {:.0} %", share * 100.0)).unwrap_or_default();
    say!("{time}  {}  {:.4}  {}{camera}{probability}", found.watch, hit.score, hit.image_id);
}
