//! What covers the hips: the upper part of trousers, and skirts.

use super::Figure;
use super::torso::hem_ring;
use super::tube::{Tube, ring};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::place;
use crate::light::Finish;
use crate::person::garment::LowerKind;
use crate::shapes;

pub(super) fn draw_lower(figure: &Figure<'_>, canvas: &mut Canvas) {
    let Some(lower) = &figure.person.lower else { return };
    match lower.kind {
        LowerKind::ShortSkirt => skirt(figure, canvas, 0.35, 0.045),
        LowerKind::LongSkirt => skirt(figure, canvas, 0.14, 0.085),
        LowerKind::Jeans
        | LowerKind::Trousers
        | LowerKind::SuitTrousers
        | LowerKind::Sweatpants
        | LowerKind::Leggings
        | LowerKind::Shorts => seat(figure, canvas),
    }
}

fn seat(figure: &Figure<'_>, canvas: &mut Canvas) {
    let Some(lower) = &figure.person.lower else { return };
    let body = &figure.person.physique;
    let pelvis = figure.skeleton.pelvis;
    let rings = vec![
        ring(figure.skeleton.spine(0.25), body.waist * 1.04, body.waist * 0.68),
        ring(pelvis + place(0.0, 0.02, 0.0), body.hips, body.hips * 0.72),
        ring(pelvis - place(0.0, 0.045, 0.0), body.hips * 0.98, body.hips * 0.68),
        ring(pelvis - place(0.0, 0.085, 0.0), body.hips * 0.82, body.hips * 0.5),
    ];
    let seat = Tube::new(&figure.view, rings);
    seat.fill(canvas, &figure.light, lower.tint.shade, Finish::Matt);
    let strength = if lower.tint.name.is_dark() { 0.3 } else { 0.16 };
    let fly = seat.line(&[(0.2, 0.0), (0.6, 0.0), (1.0, 0.0)]);
    canvas.stroke(fly, 0.009, rgb(0.0, 0.0, 0.0), strength);
    if matches!(lower.kind, LowerKind::Jeans | LowerKind::Trousers) {
        for side in [-1.0_f32, 1.0] {
            let back = std::f32::consts::PI - side * 0.55;
            let corners = [(0.42, back - 0.28), (0.42, back + 0.28), (0.72, back + 0.24), (0.72, back - 0.24)];
            canvas.stroke(seat.area(&corners), 0.007, rgb(0.0, 0.0, 0.0), strength);
        }
    }
}

fn skirt(figure: &Figure<'_>, canvas: &mut Canvas, hem: f32, flare: f32) {
    let Some(lower) = &figure.person.lower else { return };
    let body = &figure.person.physique;
    let pelvis = figure.skeleton.pelvis;
    let bottom = hem_ring(figure, hem * body.height, body.hips + flare);
    let hips = ring(pelvis, body.hips + 0.012, body.hips * 0.72 + 0.01);
    let middle = ring(
        hips.center.towards(bottom.center, 0.5),
        f32::midpoint(hips.half_width, bottom.half_width),
        f32::midpoint(hips.half_depth, bottom.half_depth),
    );
    let top = ring(figure.skeleton.spine(0.28), body.waist * 1.05, body.waist * 0.7);
    let tube = Tube::new(&figure.view, vec![top, hips, middle, bottom]);
    tube.fill(canvas, &figure.light, lower.tint.shade, Finish::Matt);
    let strength = if lower.tint.name.is_dark() { 0.3 } else { 0.15 };
    // Pleats.
    for step in -2..=2 {
        let angle = tube.facing(1.0) + step as f32 * 0.52 + (figure.variation - 0.5) * 0.3;
        let line = tube.line(&[(0.42, angle), (0.7, angle), (0.98, angle * 1.02)]);
        canvas.stroke(line, 0.016, rgb(0.0, 0.0, 0.0), strength);
    }
    canvas.stroke(shapes::curve(&tube.across(0.99)), 0.009, rgb(0.0, 0.0, 0.0), 0.3);
    let (from, to) = (tube.at(0.3, tube.facing(0.3)), tube.at(1.0, tube.facing(1.0)));
    let ink = Ink::Fading { from, to, color: rgb(0.0, 0.0, 0.02), opacities: [0.0, 0.2] };
    canvas.fill(tube.outline(), ink);
}
