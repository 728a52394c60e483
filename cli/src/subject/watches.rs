//! Watches that name a person, or look for somebody like one of their images.

use super::files::NewFolder;
use super::images::OfGallery;
use super::naming::Subject;
use descry_client::Connection;
use descry_proto::search::v1::watch_part::What;
use descry_proto::search::v1::{Filter, Watch};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) const FILE: &str = "watches.jsonl";

/// What was found among the watches.
#[derive(Debug, Default)]
pub(super) struct OfWatches {
    /// Those that name the person, each with its gallery.
    pub(super) named: Vec<(String, String)>,
    /// Those that the service cannot read: what they name is not known.
    pub(super) unreadable: Vec<(String, String)>,
    /// Watches whose descriptions the service does not keep: whether they look for somebody like the person is not known.
    pub(super) unnamed: u64,
}

/// By which of the person's names a watch names them. Other people's names in it are not told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Naming {
    image_ids: BTreeSet<String>,
    person_ids: BTreeSet<String>,
    track_ids: BTreeSet<String>,
}

/// Writes the watches of all galleries that name the person.
pub(super) async fn write(
    connection: &Connection,
    galleries: &[OfGallery],
    subject: &Subject,
    folder: &NewFolder,
) -> anyhow::Result<OfWatches> {
    let (mut file, mut found) = (folder.file(FILE)?, OfWatches::default());
    for gallery in galleries {
        let listed = connection.watches(&gallery.name).await?;
        found.unreadable.extend(listed.unreadable.into_iter().map(|name| (gallery.name.clone(), name)));
        for watch in listed.watches {
            let is_unnamed = |part: &Option<What>| matches!(part, None | Some(What::Unnamed(())));
            let hides = watch.parts.is_empty() || watch.parts.iter().any(|part| is_unnamed(&part.what));
            found.unnamed += u64::from(hides);
            let naming = Naming::of(&watch, &gallery.image_ids, subject);
            if naming != Naming::default() {
                file.line(&line(&gallery.name, &watch, &naming))?;
                found.named.push((gallery.name.clone(), watch.name));
            }
        }
    }
    file.finish()?;
    Ok(found)
}

fn line(gallery: &str, watch: &Watch, naming: &Naming) -> Value {
    let text = |what: &Option<What>| match what {
        Some(What::Text(text)) => Some(text.clone()),
        Some(What::ImageId(_) | What::Unnamed(())) | None => None,
    };
    let texts: Vec<String> = watch.parts.iter().filter_map(|part| text(&part.what)).collect();
    json!({
        "gallery": gallery,
        "watch": watch.name,
        "created_at": watch.created_at.map(|time| time.to_string()),
        "min_score": watch.min_score,
        "model": watch.fingerprint,
        "texts": texts,
        "names_image_ids": naming.image_ids,
        "names_person_ids": naming.person_ids,
        "names_track_ids": naming.track_ids,
    })
}

impl Naming {
    fn of(watch: &Watch, image_ids: &BTreeSet<String>, subject: &Subject) -> Self {
        let mut naming = Self::default();
        let is_theirs = |image_id: &String| image_ids.contains(image_id) || subject.image.contains(image_id);
        for part in &watch.parts {
            if let Some(What::ImageId(image_id)) = &part.what
                && is_theirs(image_id)
            {
                naming.image_ids.insert(image_id.clone());
            }
        }
        let mut filters: Vec<&Filter> = watch.filter.iter().collect();
        while let Some(filter) = filters.pop() {
            naming.image_ids.extend(filter.image_ids.iter().filter(|id| is_theirs(id)).cloned());
            naming.person_ids.extend(filter.person_ids.iter().filter(|id| subject.person.contains(id)).cloned());
            let is_track = |id: &&String| subject.is_track(id, &filter.camera_ids);
            naming.track_ids.extend(filter.track_ids.iter().filter(is_track).cloned());
            filters.extend(filter.all.iter().chain(&filter.any).chain(&filter.none));
        }
        naming
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::WatchPart;

    #[test]
    fn a_watch_names_whom_its_parts_or_conditions_name() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let part = |image_id: &str| WatchPart { what: Some(What::ImageId(image_id.to_owned())), weight: 1.0 };
        let nested = Filter { person_ids: ids(&["7", "8"]), ..Filter::default() };
        let watch = Watch {
            parts: vec![part("a.jpg"), part("theirs.jpg")],
            filter: Some(Filter { none: vec![nested], ..Filter::default() }),
            ..Watch::default()
        };
        let subject = Subject { person: ids(&["7"]), ..Subject::default() };
        let naming = Naming::of(&watch, &BTreeSet::from(["a.jpg".to_owned()]), &subject);
        assert_eq!(naming.image_ids.iter().collect::<Vec<_>>(), ["a.jpg"]);
        assert_eq!(naming.person_ids.iter().collect::<Vec<_>>(), ["7"]);
        assert_eq!(Naming::of(&watch, &BTreeSet::new(), &Subject::default()), Naming::default());
    }
}
