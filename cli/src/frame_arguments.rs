//! Options for inputs that are frames.

use descry_intake::{BoxFormat, BoxOptions, MAX_FRAME_PIXELS};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Frames")]
pub(crate) struct FrameArguments {
    /// The inputs are frames: cut out of them the people that a detector or a tracker found. COCO's detection JSON, MOT's
    /// det.txt or gt.txt, a folder of YOLO's label files, or a table (CSV, JSON Lines, Parquet) with frame, left, top, width,
    /// height and perhaps track_id, score, captured_at. See docs/FRAMES.md.
    #[arg(long, value_name = "FILE", conflicts_with = "embeddings")]
    boxes: Option<PathBuf>,
    /// The form of the boxes, where name and content of the file do not tell it.
    #[arg(long, value_name = "FORM", requires = "boxes")]
    boxes_format: Option<Format>,
    /// COCO's JSON with the images that a list of results is about.
    #[arg(long, value_name = "FILE", requires = "boxes")]
    images_json: Option<PathBuf>,
    /// Name or number of the category that stands for a person [default: what the form lets expect].
    #[arg(long, value_name = "NAME", requires = "boxes")]
    category: Option<String>,
    /// Put so much around a box: a share of its width and height on each side, such as 0.05, or pixels, such as 8px.
    #[arg(long, value_name = "SIZE", requires = "boxes", value_parser = parse_padding)]
    box_padding: Option<Padding>,
    /// Leave out boxes that are lower, in pixels.
    #[arg(long, value_name = "PIXELS", requires = "boxes")]
    min_box_height: Option<u32>,
    /// Leave out boxes that are narrower, in pixels.
    #[arg(long, value_name = "PIXELS", requires = "boxes")]
    min_box_width: Option<u32>,
    /// Leave out boxes with a lower score.
    #[arg(long, value_name = "SCORE", requires = "boxes", allow_negative_numbers = true)]
    min_score: Option<f64>,
    /// The boxes are of frames that were turned upright by their EXIF data first, as OpenCV reads them.
    #[arg(long, requires = "boxes")]
    boxes_upright: bool,
    /// The camera of boxes that name none.
    #[arg(long, value_name = "ID", requires = "boxes")]
    camera: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Coco,
    Mot,
    Yolo,
    Table,
}

#[derive(Debug, Clone, Copy)]
enum Padding {
    Share(f64),
    Pixels(u32),
}

fn parse_padding(text: &str) -> Result<Padding, String> {
    let padding = match text.strip_suffix("px") {
        Some(pixels) => pixels.parse().ok().map(Padding::Pixels),
        None => text.parse().ok().filter(|share| (0.0..=10.0).contains(share)).map(Padding::Share),
    };
    padding.ok_or_else(|| "expected a share of the box from 0 to 10, such as 0.05, or pixels, such as 8px".to_owned())
}

impl FrameArguments {
    /// What is cut, where the inputs are frames.
    pub(crate) fn options(&self) -> Option<BoxOptions> {
        let path = self.boxes.clone()?;
        let (padding_share, padding_px) = match self.box_padding {
            None => (0.0, 0),
            Some(Padding::Share(share)) => (share, 0),
            Some(Padding::Pixels(pixels)) => (0.0, pixels),
        };
        let format = self.boxes_format.map(|format| match format {
            Format::Coco => BoxFormat::Coco,
            Format::Mot => BoxFormat::Mot,
            Format::Yolo => BoxFormat::Yolo,
            Format::Table => BoxFormat::Table,
        });
        Some(BoxOptions {
            path,
            format,
            category: self.category.clone(),
            images: self.images_json.clone(),
            padding_share,
            padding_px,
            min_height_px: self.min_box_height.unwrap_or_default(),
            min_width_px: self.min_box_width.unwrap_or_default(),
            min_score: self.min_score.unwrap_or(f64::NEG_INFINITY),
            turns_upright: self.boxes_upright,
            max_frame_pixels: MAX_FRAME_PIXELS,
            camera_id: self.camera.clone(),
        })
    }
}
