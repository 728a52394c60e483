//! `descry gallery reembed`

mod fill;
mod missing;
mod quality;

use crate::captions::{Caption, read_captions};
use crate::confirmation::confirm;
use crate::connection::{Client, Server, answer};
use crate::interrupt;
use crate::job::JobArguments;
use crate::output::say;
use descry_model::Fingerprint;
use descry_proto::search::v1::{
    ActivateGenerationRequest, CreateGenerationRequest, DeleteGenerationRequest, ListGenerationsResponse,
};
use fill::{Change, Filled};
use quality::{Quality, is_clearly_worse, measure};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

/// Change the model of a gallery while it answers: encode every image anew, compare, and switch.
///
/// The service must run an encoder of the new model. Images are read from --images, or from where they were indexed. The
/// command may be ended at any point and run again; it goes on where it was. Nothing of the old model is deleted unless
/// --drop-old is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry gallery reembed lobby --to FINGERPRINT
  descry gallery reembed lobby --to FINGERPRINT --images crops/ --queries queries.jsonl
  descry gallery reembed lobby --to FINGERPRINT --images shards/*.tar --rate 50 --drop-old

A line of queries.jsonl: {\"text\": \"a man in a red hoodie\", \"person_id\": \"17\"}")]
pub(super) struct Arguments {
    /// The gallery.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    server: Server,
    /// The model to change to.
    #[arg(long, value_name = "FINGERPRINT")]
    to: Fingerprint,
    /// Where the images are: folders, files, lists or archives, as they were indexed [default: the paths noted then].
    #[arg(long, num_args = 1.., value_name = "INPUT")]
    images: Vec<PathBuf>,
    /// Where relative paths in file lists start [default: the list's folder].
    #[arg(long, value_name = "DIR", requires = "images")]
    root: Option<PathBuf>,
    /// Descriptions of people in the gallery (.jsonl), by which both models are compared before the switch.
    #[arg(long, value_name = "FILE.jsonl")]
    queries: Option<PathBuf>,
    /// Send at most so many images a second, so that searches stay fast.
    #[arg(long, value_name = "N", value_parser = crate::index::parse_rate)]
    rate: Option<f32>,
    /// Delete the old generation after the switch.
    #[arg(long)]
    drop_old: bool,
    /// Remove images that only the new generation has. They were deleted while it was filled, or indexed while it served
    /// before a rollback.
    #[arg(long, conflicts_with = "keep_surplus")]
    drop_surplus: bool,
    /// Keep images that only the new generation has.
    #[arg(long)]
    keep_surplus: bool,
    /// Switch without asking, also to a model that finds clearly fewer people.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    job: JobArguments,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let queries = arguments.queries.as_deref().map(read_captions).transpose()?.unwrap_or_default();
    anyhow::ensure!(
        queries.iter().all(|query| query.person_id.is_some()),
        "every query needs a person_id, which tells what its hits are worth"
    );
    let interrupt = interrupt::at_signal()?;
    let mut client = arguments.server.connect().await?;
    let generations = super::generations(&mut client, &arguments.name).await?;
    let fingerprint = arguments.to.to_string();
    if let Some(old) = already_switched(&generations, &fingerprint) {
        let Some(old) = old else {
            return finish(&arguments, client, None, generations.active, &Comparison::default()).await;
        };
        // An earlier run may have been stopped right behind the switch.
        let change = arguments.change(&client, old, generations.active, interrupt);
        change.fill_late().await?;
        return finish(&arguments, client, old, generations.active, &Comparison::default()).await;
    }
    let request = CreateGenerationRequest { gallery: arguments.name.clone(), fingerprint };
    let new = answer(client.create_generation(request).await)?.generation;
    let change = arguments.change(&client, generations.active, new, interrupt);
    arguments.tell(&format!("1. filling generation {new} beside generation {}", change.old));
    if change.fill().await? == Filled::Interrupted {
        arguments.tell("stopped; the old model serves on. Run the command again to continue");
        return Ok(ExitCode::FAILURE);
    }
    let comparison = compare(&arguments, &change, &queries).await?;
    if !may_switch(&arguments, &comparison)? {
        arguments.tell("nothing was switched; the old model serves on");
        return Ok(ExitCode::FAILURE);
    }
    let request = ActivateGenerationRequest { gallery: arguments.name.clone(), generation: new, force: false };
    answer(client.activate_generation(request).await)?;
    arguments.tell(&format!("3. generation {new} serves"));
    change.fill_late().await?;
    finish(&arguments, client, change.old, new, &comparison).await
}

impl Arguments {
    fn change(&self, client: &Client, old: u32, new: u32, interrupt: CancellationToken) -> Change {
        Change {
            client: client.clone(),
            gallery: self.name.clone(),
            old,
            new,
            images: self.images.clone(),
            root: self.root.clone(),
            max_images_per_second: self.rate.unwrap_or_default(),
            drop_surplus: self.drop_surplus,
            keep_surplus: self.keep_surplus,
            job: self.job.clone(),
            interrupt,
        }
    }

    /// For people only: with --json, standard output belongs to a program.
    fn tell(&self, text: &str) {
        if !self.job.json {
            say!("{text}");
        }
    }
}

/// The generation that served before, where an earlier run has switched already.
fn already_switched(generations: &ListGenerationsResponse, fingerprint: &str) -> Option<Option<u32>> {
    let active = generations.generations.iter().find(|generation| generation.generation == generations.active)?;
    let others = generations.generations.iter().map(|generation| generation.generation);
    (active.fingerprint == fingerprint).then(|| others.filter(|&number| number < generations.active).max())
}

/// What both models find.
#[derive(Debug, Default)]
struct Comparison {
    old: Option<Quality>,
    new: Option<Quality>,
}

async fn compare(arguments: &Arguments, change: &Change, queries: &[Caption]) -> anyhow::Result<Comparison> {
    let difference = change.compare().await?;
    let (old, new) = (difference.images_against, difference.images);
    arguments.tell(&format!("2. {old} images in generation {}, {new} in generation {}", change.old, change.new));
    if queries.is_empty() {
        arguments.tell("   what they find was not compared; --queries does that");
        return Ok(Comparison::default());
    }
    let old = measure(change.client.clone(), &change.address(change.old), queries).await?;
    let new = measure(change.client.clone(), &change.address(change.new), queries).await?;
    for (what, before, after) in [("Rank-1", old.rank1, new.rank1), ("Rank-10", old.rank10, new.rank10)] {
        arguments.tell(&format!("   {what:<8}{before:6.2}  ->  {after:6.2}   {:+.2}", after - before));
    }
    Ok(Comparison { old: Some(old), new: Some(new) })
}

fn may_switch(arguments: &Arguments, comparison: &Comparison) -> anyhow::Result<bool> {
    match (&comparison.old, &comparison.new) {
        (Some(old), Some(new)) if is_clearly_worse(old, new) && !arguments.yes => {
            confirm("The new model finds clearly fewer of the people. Switch all the same?")
        }
        (Some(_) | None, Some(_) | None) => Ok(true),
    }
}

/// Deletes the old generation where that is asked for, and tells what can be done next.
async fn finish(
    arguments: &Arguments,
    mut client: Client,
    old: impl Into<Option<u32>>,
    new: u32,
    comparison: &Comparison,
) -> anyhow::Result<ExitCode> {
    let (old, name) = (old.into(), &arguments.name);
    super::generation::warn_of_watches(&mut client, name, &arguments.to.to_string()).await?;
    if let (true, Some(generation)) = (arguments.drop_old, old) {
        let request = DeleteGenerationRequest { gallery: name.clone(), generation };
        answer(client.delete_generation(request).await)?;
    }
    if arguments.job.json {
        let rank1 = |quality: &Option<Quality>| quality.as_ref().map(|quality| quality.rank1);
        let rank10 = |quality: &Option<Quality>| quality.as_ref().map(|quality| quality.rank10);
        let report = json!({
            "finished": true,
            "gallery": name,
            "active_generation": new,
            "old_generation": old,
            "old_is_deleted": arguments.drop_old && old.is_some(),
            "old_rank1": rank1(&comparison.old),
            "new_rank1": rank1(&comparison.new),
            "old_rank10": rank10(&comparison.old),
            "new_rank10": rank10(&comparison.new),
        });
        say!("{report}");
        return Ok(ExitCode::SUCCESS);
    }
    match old {
        None => say!("gallery {name} is of model {} already, and there is no other generation", arguments.to),
        Some(old) if arguments.drop_old => {
            say!("gallery {name} is of model {}; generation {old} is gone", arguments.to)
        }
        Some(old) => {
            say!("gallery {name} is of model {}", arguments.to);
            say!("go back:   descry gallery activate {name} {old}");
            say!("clean up:  descry gallery drop-generation {name} {old}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::Gallery;

    #[test]
    fn a_run_after_the_switch_begins_nothing_anew() {
        let generation = |generation, fingerprint: &str| Gallery {
            generation,
            fingerprint: fingerprint.to_owned(),
            ..Gallery::default()
        };
        let both = vec![generation(1, "old"), generation(2, "new")];
        let before = ListGenerationsResponse { generations: both.clone(), active: 1 };
        assert_eq!(already_switched(&before, "new"), None);
        let after = ListGenerationsResponse { generations: both, active: 2 };
        assert_eq!(already_switched(&after, "new"), Some(Some(1)));
        let alone = ListGenerationsResponse { generations: vec![generation(2, "new")], active: 2 };
        assert_eq!(already_switched(&alone, "new"), Some(None));
    }
}
