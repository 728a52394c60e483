//! The crops of one frame after another.

use crate::frame_boxes::frame_names::{FrameNames, folders_beyond, may_be_same, shown};
use crate::frame_boxes::{BoxOptions, BoxTable, GivenBox, SCORE, Sides, origin};
use crate::frame_file::Frame;
use crate::image_entry::id_digest;
use crate::{Content, CropBox, FileVersion, FrameCrop, ImageEntry, IntakeError, KnownMetadata, LeftOut, SkippedEntry};
use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// The attribute of crops out of frames that lie on their side or head, which tells which way up the box is about.
pub const TURNED: &str = "frame_turned";
/// What it holds where the frame was turned upright first.
pub const UPRIGHT: &str = "upright";
/// What it holds where it was not. It stands there because what a later run does not say of an image is kept.
const AS_STORED: &str = "as_stored";

/// Sides beyond it are no pixels of anything.
const MAX_SIDE_PX: f64 = 1e9;

/// Which boxes are to be cut out of which frame.
pub(crate) struct FrameCutter {
    options: BoxOptions,
    max_bytes: u64,
    /// Of each frame that was not taken up, in the order of the input.
    boxes: VecDeque<Vec<GivenBox>>,
}

/// A frame and what is left to be cut out of it.
pub(crate) struct Cutting {
    frame: Arc<Frame>,
    frame_id: String,
    version: FileVersion,
    /// What is known of everything in it, as far as nothing else is said of a crop.
    known: KnownMetadata,
    boxes: std::vec::IntoIter<GivenBox>,
}

impl FrameCutter {
    /// Reads the boxes of frames of these names. Gives besides what is no box of any of them, and what was not wanted.
    ///
    /// # Errors
    /// As [`BoxTable::read`]; [`IntakeError::Malformed`] where there are boxes and none is of any frame.
    pub(crate) fn open(
        options: BoxOptions,
        max_bytes: u64,
        frame_ids: &[&str],
    ) -> Result<(Self, BoxTable), IntakeError> {
        let mut table = BoxTable::read(&options)?;
        let names = FrameNames::of(frame_ids.iter().copied());
        let mut boxes: Vec<Vec<GivenBox>> = vec![Vec::new(); frame_ids.len()];
        let (mut first_reason, mut found) = (None, 0_u64);
        for given in std::mem::take(&mut table.boxes) {
            match names.find(&given.frame).map(|place| boxes.get_mut(place)) {
                Ok(Some(of_frame)) => {
                    found += 1;
                    of_frame.push(given);
                }
                Ok(None) => {}
                Err(reason) => {
                    let origin = origin(&options.path, given.place);
                    first_reason.get_or_insert_with(|| reason.clone());
                    table.skipped.push(SkippedEntry { image_id: String::new(), origin, reason });
                }
            }
        }
        if let (0, Some(reason), Some(frame)) = (found, first_reason, frame_ids.first()) {
            let reason = format!("none of its boxes is of any frame: {reason}; a frame is called {frame:?}");
            return Err(IntakeError::malformed(&options.path, reason));
        }
        for (of_frame, frame_id) in boxes.iter_mut().zip(frame_ids) {
            if let Some(reason) = contradiction(of_frame, frame_id) {
                let skipped = std::mem::take(of_frame).into_iter().map(|given| {
                    let origin = origin(&options.path, given.place);
                    SkippedEntry { image_id: String::new(), origin, reason: reason.clone() }
                });
                table.skipped.extend(skipped);
            }
        }
        Ok((Self { options, max_bytes, boxes: boxes.into() }, table))
    }

    /// How many boxes wait to be cut.
    pub(crate) fn total(&self) -> u64 {
        self.boxes.iter().map(|boxes| boxes.len() as u64).sum()
    }

    /// Takes up the next frame of the input, of which a record may tell; none where nothing is to be cut out of it.
    pub(crate) fn take_up(
        &mut self,
        frame_id: String,
        path: PathBuf,
        record: Option<KnownMetadata>,
        left_out: &mut LeftOut,
    ) -> Option<Cutting> {
        let boxes = self.boxes.pop_front().unwrap_or_default();
        if boxes.is_empty() {
            left_out.add("frames without a box", || path.display().to_string());
            return None;
        }
        // A frame that is not there says so when it is decoded.
        let version =
            fs::metadata(&path).map_or(FileVersion { bytes: 0, modified_ms: 0 }, |file| FileVersion::of(&file));
        let BoxOptions { max_frame_pixels, turns_upright, .. } = self.options;
        let frame = Arc::new(Frame::new(path, self.max_bytes, max_frame_pixels, turns_upright));
        let mut known = KnownMetadata { camera_id: self.options.camera_id.clone(), ..KnownMetadata::default() };
        known.overlay(record.unwrap_or_default());
        Some(Cutting { frame, frame_id, version, known, boxes: boxes.into_iter() })
    }

    /// The next crop of a frame. Boxes that are too small are passed over.
    pub(crate) fn next_of(
        &self,
        cutting: &mut Cutting,
        left_out: &mut LeftOut,
    ) -> Option<Result<ImageEntry, SkippedEntry>> {
        let Cutting { frame, frame_id, version, known, boxes } = cutting;
        loop {
            let given = boxes.next()?;
            let origin = format!("{} ({})", origin(&self.options.path, given.place), frame_id);
            let skip =
                |image_id: String, reason: String| Some(Err(SkippedEntry { image_id, origin: origin.clone(), reason }));
            let (width, height) = match frame.size_px() {
                Ok((width, height)) => (f64::from(width), f64::from(height)),
                Err(reason) => return skip(String::new(), format!("its frame: {reason}")),
            };
            let sides = match given.sides {
                Sides::Pixels(sides) => sides,
                Sides::Shares([left, top, wide, high]) => [left * width, top * height, wide * width, high * height],
            };
            let [left, top, wide, high] = sides;
            let is_sound = sides.iter().all(|side| side.abs() <= MAX_SIDE_PX) && wide > 0.0 && high > 0.0;
            if !is_sound {
                return skip(
                    String::new(),
                    format!("a box of {wide:?} x {high:?} pixels at {left:?}, {top:?} is none"),
                );
            }
            let rounded = sides.map(|side| side.round() as i64);
            let image_id = format!("{frame_id}#{},{},{},{}", rounded[0], rounded[1], rounded[2], rounded[3]);
            let Some(inside) = part(sides, [0.0, 0.0], (width, height)) else {
                return skip(image_id, format!("it lies outside its frame of {width} x {height} pixels"));
            };
            if inside.width_px < self.options.min_width_px || inside.height_px < self.options.min_height_px {
                left_out.add("boxes below the least size", || origin);
                continue;
            }
            let padding =
                [wide, high].map(|side| side * self.options.padding_share + f64::from(self.options.padding_px));
            let part = part(sides, padding, (width, height)).unwrap_or(inside);
            let mut metadata = known.clone();
            metadata.overlay(given.metadata);
            if let Some(score) = given.score {
                metadata.attributes.insert(SCORE.to_owned(), score.to_string());
            }
            metadata.frame_id = Some(frame_id.clone());
            metadata.crop_box = Some(part);
            if frame.may_be_turned() {
                let way_up = if self.options.turns_upright { UPRIGHT } else { AS_STORED };
                metadata.attributes.insert(TURNED.to_owned(), way_up.to_owned());
            }
            let version = part_version(*version, self.options.turns_upright, part);
            let content = Content::Crop(FrameCrop::of(Arc::clone(frame), part));
            return Some(Ok(ImageEntry { image_id, origin, version, metadata, content }));
        }
    }
}

/// Why boxes of one frame cannot all be of it, where they state folders that its own name does not have, and not the same ones.
fn contradiction(boxes: &[GivenBox], frame_id: &str) -> Option<String> {
    let mut stated: Option<(String, &str)> = None;
    for GivenBox { frame, .. } in boxes.iter().filter(|given| given.frame.contains(['/', '\\'])) {
        let folders = folders_beyond(frame, frame_id);
        match &stated {
            Some((known, name)) if !may_be_same(known, &folders) => {
                return Some(format!(
                    "{:?} and {:?} cannot both be the frame {frame_id:?}; index the folder above them, so that the \
                     frames have folders in their names",
                    shown(name),
                    shown(frame)
                ));
            }
            Some((known, _)) if known.len() >= folders.len() => {}
            Some(_) | None => stated = Some((folders, frame.as_ref())),
        }
    }
    None
}

/// The part of a frame of this width and height that a box covers with its padding; none where less than half a pixel is left.
fn part([left, top, wide, high]: [f64; 4], padding: [f64; 2], (width, height): (f64, f64)) -> Option<CropBox> {
    let edges = |start: f64, length: f64, padding: f64, most: f64| {
        let first = (start - padding).round().clamp(0.0, most);
        let last = (start + length + padding).round().clamp(0.0, most);
        (last > first).then_some((first as i32, (last - first) as u32))
    };
    let (left_px, width_px) = edges(left, wide, padding[0], width)?;
    let (top_px, height_px) = edges(top, high, padding[1], height)?;
    Some(CropBox { left_px, top_px, width_px, height_px })
}

/// What tells a crop that changed from one that stayed: the version of its frame's file, whether the frame is turned, and the
/// part, for another padding cuts another crop.
fn part_version(frame: FileVersion, turns_upright: bool, part: CropBox) -> FileVersion {
    let CropBox { left_px, top_px, width_px, height_px } = part;
    let FileVersion { bytes, modified_ms } = frame;
    let told = format!("{bytes} {modified_ms} {turns_upright} {left_px} {top_px} {width_px} {height_px}");
    // Two states of one crop share half a digest with a probability of 10^-19, as good as never.
    let mixed = id_digest(&told) as i64;
    // The size stands for the room that a crop takes until it is encoded.
    FileVersion { bytes: u64::from(width_px) * u64::from(height_px) * 3, modified_ms: mixed }
}

#[cfg(test)]
mod tests;
