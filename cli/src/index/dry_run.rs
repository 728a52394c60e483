//! `descry index --dry-run`: what would be sent.

use super::Arguments;
use crate::job::reader::MAX_IMAGE_BYTES;
use crate::output::say;
use crate::progress;
use anyhow::Context as _;
use descry_intake::{EmbeddingFile, EmbeddingOptions, Failure, FailureReport, SkippedEntry, SourceOptions};
use indicatif::HumanBytes;
use serde_json::json;
use std::process::ExitCode;

/// Problems printed one by one; the others are counted.
const SHOWN_PROBLEMS: usize = 20;

#[derive(Default)]
struct Findings {
    images: u64,
    bytes: u64,
    problems: u64,
    first_problems: Vec<Failure>,
    /// Records of the metadata file without an image, and the first of them.
    unused_metadata: (usize, Option<String>),
    failures: Option<FailureReport>,
}

impl Findings {
    fn count<Found>(
        &mut self,
        items: impl Iterator<Item = Result<Found, SkippedEntry>>,
        bytes_of: impl Fn(&Found) -> u64,
    ) -> anyhow::Result<()> {
        for item in items {
            match item {
                Ok(found) => {
                    self.images += 1;
                    self.bytes += bytes_of(&found);
                }
                Err(skipped) => {
                    let failure = Failure::from(skipped);
                    if let Some(failures) = &mut self.failures {
                        failures.write(&failure)?;
                    }
                    self.problems += 1;
                    if self.first_problems.len() < SHOWN_PROBLEMS {
                        self.first_problems.push(failure);
                    }
                }
            }
        }
        Ok(())
    }
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let is_json = arguments.job.json;
    let spinner = progress::spinner("reading the inputs");
    let findings = tokio::task::spawn_blocking(move || look(arguments)).await;
    spinner.finish_and_clear();
    let findings = findings.context("reading the inputs")??;
    if is_json {
        print_json(&findings);
    } else {
        print_findings(&findings);
    }
    Ok(if findings.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(arguments: Arguments) -> anyhow::Result<Findings> {
    let failures = arguments.job.failures.as_deref().map(FailureReport::create).transpose()?;
    let mut findings = Findings { failures, ..Findings::default() };
    if let Some(path) = &arguments.embeddings {
        let Arguments { fingerprint, ids: image_ids, metadata, .. } = arguments;
        let file = EmbeddingFile::open(path, EmbeddingOptions { fingerprint, image_ids, metadata })?;
        let row_bytes = 4 * file.dimension() as u64;
        findings.count(file, |_| row_bytes)?;
        return Ok(findings);
    }
    let Arguments { inputs, root, metadata, .. } = arguments;
    let options = SourceOptions { root, metadata, max_image_bytes: MAX_IMAGE_BYTES };
    let mut source = descry_intake::ImageSource::open(&inputs, options)?;
    findings.count(source.by_ref(), |entry| entry.version.bytes)?;
    findings.unused_metadata = source.unused_metadata();
    Ok(findings)
}

fn print_json(findings: &Findings) {
    let Findings { images, bytes, problems, first_problems, unused_metadata, failures: _ } = findings;
    let report = json!({
        "dry_run": true,
        "images": images,
        "bytes": bytes,
        "failures": problems,
        "failed": first_problems,
        "metadata_without_image": unused_metadata.0,
    });
    say!("{report}");
}

fn print_findings(findings: &Findings) {
    let Findings { images, bytes, problems, first_problems, unused_metadata, failures: _ } = findings;
    say!("{images} images with {} would be sent, {problems} have problems", HumanBytes(*bytes));
    for Failure { image_id, origin, reason } in first_problems {
        say!("  {}: {reason}", if image_id.is_empty() { origin } else { image_id });
    }
    let shown = first_problems.len() as u64;
    if *problems > shown {
        say!("  and {} more (--failures FILE writes all of them to a file)", problems - shown);
    }
    if let (count, Some(first)) = unused_metadata {
        say!("{count} metadata records belong to no image; the first names {first:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Target;

    #[test]
    fn counts_images_problems_and_strays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("crops")).unwrap();
        std::fs::write(folder.path().join("crops/a.jpg"), b"abc").unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("crops/b.jpg")).unwrap();
        let metadata = folder.path().join("m.csv");
        std::fs::write(&metadata, "image_id\na.jpg\nz.jpg\n").unwrap();
        let target = Target { server: "http://nowhere".to_owned(), gallery: "lobby".to_owned() };
        let findings = look(Arguments::of_input(folder.path().join("crops"), target, metadata)).unwrap();
        assert_eq!((findings.images, findings.bytes, findings.problems), (1, 3, 1));
        assert_eq!(findings.unused_metadata, (1, Some("z.jpg".to_owned())));
    }
}
