//! The times of images that nothing else tells: by their EXIF data, else by their names.

use crate::exif_clock::{ExifClock, ExifMoment};
use crate::{KnownMetadata, TimePattern};
use descry_model::ExifTime;

/// Where the times of images are looked for that no record tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeSources {
    /// In the EXIF data of an image, or of the frame that it is cut from.
    pub exif: Option<ExifClock>,
    /// In the name of an image or a frame, where its EXIF data does not tell it.
    pub names: Option<TimePattern>,
}

/// Tells times, and counts what has none although it should.
#[derive(Debug, Default)]
pub(crate) struct TimeTeller {
    sources: TimeSources,
    nameless: Timeless,
    without_exif: Timeless,
    without_zone: Timeless,
}

/// Images without a time.
#[derive(Debug, Default)]
struct Timeless {
    count: u64,
    first: String,
}

impl Timeless {
    fn count(&mut self, name: &str) {
        if self.count == 0 {
            name.clone_into(&mut self.first);
        }
        self.count += 1;
    }
}

impl TimeTeller {
    pub(crate) fn new(sources: TimeSources) -> Self {
        Self { sources, ..Self::default() }
    }

    /// Notes when an image was taken, unless that is known.
    ///
    /// - `name`: of the image or the frame
    /// - `exif`: reads its EXIF data, which may take opening a file
    pub(crate) fn tell(&mut self, name: &str, metadata: &mut KnownMetadata, exif: impl FnOnce() -> Option<ExifTime>) {
        if metadata.captured_at_ms.is_some() {
            return;
        }
        let moment = self.sources.exif.map(|clock| clock.moment(exif().as_ref()));
        if let Some(ExifMoment::Known(time_ms)) = moment {
            metadata.captured_at_ms = Some(time_ms);
            return;
        }
        let named = self.sources.names.as_ref().map(|names| names.time_ms(name));
        metadata.captured_at_ms = named.flatten();
        match (named, moment) {
            (Some(Some(_)), _) | (None, None) => {}
            (_, Some(ExifMoment::NoZone)) => self.without_zone.count(name),
            (Some(None), _) => self.nameless.count(name),
            (None, Some(_)) => self.without_exif.count(name),
        }
    }

    /// What is to be said of images without a time.
    pub(crate) fn notes(self) -> impl Iterator<Item = String> {
        let Self { nameless, without_exif, without_zone, .. } = self;
        let note = |Timeless { count, first }: Timeless, what: &str| {
            (count > 0).then(|| format!("{count} {what}, so no time is known of these images, the first {first:?}"))
        };
        let notes = [
            note(nameless, "names do not fit the time pattern"),
            note(without_exif, "images have no time in EXIF data"),
            note(without_zone, "times in EXIF data do not say by which clock, which --clock-zone would"),
        ];
        notes.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests;
