//! `descry subject`

mod audit_records;
mod files;
mod images;
mod naming;
mod summary;
mod watches;

use crate::output::say;
use crate::server::Server;
use crate::{interrupt, progress};
use anyhow::Context as _;
use audit_records::AuditArguments;
use descry_client::Connection;
use files::NewFolder;
use images::OfGallery;
use naming::Subject;
use std::path::PathBuf;
use std::process::ExitCode;
use summary::Summary;
use tokio_util::sync::CancellationToken;

/// Write down everything that is kept of a person, for who asks what you hold about them (GDPR article 15).
///
/// Writes a new folder, which its owner alone can read: for each gallery the person's images in all of its generations, with what is
/// known of them; the watches that name the person; from the audit log each search that told somebody of the person, and each
/// change; and summary.txt, which says in plain sentences what is in which file, and what is not. The folder is there as a whole or
/// not at all. Needs the scope search:GALLERY of each gallery.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry subject --person 4711 --out person-4711
  descry subject --gallery lobby --gallery yard --track c2/17 --out track-17 --audit /var/log/descry
  descry subject --person 4711 --image door/9.jpg --out answer --audit /var/log/descry --name-key name.key --query-key audit.key")]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Look in this gallery; may be given several times [default: all that you may see].
    #[arg(long, value_name = "NAME")]
    gallery: Vec<String>,
    /// The folder to write: one that is not there yet, or is empty.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    audit: AuditArguments,
    #[command(flatten)]
    server: Server,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { subject, gallery, out, audit, server } = arguments;
    // What cannot be used is said before anything is read.
    let audit = audit.open()?;
    let folder = NewFolder::begin(&out)?;
    let stop = interrupt::at_signal_saying("stopping; nothing is left of the folder")?;
    let connection = server.connect().await?;
    let names = chosen(&connection, gallery).await?;

    let mut galleries = Vec::new();
    for name in &names {
        galleries.push(images(&connection, name, &subject, &folder, &stop).await?);
    }
    let watches = watches::write(&connection, &galleries, &subject, &folder).await?;
    check(&stop)?;
    let found = match audit {
        None => None,
        Some(audit) => {
            let spinner = progress::spinner("reading the audit log");
            let (of_galleries, of_subject) = (images::names(&galleries), subject.clone());
            let file = folder.file(audit_records::FILE)?;
            let stopped = stop.clone();
            let reading = move || audit.write(&of_galleries, &of_subject, file, &stopped);
            let found = tokio::task::spawn_blocking(reading).await.context("reading the audit log");
            spinner.finish_and_clear();
            Some(found??)
        }
    };
    check(&stop)?;
    let summary = Summary { subject: &subject, galleries: &galleries, watches: &watches, audit: found.as_ref() };
    folder.write(summary::FILE, summary.to_string().as_bytes())?;
    folder.finish()?;

    let images: usize = galleries.iter().map(|gallery| gallery.image_ids.len()).sum();
    let told = found.map_or(String::new(), |found| format!(", {} records of the audit log", found.records));
    say!("{}: {images} images, {} watches{told}; summary.txt says what is where", out.display(), watches.named.len());
    Ok(ExitCode::SUCCESS)
}

/// The galleries that are looked into.
async fn chosen(connection: &Connection, mut names: Vec<String>) -> anyhow::Result<Vec<String>> {
    if names.is_empty() {
        names = connection.galleries().await?.into_iter().map(|gallery| gallery.name).collect();
        anyhow::ensure!(
            !names.is_empty(),
            "there is no gallery that you may see; a token's scopes decide (docs/ACCESS.md)"
        );
    }
    names.sort_unstable();
    names.dedup();
    // The name becomes that of a file.
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if let Some(strange) = names.iter().find(|name| name.is_empty() || !name.chars().all(is_plain)) {
        anyhow::bail!(
            "{strange:?} is no name of a gallery; all of its generations are looked into: give its name alone"
        );
    }
    Ok(names)
}

async fn images(
    connection: &Connection,
    name: &str,
    subject: &Subject,
    folder: &NewFolder,
    stop: &CancellationToken,
) -> anyhow::Result<OfGallery> {
    let counter = progress::counter(None, "images");
    counter.set_message(name.to_owned());
    let found = images::write(connection, name, subject, folder, |count| {
        counter.set_position(count);
        check(stop)
    });
    let found = found.await;
    counter.finish_and_clear();
    found
}

fn check(stop: &CancellationToken) -> anyhow::Result<()> {
    anyhow::ensure!(!stop.is_cancelled(), "stopped before all was read; nothing was written");
    Ok(())
}
