//! Shoes.

use super::Figure;
use crate::canvas::{Canvas, Ink};
use crate::color::{Rgb, rgb};
use crate::geometry::{Place, Point, place};
use crate::light::Finish;
use crate::person::garment::ShoeKind;
use crate::shapes;

/// Foot and shoe; `skin` is what a sandal leaves bare.
pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas, index: usize, skin: Rgb) {
    let shoes = &figure.person.shoes;
    let leg = figure.skeleton.legs[index];
    let size = figure.person.physique.height / 1.72;
    let finish = match shoes.kind {
        ShoeKind::LeatherShoes | ShoeKind::Heels | ShoeKind::Boots => Finish::Glossy,
        ShoeKind::Sneakers | ShoeKind::Sandals => Finish::Matt,
    };
    let is_open = matches!(shoes.kind, ShoeKind::Sandals | ShoeKind::Heels);
    let shade = if shoes.kind == ShoeKind::Sandals { skin } else { shoes.tint.shade };
    let bulk = if is_open { 0.82 } else { 1.0 };
    let sole = match shoes.kind {
        ShoeKind::Sneakers if shoes.has_white_sole => rgb(0.92, 0.92, 0.90),
        ShoeKind::Sandals => rgb(0.30, 0.22, 0.16),
        ShoeKind::Sneakers | ShoeKind::Boots | ShoeKind::Heels | ShoeKind::LeatherShoes => shoes.tint.shade.lit(0.5),
    };
    // The sole first: all of it that is wider or lower than the upper stays in sight.
    let up = place(0.0, 0.018 * size, 0.0);
    let radius = 0.041 * size * bulk;
    let ends = [(leg.heel + up, radius * 0.92), (leg.toe + up * 1.1 + (leg.heel - leg.toe) * 0.16, radius)];
    figure.limb(canvas, ends, sole, Finish::Matt);
    let lift = place(0.0, 0.036 * size, 0.0);
    let ball = leg.heel.towards(leg.toe, 0.76) + lift * 0.88;
    let ends = [(leg.heel + lift, radius * 0.88), (ball, radius * 0.94)];
    figure.limb(canvas, ends, shade, finish);
    let instep = leg.ankle.towards(leg.toe, 0.34) + place(0.0, 0.004, 0.0);
    if is_open {
        figure.limb(canvas, [(leg.ankle, 0.03 * size), (instep, 0.033 * size)], skin, Finish::Matt);
    } else {
        figure.limb(canvas, [(leg.ankle, 0.039 * size), (instep, 0.037 * size)], shade, finish);
    }
    match shoes.kind {
        ShoeKind::Sneakers => laces(figure, canvas, [leg.ankle, instep, ball], size),
        ShoeKind::Sandals => straps(figure, canvas, [leg.ankle, instep, ball], size),
        ShoeKind::Heels => heel(figure, canvas, leg.heel, size),
        ShoeKind::Boots | ShoeKind::LeatherShoes => {}
    }
}

fn laces(figure: &Figure<'_>, canvas: &mut Canvas, [ankle, instep, ball]: [Place; 3], size: f32) {
    if figure.view.frontness() < -0.3 {
        return;
    }
    let tint = figure.person.shoes.tint.shade;
    let color = if tint.luminance() > 0.6 { rgb(0.35, 0.35, 0.36) } else { rgb(0.9, 0.9, 0.9) };
    let above = place(0.0, 0.03 * size, 0.0);
    let [from, to] = [ankle.towards(instep, 0.6) + above * 0.6, instep.towards(ball, 0.6) + above]
        .map(|joint| figure.view.point(joint));
    canvas.stroke(shapes::curve(&[from, to]), 0.012, color, 0.55);
}

fn straps(figure: &Figure<'_>, canvas: &mut Canvas, [ankle, instep, ball]: [Place; 3], size: f32) {
    let color = figure.light.frontal(figure.person.shoes.tint.shade);
    for (middle, radius) in [(ankle, 0.034), (instep.towards(ball, 0.75), 0.04)] {
        let center = figure.view.point(middle + place(0.0, 0.008, 0.0));
        let half = crate::geometry::point(radius * size, 0.0);
        canvas.stroke(shapes::curve(&[center - half, center + half]), 0.02, color, 1.0);
    }
}

fn heel(figure: &Figure<'_>, canvas: &mut Canvas, heel: Place, size: f32) {
    let [top, bottom] =
        [place(0.0, 0.03 * size, 0.01), place(0.0, -0.012 * size, 0.0)].map(|offset| figure.view.point(heel + offset));
    let color = figure.light.frontal(figure.person.shoes.tint.shade.lit(0.8));
    canvas.fill(shapes::capsule(top, 0.017 * size, bottom, 0.009 * size), Ink::Flat(color, 1.0));
}

/// A boot's shaft over the leg, or a sneaker's sock above bare skin.
pub(super) fn draw_shaft(figure: &Figure<'_>, canvas: &mut Canvas, index: usize, radius: f32) {
    let shoes = &figure.person.shoes;
    let leg = figure.skeleton.legs[index];
    let (height, shade, finish, bulk) = match shoes.kind {
        ShoeKind::Boots => (0.42, shoes.tint.shade, Finish::Satin, 1.08),
        ShoeKind::Sneakers => (0.16, rgb(0.86, 0.86, 0.85), Finish::Matt, 0.86),
        ShoeKind::Sandals | ShoeKind::Heels | ShoeKind::LeatherShoes => return,
    };
    let top = leg.ankle.towards(leg.knee, height);
    let wide = radius * bulk * if shoes.kind == ShoeKind::Boots { 1.15 } else { 1.0 };
    figure.limb(canvas, [(top, wide), (leg.ankle, radius * bulk)], shade, finish);
    let ends: [Point; 2] = [top, leg.ankle].map(|joint| figure.view.point(joint));
    let across = (ends[1] - ends[0]).direction().normal() * wide;
    let rim = ends[0] - (ends[1] - ends[0]).direction() * (wide * 0.7);
    figure.crease(canvas, &[rim - across * 0.7, rim + across * 0.7], 0.008, 0.3);
}
