//! `descry synth`

use anyhow::Context as _;
use descry_synthesis::{Domain, SynthesisError, SynthesisSettings, synthesize};
use descry_terminal::interrupt::{self, EXIT_INTERRUPTED};
use descry_terminal::{image_size, progress, say, say_lines, shell};
use std::path::PathBuf;
use std::process::ExitCode;

/// Make a data set of drawn pedestrians with captions, in CUHK-PEDES' layout.
///
/// Nobody in it exists, so it can be shown, shared and trained on without a licence. Equal settings give equal files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry synth --identities 1500 --out data/drawn
  descry synth --identities 300 --domain night --seed 7 --size 128x48 --out data/night")]
pub(crate) struct Arguments {
    /// Number of people. 13 % of them are in the test split, 7 % in the validation split.
    #[arg(long, value_name = "N")]
    identities: usize,
    /// Folder to write.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Another seed gives other people in other pictures.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// World of the cameras: street, mall, night or drone.
    #[arg(long, default_value_t = Domain::Street, value_name = "NAME")]
    domain: Domain,
    /// Images of each person.
    #[arg(long, default_value_t = 4, value_name = "N")]
    images: usize,
    /// Captions of each image.
    #[arg(long, default_value_t = 2, value_name = "N")]
    captions: usize,
    /// Height and width of the images in pixels.
    #[arg(long, default_value = "384x128", value_name = "HEIGHTxWIDTH", value_parser = image_size::parse)]
    size: (usize, usize),
    /// Threads that draw [default: all cores].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let defaults = SynthesisSettings::default();
    let (height_px, width_px) = arguments.size;
    let settings = SynthesisSettings {
        identities: arguments.identities,
        images_per_identity: arguments.images,
        captions_per_image: arguments.captions,
        seed: arguments.seed,
        domain: arguments.domain,
        width_px,
        height_px,
        threads: arguments.threads.unwrap_or(defaults.threads),
        ..defaults
    };
    settings.validate()?;
    let interrupt = interrupt::at_signal_saying("finishing the people in hand; press Ctrl-C again to stop now")?;
    let bar = progress::bar(settings.identities, "people");
    let (display, out) = (bar.clone(), arguments.out.clone());
    let made = tokio::task::spawn_blocking(move || {
        let is_cancelled = || interrupt.is_cancelled();
        synthesize(&settings, &out, &is_cancelled, &|done| display.set_position(done as u64))
    })
    .await
    .context("drawing")?;
    bar.finish_and_clear();
    let summary = match made {
        Ok(summary) => summary,
        Err(error @ SynthesisError::Cancelled) => {
            say!("{error}");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        Err(error) => return Err(error.into()),
    };
    say!("{} people, {} images, {} captions", summary.identities, summary.images, summary.captions);
    let root = shell::word(&arguments.out);
    say_lines!(
        "data set: {}\n
Next:
  descry train --method clip --preset small --dataset cuhk-pedes --root {root} \\
      --tokenizer demo/tokenizer.json --set input.context_length=77 --out runs/clip
  descry eval --model BUNDLE --dataset cuhk-pedes --root {root}",
        arguments.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
