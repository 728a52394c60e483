//! Search results to look at: a picture or a page with a row for each query, its hits from left to right.

mod drawing;
mod page;
mod pictures;

pub(crate) use pictures::Pictures;

use crate::time::time_text;
use anyhow::Context as _;
use descry_client::PATH_ATTRIBUTE;
use descry_proto::search::v1::{Hit, SearchResponse, Sighting};
use descry_terminal::new_file;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Of a picture and of a page's pictures: small differences between people stay visible.
const JPEG_QUALITY: u8 = 90;

/// A query and what it found.
pub(crate) struct Row {
    title: String,
    /// What is said of all hits together.
    note: Option<String>,
    cells: Vec<Cell>,
}

/// One hit.
struct Cell {
    /// Its image, or why there is none.
    picture: Result<RgbImage, String>,
    rank: usize,
    hit: Hit,
}

impl Row {
    /// The hits of a reply, of which `offset` better ones were left out. It is an error when there are hits and not one of
    /// their images can be shown.
    pub(crate) fn of(title: String, reply: &SearchResponse, offset: u32, pictures: &Pictures) -> anyhow::Result<Self> {
        let cell = |(index, hit): (usize, &Hit)| Cell {
            picture: pictures.of(hit),
            rank: offset as usize + index + 1,
            hit: hit.clone(),
        };
        let cells: Vec<Cell> = reply.hits.iter().enumerate().map(cell).collect();
        let mut missing = cells.iter().filter_map(|cell| Some((cell, cell.picture.as_ref().err()?)));
        if let Some((first, reason)) = missing.next() {
            let (count, id) = (missing.count() + 1, &first.hit.image_id);
            if count == cells.len() {
                anyhow::bail!(
                    "no contact sheet was written, because none of the {count} images can be shown; of {id:?}: {reason}. {}",
                    pictures.advice()
                );
            }
            tracing::warn!("{count} of {} images cannot be shown; of {id:?}: {reason}", cells.len());
        }
        let nobody = reply.not_in_gallery_probability.map(|share| format!("nobody here matches: {}", percent(share)));
        let note = if cells.is_empty() { Some("no image meets the conditions".to_owned()) } else { nobody };
        Ok(Self { title, note, cells })
    }
}

impl Cell {
    /// Rank, score and probability.
    fn standing(&self) -> String {
        let probability = self.hit.match_probability.map(|share| format!("  {}", percent(share))).unwrap_or_default();
        format!("{}  {:.4}{probability}", self.rank, self.hit.score)
    }

    /// Who and where.
    fn whereabouts(&self) -> String {
        let metadata = self.hit.metadata.as_ref();
        let person = metadata.and_then(|metadata| metadata.person_id.as_ref()).map(|person| format!("#{person}"));
        let track = metadata.and_then(|metadata| metadata.track_id.as_ref()).map(|track| format!("track {track}"));
        let place = match self.hit.sighting_count.max(self.hit.sightings.len() as u64) {
            0 => metadata.and_then(|metadata| metadata.camera_id.clone()),
            1 => Some("1 image".to_owned()),
            count => Some(format!("{count} images")),
        };
        person.into_iter().chain(track).chain(place).collect::<Vec<_>>().join("  ")
    }

    /// Where in which frame it was cut.
    fn frame(&self) -> Option<String> {
        let metadata = self.hit.metadata.as_ref()?;
        let of = metadata.r#box.as_ref().map(|of| format!("{}×{} at {}, {}", of.width, of.height, of.left, of.top));
        let frame = metadata.frame_id.as_ref().map(|frame| format!("frame {frame}"));
        let parts: Vec<String> = frame.into_iter().chain(of).collect();
        (!parts.is_empty()).then(|| parts.join("  "))
    }

    fn captured(&self) -> String {
        time_text(self.hit.metadata.as_ref().and_then(|metadata| metadata.captured_at))
    }

    /// In the order of their names; the path is nothing that the picture does not show better.
    fn attributes(&self) -> BTreeMap<&str, &str> {
        let attributes = self.hit.metadata.iter().flat_map(|metadata| &metadata.attributes);
        attributes
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| *name != PATH_ATTRIBUTE)
            .collect()
    }

    fn sightings(&self) -> &[Sighting] {
        &self.hit.sightings
    }
}

/// A probability for people.
pub(crate) fn percent(probability: f32) -> String {
    format!("{:.0} %", probability * 100.0)
}

/// Where a contact sheet goes, and what it becomes there.
#[derive(Debug, Clone)]
pub(crate) struct SheetFile {
    path: PathBuf,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Png,
    Jpeg,
    Page,
}

impl FromStr for SheetFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let form = match ending.as_deref() {
            Some("png") => Form::Png,
            Some("jpg" | "jpeg") => Form::Jpeg,
            Some("html" | "htm") => Form::Page,
            _ => return Err("the name must end in .png, .jpg or .html, which says what is written".to_owned()),
        };
        Ok(Self { path, form })
    }
}

impl SheetFile {
    /// At a path that ends in `.png`, `.jpg` or `.html`.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        path.to_string_lossy().parse().map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can be written, before anything is done for it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        Ok(new_file::check_folder(&self.path)?)
    }

    /// Draws and writes the sheet.
    pub(crate) fn write(&self, rows: &[Row]) -> anyhow::Result<()> {
        let content = match self.form {
            Form::Png => encoded(&drawing::draw(rows), ImageFormat::Png),
            Form::Jpeg => jpeg(&drawing::draw(rows)),
            Form::Page => page::write(rows).map(String::into_bytes),
        };
        let content = content.with_context(|| format!("cannot draw {}", self.path.display()))?;
        Ok(new_file::write(&self.path, &content)?)
    }
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> anyhow::Result<Vec<u8>> {
    let mut content = Cursor::new(Vec::new());
    picture.write_to(&mut content, format)?;
    Ok(content.into_inner())
}

fn jpeg(picture: &RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    JpegEncoder::new_with_quality(&mut content, JPEG_QUALITY).encode_image(picture)?;
    Ok(content)
}

#[cfg(test)]
mod tests;
