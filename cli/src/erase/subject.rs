//! Whom or what `descry erase` is about.

use anyhow::Context as _;
use descry_proto::search::v1::{EraseImagesRequest, Track};

/// People, tracks and images by their names.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct SubjectArguments {
    /// Erase all images of this person; may be given several times.
    #[arg(long = "person", value_name = "ID")]
    pub(super) persons: Vec<String>,
    /// Erase all images of this track; may be given several times. /TRACK is one of which no camera is known.
    #[arg(long = "track", value_name = "CAMERA/TRACK", value_parser = parse_track)]
    pub(super) tracks: Vec<Track>,
    /// Erase this image; may be given several times.
    #[arg(long = "image", value_name = "ID")]
    pub(super) images: Vec<String>,
}

impl SubjectArguments {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let Self { persons, tracks, images } = self;
        let is_empty = persons.is_empty() && tracks.is_empty() && images.is_empty();
        anyhow::ensure!(!is_empty, "say what to erase: --person ID, --track CAMERA/TRACK or --image ID");
        Ok(())
    }

    pub(super) fn request(&self, gallery: &str, preview: bool) -> EraseImagesRequest {
        let Self { persons, tracks, images } = self.clone();
        EraseImagesRequest { gallery: gallery.to_owned(), person_ids: persons, tracks, image_ids: images, preview }
    }

    /// As a question names it.
    pub(super) fn words(&self) -> String {
        let Self { persons, tracks, images } = self;
        let track = |track: &Track| format!("track {:?} of camera {:?}", track.track_id, track.camera_id);
        let names = persons.iter().map(|person| format!("person {person:?}"));
        let names = names.chain(tracks.iter().map(track));
        let mut names: Vec<String> = names.chain(images.iter().map(|image| format!("image {image:?}"))).collect();
        if names.len() > 3 {
            let left_out = names.split_off(3).len();
            return format!("{} and {left_out} more", names.join(", "));
        }
        names.join(", ")
    }
}

/// The camera ends at the last slash: trackers number what they follow, and cameras have paths for names.
fn parse_track(text: &str) -> anyhow::Result<Track> {
    let (camera_id, track_id) = text.rsplit_once('/').filter(|(_, track)| !track.is_empty()).with_context(|| {
        format!("{text:?} is no track such as c1/42: give the camera and the tracker's number, which counts within it")
    })?;
    Ok(Track { camera_id: camera_id.to_owned(), track_id: track_id.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_named_with_its_camera() {
        let of = |text| parse_track(text).map(|track| (track.camera_id, track.track_id)).ok();
        let pair = |camera: &str, track: &str| Some((camera.to_owned(), track.to_owned()));
        assert_eq!(of("c1/42"), pair("c1", "42"));
        assert_eq!(of("site/c1/42"), pair("site/c1", "42"));
        assert_eq!(of("/42"), pair("", "42"));
        assert_eq!((of("42"), of("c1/")), (None, None));
    }
}
