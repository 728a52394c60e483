//! `descry embed`

use crate::output::say;
use crate::{model, progress};
use anyhow::Context as _;
use descry_encoder::{encode_all_images, encode_all_texts};
use descry_intake::{EmbeddingArchive, image_files};
use std::fs;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};
use std::process::ExitCode;

/// Compute embeddings of images and texts without a service.
///
/// Writes a NumPy archive with the arrays `images` and `texts`, float32, one row of unit length for each input, in
/// input order; with `image_ids`, the paths of the images as given, and with the model's `fingerprint`. `descry index
/// --embeddings` takes it as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry embed --model bundles/cuhk --images crops/*.jpg --out crops.npz
  descry embed --model bundles/cuhk --texts captions.txt --out captions.npz
  descry embed --model bundles/cuhk --images crops --out crops.npz && descry index --embeddings crops.npz")]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: model::ModelArguments,
    /// Image files, or folders of them (in the order of their paths).
    #[arg(long, num_args = 1.., value_name = "PATH", required_unless_present = "texts")]
    images: Vec<PathBuf>,
    /// Texts: .txt with one a line, or .jsonl with one JSON string a line.
    #[arg(long, value_name = "FILE")]
    texts: Option<PathBuf>,
    /// The archive to write.
    #[arg(long, value_name = "FILE.npz")]
    out: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let images = expand(&arguments.images)?;
    let texts = arguments.texts.as_deref().map(read_texts).transpose()?;
    let image_ids = images.iter().map(|path| image_id(path)).collect::<anyhow::Result<Vec<String>>>()?;
    // Opened before the work, so that a wrong path does not cost it.
    let mut archive = EmbeddingArchive::create(&arguments.out)?;
    let (encoder, _workers) = model::open(&arguments.model).await?;
    if texts.is_some() {
        descry_standalone::require_tokenizer(&encoder)?;
    }
    let image_rows = if arguments.images.is_empty() {
        None
    } else {
        let bar = progress::bar(images.len(), "images");
        let rows = encode_all_images(&encoder, &images, |count| bar.inc(count as u64)).await?;
        bar.finish_and_clear();
        Some(rows)
    };
    let text_rows = match &texts {
        None => None,
        Some(texts) => {
            let bar = progress::bar(texts.len(), "texts");
            let (rows, truncated) = encode_all_texts(&encoder, texts, |count| bar.inc(count as u64)).await?;
            bar.finish_and_clear();
            if truncated > 0 {
                say!("{truncated} texts are longer than the model reads; their ends do not count");
            }
            Some(rows)
        }
    };
    if let Some(rows) = &image_rows {
        archive.add_rows("images", rows.view())?;
        archive.add_texts("image_ids", &image_ids)?;
    }
    if let Some(rows) = &text_rows {
        archive.add_rows("texts", rows.view())?;
    }
    archive.add_texts("fingerprint", &[encoder.fingerprint().to_string()])?;
    archive.finish()?;
    say!(
        "{}: {} images, {} texts, model {}",
        arguments.out.display(),
        image_rows.map_or(0, |rows| rows.nrows()),
        text_rows.map_or(0, |rows| rows.nrows()),
        encoder.fingerprint().short()
    );
    Ok(ExitCode::SUCCESS)
}

fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = image_files::find(path);
            if let Some(error) = found.unreadable.into_iter().next() {
                return Err(error).with_context(|| format!("cannot read all of {}", path.display()));
            }
            files.extend(found.images);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The path as given, with `/` between its parts whatever the system's separator.
fn image_id(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not a UTF-8 name; rename it", path.display()))?;
    Ok(text.replace(MAIN_SEPARATOR_STR, "/"))
}

fn read_texts(path: &Path) -> anyhow::Result<Vec<String>> {
    let has_extension = |name: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(name));
    anyhow::ensure!(
        has_extension("txt") || has_extension("jsonl"),
        "{}: expected .txt (one text a line) or .jsonl (one JSON string a line)",
        path.display()
    );
    let content = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if has_extension("jsonl") {
        let parse = |(index, line): (usize, &str)| {
            serde_json::from_str(line)
                .with_context(|| format!("{} line {}: expected one JSON string", path.display(), index + 1))
        };
        return content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect();
    }
    Ok(content.lines().map(str::to_owned).collect())
}
