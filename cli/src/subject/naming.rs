//! Of whom everything is wanted.

use anyhow::Context as _;
use descry_audit::Named;
use descry_proto::search::v1::Filter;
use std::fmt;

/// The names by which somebody is known; what is found by any of them counts.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(required = true, multiple = true)]
pub(super) struct Subject {
    /// This person, as the galleries name them; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(super) person: Vec<String>,
    /// This track of this camera; may be given several times.
    #[arg(long, value_name = "CAMERA/TRACK", value_parser = parse_track)]
    pub(super) track: Vec<Track>,
    /// This image, also one that was deleted since; may be given several times.
    #[arg(long, value_name = "ID")]
    pub(super) image: Vec<String>,
}

/// A tracker's name for one person's passage, which counts within its camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    camera_id: String,
    track_id: String,
}

/// The last `/` is between the two: cameras are more often named by paths than tracks are.
fn parse_track(text: &str) -> anyhow::Result<Track> {
    let (camera_id, track_id) = text
        .rsplit_once('/')
        .filter(|(camera, track)| !camera.is_empty() && !track.is_empty())
        .with_context(|| format!("{text:?} is not CAMERA/TRACK: tracks count within a camera"))?;
    Ok(Track { camera_id: camera_id.to_owned(), track_id: track_id.to_owned() })
}

impl Subject {
    /// Which images are the person's.
    pub(super) fn filter(&self) -> Filter {
        let mut any = Vec::new();
        if !self.person.is_empty() {
            any.push(Filter { person_ids: self.person.clone(), ..Filter::default() });
        }
        if !self.image.is_empty() {
            any.push(Filter { image_ids: self.image.clone(), ..Filter::default() });
        }
        any.extend(self.track.iter().map(|Track { camera_id, track_id }| Filter {
            camera_ids: vec![camera_id.clone()],
            track_ids: vec![track_id.clone()],
            ..Filter::default()
        }));
        Filter { any, ..Filter::default() }
    }

    /// The names, as records of the audit log hold them.
    pub(super) fn names(&self) -> impl Iterator<Item = (Named, String)> + '_ {
        let of = |named: Named| move |name: &String| (named, name.clone());
        let tracks = self.track.iter().map(|track| (Named::Track, track.track_id.clone()));
        self.person.iter().map(of(Named::Person)).chain(self.image.iter().map(of(Named::Image))).chain(tracks)
    }

    /// Whether a condition names this person, or one of these tracks where one of their cameras is named, or none is.
    pub(super) fn is_track(&self, track_id: &str, camera_ids: &[String]) -> bool {
        let is_of_camera = |track: &Track| camera_ids.is_empty() || camera_ids.contains(&track.camera_id);
        self.track.iter().any(|track| track.track_id == track_id && is_of_camera(track))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let people = self.person.iter().map(|person| format!("person {person}"));
        let tracks = self.track.iter().map(|track| format!("track {} of camera {}", track.track_id, track.camera_id));
        let images = self.image.iter().map(|image| format!("image {image}"));
        formatter.write_str(&people.chain(tracks).chain(images).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_whoever_has_any_of_the_names() {
        let track = |text: &str| parse_track(text).unwrap();
        let subject = Subject {
            person: vec!["7".to_owned()],
            track: vec![track("hall/north/3"), track("door/3")],
            image: vec!["a.jpg".to_owned()],
        };
        let any = subject.filter().any;
        assert_eq!(any.len(), 4);
        assert_eq!(
            (any[2].camera_ids.as_slice(), any[2].track_ids.as_slice()),
            (&["hall/north".to_owned()][..], &["3".to_owned()][..])
        );
        assert_eq!(subject.to_string(), "person 7, track 3 of camera hall/north, track 3 of camera door, image a.jpg");
        assert_eq!(subject.names().count(), 4);
        let cameras = ["door", "yard"].map(str::to_owned);
        assert!(subject.is_track("3", &cameras) && subject.is_track("3", &[]));
        assert!(!subject.is_track("3", &cameras[1..]) && !subject.is_track("4", &[]));
        for wrong in ["3", "/3", "door/", ""] {
            assert!(parse_track(wrong).unwrap_err().to_string().contains("CAMERA/TRACK"));
        }
    }
}
