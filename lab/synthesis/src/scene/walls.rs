//! Walls behind a person, at a depth in metres.

use super::Stage;
use crate::color::{Rgb, rgb};
use crate::geometry::place;

/// Half the width of what is drawn: nothing farther to the side can come into a picture.
const SIDE: f32 = 7.0;

fn lit(stage: &Stage<'_>, color: Rgb) -> Rgb {
    color.lit(stage.light.ambient + stage.light.direct * 0.55)
}

/// Where repeated things begin, so that they move with the person's place.
fn first(stage: &Stage<'_>, distance: f32) -> f32 {
    -SIDE + stage.along.rem_euclid(distance)
}

pub(super) fn facade(stage: &mut Stage<'_>, depth: f32) {
    let choices = [rgb(0.66, 0.58, 0.47), rgb(0.55, 0.36, 0.29), rgb(0.62, 0.62, 0.62), rgb(0.72, 0.68, 0.58)];
    let wall = stage.fixed.pick(choices);
    let color = lit(stage, wall);
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.0, 12.0], color);
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.0, 0.6], color.lit(0.75));
    let glass = lit(stage, rgb(0.25, 0.30, 0.36));
    let frame = lit(stage, rgb(0.85, 0.84, 0.80));
    let mut x = first(stage, 2.3);
    while x < SIDE {
        for floor in 0..3 {
            let bottom = 1.1 + floor as f32 * 2.9;
            stage.upright(depth, [x - 0.08, x + 1.18], [bottom - 0.08, bottom + 1.58], frame);
            stage.upright(depth, [x, x + 1.1], [bottom, bottom + 1.5], glass);
            stage.upright(depth, [x + 0.1, x + 0.5], [bottom + 0.3, bottom + 1.4], glass.lit(1.5));
        }
        x += 2.3;
    }
}

pub(super) fn brick(stage: &mut Stage<'_>, depth: f32) {
    let wall = stage.fixed.pick([rgb(0.48, 0.29, 0.23), rgb(0.52, 0.48, 0.43), rgb(0.42, 0.40, 0.38)]);
    let color = lit(stage, wall);
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.0, 9.0], color);
    for row in 0..22 {
        let height = row as f32 * 0.16;
        stage.line([place(-SIDE, height, depth), place(SIDE, height, depth)], 0.014, color.lit(0.72), 0.8);
        let mut x = first(stage, 0.4) + if row % 2 == 0 { 0.0 } else { 0.2 };
        while x < SIDE * 0.5 {
            if x > -SIDE * 0.5 {
                stage.line([place(x, height, depth), place(x, height + 0.16, depth)], 0.010, color.lit(0.75), 0.7);
            }
            x += 0.4;
        }
    }
    let mut x = first(stage, 4.1);
    while x < SIDE {
        let door = lit(stage, rgb(0.22, 0.28, 0.27));
        stage.upright(depth, [x, x + 1.05], [0.0, 2.15], door);
        stage.upright(depth, [x + 1.7, x + 1.85], [0.0, 4.0], lit(stage, rgb(0.35, 0.35, 0.36)));
        x += 4.1;
    }
}

pub(super) fn shop(stage: &mut Stage<'_>, depth: f32) {
    let frame =
        stage.fixed.pick([rgb(0.16, 0.16, 0.18), rgb(0.45, 0.12, 0.12), rgb(0.12, 0.25, 0.2), rgb(0.75, 0.73, 0.7)]);
    let color = lit(stage, frame);
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.0, 8.0], color);
    let mut x = first(stage, 2.6);
    while x < SIDE {
        // Windows shine by themselves.
        let glow = stage.fixed.pick([rgb(0.86, 0.80, 0.66), rgb(0.74, 0.78, 0.80), rgb(0.80, 0.72, 0.62)]);
        stage.upright(depth, [x, x + 2.3], [0.45, 2.6], glow.lit(0.55 + stage.light.ambient * 0.4));
        for _ in 0..6 {
            let left = x + stage.fixed.between(0.05, 1.8);
            let bottom = stage.fixed.between(0.45, 1.3);
            let shade = rgb(stage.fixed.unit(), stage.fixed.unit(), stage.fixed.unit()).mix(glow, 0.5).lit(0.7);
            let (width, height) = (stage.fixed.between(0.15, 0.4), stage.fixed.between(0.3, 1.0));
            stage.upright(depth, [left, left + width], [bottom, bottom + height], shade);
        }
        stage.upright(depth, [x + 1.1, x + 1.16], [0.45, 2.6], color.lit(0.8));
        x += 2.6;
    }
    let sign = rgb(stage.fixed.unit(), stage.fixed.unit() * 0.7, stage.fixed.unit()).lit(0.9);
    stage.upright(depth, [-SIDE, SIDE], [2.75, 3.3], sign);
}

pub(super) fn train(stage: &mut Stage<'_>, depth: f32) {
    let body = stage.fixed.pick([rgb(0.78, 0.78, 0.80), rgb(0.70, 0.16, 0.16), rgb(0.20, 0.34, 0.55)]);
    let color = lit(stage, body);
    stage.upright(depth - 0.5, [-SIDE * 2.0, SIDE * 2.0], [0.0, 9.0], lit(stage, rgb(0.24, 0.25, 0.27)));
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.1, 3.2], color);
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.75, 0.95], lit(stage, rgb(0.9, 0.75, 0.2)));
    let mut x = first(stage, 3.2);
    while x < SIDE {
        stage.upright(depth, [x, x + 1.4], [1.25, 2.3], rgb(0.55, 0.60, 0.60).lit(0.7 + stage.light.ambient * 0.3));
        stage.upright(depth, [x + 1.9, x + 2.7], [0.2, 2.5], color.lit(0.7));
        stage.upright(depth, [x + 2.0, x + 2.6], [1.2, 2.3], rgb(0.45, 0.50, 0.52));
        x += 3.2;
    }
}

pub(super) fn corridor(stage: &mut Stage<'_>, depth: f32) {
    let wall = stage.fixed.pick([rgb(0.80, 0.78, 0.72), rgb(0.70, 0.75, 0.78), rgb(0.78, 0.72, 0.66)]);
    let color = lit(stage, wall);
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.0, 6.0], color);
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.0, 0.14], color.lit(0.5));
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.95, 1.05], color.lit(0.82));
    let door = stage.fixed.pick([rgb(0.48, 0.33, 0.21), rgb(0.35, 0.42, 0.48), rgb(0.62, 0.60, 0.56)]);
    let mut x = first(stage, 3.4);
    while x < SIDE {
        stage.upright(depth, [x - 0.07, x + 1.07], [0.0, 2.17], color.lit(0.7));
        stage.upright(depth, [x, x + 1.0], [0.0, 2.1], lit(stage, door));
        let poster = rgb(stage.fixed.unit(), stage.fixed.unit(), stage.fixed.unit()).mix(wall, 0.4);
        stage.upright(depth, [x + 1.6, x + 2.5], [1.2, 2.3], lit(stage, poster));
        x += 3.4;
    }
}

pub(super) fn shelves(stage: &mut Stage<'_>, depth: f32) {
    let color = lit(stage, rgb(0.70, 0.70, 0.70));
    stage.upright(depth, [-SIDE * 2.0, SIDE * 2.0], [0.0, 2.4], color);
    let shift = stage.along.rem_euclid(1.0);
    for shelf in 0..5 {
        let bottom = 0.12 + shelf as f32 * 0.44;
        stage.upright(depth, [-SIDE, SIDE], [bottom, bottom + 0.38], color.lit(0.55));
        let mut x = -3.5 + shift;
        while x < 3.5 {
            let width = stage.fixed.between(0.1, 0.3);
            let goods = rgb(stage.fixed.unit(), stage.fixed.unit(), stage.fixed.unit()).mix(color, 0.35);
            let height = stage.fixed.between(0.18, 0.34);
            stage.upright(depth, [x, x + width * 0.92], [bottom, bottom + height], lit(stage, goods));
            x += width;
        }
        stage.upright(depth, [-SIDE, SIDE], [bottom - 0.05, bottom], color.lit(1.1));
    }
}
