//! `descry train`

mod display;
mod settings;

use anyhow::Context as _;
use descry_evaluation::DatasetLayout;
use descry_terminal::interrupt::{self, EXIT_INTERRUPTED};
use descry_terminal::{say, say_lines, shell};
use descry_trainer::{Method, Preset, Recipe, TrainRequest, TrainSummary};
use settings::SettingArguments;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Fine-tune CLIP with DM-Adapter or UP-Person, or train a small CLIP from nothing.
///
/// The run folder holds weights that `descry export` and the published Python code read, the metrics of every step, and
/// what a continuation needs besides base and data set: Ctrl-C finishes the step and saves, --resume goes on as if
/// nothing had happened.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry train --method dm-adapter --base ViT-B-16.pt --dataset cuhk-pedes --root data --out runs/cuhk --device cuda
  descry train --method clip --preset small --dataset cuhk-pedes --root data/drawn \\
      --tokenizer demo/tokenizer.json --set input.context_length=77 --out runs/clip
  descry train --method up-person --base runs/clip/best.safetensors --preset small --dataset cuhk-pedes \\
      --root data/drawn --set input.context_length=77 --out runs/up
  descry train --method up-person --base ViT-B-16.pt --dataset rstpreid --root data --out runs/no-prefix \\
      --no-prefix --set up_person.rank=8 --set optimizer.gradient_clip_norm=1
  descry train --resume runs/cuhk
  descry train --resume runs/cuhk --set loading.max_unreadable_images=100
  descry train --method dm-adapter --dataset icfg-pedes --show-recipe > recipe.yaml")]
pub(crate) struct Arguments {
    /// What to train: clip, dm-adapter or up-person.
    #[arg(long, value_name = "METHOD", required_unless_present = "resume")]
    method: Option<Method>,
    /// Plain CLIP to start from: PyTorch checkpoint, .safetensors file or Hugging Face folder. Only clip needs none.
    #[arg(long, value_name = "PATH")]
    base: Option<PathBuf>,
    /// Layout of the data set: cuhk-pedes, icfg-pedes or rstpreid.
    #[arg(long, value_name = "NAME", required_unless_present = "resume")]
    dataset: Option<DatasetLayout>,
    /// The data set's folder, or the folder that holds it.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "show_recipe"])]
    root: Option<PathBuf>,
    /// Folder of the run: new or empty.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["resume", "show_recipe"])]
    out: Option<PathBuf>,
    /// tokenizer.json or merge table [default: beside the base, else CLIP's own].
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Print all settings as preset, file and flags give them, and stop. What is printed can be given as --config.
    #[arg(long)]
    show_recipe: bool,
    /// Go on with an interrupted run; base and data set must lie where they lay. Only settings that change nothing of
    /// what is computed can be given anew, such as --set loading.max_unreadable_images=100; the run keeps them.
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "method", "base", "dataset", "root", "out", "tokenizer", "show_recipe", "preset", "config",
    ])]
    resume: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingArguments,
}

enum Work {
    Start(Box<TrainRequest>),
    Resume { run: PathBuf, settings: Vec<(String, String)> },
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let show_recipe = arguments.show_recipe;
    let work = match arguments.resume.clone() {
        Some(run) => Work::Resume { run, settings: arguments.settings.overrides() },
        None => {
            let recipe = recipe(&arguments)?;
            if show_recipe {
                say_lines!("{}", serde_json::to_string_pretty(&recipe).context("writing JSON")?);
                return Ok(ExitCode::SUCCESS);
            }
            Work::Start(Box::new(request(arguments, recipe)?))
        }
    };
    let interrupt = interrupt::at_signal_saying("finishing the step and saving; press Ctrl-C again to stop now")?;
    let summary = tokio::task::spawn_blocking(move || {
        let mut display = display::Display::default();
        let is_cancelled = || interrupt.is_cancelled();
        let summary = match work {
            Work::Start(request) => descry_trainer::train(&request, &mut display, &is_cancelled),
            Work::Resume { run, settings } => descry_trainer::resume(&run, &settings, &mut display, &is_cancelled),
        };
        display.clear();
        summary
    })
    .await
    .context("training")??;
    Ok(report(&summary))
}

fn recipe(arguments: &Arguments) -> anyhow::Result<Recipe> {
    let method = arguments.method.context("give --method")?;
    let dataset = arguments.dataset.context("give --dataset")?;
    let settings = &arguments.settings;
    settings.check_method(method)?;
    let preset = Recipe::preset(settings.preset.unwrap_or(Preset::Published), method, dataset);
    let recipe = Recipe::layered(preset, settings.config.as_deref(), &settings.overrides())?;
    recipe.validate()?;
    Ok(recipe)
}

fn request(arguments: Arguments, recipe: Recipe) -> anyhow::Result<TrainRequest> {
    anyhow::ensure!(
        arguments.base.is_some() || recipe.method == Method::Clip,
        "{} starts from a plain CLIP; give its checkpoint with --base",
        recipe.method
    );
    Ok(TrainRequest {
        recipe,
        base: arguments.base,
        tokenizer: arguments.tokenizer,
        root: arguments.root.context("give --root")?,
        out: arguments.out.context("give --out")?,
    })
}

fn report(summary: &TrainSummary) -> ExitCode {
    if let Some(best) = &summary.best {
        say!("\nbest: epoch {}, {}", best.epoch, display::qualities(best));
    }
    say!("run: {}", summary.run.display());
    if summary.was_cancelled {
        let position = summary.position;
        say!("interrupted in epoch {} after {} steps; everything is saved", position.epoch, position.step);
        say_lines!("\nGo on:\n  descry train --resume {}", shell::word(&summary.run));
        return ExitCode::from(EXIT_INTERRUPTED);
    }
    let name = summary.run.file_name().map_or(Path::new("trained"), Path::new);
    say_lines!(
        "\nNext:\n  descry export --checkpoint {} --out {}",
        shell::word(&summary.weights),
        shell::word(&Path::new("bundles").join(name))
    );
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use descry_trainer::DeviceKind;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Program::try_parse_from(["train"].into_iter().chain(line.split(' '))).map(|program| program.arguments)
    }

    #[track_caller]
    fn recipe_of(line: &str) -> anyhow::Result<Recipe> {
        recipe(&parse(&format!("{line} --dataset cuhk-pedes --show-recipe")).unwrap())
    }

    #[test]
    fn flags_are_settings() {
        let recipe = recipe_of(
            "--method up-person --preset small --seed 7 --epochs 3 --batch-size 32 --micro-batch-size 8 \
             --learning-rate 0.0005 --device cuda:1 --threads 2 --no-prefix --no-adapter --depth-lora 3 \
             --set up_person.rank=4 --set loss.temperature=0.03",
        )
        .unwrap();
        assert_eq!((recipe.seed, recipe.epochs, recipe.batch_size, recipe.micro_batch_size), (7, 3, 32, Some(8)));
        assert_eq!((recipe.optimizer.learning_rate, recipe.loss.temperature), (5e-4, 0.03));
        assert_eq!((recipe.device.kind, recipe.device.index, recipe.device.threads), (DeviceKind::Cuda, 1, 2));
        let up_person = recipe.up_person;
        assert_eq!((up_person.depth_prefix, up_person.depth_adapter), (Some(0), None));
        assert_eq!((up_person.depth_lora, up_person.rank), (Some(3), 4));
        let recipe = recipe_of("--method dm-adapter --experts 4 --top-k 1 --no-domain-prompt --no-balancing-loss");
        let recipe = recipe.unwrap();
        assert_eq!((recipe.dm_adapter.experts, recipe.dm_adapter.top_k), (4, 1));
        assert_eq!((recipe.dm_adapter.domain_prompt, recipe.loss.balancing_weight), (false, 0.0));
    }

    #[test]
    fn flags_of_another_method_are_refused() {
        let message = recipe_of("--method up-person --experts 4").unwrap_err().to_string();
        assert!(message.contains("--experts") && message.contains("dm-adapter"), "{message}");
        let message = recipe_of("--method clip --no-lora").unwrap_err().to_string();
        assert!(message.contains("--no-lora") && message.contains("up-person"), "{message}");
        let message = recipe_of("--method dm-adapter --set up_person.rank=8").unwrap_err().to_string();
        assert!(message.contains("--set up_person.rank is for up-person, not for dm-adapter"), "{message}");
        let message = recipe_of("--method up-person --set loss.balancing_weight=1").unwrap_err().to_string();
        assert!(message.contains("loss.balancing_weight is for dm-adapter"), "{message}");
        assert!(recipe_of("--method up-person --no-prefix --no-lora --no-adapter").is_err());
        for method in ["irra", "rde", "tbps-clip"] {
            let message = recipe_of(&format!("--method {method}")).unwrap_err().to_string();
            assert!(message.contains(method) && message.contains("clip, dm-adapter, up-person"), "{message}");
        }
        assert!(recipe_of("--method clip --set epoch=3").unwrap_err().to_string().contains("epoch"));
    }

    #[test]
    fn a_file_may_be_a_whole_recipe() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.yaml");
        let recipe = recipe_of("--method dm-adapter --preset small --experts 4").unwrap();
        std::fs::write(&path, serde_json::to_string_pretty(&recipe).unwrap()).unwrap();
        assert_eq!(recipe_of(&format!("--method dm-adapter --config {}", path.display())).unwrap(), recipe);
    }

    #[test]
    fn what_is_missing_or_too_much_is_told() {
        assert!(parse("--resume runs/one").is_ok());
        let arguments = parse("--resume runs/one --set loading.threads=4").unwrap();
        assert_eq!(arguments.settings.overrides(), [("loading.threads".to_owned(), "4".to_owned())]);
        for line in [
            "--resume runs/one --method clip",
            "--resume runs/one --config recipe.yaml",
            "--resume runs/one --preset small",
            "--method clip --dataset cuhk-pedes --root data",
            "--method clip --root data --out runs/one",
            "--method clip --dataset cuhk-pedes --root data --out runs/one --device tpu",
            "--method clip --dataset cuhk-pedes --root data --out runs/one --set epochs",
            "--method clip --dataset cuhk-pedes --root data --out runs/one --no-prefix --depth-prefix 3",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let arguments = parse("--method dm-adapter --dataset cuhk-pedes --root data --out runs/one").unwrap();
        let recipe = recipe(&arguments).unwrap();
        assert!(request(arguments, recipe).unwrap_err().to_string().contains("--base"));
    }
}
