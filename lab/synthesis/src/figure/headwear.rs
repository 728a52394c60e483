//! Caps, hats and hoods.

use super::Figure;
use super::head::{HALF_HEIGHT, Skull, shaded};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::{Point, place, point};
use crate::light::Finish;
use crate::person::garment::{Headwear, HeadwearKind};
use crate::shapes;
use std::f32::consts::{FRAC_PI_2, PI};
use tiny_skia::Path;

pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull, worn: &Headwear) {
    match worn.kind {
        HeadwearKind::Cap => cap(figure, canvas, skull, worn),
        HeadwearKind::Beanie => beanie(figure, canvas, skull, worn),
        HeadwearKind::BrimmedHat => hat(figure, canvas, skull, worn),
        HeadwearKind::Hood => hood(figure, canvas, skull, worn),
    }
}

/// What is above an elevation, on a shell around the head that is higher than wide by a factor.
fn dome(skull: &Skull, elevation: f32, factor: f32, height: f32) -> Option<Path> {
    let facing = skull.facing();
    let mut points: Vec<Point> =
        (-6..=6).map(|step| skull.at(facing + step as f32 / 6.0 * FRAC_PI_2, elevation, factor)).collect();
    let center = skull.center();
    let (width, height) = (skull.half_width() * factor, HALF_HEIGHT * factor * height);
    for step in 1..12 {
        let angle = elevation + (PI - 2.0 * elevation) * step as f32 / 12.0;
        points.push(center + point(angle.cos() * width, -angle.sin() * height));
    }
    shapes::polygon(&points)
}

fn cap(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull, worn: &Headwear) {
    let shade = worn.tint.shade;
    let color = figure.light.frontal(shade);
    let brim = |canvas: &mut Canvas| {
        let reach = |angle: f32, ahead: f32| {
            let edge = skull.body(angle, 0.40, 1.12);
            skull.view.point(edge + place(0.0, -0.012, ahead))
        };
        let points: Vec<Point> = [-1.1_f32, -0.6, 0.0, 0.6, 1.1]
            .iter()
            .map(|angle| reach(*angle, 0.085 * angle.cos().sqrt()))
            .chain([1.2_f32, 0.5, 0.0, -0.5, -1.2].iter().map(|angle| reach(*angle, 0.0)))
            .collect();
        canvas.fill(shapes::polygon(&points), Ink::Flat(color.lit(0.82), 1.0));
        canvas.stroke(shapes::polygon(&points), 0.012, color.lit(0.7), 1.0);
    };
    let is_front = skull.view.frontness() > -0.1;
    if !is_front {
        brim(canvas);
    }
    shaded(figure, canvas, dome(skull, 0.34, 1.13, 1.06), skull, (shade, Finish::Matt));
    let seam: Vec<Point> = [0.4, 0.8, 1.2].map(|elevation| skull.at(skull.facing() + 0.25, elevation, 1.13)).to_vec();
    figure.crease(canvas, &seam, 0.006, 0.25);
    if is_front {
        brim(canvas);
        let badge = skull.at(0.0, 0.68, 1.14);
        if skull.visibility(0.0) > 0.4 {
            canvas.fill(shapes::ellipse(badge, [0.018, 0.014], 0.0), Ink::Flat(color.detail(), 0.8));
        }
    }
}

fn beanie(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull, worn: &Headwear) {
    let shade = worn.tint.shade;
    shaded(figure, canvas, dome(skull, 0.30, 1.14, 1.13), skull, (shade, Finish::Matt));
    let facing = skull.facing();
    let rim: Vec<Point> = (-6..=6).map(|step| skull.at(facing + step as f32 / 6.0 * 1.5, 0.36, 1.15)).collect();
    canvas.stroke(shapes::curve(&rim), 0.045, figure.light.frontal(shade.lit(0.85)), 1.0);
    if figure.person.physique.girth < 0.98 {
        let top = skull.center() - point(0.0, HALF_HEIGHT * 1.35);
        canvas.fill(shapes::ellipse(top, [0.036, 0.034], 0.0), Ink::Flat(figure.light.frontal(shade.lit(0.92)), 1.0));
    }
}

fn hat(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull, worn: &Headwear) {
    let shade = worn.tint.shade;
    let ring = |radius: f32, up: f32| -> Vec<Point> {
        (0..16)
            .map(|step| {
                let angle = step as f32 / 8.0 * PI;
                let edge = skull.body(angle, 0.42, radius);
                skull.view.point(place(edge.x * 1.25, edge.y + up, edge.z))
            })
            .collect()
    };
    canvas.fill(shapes::blob(&ring(1.85, -0.045)), Ink::Flat(figure.light.frontal(shade.lit(0.8)), 1.0));
    shaded(figure, canvas, dome(skull, 0.38, 1.16, 1.10), skull, (shade, Finish::Matt));
    let facing = skull.facing();
    let band: Vec<Point> = (-6..=6).map(|step| skull.at(facing + step as f32 / 6.0 * 1.5, 0.46, 1.17)).collect();
    canvas.stroke(shapes::curve(&band), 0.022, figure.light.frontal(shade.detail()), 0.9);
    let rim: Vec<Point> = (-6..=6)
        .map(|step| {
            let edge = skull.body(facing + step as f32 / 6.0 * 1.5, 0.42, 1.85);
            skull.view.point(place(edge.x * 1.25, edge.y - 0.045, edge.z))
        })
        .collect();
    canvas.stroke(shapes::curve(&rim), 0.010, figure.light.frontal(shade.lit(0.65)), 0.8);
}

/// A hood that is pulled up: cloth all around the face.
fn hood(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull, worn: &Headwear) {
    let shade = worn.tint.shade;
    let finish = figure.person.upper.kind.cut().finish;
    let center = skull.center();
    let (width, height) = (skull.half_width() * 1.32, HALF_HEIGHT * 1.2);
    let back = -skull.view.rightness() * 0.02;
    let at = |x: f32, y: f32| center + point(x * width + back, y * height);
    let shell = [
        at(0.0, -1.03),
        at(0.68, -0.78),
        at(1.0, -0.1),
        at(0.95, 0.6),
        at(0.85, 1.1),
        at(-0.85, 1.1),
        at(-0.95, 0.6),
        at(-1.0, -0.1),
        at(-0.68, -0.78),
    ];
    let opening = opening(skull);
    // With the opening as a hole the face stays as it was drawn.
    let mut builder = tiny_skia::PathBuilder::new();
    if let Some(shell) = shapes::blob(&shell) {
        builder.push_path(&shell);
    }
    let has_opening = skull.view.frontness() > -0.25;
    if has_opening {
        let reversed: Vec<Point> = opening.iter().rev().copied().collect();
        if let Some(hole) = shapes::blob(&reversed) {
            builder.push_path(&hole);
        }
    }
    shaded(figure, canvas, builder.finish(), skull, (shade, finish));
    if has_opening {
        canvas.stroke(shapes::blob(&opening), 0.016, figure.light.frontal(shade.lit(0.6)), 0.9);
    } else {
        let seam = [at(0.1, -0.9), at(0.06, 0.0), at(0.04, 0.9)];
        canvas.stroke(shapes::curve(&seam), 0.01, rgb(0.0, 0.0, 0.0), 0.25);
    }
}

/// The face that a hood leaves free, clockwise in the picture.
fn opening(skull: &Skull) -> Vec<Point> {
    let facing = skull.facing();
    let clamped = |angle: f32| facing + (angle - facing).clamp(-1.45, 1.45);
    let corners =
        [(0.0, 0.85), (0.8, 0.5), (1.05, -0.1), (0.8, -0.75), (0.0, -1.15), (-0.8, -0.75), (-1.05, -0.1), (-0.8, 0.5)];
    corners.map(|(angle, elevation)| skull.at(clamped(angle), elevation, 1.03)).to_vec()
}
