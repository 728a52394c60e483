//! Drawing in metres onto a grid of pixels.

use crate::color::Rgb;
use crate::geometry::Point;
use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Paint, Path, Pixmap, Shader, SpreadMode, Stroke,
    Transform,
};

/// How an area is filled.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ink<'a> {
    /// One colour and its opacity.
    Flat(Rgb, f32),
    /// Colours along the way between two points.
    Along { from: Point, to: Point, colors: &'a [(f32, Rgb)], opacity: f32 },
    /// One colour whose opacity goes from one value to another between two points.
    Fading { from: Point, to: Point, color: Rgb, opacities: [f32; 2] },
}

/// A picture that is being drawn.
pub(crate) struct Canvas {
    pixmap: Pixmap,
    transform: Transform,
}

impl Canvas {
    /// An empty picture; `None` for a size that cannot be.
    pub(crate) fn new(width_px: usize, height_px: usize) -> Option<Self> {
        let pixmap = Pixmap::new(u32::try_from(width_px).ok()?, u32::try_from(height_px).ok()?)?;
        Some(Self { pixmap, transform: Transform::identity() })
    }

    /// From now on metres become pixels so.
    pub(crate) fn set_frame(&mut self, frame: &crate::frame::Frame) {
        self.transform = Transform::from_row(
            frame.pixels_per_metre.x,
            0.0,
            0.0,
            frame.pixels_per_metre.y,
            frame.origin_px.x,
            frame.origin_px.y,
        );
    }

    pub(crate) fn pixmap(&self) -> &Pixmap {
        &self.pixmap
    }

    pub(crate) fn pixmap_mut(&mut self) -> &mut Pixmap {
        &mut self.pixmap
    }

    pub(crate) fn flood(&mut self, color: Rgb) {
        self.pixmap.fill(to_color(color, 1.0));
    }

    /// Fills an area. Nothing happens without one: what degenerates to a line is not seen either.
    pub(crate) fn fill(&mut self, path: Option<Path>, ink: Ink<'_>) {
        let Some(path) = path else { return };
        let paint = Paint { shader: shader(ink), anti_alias: true, ..Paint::default() };
        self.pixmap.fill_path(&path, &paint, FillRule::Winding, self.transform, None);
    }

    /// Draws a line of a width in metres.
    pub(crate) fn stroke(&mut self, path: Option<Path>, width: f32, color: Rgb, opacity: f32) {
        let Some(path) = path else { return };
        let paint = Paint { shader: shader(Ink::Flat(color, opacity)), anti_alias: true, ..Paint::default() };
        let stroke = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
        self.pixmap.stroke_path(&path, &paint, &stroke, self.transform, None);
    }
}

fn to_color(color: Rgb, opacity: f32) -> Color {
    let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    Color::from_rgba8(byte(color.red), byte(color.green), byte(color.blue), byte(opacity))
}

fn shader(ink: Ink<'_>) -> Shader<'static> {
    let gradient = |from: Point, to: Point, stops: Vec<GradientStop>| {
        let at = |place: Point| tiny_skia::Point::from_xy(place.x, place.y);
        LinearGradient::new(at(from), at(to), stops, SpreadMode::Pad, Transform::identity())
    };
    match ink {
        Ink::Flat(color, opacity) => Shader::SolidColor(to_color(color, opacity)),
        Ink::Along { from, to, colors, opacity } => {
            let stops = colors.iter().map(|(at, color)| GradientStop::new(*at, to_color(*color, opacity))).collect();
            let middle = colors.get(colors.len() / 2).map_or(crate::color::rgb(0.5, 0.5, 0.5), |(_, color)| *color);
            gradient(from, to, stops).unwrap_or(Shader::SolidColor(to_color(middle, opacity)))
        }
        Ink::Fading { from, to, color, opacities: [first, last] } => {
            let stops =
                [(0.0, first), (1.0, last)].map(|(at, opacity)| GradientStop::new(at, to_color(color, opacity)));
            let between = to_color(color, f32::midpoint(first, last));
            gradient(from, to, stops.to_vec()).unwrap_or(Shader::SolidColor(between))
        }
    }
}
