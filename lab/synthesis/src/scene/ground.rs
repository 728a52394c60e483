//! Grounds.

use super::Stage;
use crate::canvas::Ink;
use crate::color::{Rgb, rgb};
use crate::geometry::{place, point};
use crate::shapes;

/// How far the ground reaches to the sides and to the back, in metres.
const SIDE: f32 = 14.0;
const BACK: f32 = -40.0;
const FRONT: f32 = 3.0;

/// All of the picture, darker towards the camera or the back.
fn base(stage: &mut Stage<'_>, color: Rgb, far: Rgb) {
    let color = color.lit(stage.light.ambient + stage.light.direct * 0.75);
    let far = far.lit(stage.light.ambient + stage.light.direct * 0.75);
    let (top, bottom) = (stage.point(place(0.0, 0.0, -9.0)), stage.point(place(0.0, 0.0, 1.0)));
    stage.canvas.flood(far);
    let corners = [point(-SIDE, top.y - 4.0), point(SIDE, top.y - 4.0), point(SIDE, 9.0), point(-SIDE, 9.0)];
    let colors = [(0.0, far), (1.0, color)];
    let ink = Ink::Along { from: point(0.0, top.y), to: point(0.0, bottom.y), colors: &colors, opacity: 1.0 };
    stage.canvas.fill(shapes::polygon(&corners), ink);
}

/// Patches that are lighter or darker, so that no ground is even.
fn stains(stage: &mut Stage<'_>, count: usize, strength: f32) {
    for _ in 0..count {
        let center = place(stage.fixed.between(-5.0, 5.0) + stage.along % 2.0, 0.0, stage.fixed.between(-6.0, 1.0));
        let middle = stage.point(center);
        let radii = [stage.fixed.between(0.1, 0.9), stage.fixed.between(0.03, 0.2)];
        let is_light = stage.fixed.chance(0.5);
        let color = if is_light { rgb(1.0, 1.0, 1.0) } else { rgb(0.0, 0.0, 0.0) };
        let opacity = stage.fixed.between(0.02, strength);
        stage.canvas.fill(shapes::ellipse(middle, radii, 0.0), Ink::Flat(color, opacity));
    }
}

/// Lines that cross at right angles, `size` metres apart.
fn joints(stage: &mut Stage<'_>, size: f32, opacity: f32) {
    let black = rgb(0.0, 0.0, 0.0);
    let shift = stage.along.rem_euclid(size);
    let count = (7.0 / size) as i32;
    for number in -count..=count {
        let x = number as f32 * size + shift;
        stage.line([place(x, 0.0, -12.0), place(x, 0.0, FRONT)], 0.012, black, opacity);
    }
    for number in -(count * 2)..=(FRONT / size) as i32 {
        let z = number as f32 * size + 0.2;
        stage.line([place(-SIDE, 0.0, z), place(SIDE, 0.0, z)], 0.012, black, opacity);
    }
}

pub(super) fn pavement(stage: &mut Stage<'_>) {
    let warm = stage.fixed.between(-0.03, 0.03);
    base(stage, rgb(0.58 + warm, 0.57, 0.55 - warm), rgb(0.46, 0.46, 0.46));
    // Kerb and road behind.
    stage.flat(
        [-SIDE, SIDE],
        [-5.6, -2.3],
        rgb(0.29, 0.29, 0.30).lit(stage.light.ambient + stage.light.direct * 0.6),
        1.0,
    );
    stage.flat([-SIDE, SIDE], [-2.3, -2.1], rgb(0.72, 0.71, 0.69), 1.0);
    joints(stage, 0.55, 0.16);
    stains(stage, 14, 0.07);
}

pub(super) fn tiles(stage: &mut Stage<'_>, size: f32) {
    let light = stage.fixed.between(0.55, 0.76);
    let warm = stage.fixed.between(-0.02, 0.06);
    let color = rgb(light + warm, light, light - warm);
    base(stage, color, color.lit(0.86));
    let shift = stage.along.rem_euclid(size * 2.0);
    let darker = color.lit(stage.fixed.between(0.7, 0.92));
    for row in -9..4 {
        for column in -5..5 {
            if (row + column) % 2 == 0 {
                let (x, z) = (column as f32 * size + shift, row as f32 * size + 0.2);
                stage.flat([x, x + size], [z, z + size], darker, 0.5);
            }
        }
    }
    joints(stage, size, 0.2);
    stains(stage, 10, 0.06);
}

pub(super) fn polished(stage: &mut Stage<'_>) {
    let light = stage.fixed.between(0.5, 0.7);
    base(stage, rgb(light, light * 0.98, light * 0.93), rgb(light * 0.9, light * 0.9, light * 0.88));
    joints(stage, 1.2, 0.12);
    // Lamps mirror in it.
    for number in 0..3 {
        let x = stage.fixed.between(-2.0, 2.0) + (stage.along * 0.7) % 1.5;
        let center = stage.point(place(x, 0.0, -1.5 - number as f32 * 0.3));
        stage.canvas.fill(shapes::ellipse(center, [0.12, 0.45], 0.0), Ink::Flat(rgb(1.0, 1.0, 0.97), 0.13));
    }
    stains(stage, 6, 0.05);
}

pub(super) fn crossing(stage: &mut Stage<'_>) {
    base(stage, rgb(0.33, 0.33, 0.34), rgb(0.30, 0.30, 0.31));
    let white = rgb(0.83, 0.83, 0.81).lit(stage.light.ambient + stage.light.direct * 0.75);
    let shift = stage.along.rem_euclid(1.1);
    for number in -7..7 {
        let x = number as f32 * 1.1 + shift;
        stage.flat([x, x + 0.55], [-2.4, 1.7], white, 0.92);
    }
    stage.flat([-SIDE, SIDE], [-3.6, -3.3], white, 0.9);
    stage.flat([-SIDE, SIDE], [BACK, -7.0], rgb(0.55, 0.54, 0.52), 1.0);
    stains(stage, 22, 0.09);
}

pub(super) fn platform(stage: &mut Stage<'_>) {
    base(stage, rgb(0.49, 0.49, 0.51), rgb(0.44, 0.44, 0.46));
    joints(stage, 0.4, 0.13);
    stage.flat(
        [-SIDE, SIDE],
        [-2.0, -1.65],
        rgb(0.85, 0.70, 0.16).lit(stage.light.ambient + stage.light.direct * 0.6),
        1.0,
    );
    stage.flat([-SIDE, SIDE], [-2.5, -2.35], rgb(0.82, 0.82, 0.80), 1.0);
    stage.flat([-SIDE, SIDE], [-4.4, -2.5], rgb(0.14, 0.13, 0.13), 1.0);
    stains(stage, 8, 0.06);
}

pub(super) fn parking(stage: &mut Stage<'_>) {
    base(stage, rgb(0.36, 0.36, 0.37), rgb(0.33, 0.33, 0.34));
    let white = rgb(0.80, 0.80, 0.78).lit(stage.light.ambient + stage.light.direct * 0.7);
    let shift = stage.along.rem_euclid(2.4);
    for number in -4..4 {
        let x = number as f32 * 2.4 + shift;
        stage.flat([x, x + 0.11], [-6.0, -1.4], white, 0.85);
    }
    stains(stage, 24, 0.10);
}

/// Grass behind a path that ends at a depth.
pub(super) fn lawn(stage: &mut Stage<'_>, edge: f32) {
    let grass = rgb(0.30, 0.43, 0.19);
    if edge < -20.0 {
        base(stage, grass, grass.lit(0.9));
    } else {
        base(stage, rgb(0.62, 0.56, 0.46), grass);
        let lit = grass.lit(stage.light.ambient + stage.light.direct * 0.75);
        stage.flat([-SIDE, SIDE], [BACK, edge], lit, 1.0);
    }
    for _ in 0..70 {
        let z = stage.fixed.between(-9.0, if edge < -20.0 { 2.0 } else { edge });
        let x = stage.fixed.between(-5.0, 5.0) + stage.along % 1.3;
        let shade = grass.lit(stage.fixed.between(0.65, 1.3));
        let center = stage.point(place(x, 0.0, z));
        let radii = [stage.fixed.between(0.05, 0.4), stage.fixed.between(0.02, 0.07)];
        stage.canvas.fill(shapes::ellipse(center, radii, 0.0), Ink::Flat(shade, 0.35));
    }
    stains(stage, 10, 0.05);
}
