//! `descry erase`

mod receipt;
mod subject;

use crate::confirmation::confirm;
use crate::output::say;
use crate::progress;
use crate::server::Server;
use descry_client::Connection;
use descry_proto::search::v1::EraseImagesResponse;
use descry_terminal::new_file;
use receipt::{Receipt, clean_journals, write_receipt};
use std::path::PathBuf;
use std::process::ExitCode;
use subject::SubjectArguments;

/// Erase a person, a track or images, for good, and keep them from coming back.
///
/// Removes all their images from every model of the galleries, other images that were made of the same files, the watches that
/// name them or are made of them, and what is left of all that on the disk, and prints a receipt. What was erased is refused
/// when it is indexed again; `descry index --force-erased` brings it back. docs/ERASURE.md tells what is not erased: backups,
/// exported files, the files that were indexed, and what the audit log says of earlier searches.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  descry erase --gallery lobby --person 17
  descry erase --every-gallery --person 17 --journal lobby.journal --receipt erased-17.json
  descry erase --gallery lobby --track c1/42 --image c1/0001.jpg --yes

It may be run again: what is gone stays gone, and the receipt says what is still pending.")]
pub(crate) struct Arguments {
    /// The gallery; may be given several times.
    #[arg(long = "gallery", value_name = "NAME", required_unless_present = "every_gallery")]
    galleries: Vec<String>,
    /// All galleries that you may see.
    #[arg(long, conflicts_with = "galleries")]
    every_gallery: bool,
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    server: Server,
    /// Take what is erased out of this journal of `descry index` too; may be given several times.
    #[arg(long = "journal", value_name = "FILE")]
    journals: Vec<PathBuf>,
    /// Write the receipt into this file, as JSON, for nobody but you to read: it names what was erased.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print the receipt as one JSON object, and nothing else.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { galleries, every_gallery, subject, server, journals, receipt: file, yes, json } = arguments;
    subject.check()?;
    // Before anything is erased: what cannot be written then would be lost.
    file.iter().try_for_each(|file| new_file::check_folder(file))?;
    let connection = server.connect().await?;
    let galleries = match every_gallery {
        true => connection.galleries().await?.into_iter().map(|gallery| gallery.name).collect(),
        false => galleries,
    };
    let mut previews = Vec::with_capacity(galleries.len());
    for gallery in &galleries {
        let preview = connection.erase_images(subject.request(gallery, true)).await?;
        if !json {
            say_preview(gallery, &preview);
        }
        previews.push((gallery.clone(), preview));
    }
    let images: u64 = previews.iter().map(|(_, preview)| preview.images).sum();
    let question = format!(
        "Erase {} from {} for good? {images} images go, and nothing of it is indexed again.",
        subject.words(),
        words_of(&galleries)
    );
    if !yes && !confirm(&question)? {
        say!("nothing was erased");
        return Ok(ExitCode::FAILURE);
    }
    // Journals first: while the images are there, it is known which they are.
    let mut receipt = Receipt::new(&subject);
    receipt.journals = clean_journals(&journals, &previews)?;
    let erased = erase_all(&connection, &subject, &galleries, &mut receipt).await;
    // What came in since it was looked.
    let found = receipt.galleries.clone();
    let more = clean_journals(&journals, &found);
    if let Ok(more) = &more {
        receipt.journals.iter_mut().zip(more).for_each(|((_, count), (_, more))| *count += more);
    }
    if let Some(file) = &file {
        write_receipt(file, &receipt)?;
    }
    if json {
        say!("{}", receipt.json());
    } else {
        receipt.say(file.as_deref());
    }
    // The receipt of what is done comes first.
    erased?;
    more?;
    Ok(ExitCode::SUCCESS)
}

/// Gallery after gallery; the receipt tells of those that are done, also where a later one fails.
async fn erase_all(
    connection: &Connection,
    subject: &SubjectArguments,
    galleries: &[String],
    receipt: &mut Receipt,
) -> anyhow::Result<()> {
    let bar = progress::spinner("erasing");
    for gallery in galleries {
        let erased = connection.erase_images(subject.request(gallery, false)).await;
        let erased = erased.inspect_err(|_| bar.finish_and_clear())?;
        receipt.galleries.push((gallery.clone(), erased));
    }
    bar.finish_and_clear();
    Ok(())
}

fn say_preview(gallery: &str, preview: &EraseImagesResponse) {
    let watches = match preview.watches.len() {
        0 => String::new(),
        _ => format!(", and these watches: {}", preview.watches.join(", ")),
    };
    match preview.generations.len() {
        0 | 1 => say!("gallery {gallery}: {} images{watches}", preview.images),
        models => say!("gallery {gallery}: {} images in {models} generations{watches}", preview.images),
    }
}

fn words_of(galleries: &[String]) -> String {
    match galleries {
        [only] => format!("gallery {only:?}"),
        all => format!("{} galleries", all.len()),
    }
}
