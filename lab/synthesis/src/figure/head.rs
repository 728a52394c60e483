//! Head and face.

use super::{Figure, hair, headwear};
use crate::canvas::{Canvas, Ink};
use crate::color::{Rgb, rgb};
use crate::frame::Viewpoint;
use crate::geometry::{Place, Point, place, point};
use crate::light::Finish;
use crate::person::body::{Eyewear, Gender};
use crate::shapes;
use tiny_skia::Path;

/// Half-axes of a head without hair, in metres: sideways, upwards, forwards.
pub(super) const HALF_WIDTH: f32 = 0.078;
pub(super) const HALF_HEIGHT: f32 = 0.121;
pub(super) const HALF_DEPTH: f32 = 0.096;

/// A head's own coordinates. Places on it are told by the angle from its front (positive to its left) and the elevation
/// above its middle, both in radians.
pub(super) struct Skull {
    pub(super) view: Viewpoint,
    nod: f32,
}

impl Skull {
    pub(super) fn new(figure: &Figure<'_>) -> Self {
        let view = figure.view.turned(figure.skeleton.head, figure.pose.head_turn);
        Self { view, nod: figure.pose.head_nod }
    }

    /// A place on the head, or on a shell around it that is larger by a factor.
    pub(super) fn body(&self, angle: f32, elevation: f32, factor: f32) -> Place {
        let level = elevation.cos();
        let across = HALF_WIDTH * factor * angle.sin() * level;
        let (up, ahead) = (HALF_HEIGHT * factor * elevation.sin(), HALF_DEPTH * factor * angle.cos() * level);
        let (sine, cosine) = self.nod.sin_cos();
        place(across, up * cosine - ahead * sine, ahead * cosine + up * sine)
    }

    pub(super) fn at(&self, angle: f32, elevation: f32, factor: f32) -> Point {
        self.view.point(self.body(angle, elevation, factor))
    }

    /// The angle on the head that faces the camera.
    pub(super) fn facing(&self) -> f32 {
        self.view.facing_angle(1.0, 1.0)
    }

    /// 1 for what faces the camera, below 0 for what is behind.
    pub(super) fn visibility(&self, angle: f32) -> f32 {
        (angle - self.facing()).cos()
    }

    pub(super) fn center(&self) -> Point {
        self.view.point(Place::default())
    }

    /// Half the width that is seen.
    pub(super) fn half_width(&self) -> f32 {
        let (side, front) = (self.view.frontness() * HALF_WIDTH, self.view.rightness() * HALF_DEPTH);
        side.hypot(front)
    }

    /// Where the chin is shifted to, as seen: towards the face.
    fn chin_shift(&self) -> f32 {
        self.view.rightness() * (0.022 + self.nod.max(0.0) * 0.04)
    }
}

pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas) {
    let skull = Skull::new(figure);
    let skin = figure.person.physique.skin;
    let is_seen_from_behind = skull.view.frontness() < -0.15;
    ears(figure, canvas, &skull);
    shaded(figure, canvas, outline(&skull, 1.0), &skull, (skin, Finish::Matt));
    if skull.view.frontness() > -0.45 {
        nose(figure, canvas, &skull);
    }
    if !is_seen_from_behind {
        features(figure, canvas, &skull);
    }
    hair::draw_on_head(figure, canvas, &skull);
    hair::draw_front_locks(figure, canvas, &skull);
    if skull.view.frontness() > -0.35 {
        eyewear(figure, canvas, &skull);
    }
    if let Some(worn) = &figure.person.headwear {
        headwear::draw(figure, canvas, &skull, worn);
    }
}

/// The head's outline: wide above, a chin below.
pub(super) fn outline(skull: &Skull, factor: f32) -> Option<Path> {
    let center = skull.center();
    let (width, height) = (skull.half_width() * factor, HALF_HEIGHT * factor);
    let chin = skull.chin_shift();
    let at = |x: f32, y: f32| center + point(x * width, y * height);
    let low = |x: f32, y: f32| at(x, y) + point(chin * 1.0, 0.0);
    shapes::blob(&[
        at(0.0, -1.0),
        at(0.62, -0.82),
        at(0.97, -0.30),
        at(0.95, 0.18),
        low(0.72, 0.64),
        low(0.28, 0.97),
        low(-0.28, 0.97),
        low(-0.72, 0.64),
        at(-0.95, 0.18),
        at(-0.97, -0.30),
        at(-0.62, -0.82),
    ])
}

pub(super) fn shaded(
    figure: &Figure<'_>,
    canvas: &mut Canvas,
    path: Option<Path>,
    skull: &Skull,
    (color, finish): (Rgb, Finish),
) {
    let (center, width) = (skull.center(), skull.half_width() * 1.08);
    let colors = figure.light.across(color, finish);
    let (from, to) = (center - point(width, 0.0), center + point(width, 0.0));
    canvas.fill(path, Ink::Along { from, to, colors: &colors, opacity: 1.0 });
}

fn ears(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let color = figure.light.frontal(figure.person.physique.skin.lit(0.84));
    for side in [-1.0_f32, 1.0] {
        let angle = side * 1.62;
        if skull.visibility(angle) > -0.35 {
            let width = 0.010 + 0.012 * skull.visibility(angle).max(0.0);
            let ear = shapes::ellipse(skull.at(angle, -0.06, 1.04), [width, 0.028], 0.0);
            canvas.fill(ear, Ink::Flat(color, 1.0));
        }
    }
}

fn nose(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let color = figure.light.frontal(figure.person.physique.skin.lit(0.86));
    let corners = [skull.at(0.0, 0.12, 1.0), skull.at(0.0, -0.26, 1.19), skull.at(0.0, -0.36, 1.0)];
    let side = [skull.at(0.12, -0.33, 1.02), skull.at(-0.12, -0.33, 1.02)];
    canvas.fill(shapes::polygon(&[corners[0], side[0], corners[1], corners[2]]), Ink::Flat(color, 0.75));
    canvas.fill(shapes::polygon(&[corners[0], side[1], corners[1], corners[2]]), Ink::Flat(color, 0.75));
}

fn features(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let person = figure.person;
    let skin = figure.light.frontal(person.physique.skin);
    let brow = person.hair.shade.mix(rgb(0.12, 0.09, 0.08), 0.4);
    if person.face.has_beard {
        beard(figure, canvas, skull);
    }
    for side in [-1.0_f32, 1.0] {
        let visibility = skull.visibility(side * 0.4);
        if visibility < 0.12 {
            continue;
        }
        let socket = shapes::ellipse(skull.at(side * 0.4, 0.06, 1.0), [0.019 * visibility, 0.011], 0.0);
        canvas.fill(socket, Ink::Flat(skin.lit(0.74), 0.7));
        let eye = shapes::ellipse(skull.at(side * 0.4, 0.04, 1.0), [0.012 * visibility, 0.0055], 0.0);
        canvas.fill(eye, Ink::Flat(rgb(0.10, 0.08, 0.08), 0.95));
        let line =
            [skull.at(side * 0.22, 0.21, 1.0), skull.at(side * 0.42, 0.25, 1.0), skull.at(side * 0.62, 0.2, 1.0)];
        canvas.stroke(shapes::curve(&line), 0.0085, brow, 0.85);
    }
    if person.face.has_mask {
        mask(figure, canvas, skull);
        return;
    }
    let mouth = [skull.at(-0.24, -0.60, 1.0), skull.at(0.0, -0.62, 1.0), skull.at(0.24, -0.60, 1.0)];
    let lips = match person.gender {
        Gender::Male => skin.mix(rgb(0.45, 0.18, 0.16), 0.5),
        Gender::Female => skin.mix(rgb(0.66, 0.12, 0.16), 0.7),
    };
    if skull.visibility(0.0) > 0.1 {
        canvas.stroke(shapes::curve(&mouth), 0.010, lips, 0.9);
    }
    // Cheeks and jaw turn away from the light.
    let jaw = [skull.at(-0.9, -0.55, 0.98), skull.at(0.0, -1.15, 0.98), skull.at(0.9, -0.55, 0.98)];
    canvas.stroke(shapes::curve(&jaw), 0.012, skin.lit(0.55), 0.25);
}

/// The lower half of the face, as far as it is seen.
fn lower_face(skull: &Skull, top: f32, width: f32, factor: f32) -> Option<Path> {
    let facing = skull.facing();
    let turn = |angle: f32| {
        let offset = (angle - facing + std::f32::consts::PI).rem_euclid(std::f32::consts::TAU) - std::f32::consts::PI;
        facing + offset.clamp(-1.5, 1.5)
    };
    let upper: Vec<Point> = (-3..=3).map(|step| skull.at(turn(step as f32 / 3.0 * width), top, factor)).collect();
    let center = skull.center() + point(skull.chin_shift(), 0.0);
    let half = skull.half_width() * factor;
    let mut points = upper;
    points.push(center + point(half * 0.74, HALF_HEIGHT * 0.62));
    points.push(center + point(half * 0.30, HALF_HEIGHT * 0.99 * factor));
    points.push(center + point(-half * 0.30, HALF_HEIGHT * 0.99 * factor));
    points.push(center + point(-half * 0.74, HALF_HEIGHT * 0.62));
    shapes::polygon(&points)
}

fn beard(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let color = figure.light.frontal(figure.person.hair.shade.mix(figure.person.physique.skin, 0.15));
    canvas.fill(lower_face(skull, -0.40, 1.35, 1.05), Ink::Flat(color, 0.92));
}

fn mask(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let color = figure.light.frontal(rgb(0.78, 0.88, 0.93));
    canvas.fill(lower_face(skull, -0.22, 1.1, 1.04), Ink::Flat(color, 1.0));
    let fold = [skull.at(-0.7, -0.5, 1.05), skull.at(0.0, -0.52, 1.05), skull.at(0.7, -0.5, 1.05)];
    canvas.stroke(shapes::curve(&fold), 0.005, rgb(0.4, 0.5, 0.55), 0.6);
}

fn eyewear(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let is_dark = match figure.person.face.eyewear {
        Eyewear::None => return,
        Eyewear::Glasses => false,
        Eyewear::Sunglasses => true,
    };
    let black = rgb(0.06, 0.06, 0.07);
    for side in [-1.0_f32, 1.0] {
        let visibility = skull.visibility(side * 0.42);
        if visibility > 0.08 {
            let lens = shapes::ellipse(skull.at(side * 0.42, 0.05, 1.05), [0.027 * visibility, 0.019], 0.0);
            if is_dark {
                canvas.fill(lens, Ink::Flat(black, 0.95));
            } else {
                canvas.fill(lens.clone(), Ink::Flat(rgb(0.85, 0.9, 0.95), 0.22));
                canvas.stroke(lens, 0.0065, black, 0.9);
            }
        }
        if skull.visibility(side * 1.1) > 0.05 {
            let temple =
                [skull.at(side * 0.72, 0.09, 1.05), skull.at(side * 1.2, 0.07, 1.05), skull.at(side * 1.6, 0.02, 1.05)];
            canvas.stroke(shapes::curve(&temple), 0.007, black, 0.85);
        }
    }
    if skull.visibility(0.0) > 0.1 {
        let bridge = [skull.at(-0.14, 0.08, 1.06), skull.at(0.14, 0.08, 1.06)];
        canvas.stroke(shapes::curve(&bridge), 0.006, black, 0.9);
    }
}
