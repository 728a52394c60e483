//! What is in which file, and what is not, in plain sentences.

use super::audit_records::{self, OfAudit};
use super::images::{OfGallery, OfGeneration};
use super::naming::Subject;
use super::watches::{self, OfWatches};
use descry_client::timestamp;
use std::collections::BTreeMap;
use std::fmt;

pub(super) const FILE: &str = "summary.txt";

const DAY_MS: u64 = 86_400_000;

pub(super) struct Summary<'a> {
    pub(super) subject: &'a Subject,
    pub(super) galleries: &'a [OfGallery],
    pub(super) watches: &'a OfWatches,
    /// Nothing where no audit log was read.
    pub(super) audit: Option<&'a OfAudit>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "What is kept of {}\n", self.subject)?;
        writeln!(out, "Written by descry {} at {}. All times are in UTC.\n", env!("CARGO_PKG_VERSION"), now())?;
        for gallery in self.galleries {
            of_gallery(out, gallery)?;
        }
        self.of_watches(out)?;
        self.of_audit(out)?;
        self.files(out)?;
        self.missing(out)
    }
}

fn now() -> String {
    prost_types::Timestamp::from(std::time::SystemTime::now()).to_string()
}

fn of_gallery(out: &mut fmt::Formatter<'_>, gallery: &OfGallery) -> fmt::Result {
    writeln!(out, "Gallery {}", gallery.name)?;
    for OfGeneration { number, is_active, fingerprint, images } in &gallery.generations {
        let answers = if *is_active { ", which answers searches" } else { ", which does not answer searches" };
        let model: String = fingerprint.chars().take(12).collect();
        writeln!(
            out,
            "  Generation {number}{answers}: {}. Its embeddings are of the model {model}.",
            count(*images, "image")
        )?;
    }
    let cameras = gallery.cameras.iter().map(|(camera, images)| match camera.as_str() {
        "" => format!("no known camera ({images})"),
        camera => format!("{camera} ({images})"),
    });
    let cameras: Vec<String> = cameras.collect();
    if !cameras.is_empty() {
        writeln!(out, "  Cameras, with their numbers of images: {}.", cameras.join(", "))?;
    }
    if let Some((first, last)) = gallery.captured_ms {
        writeln!(out, "  Captured between {} and {}.", timestamp(first), timestamp(last))?;
    }
    match gallery.retention.default_ms {
        0 => writeln!(out, "  Images are kept until somebody deletes them.")?,
        ms => writeln!(out, "  Images are kept {} from capture.", count(ms.div_ceil(DAY_MS), "day"))?,
    }
    let by_camera: BTreeMap<&String, &u64> = gallery.retention.camera_ms.iter().collect();
    for (camera, ms) in by_camera {
        let kept = if *ms == 0 { "until somebody deletes them".to_owned() } else { count(ms.div_ceil(DAY_MS), "day") };
        writeln!(out, "  Those of camera {camera} are kept {kept}.")?;
    }
    writeln!(out)
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl Summary<'_> {
    fn of_watches(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "Watches, which look at each new image")?;
        let named = self.watches.named.iter().map(|(gallery, name)| format!("{name} of {gallery}"));
        let named: Vec<String> = named.collect();
        match named.as_slice() {
            [] => writeln!(out, "  None names the person or an image of theirs.")?,
            _ => writeln!(out, "  These name the person or an image of theirs: {}.", named.join(", "))?,
        }
        writeln!(out)
    }

    fn of_audit(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "The audit log")?;
        let Some(OfAudit { records, searches, changes, time_ms, .. }) = self.audit else {
            return writeln!(
                out,
                "  It was not asked for (--audit), so nothing is said of who was told of the person.\n"
            );
        };
        if let Some((first, last)) = time_ms {
            writeln!(out, "  It tells of the time between {} and {}.", timestamp(*first), timestamp(*last))?;
        }
        let times = count(*searches, "time");
        writeln!(out, "  {} name the person or an image of theirs.", count(*records, "record"))?;
        writeln!(out, "  Searches and watches told somebody of the person {times}.")?;
        writeln!(out, "  Images of the person were changed or deleted by name {}.\n", count(*changes, "time"))
    }

    fn files(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "Files. Each holds one JSON object a line, for people and programs.")?;
        for gallery in self.galleries {
            let (file, name) = (gallery.file(), &gallery.name);
            writeln!(
                out,
                "  {file}: the person's images in gallery {name}, in each of its generations: what is known of"
            )?;
            writeln!(out, "    each, the SHA-256 of its file, and its embedding, the numbers by which it is found.")?;
        }
        writeln!(
            out,
            "  {}: the watches that name the person, and how. Other people's names are left out.",
            watches::FILE
        )?;
        if self.audit.is_some() {
            let file = audit_records::FILE;
            writeln!(
                out,
                "  {file}: each record that names the person: when, who asked, for which purpose and case, with"
            )?;
            writeln!(
                out,
                "    which words, and which of the person's images they were told of, with rank and score. Other"
            )?;
            writeln!(
                out,
                "    people's images are left out. It names those who asked: whether they are handed over is to be"
            )?;
            writeln!(out, "    decided by who answers for it.")?;
        }
        writeln!(out)
    }

    fn missing(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "What is not in it")?;
        let line = |out: &mut fmt::Formatter<'_>, text: &str| writeln!(out, "  - {text}");
        line(
            out,
            "The pictures: galleries keep none of them, only what is known of them. They are where they were indexed from.",
        )?;
        line(out, "Images of the person that no gallery knows to be theirs: under another name, or under none.")?;
        line(
            out,
            "Images that were deleted before. The audit log is looked through for them where --image names them.",
        )?;
        line(out, "Backups, exports and copies of the galleries, and the services' own logs.")?;
        let OfWatches { unreadable, unnamed, .. } = self.watches;
        if *unnamed > 0 {
            let watches = if *unnamed == 1 { "1 watch looks".to_owned() } else { format!("{unnamed} watches look") };
            line(out, &format!("What {watches} for by an image or a description that the service does not keep."))?;
        }
        for (gallery, name) in unreadable {
            line(out, &format!("What watch {name} of {gallery} looks for: the service cannot read it."))?;
        }
        if let Some(OfAudit { closed, cut, .. }) = self.audit {
            line(out, "Index runs: the log says of many images together only what their ids hash to.")?;
            if *closed > 0 {
                let records = count(*closed, "record");
                line(
                    out,
                    &format!(
                        "What {records} of these galleries say: names are hashed with a key that was not given (--name-key)."
                    ),
                )?;
            }
            if *cut > 0 {
                let records = count(*cut, "record");
                line(out, &format!("All that {records} of these galleries name: there was more than a record holds."))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said() {
        let (subject, watches) = (Subject { person: vec!["7".to_owned()], ..Subject::default() }, OfWatches::default());
        let galleries = [OfGallery { name: "lobby".to_owned(), ..OfGallery::default() }];
        let said = |audit: Option<&OfAudit>| {
            Summary { subject: &subject, galleries: &galleries, watches: &watches, audit }.to_string()
        };
        let without = said(None);
        assert!(
            without.starts_with("What is kept of person 7\n") && without.contains("gallery-lobby.jsonl"),
            "{without}"
        );
        assert!(without.contains("--audit") && !without.contains("audit.jsonl"), "{without}");
        let with = said(Some(&OfAudit { closed: 2, cut: 1, ..OfAudit::default() }));
        assert!(with.contains("2 records of these galleries say") && with.contains("All that 1 record of"), "{with}");
    }
}
