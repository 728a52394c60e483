//! `descry export`

use crate::checkpoint_families;
use crate::checkpoint_place::FetchArguments;
use crate::image_size;
use crate::output::say;
use crate::precision_comparison::Comparison;
use crate::verified_export::export_verified;
use anyhow::Context as _;
use clap::ValueEnum;
use descry_export::{Activation, ExportRequest, ModelFlags, ModelSource, Preset, TowerForm};
use descry_model::{Dialect, Manifest, Method, Precision};
use std::path::PathBuf;
use std::process::ExitCode;

/// Turn a checkpoint into a model bundle.
///
/// Reads what the published methods save (--list names them) and plain CLIP (PyTorch, safetensors, Hugging Face folders,
/// OpenCLIP), without running code from the file. Everything is merged exactly; the result is checked against the unmerged
/// weights before it appears in the output folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry export --checkpoint runs/cuhk/best.pth --out bundles/cuhk
  descry export --checkpoint clip-vit-base-patch16/ --image-size 384x128 --out bundles/clip
  descry export --checkpoint runs/cuhk/best.pth --precision int8 --calibrate data/CUHK-PEDES --eval data/CUHK-PEDES \\
      --out bundles/cuhk-int8
  descry export --checkpoint hf://openai/clip-vit-base-patch16 --out bundles/clip
  descry export --list
  descry export --random vit-b-16 --family dm-adapter --seed 7 --out bundles/random")]
pub(crate) struct Arguments {
    /// PyTorch checkpoint, .safetensors file or Hugging Face CLIPModel folder; or where one is fetched from:
    /// `hf://OWNER/REPO[@REVISION][/FILE]` or `https://...`
    #[arg(long, value_name = "PATH", required_unless_present_any = ["random", "list"])]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    fetch: FetchArguments,
    /// The run's settings [default: CHECKPOINT.yaml or configs.yaml beside the checkpoint].
    #[arg(long, value_name = "FILE", requires = "checkpoint")]
    config: Option<PathBuf>,
    /// Plain CLIP that fills in what a checkpoint of trained parameters lacks.
    #[arg(long, value_name = "PATH", requires = "checkpoint")]
    base: Option<PathBuf>,
    /// tokenizer.json or merge table [default: beside the checkpoint, else CLIP's own].
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Makes a bundle without a tokenizer, which cannot be searched by text, where none is known.
    #[arg(long, conflicts_with = "tokenizer")]
    without_tokenizer: bool,
    /// Height and width of the images in pixels, such as 384x128.
    #[arg(long, value_name = "HEIGHTxWIDTH", value_parser = image_size::parse)]
    image_size: Option<(usize, usize)>,
    /// Step between patches in pixels, where patches overlap.
    #[arg(long, value_name = "PIXELS")]
    stride: Option<usize>,
    /// How many experts a token is sent to (DM-Adapter).
    #[arg(long, value_name = "K")]
    topk: Option<usize>,
    /// Activation of the towers' MLPs, quick-gelu or gelu, where no configuration beside the checkpoint says it.
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// Attention heads of the vision and of the text tower, such as 12,8, where no configuration says them and a head is not
    /// 64 wide.
    #[arg(long, value_name = "VISION,TEXT", value_parser = parse_heads)]
    heads: Option<(usize, usize)>,
    /// Number format of the towers.
    #[arg(long, value_enum, default_value = "fp32")]
    precision: PrecisionName,
    /// Images and captions from which int8 takes the ranges of activations: a data set (its `train` split is used), or a
    /// folder of images with a captions.txt. Without it, each row finds its range at run time. Two of the images and four
    /// of the captions are stored in the bundle, which proves itself by them at each start.
    #[arg(long, value_name = "DIR")]
    calibrate: Option<PathBuf>,
    /// Operators of the graphs [default: what the precision's fastest device wants].
    #[arg(long, value_enum)]
    dialect: Option<DialectName>,
    /// Without everything that makes the towers cheap: a baseline for measurements.
    #[arg(long)]
    plain: bool,
    /// A data set on which to compare cosines and Rank-k with float32.
    #[arg(long, value_name = "DIR")]
    eval: Option<PathBuf>,
    /// Random weights in a published size instead of a checkpoint: vit-b-16, vit-b-32 or vit-l-14.
    #[arg(long, value_name = "SIZE", conflicts_with = "checkpoint")]
    random: Option<Preset>,
    /// The method of the random weights: clip, dm-adapter, up-person, irra, rde or tbps-clip.
    #[arg(long, value_name = "NAME", default_value = "clip", requires = "random")]
    family: Method,
    /// Seed of the random weights.
    #[arg(long, default_value_t = 0, requires = "random")]
    seed: u64,
    /// Folder to write; an existing bundle there is replaced.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Prints which published models are read, where their weights are, and the command for each.
    #[arg(long, conflicts_with_all = ["checkpoint", "random", "out"])]
    list: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionName {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit products, for CUDA.
    Fp16,
    /// 8-bit products.
    Int8,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DialectName {
    /// ONNX Runtime's own fused operators (its CPU and CUDA execution providers).
    Contrib,
    /// Standard operators (OpenVINO, TensorRT).
    Standard,
}

pub(crate) async fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list {
        checkpoint_families::print();
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(checkpoint) = &arguments.checkpoint {
        arguments.checkpoint = Some(arguments.fetch.fetched(checkpoint, false).await?);
    }
    if let Some(base) = &arguments.base {
        arguments.base = Some(arguments.fetch.fetched(base, true).await?);
    }
    let (calibrate, eval) = (arguments.calibrate.clone(), arguments.eval.clone());
    let request = request(arguments)?;
    anyhow::ensure!(
        calibrate.is_none() || request.form.precision == Precision::Int8,
        "--calibrate is for --precision int8 only"
    );
    let out = request.out.clone();
    anyhow::ensure!(
        eval.is_none() || request.form.precision != Precision::Fp32,
        "--eval compares with fp32, so it needs --precision fp16 or int8; `descry eval` measures any bundle"
    );
    let comparison = eval.map(|root| Comparison::prepare(&root, &request)).transpose()?;
    let manifest = export_verified(request, calibrate).await?;
    print_summary(&manifest);
    say!("\nbundle: {}", out.display());
    if let Some(comparison) = comparison {
        comparison.report(&out).await?;
    }
    Ok(ExitCode::SUCCESS)
}

fn request(arguments: Arguments) -> anyhow::Result<ExportRequest> {
    let source = match (arguments.checkpoint, arguments.random) {
        (Some(path), _) => ModelSource::Checkpoint { path, config: arguments.config, base: arguments.base },
        (None, Some(preset)) => ModelSource::Random { preset, method: arguments.family, seed: arguments.seed },
        (None, None) => anyhow::bail!("give --checkpoint or --random"),
    };
    let precision = match arguments.precision {
        PrecisionName::Fp32 => Precision::Fp32,
        PrecisionName::Fp16 => Precision::Fp16,
        PrecisionName::Int8 => Precision::Int8,
    };
    let dialect = arguments.dialect.map(|dialect| match dialect {
        DialectName::Contrib => Dialect::Contrib,
        DialectName::Standard => Dialect::Standard,
    });
    let form = TowerForm { precision, dialect, plain: arguments.plain };
    Ok(ExportRequest {
        source,
        tokenizer: arguments.tokenizer,
        without_tokenizer: arguments.without_tokenizer,
        flags: ModelFlags {
            image_size_px: arguments.image_size,
            stride: arguments.stride,
            top_k: arguments.topk,
            activation: arguments.activation,
            heads: arguments.heads,
        },
        form,
        out: arguments.out.context("give --out")?,
    })
}

fn parse_heads(text: &str) -> Result<(usize, usize), String> {
    let count = |text: &str| text.trim().parse().ok().filter(|&count: &usize| count > 0);
    let heads = text.split_once(',').and_then(|(vision, text)| count(vision).zip(count(text)));
    heads.ok_or_else(|| "expected two positive whole numbers, such as 12,8".to_owned())
}

fn print_summary(manifest: &Manifest) {
    let mut rows = vec![
        ("family", manifest.family.to_string()),
        ("fingerprint", manifest.fingerprint.clone()),
        ("embedding dimension", manifest.embedding_dimension.to_string()),
        ("image size", format!("{} x {} pixels", manifest.image.height_px, manifest.image.width_px)),
        ("context length", manifest.text.context_length.to_string()),
        ("precision", manifest.precision.to_string()),
        ("source", manifest.source.checkpoint.clone()),
    ];
    rows.extend(manifest.summary.iter().map(|(name, value)| (name.as_str(), value.clone())));
    for (name, value) in rows {
        say!("{name:<34}{value}");
    }
}
