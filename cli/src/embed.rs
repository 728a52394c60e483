//! `descry embed`

mod image_rows;

use crate::interrupt::{self, EXIT_INTERRUPTED};
use crate::job_display::{print_failures, print_inputs};
use crate::output::say;
use crate::split_features::LostOfTexts;
use crate::{model, progress};
use anyhow::Context as _;
use descry_encoder::encode_all_texts;
use descry_intake::{EmbeddingArchive, FailureReport, ImageSource, SourceOptions, TimeSources, read_text};
use image_rows::{ImageRows, MAX_IMAGE_BYTES};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Largest file of texts, in bytes: all of them are held at once.
const MAX_TEXT_FILE_BYTES: u64 = 1 << 30;

/// Compute embeddings of images and texts without a service.
///
/// Writes a NumPy archive with the arrays `images` and `texts`, float32, one row of unit length for each input, in
/// input order; with `image_ids`, the ids that `descry index` would give the images, and with the model's `fingerprint`.
/// `descry index --embeddings` takes it as it is. Every image is tried; if some fail, they are named and nothing is
/// written, unless --skip-bad is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry embed --model bundles/cuhk --images crops/*.jpg --out crops.npz
  descry embed --model bundles/cuhk --images crops --skip-bad --failures failed.csv --out crops.npz
  descry embed --model bundles/cuhk --texts captions.txt --out captions.npz
  descry embed --model bundles/cuhk --images crops --out crops.npz && descry index --embeddings crops.npz")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: model::ModelArguments,
    /// Folders (an image's id is its path below the folder), image files (the name), lists of files or tar archives, as
    /// `descry index` takes them.
    #[arg(long, num_args = 1.., value_name = "PATH", required_unless_present = "texts")]
    images: Vec<PathBuf>,
    /// Put this before every image id, such as c1/.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, requires = "images")]
    prefix: String,
    /// Write the rows of the images that can be read, and leave the others out.
    #[arg(long, requires = "images")]
    skip_bad: bool,
    /// Write every image that failed to this file (.csv, or .jsonl with one JSON object a line): id, path and reason.
    #[arg(long, value_name = "FILE", requires = "images")]
    failures: Option<PathBuf>,
    /// Texts: .txt with one a line, or .jsonl with one JSON string a line.
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// The archive to write.
    #[arg(long, value_name = "FILE.npz")]
    out: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let interrupt = interrupt::at_signal_saying("stopping; nothing is written")?;
    tokio::select! {
        embedded = embed(arguments) => embedded,
        // What was begun of the archive goes with the work.
        () = interrupt.cancelled() => Ok(ExitCode::from(EXIT_INTERRUPTED)),
    }
}

async fn embed(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let source = open_images(&arguments)?;
    let texts = arguments.texts.as_deref().map(read_texts).transpose()?;
    let failures = arguments.failures.as_deref().map(FailureReport::create).transpose()?;
    // Opened before the work, so that a wrong path does not cost it.
    let mut archive = EmbeddingArchive::create(&arguments.out)?;
    let (encoder, _workers) = model::open(&arguments.model).await?;
    if texts.is_some() {
        descry_standalone::require_tokenizer(&encoder)?;
    }
    let images = match source {
        None => None,
        Some(source) => Some(ImageRows::encode(&encoder, source, failures).await?),
    };
    let text_rows = match &texts {
        None => None,
        Some(texts) => {
            let bar = progress::bar(texts.len(), "texts");
            let encoded = encode_all_texts(&encoder, texts, |count| bar.inc(count as u64)).await?;
            bar.finish_and_clear();
            LostOfTexts::of(&encoded).tell("texts");
            Some(encoded.features)
        }
    };
    // Nothing is printed before the archive is whole, or gone: whoever reads along may end before it is.
    if let Some(images) = &images {
        if images.ids.is_empty() || (images.failed > 0 && !arguments.skip_bad) {
            drop(archive);
            print_failures(&images.first_failures, images.failed);
            print_inputs(&images.inputs);
            anyhow::ensure!(!images.ids.is_empty(), "no image can be read; nothing is written");
            say!("{} images failed, nothing is written; --skip-bad writes the rows of the others", images.failed);
            return Ok(ExitCode::FAILURE);
        }
        archive.add_rows("images", images.rows()?.view())?;
        archive.add_texts("image_ids", &images.ids)?;
    }
    if let Some(rows) = &text_rows {
        archive.add_rows("texts", rows.view())?;
    }
    archive.add_texts("fingerprint", &[encoder.fingerprint().to_string()])?;
    archive.finish()?;
    if let Some(images) = &images {
        print_failures(&images.first_failures, images.failed);
        print_inputs(&images.inputs);
    }
    let left_out = images.as_ref().map_or(0, |images| images.failed);
    let left_out = if left_out == 0 { String::new() } else { format!(" ({left_out} left out)") };
    say!(
        "{}: {} images{left_out}, {} texts, model {}",
        arguments.out.display(),
        images.map_or(0, |images| images.ids.len()),
        text_rows.map_or(0, |rows| rows.nrows()),
        encoder.fingerprint().short()
    );
    Ok(ExitCode::SUCCESS)
}

/// Finds the images, if any are asked for.
fn open_images(arguments: &Arguments) -> anyhow::Result<Option<ImageSource>> {
    let Some(first) = arguments.images.first() else { return Ok(None) };
    let options = SourceOptions {
        root: None,
        metadata: None,
        prefix: arguments.prefix.clone(),
        allow_unmatched: false,
        max_image_bytes: MAX_IMAGE_BYTES,
        times: TimeSources::default(),
    };
    let source = ImageSource::open(&arguments.images, options)?;
    anyhow::ensure!(
        source.total() != Some(0),
        "there is no image in {} (JPEG, PNG, WebP and BMP are read); there are: {}",
        first.display(),
        source.left_out()
    );
    Ok(Some(source))
}

fn read_texts(path: &Path) -> anyhow::Result<Vec<String>> {
    let has_extension = |name: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(name));
    anyhow::ensure!(
        has_extension("txt") || has_extension("jsonl"),
        "{}: expected .txt (one text a line) or .jsonl (one JSON string a line)",
        path.display()
    );
    let content = read_text(path, MAX_TEXT_FILE_BYTES)?;
    if has_extension("jsonl") {
        let parse = |(index, line): (usize, &str)| {
            serde_json::from_str(line)
                .with_context(|| format!("{} line {}: expected one JSON string", path.display(), index + 1))
        };
        return content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect();
    }
    Ok(content.lines().map(str::to_owned).collect())
}
