//! Hair on the head, and hair that falls from it.

use super::Figure;
use super::head::{HALF_HEIGHT, Skull, shaded};
use super::tube::{Tube, ring};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::{Point, place, point};
use crate::light::Finish;
use crate::person::body::HairStyle;
use crate::person::garment::HeadwearKind;
use crate::shapes;
use std::f32::consts::{FRAC_PI_2, PI, TAU};

/// Elevation of the hairline in front, at the temples, at the ears and at the nape, and how thick the hair is.
fn hairline(style: HairStyle) -> Option<([f32; 4], f32)> {
    match style {
        HairStyle::Bald => None,
        HairStyle::Buzzed => Some(([0.72, 0.45, 0.0, -0.35], 1.03)),
        HairStyle::Short => Some(([0.62, 0.38, -0.05, -0.48], 1.10)),
        HairStyle::Curly => Some(([0.55, 0.25, -0.30, -0.60], 1.26)),
        HairStyle::Bob => Some(([0.50, 0.30, -0.85, -0.95], 1.17)),
        HairStyle::Long => Some(([0.58, 0.30, -0.80, -1.00], 1.14)),
        HairStyle::Ponytail | HairStyle::Bun => Some(([0.66, 0.42, 0.02, -0.40], 1.07)),
    }
}

/// Elevation of the hairline at an angle from the front.
fn line_at([front, temple, ear, nape]: [f32; 4], angle: f32) -> f32 {
    let around = ((angle + PI).rem_euclid(TAU) - PI).abs();
    let mix = |from: f32, to: f32, share: f32| {
        let smooth = share * share * (3.0 - 2.0 * share);
        from + (to - from) * smooth
    };
    if around < 0.75 {
        mix(front, temple, around / 0.75)
    } else if around < 1.3 {
        mix(temple, ear, (around - 0.75) / 0.55)
    } else {
        mix(ear, nape, (around - 1.3) / (PI - 1.3))
    }
}

pub(super) fn draw_on_head(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let hair = &figure.person.hair;
    let Some((line, thickness)) = hairline(hair.style) else { return };
    if is_hidden(figure) {
        return;
    }
    let facing = skull.facing();
    // Along the hairline from left to right, then back over the top.
    let mut points: Vec<Point> = (-8..=8)
        .map(|step| {
            let turn = step as f32 / 8.0 * FRAC_PI_2;
            let angle = facing + turn;
            let parting = 0.10 * hair.parting * (angle.sin() * 2.0).clamp(-1.0, 1.0) * angle.cos().max(0.0);
            let factor = 1.0 + (thickness - 1.0) * (step as f32 / 8.0).abs().powi(4);
            skull.at(angle, line_at(line, angle) + parting, factor)
        })
        .collect();
    let center = skull.center();
    let (width, height) = (skull.half_width() * thickness, HALF_HEIGHT * thickness);
    let start = line_at(line, facing + FRAC_PI_2);
    let end = line_at(line, facing - FRAC_PI_2);
    for step in 1..12 {
        let share = step as f32 / 12.0;
        let elevation = start + (PI - end - start) * share;
        let wave = if hair.style == HairStyle::Curly { 1.0 + 0.05 * (step as f32 * 2.6).sin() } else { 1.0 };
        points.push(center + point(elevation.cos() * width * wave, -elevation.sin() * height * wave));
    }
    let path = shapes::polygon(&points);
    shaded(
        figure,
        canvas,
        path,
        skull,
        (hair.shade, if hair.style == HairStyle::Buzzed { Finish::Matt } else { Finish::Satin }),
    );
    strands(figure, canvas, skull, line, thickness);
    if hair.style == HairStyle::Bun {
        let bun = skull.view.point(skull.body(PI, 0.75, 1.28));
        if skull.view.frontness() < 0.3 || skull.visibility(PI) > -0.9 {
            canvas.fill(shapes::ellipse(bun, [0.045, 0.042], 0.0), Ink::Flat(figure.light.frontal(hair.shade), 1.0));
            canvas.stroke(shapes::ellipse(bun, [0.028, 0.026], 0.0), 0.006, rgb(0.0, 0.0, 0.0), 0.2);
        }
    }
}

/// Lines that follow the hair, lighter on the side of the light.
fn strands(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull, line: [f32; 4], thickness: f32) {
    let shade = figure.person.hair.shade;
    for (number, turn) in [-1.1_f32, -0.65, -0.2, 0.25, 0.7, 1.1].into_iter().enumerate() {
        let angle = skull.facing() + turn;
        let low = line_at(line, angle);
        let high = 1.25_f32;
        let points =
            [high, f32::midpoint(low, high), low + 0.06].map(|elevation| skull.at(angle, elevation, thickness * 0.985));
        let color = if number % 2 == 0 { shade.glossy(0.10) } else { shade.lit(0.6) };
        canvas.stroke(shapes::curve(&points), 0.008, color, 0.35);
    }
}

/// Whether nothing of the hair on the head is seen.
fn is_hidden(figure: &Figure<'_>) -> bool {
    figure.person.headwear.as_ref().is_some_and(|worn| worn.kind == HeadwearKind::Hood)
}

/// Long hair and ponytails behind the head.
pub(super) fn draw_falling(figure: &Figure<'_>, canvas: &mut Canvas) {
    let hair = &figure.person.hair;
    if is_hidden(figure) {
        return;
    }
    let view = figure.view.turned(figure.skeleton.head, figure.pose.head_turn * 0.7);
    let rings = match hair.style {
        HairStyle::Bald | HairStyle::Buzzed | HairStyle::Short | HairStyle::Curly | HairStyle::Bun => return,
        HairStyle::Bob => vec![
            ring(place(0.0, 0.06, -0.03), 0.088, 0.075),
            ring(place(0.0, -0.05, -0.035), 0.098, 0.080),
            ring(place(0.0, -0.125, -0.03), 0.094, 0.070),
        ],
        HairStyle::Long => vec![
            ring(place(0.0, 0.06, -0.03), 0.088, 0.075),
            ring(place(0.0, -0.08, -0.04), 0.100, 0.075),
            ring(place(0.0, -0.22, -0.06), 0.110, 0.06),
            ring(place(0.0, -0.36, -0.075), 0.090, 0.045),
        ],
        HairStyle::Ponytail => vec![
            ring(place(0.0, 0.045, -0.105), 0.022, 0.022),
            ring(place(0.0, -0.02, -0.135), 0.040, 0.034),
            ring(place(0.0, -0.15, -0.13), 0.036, 0.030),
            ring(place(0.0, -0.27, -0.115), 0.014, 0.014),
        ],
    };
    let tube = Tube::new(&view, rings);
    tube.fill(canvas, &figure.light, hair.shade, Finish::Satin);
    for step in -2..=2 {
        let angle = tube.facing(0.5) + step as f32 * 0.5;
        let color = if step % 2 == 0 { hair.shade.glossy(0.12) } else { hair.shade.lit(0.6) };
        canvas.stroke(tube.line(&[(0.1, angle), (0.5, angle), (0.95, angle)]), 0.008, color, 0.35);
    }
}

/// Locks of long hair before the shoulders; drawn with the head.
pub(super) fn draw_front_locks(figure: &Figure<'_>, canvas: &mut Canvas, skull: &Skull) {
    let hair = &figure.person.hair;
    if hair.style != HairStyle::Long || !hair.is_over_shoulders || is_hidden(figure) || skull.view.frontness() < 0.1 {
        return;
    }
    let shade = figure.light.frontal(hair.shade.lit(0.95));
    for side in [-1.0_f32, 1.0] {
        let top = skull.at(side * 1.35, 0.1, 1.1);
        let middle = skull.view.point(place(side * 0.085, -0.15, 0.06));
        let bottom = skull.view.point(place(side * 0.095, -0.31, 0.11));
        canvas.fill(shapes::capsule(top, 0.017, middle, 0.034), Ink::Flat(shade, 1.0));
        canvas.fill(shapes::capsule(middle, 0.034, bottom, 0.012), Ink::Flat(shade, 1.0));
    }
}
