//! What is sewn onto an upper garment: openings, pockets, quilting, hems.

use super::Figure;
use super::torso::{CHEST, HIPS};
use super::tube::Tube;
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::person::cut::{Closure, Collar, Cut};
use crate::person::garment::UpperKind;
use crate::shapes;

/// Everything on the front.
pub(super) fn front(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, cut: &Cut) {
    let upper = &figure.person.upper;
    let line = figure.light.frontal(upper.tint.shade.detail());
    if let Some(inner) = upper.inner {
        let shade = figure.light.frontal(inner.shade);
        canvas.fill(torso.patch([0.06, 0.3], [-0.5, 0.5]), Ink::Flat(shade, 1.0));
        canvas.fill(torso.patch([0.28, CHEST], [-0.36, 0.36]), Ink::Flat(shade, 1.0));
        // A suit is buttoned below the chest, everything else hangs open.
        if upper.kind == UpperKind::SuitJacket {
            canvas.fill(torso.area(&[(CHEST, -0.36), (0.62, 0.0), (CHEST, 0.36)]), Ink::Flat(shade, 1.0));
            tie(figure, canvas, torso);
        } else {
            canvas.fill(torso.patch([0.49, 0.985], [-0.36, 0.36]), Ink::Flat(shade, 1.0));
        }
        for angle in [-0.38_f32, 0.38] {
            let bottom = if upper.kind == UpperKind::SuitJacket { 0.5 } else { 0.98 };
            let edge = torso.line(&[(0.12, angle), (0.3, angle), (0.4, angle), (0.5, angle), (bottom, angle)]);
            canvas.stroke(edge, 0.014, rgb(0.0, 0.0, 0.0), 0.3);
        }
    } else if cut.closure != Closure::None {
        let bottom = if cut.closure == Closure::Placket { 0.42 } else { 0.98 };
        let steps = (0..=8).map(|step| (0.12 + (bottom - 0.12) * step as f32 / 8.0, 0.0));
        let width = if cut.closure == Closure::Zip { 0.011 } else { 0.006 };
        canvas.stroke(torso.line(&steps.collect::<Vec<_>>()), width, line, 0.9);
        if cut.closure == Closure::Zip {
            let metal = torso.line(&[(0.2, 0.03), (0.6, 0.03), (0.97, 0.03)]);
            canvas.stroke(metal, 0.004, rgb(0.85, 0.85, 0.85), 0.35);
        }
    }
    if matches!(cut.closure, Closure::Buttons | Closure::Placket) {
        buttons(figure, canvas, torso, cut);
    }
    if cut.has_pockets {
        pockets(figure, canvas, torso, cut);
    }
    if upper.kind == UpperKind::DenimJacket {
        for level in [0.43, HIPS] {
            canvas.stroke(shapes::curve(&torso.across(level)), 0.006, rgb(0.75, 0.52, 0.28), 0.5);
        }
    }
}

fn buttons(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, cut: &Cut) {
    let upper = &figure.person.upper;
    let levels: &[f32] = match (cut.closure, upper.kind) {
        (Closure::Placket, _) => &[0.26, 0.36],
        (_, UpperKind::SuitJacket) => &[0.64, 0.74],
        (_, UpperKind::LongCoat | UpperKind::ShortCoat) => &[0.45, 0.56, 0.67, 0.78],
        _ => &[0.25, 0.36, 0.47, 0.58, 0.69, 0.80, 0.91],
    };
    if upper.inner.is_some() && upper.kind != UpperKind::SuitJacket {
        return;
    }
    let tint = upper.tint.shade;
    let color = if tint.luminance() > 0.6 { tint.lit(0.55) } else { tint.mix(rgb(0.9, 0.88, 0.8), 0.5) };
    let radius = if cut.ease > 0.02 { 0.011 } else { 0.008 };
    for level in levels {
        if torso.visibility(*level, 0.0) > 0.1 {
            canvas.fill(shapes::ellipse(torso.at(*level, 0.0), [radius, radius], 0.0), Ink::Flat(color, 0.95));
        }
    }
}

fn tie(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>) {
    let shade = figure.person.upper.accent.shade;
    // Half of the suits go without one.
    if figure.person.physique.hips * 1000.0 % 2.0 > 1.0 {
        let area = torso.area(&[(0.13, -0.1), (0.13, 0.1), (0.5, 0.13), (0.58, 0.0), (0.5, -0.13)]);
        canvas.fill(area, Ink::Flat(figure.light.frontal(shade), 1.0));
    }
}

fn pockets(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, cut: &Cut) {
    let upper = &figure.person.upper;
    let color = figure.light.frontal(upper.tint.shade.detail());
    if upper.kind == UpperKind::Hoodie {
        let pouch = [(0.72, -0.4), (0.72, 0.4), (0.90, 0.62), (0.90, -0.62)];
        canvas.fill(torso.area(&pouch), Ink::Flat(rgb(0.0, 0.0, 0.0), 0.10));
        for side in [-1.0, 1.0] {
            let line = torso.line(&[(0.72, side * 0.4), (0.81, side * 0.55), (0.90, side * 0.62)]);
            canvas.stroke(line, 0.008, color, 0.8);
        }
        return;
    }
    if upper.kind == UpperKind::Shirt {
        let pocket = torso.line(&[(0.44, 0.35), (0.44, 0.5), (0.44, 0.65), (0.53, 0.65), (0.54, 0.5), (0.53, 0.35)]);
        canvas.stroke(pocket, 0.005, color, 0.7);
        return;
    }
    let level = if cut.hem < 0.42 { 0.80 } else { 0.74 };
    for side in [-1.0, 1.0] {
        let flap = torso.line(&[(level, side * 0.45), (level + 0.008, side * 0.7), (level + 0.02, side * 0.95)]);
        canvas.stroke(flap, 0.011, color, 0.75);
        if upper.kind == UpperKind::DenimJacket {
            let chest = torso.line(&[(0.43, side * 0.3), (0.43, side * 0.5), (0.43, side * 0.7)]);
            canvas.stroke(chest, 0.016, color, 0.6);
        }
    }
}

/// Seams between the chambers of a down jacket, and the light on each chamber.
pub(super) fn quilting(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>) {
    let shade = figure.person.upper.tint.shade;
    let light = shade.glossy(0.16);
    for number in 0..8 {
        let level = 0.26 + number as f32 * 0.092;
        canvas.stroke(shapes::curve(&torso.across(level)), 0.014, rgb(0.0, 0.0, 0.0), 0.34);
        canvas.stroke(shapes::curve(&torso.across(level + 0.03)), 0.016, figure.light.frontal(light), 0.35);
    }
}

pub(super) fn hem(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, cut: &Cut) {
    let shade = figure.person.upper.tint.shade;
    if cut.is_ribbed {
        torso.fill_path(canvas, &figure.light, torso.band(0.94, 1.0), (shade.lit(0.8), cut.finish));
    }
    canvas.stroke(shapes::curve(&torso.across(0.995)), 0.008, rgb(0.0, 0.0, 0.0), 0.35);
    if figure.person.upper.kind.is_dress() {
        let belt = shapes::curve(&torso.across(super::torso::WAIST));
        canvas.stroke(belt, 0.02, figure.light.frontal(shade.detail()), 0.5);
    }
    if cut.collar == Collar::Lapels && cut.hem < 0.42 && figure.person.physique.girth < 1.0 {
        // A belted coat.
        let belt = shapes::curve(&torso.across(super::torso::WAIST + 0.02));
        canvas.stroke(belt, 0.036, figure.light.frontal(shade.lit(0.72)), 0.9);
    }
}
