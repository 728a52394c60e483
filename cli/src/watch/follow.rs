//! `descry watch follow`

use crate::connection::{Client, Target};
use crate::interrupt;
use crate::job::retry::Backoff;
use crate::output::say;
use crate::search::json;
use crate::time::parse_time;
use descry_proto::search::v1::{WatchMatch, WatchMatchesRequest};
use prost_types::Timestamp;
use serde_json::Value;
use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use tonic::Status;

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
    let mut client = target.connect().await?;
    let mut request = WatchMatchesRequest { gallery: target.gallery, names, since };
    let began_at = Timestamp::from(SystemTime::now());
    let mut seen = Seen::default();
    // Whoever follows wants to go on however long the service is away.
    let mut backoff = Backoff::new(Duration::MAX);
    loop {
        let status = tokio::select! {
            status = follow(&mut client, &request, &mut seen, &mut backoff, is_json) => status,
            () = interrupt.cancelled() => return Ok(ExitCode::SUCCESS),
        };
        request.since = Some(seen.latest.or(since).unwrap_or(began_at));
        tokio::select! {
            waited = backoff.wait(&status) => waited?,
            () = interrupt.cancelled() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Prints matches until the stream breaks; returns why it did.
async fn follow(
    client: &mut Client,
    request: &WatchMatchesRequest,
    seen: &mut Seen,
    backoff: &mut Backoff,
    is_json: bool,
) -> Status {
    let mut matches = match client.watch_matches(request.clone()).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return status,
    };
    loop {
        match matches.message().await {
            Ok(Some(found)) => {
                backoff.succeed();
                if seen.is_new(&found) {
                    print(&found, is_json);
                }
            }
            Ok(None) => return Status::unavailable("the service ended the stream"),
            Err(status) => return status,
        }
    }
}

/// What a stream that is opened again must not repeat: it begins with the moment of the latest match.
#[derive(Debug, Default)]
struct Seen {
    latest: Option<Timestamp>,
    /// Watches and images of that moment.
    at_latest: HashSet<(String, String)>,
}

impl Seen {
    fn is_new(&mut self, found: &WatchMatch) -> bool {
        let order = |time: Timestamp| (time.seconds, time.nanos);
        let Some(hit) = &found.hit else { return false };
        let Some(time) = hit.metadata.as_ref().and_then(|metadata| metadata.indexed_at) else { return true };
        if self.latest.is_some_and(|latest| order(time) < order(latest)) {
            return true;
        }
        if self.latest != Some(time) {
            self.latest = Some(time);
            self.at_latest.clear();
        }
        self.at_latest.insert((found.watch.clone(), hit.image_id.clone()))
    }
}

fn print(found: &WatchMatch, is_json: bool) {
    let hit = found.hit.clone().unwrap_or_default();
    if is_json {
        let mut value = json::hit(&hit);
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

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::{Hit, ImageMetadata};

    fn found(image_id: &str, seconds: i64) -> WatchMatch {
        let indexed_at = Some(Timestamp { seconds, nanos: 0 });
        let metadata = Some(ImageMetadata { indexed_at, ..ImageMetadata::default() });
        let hit = Hit { image_id: image_id.to_owned(), metadata, ..Hit::default() };
        WatchMatch { watch: "red".to_owned(), hit: Some(hit) }
    }

    #[test]
    fn a_moment_is_not_printed_twice() {
        let mut seen = Seen::default();
        for (image_id, seconds, is_new) in
            [("a", 1, true), ("b", 2, true), ("c", 2, true), ("b", 2, false), ("late", 1, true), ("b", 3, true)]
        {
            assert_eq!(seen.is_new(&found(image_id, seconds)), is_new, "{image_id} at {seconds}");
        }
        assert_eq!(seen.latest, Some(Timestamp { seconds: 3, nanos: 0 }));
    }
}
