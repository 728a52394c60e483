//! `descry gallery reembed`

use super::generation::warn_of_watches;
use crate::captions::{Caption, read_captions};
use crate::confirmation::confirm;
use crate::interrupt;
use crate::job_arguments::{JobArguments, parse_rate};
use crate::job_display::{JobDisplay, print_failures};
use crate::output::say;
use crate::server::Server;
use anyhow::Context as _;
use descry_client::{
    Begun, Connection, Filled, JobObserver, JobReport, ModelChange, ModelChangeObserver, ModelChangeOptions,
    PersonQuery, QualityComparison, Surplus,
};
use descry_model::Fingerprint;
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
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f32>,
    /// Delete the old generation after the switch.
    #[arg(long)]
    drop_old: bool,
    /// Remove images that only the new generation has. They were indexed while it served before a rollback.
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
    let queries = read_queries(&arguments)?;
    let interrupt = interrupt::at_signal()?;
    let connection = arguments.server.connect().await?;
    let (name, options) = (&arguments.name, arguments.options(interrupt));
    let change = match ModelChange::begin(&connection, name, &arguments.to, options).await? {
        Begun::UnderWay(change) => change,
        Begun::Over { active, previous } => {
            if let (true, Some(old)) = (arguments.drop_old, previous) {
                connection.delete_generation(name, old).await?;
            }
            return finish(&arguments, &connection, previous, active, None).await;
        }
    };
    let (old, new) = (change.old(), change.new_generation());
    let mut display = Display(arguments.job.display());
    arguments.tell(&format!("1. filling generation {new} beside generation {old}"));
    let Filled::Complete(difference) = change.fill(&mut display).await? else {
        arguments.tell("stopped; the old model serves on. Run the command again to continue");
        return Ok(ExitCode::FAILURE);
    };
    let (images_old, images_new) = (difference.images_against, difference.images);
    arguments.tell(&format!("2. {images_old} images in generation {old}, {images_new} in generation {new}"));
    let comparison = compare(&arguments, &change, &queries, &mut display).await?;
    if !may_switch(&arguments, comparison.as_ref())? {
        arguments.tell("nothing was switched; the old model serves on");
        return Ok(ExitCode::FAILURE);
    }
    if change.activate(&mut display).await?.is_none() {
        arguments.tell("stopped; the old model serves on. Run the command again to continue");
        return Ok(ExitCode::FAILURE);
    }
    arguments.tell(&format!("3. generation {new} serves"));
    if arguments.drop_old {
        change.drop_old().await?;
    }
    finish(&arguments, &connection, Some(old), new, comparison).await
}

impl Arguments {
    fn options(&self, stop: CancellationToken) -> ModelChangeOptions {
        let surplus = match (self.drop_surplus, self.keep_surplus) {
            (true, _) => Surplus::Drop,
            (false, true) => Surplus::Keep,
            (false, false) => Surplus::Refuse,
        };
        ModelChangeOptions {
            images: self.images.clone(),
            root: self.root.clone(),
            max_images_per_second: self.rate,
            surplus,
            job: self.job.options(stop),
        }
    }

    /// For people only: with --json, standard output belongs to a program.
    fn tell(&self, text: &str) {
        if !self.job.json {
            say!("{text}");
        }
    }
}

fn read_queries(arguments: &Arguments) -> anyhow::Result<Vec<PersonQuery>> {
    let queries = arguments.queries.as_deref().map(read_captions).transpose()?.unwrap_or_default();
    let query = |Caption { text, person_id }| Some(PersonQuery { text, person_id: person_id? });
    let queries = queries.into_iter().map(query).collect::<Option<Vec<PersonQuery>>>();
    queries.context("every query needs a person_id, which tells what its hits are worth")
}

/// The steps of a change. Each pass of filling is a job.
struct Display(JobDisplay);

impl JobObserver for Display {
    fn opening(&mut self) {
        self.0.opening();
    }

    fn started(&mut self, total: Option<u64>) {
        self.0.started(total);
    }

    fn progressed(&mut self, report: &JobReport) {
        self.0.progressed(report);
    }

    fn second_passed(&mut self, report: &JobReport) {
        self.0.second_passed(report);
    }

    fn ended(&mut self, report: &JobReport) {
        self.0.ended(report);
        if let JobDisplay::Bar(_) = self.0 {
            print_failures(&report.first_failures, report.failed);
        }
    }
}

impl ModelChangeObserver for Display {
    fn compared(&mut self, examined: u64, total: u64) {
        self.0.count(examined, total, "images compared");
    }

    fn comparison_ended(&mut self) {
        self.0.clear();
    }

    fn searched(&mut self, done: usize, total: usize) {
        self.0.count(done as u64, total as u64, "queries");
        if done == total {
            self.0.clear();
        }
    }
}

async fn compare(
    arguments: &Arguments,
    change: &ModelChange,
    queries: &[PersonQuery],
    display: &mut Display,
) -> anyhow::Result<Option<QualityComparison>> {
    if queries.is_empty() {
        arguments.tell("   what they find was not compared; --queries does that");
        return Ok(None);
    }
    let comparison = change.measure(queries, display).await?;
    let QualityComparison { old, new } = &comparison;
    for (what, before, after) in [("Rank-1", old.rank1, new.rank1), ("Rank-10", old.rank10, new.rank10)] {
        arguments.tell(&format!("   {what:<8}{before:6.2}  ->  {after:6.2}   {:+.2}", after - before));
    }
    Ok(Some(comparison))
}

fn may_switch(arguments: &Arguments, comparison: Option<&QualityComparison>) -> anyhow::Result<bool> {
    if arguments.yes || !comparison.is_some_and(QualityComparison::is_clearly_worse) {
        return Ok(true);
    }
    confirm("The new model finds clearly fewer of the people. Switch all the same?")
}

/// Tells what was done, and what can be done next.
async fn finish(
    arguments: &Arguments,
    connection: &Connection,
    old: Option<u32>,
    new: u32,
    comparison: Option<QualityComparison>,
) -> anyhow::Result<ExitCode> {
    let name = &arguments.name;
    warn_of_watches(connection, name, &arguments.to.to_string()).await?;
    if arguments.job.json {
        let of = |value: fn(&QualityComparison) -> f64| comparison.as_ref().map(value);
        let report = json!({
            "finished": true,
            "gallery": name,
            "active_generation": new,
            "old_generation": old,
            "old_is_deleted": arguments.drop_old && old.is_some(),
            "old_rank1": of(|comparison| comparison.old.rank1),
            "new_rank1": of(|comparison| comparison.new.rank1),
            "old_rank10": of(|comparison| comparison.old.rank10),
            "new_rank10": of(|comparison| comparison.new.rank10),
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
