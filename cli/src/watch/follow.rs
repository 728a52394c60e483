//! `descry watch follow`

use super::commands::Commands;
use super::description::words;
use super::matched::Match;
use super::posts::{Posts, Receiver, parse_address};
use crate::interrupt;
use crate::output::{self, note, say};
use crate::server::Target;
use crate::time::{GivenTime, parse_time};
use descry_client::{ClientError, Connection};
use descry_proto::search::v1::Watch;
use http::Uri;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the images that match, as they are indexed, until Ctrl-C.
///
/// A service that restarts is waited for; what was indexed meanwhile is printed then.
///
/// With --exec a program runs for each match, without a shell. It finds what is known in DESCRY_WATCH, DESCRY_IMAGE_ID,
/// DESCRY_SCORE, DESCRY_PROBABILITY, DESCRY_PERSON_ID, DESCRY_CAMERA_ID, DESCRY_CAPTURED_AT and DESCRY_PATH, and the match
/// as JSON on standard input. At most four run at once, none longer than five minutes. With --post the same JSON is posted
/// to an address, in the matches' order; one that does not take it is tried again for a minute. What fails is told, and the
/// following goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry watch follow --gallery lobby
  descry watch follow red-hoodie purple-coat --gallery lobby --since 2026-05-01T08:00:00Z --json
  descry watch follow --gallery lobby --exec ./notify.sh
  descry watch follow --gallery lobby --post http://127.0.0.1:8080/matches
  descry watch follow --gallery lobby --post https://alarms.example/matches --post-ca ca.pem")]
pub(super) struct Arguments {
    /// The watches to follow [default: all, also those that are made later].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// Also images that were indexed since this time, such as 2026-05-01T08:00:00Z; without a zone it is of --time-zone.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<GivenTime>,
    /// Print each match as one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Run this program for each match.
    #[arg(long, value_name = "PROGRAM")]
    exec: Option<PathBuf>,
    /// Post each match as JSON to this address.
    #[arg(long, value_name = "URL", value_parser = parse_address)]
    post: Option<Uri>,
    /// The CA of that address' certificate (PEM), where it begins with https:// [default: those that the system trusts].
    #[arg(long, value_name = "FILE", requires = "post")]
    post_ca: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { names, target, since, json: is_json, exec, post, post_ca } = arguments;
    let since = since.map(GivenTime::moment).transpose()?;
    let post = post.map(|address| Receiver::open(address, post_ca.as_deref())).transpose()?;
    let interrupt = interrupt::at_signal()?;
    let connection = target.connect().await?;
    if let Err(error) = introduce(&connection, &target.gallery, &names).await {
        return Err(target.explained(&connection, error).await);
    }
    let (commands, posts) = (exec.map(Commands::of), post.map(Posts::to));
    let mut matches = connection.matches(&target.gallery, names, since);
    let followed = loop {
        let found = tokio::select! {
            found = matches.next() => found,
            () = interrupt.cancelled() => break Ok(ExitCode::SUCCESS),
        };
        let found = match found {
            Ok(found) => Match::of(found),
            Err(error) => break Err(error.into()),
        };
        if is_json {
            say!("{}", found.json());
        } else {
            say!("{}", found.line());
        }
        if output::has_failed() {
            // Nobody would ever see what comes.
            break Ok(ExitCode::FAILURE);
        }
        tokio::select! {
            () = hand_over(&found, commands.as_ref(), posts.as_ref()) => {}
            () = interrupt.cancelled() => {}
        }
    };
    if let Some(commands) = commands {
        commands.finish().await;
    }
    if let Some(posts) = posts {
        posts.finish().await;
    }
    followed
}

async fn hand_over(found: &Match, commands: Option<&Commands>, posts: Option<&Posts>) {
    if let Some(commands) = commands {
        commands.run(found).await;
    }
    if let Some(posts) = posts {
        posts.send(found).await;
    }
}

/// Says on standard error what is followed, before the waiting begins.
async fn introduce(connection: &Connection, gallery: &str, names: &[String]) -> Result<(), ClientError> {
    let watches = connection.watches(gallery).await?.watches;
    let followed: Vec<&Watch> =
        watches.iter().filter(|watch| names.is_empty() || names.contains(&watch.name)).collect();
    if followed.is_empty() && names.is_empty() {
        note!("gallery {gallery} has no watches yet; those that are made now are followed (`descry watch create`)");
    }
    for watch in followed {
        note!("{}", introduction(watch));
    }
    Ok(())
}

fn introduction(watch: &Watch) -> String {
    let words = words(watch);
    let what = if words.is_empty() { String::new() } else { format!(" {words:?},") };
    let conditions = if watch.filter.is_some() { ", with conditions" } else { "" };
    format!("following {}:{what} from a score of {:.4} on{conditions}", watch.name, watch.min_score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::WatchPart;
    use descry_proto::search::v1::watch_part::What;

    #[test]
    fn what_is_followed_is_said() {
        let text = WatchPart { what: Some(What::Text("a man in red".to_owned())), weight: 1.0 };
        let watch = Watch { name: "red".to_owned(), min_score: 0.35, parts: vec![text], ..Watch::default() };
        assert_eq!(introduction(&watch), "following red: \"a man in red\", from a score of 0.3500 on");
        let sealed = Watch { parts: Vec::new(), filter: Some(Default::default()), ..watch };
        assert_eq!(introduction(&sealed), "following red: from a score of 0.3500 on, with conditions");
    }
}
