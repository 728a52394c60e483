//! Single things behind a person.

use super::Stage;
use crate::canvas::Ink;
use crate::color::rgb;
use crate::geometry::{place, point};
use crate::shapes;

/// A parked car, seen from its side.
pub(super) fn car(stage: &mut Stage<'_>, depth: f32) {
    let paints = [
        rgb(0.75, 0.75, 0.77),
        rgb(0.16, 0.17, 0.19),
        rgb(0.52, 0.10, 0.10),
        rgb(0.16, 0.26, 0.45),
        rgb(0.85, 0.85, 0.84),
    ];
    for number in 0..3 {
        let paint = stage.fixed.pick(paints).lit(stage.light.ambient + stage.light.direct * 0.6);
        let x = -7.0 + number as f32 * 5.2 + stage.along.rem_euclid(5.2) + stage.fixed.between(-0.4, 0.4);
        let outline =
            [(0.0, 0.35), (0.05, 0.75), (0.9, 0.88), (1.5, 1.40), (2.9, 1.42), (3.6, 0.95), (4.2, 0.85), (4.25, 0.35)]
                .map(|(along, height)| stage.point(place(x + along, height, depth)));
        stage.canvas.fill(shapes::polygon(&outline), Ink::Flat(paint, 1.0));
        let glass = [(1.05, 0.92), (1.58, 1.33), (2.82, 1.34), (3.4, 0.95)]
            .map(|(along, height)| stage.point(place(x + along, height, depth)));
        stage.canvas.fill(shapes::polygon(&glass), Ink::Flat(rgb(0.17, 0.20, 0.23), 1.0));
        stage.upright(depth, [x + 2.15, x + 2.25], [0.9, 1.35], paint);
        for along in [0.85, 3.4] {
            let wheel = stage.point(place(x + along, 0.32, depth + 0.05));
            stage.canvas.fill(shapes::ellipse(wheel, [0.24, 0.24], 0.0), Ink::Flat(rgb(0.07, 0.07, 0.07), 1.0));
            stage.canvas.fill(shapes::ellipse(wheel, [0.13, 0.13], 0.0), Ink::Flat(rgb(0.5, 0.5, 0.52), 1.0));
        }
        let below = stage.point(place(x + 2.1, 0.0, depth));
        stage.canvas.fill(shapes::ellipse(below, [1.9, 0.08], 0.0), Ink::Flat(rgb(0.0, 0.0, 0.0), 0.35));
    }
}

/// Trees and bushes.
pub(super) fn trees(stage: &mut Stage<'_>) {
    let leaf = rgb(0.22, 0.36, 0.16).lit(stage.light.ambient + stage.light.direct * 0.6);
    for row in 0..3 {
        let depth = -11.0 + row as f32 * 2.8;
        let mut x = -8.0 + (stage.along * 0.8).rem_euclid(3.0);
        while x < 8.0 {
            let shift = stage.fixed.between(-0.6, 0.6);
            let trunk = rgb(0.27, 0.20, 0.14).lit(stage.fixed.between(0.8, 1.2));
            stage.upright(depth, [x + shift, x + shift + 0.28], [0.0, 2.4], trunk);
            for _ in 0..9 {
                let height = stage.fixed.between(1.9, 4.2);
                let aside = stage.fixed.between(-1.1, 1.3);
                let center = stage.point(place(x + shift + aside, height, depth));
                let shade = leaf.lit(stage.fixed.between(0.6, 1.45));
                let radius = stage.fixed.between(0.25, 0.6);
                stage.canvas.fill(shapes::ellipse(center, [radius, radius * 0.8], 0.0), Ink::Flat(shade, 0.9));
            }
            for _ in 0..4 {
                let aside = stage.fixed.between(-1.2, 1.6);
                let center = stage.point(place(x + aside, 0.25, depth + 0.6));
                let shade = leaf.lit(stage.fixed.between(0.5, 1.1));
                stage.canvas.fill(shapes::ellipse(center + point(0.0, 0.1), [0.45, 0.3], 0.0), Ink::Flat(shade, 1.0));
            }
            x += 3.0;
        }
    }
}
