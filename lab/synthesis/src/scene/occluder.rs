//! Things between the camera and the person.

use crate::canvas::{Canvas, Ink};
use crate::color::{Rgb, rgb};
use crate::frame::Projection;
use crate::geometry::{Point, place, point};
use crate::light::Light;
use crate::randomness::Randomness;
use crate::shapes;

/// A rectangle of the image plane, in metres: left, top, right, bottom.
pub(crate) type Covered = [f32; 4];

/// Something before a person.
pub(crate) struct Obstacle {
    pub(crate) covered: Covered,
    /// What a caption may call it.
    pub(crate) name: Option<&'static str>,
}

/// Draws something that hides a part of a person at the origin and says which part of the image plane it covers.
pub(crate) fn draw(
    canvas: &mut Canvas,
    projection: &Projection,
    light: &Light,
    randomness: &mut Randomness,
    is_indoors: bool,
) -> Obstacle {
    let lit = |color: Rgb| color.lit(light.ambient + light.direct * 0.6);
    let ground = |x: f32, y: f32| projection.see(place(x, y, 0.55)).point;
    // No cars indoors.
    let kind = if is_indoors { randomness.pick([0, 1, 2, 4]) } else { randomness.index(5) };
    match kind {
        0 => {
            // A bench's back.
            let height = randomness.between(0.55, 0.8);
            let x = randomness.between(-0.7, 0.7);
            let wood = lit(rgb(0.42, 0.28, 0.17)).varied(randomness, 0.1);
            let (left, right) = (ground(x - 1.0, 0.0).x, ground(x + 1.0, 0.0).x);
            for slat in 0..4 {
                let top = height - slat as f32 * 0.14;
                let corners = [
                    ground(x - 1.0, top),
                    ground(x + 1.0, top),
                    ground(x + 1.0, top - 0.11),
                    ground(x - 1.0, top - 0.11),
                ];
                canvas.fill(shapes::polygon(&corners), Ink::Flat(wood.lit(1.0 - slat as f32 * 0.08), 1.0));
            }
            for end in [x - 0.8, x + 0.8] {
                canvas.stroke(
                    shapes::curve(&[ground(end, height), ground(end, -0.1)]),
                    0.05,
                    lit(rgb(0.15, 0.15, 0.16)),
                    1.0,
                );
            }
            Obstacle { covered: [left, ground(0.0, height).y, right, ground(0.0, 0.15).y], name: Some("a bench") }
        }
        1 => {
            // A pole or sign post.
            let x = randomness.sign() * randomness.between(0.08, 0.3);
            let half = randomness.between(0.035, 0.06);
            let metal = lit(rgb(0.42, 0.43, 0.44)).varied(randomness, 0.15);
            let center = ground(x, 0.0).x;
            let colors = light.across(metal, crate::light::Finish::Satin);
            let (from, to) = (point(center - half, 0.0), point(center + half, 0.0));
            let corners = [point(from.x, -4.0), point(to.x, -4.0), point(to.x, 4.0), point(from.x, 4.0)];
            canvas.fill(shapes::polygon(&corners), Ink::Along { from, to, colors: &colors, opacity: 1.0 });
            Obstacle { covered: [center - half, -4.0, center + half, 4.0], name: Some("a pole") }
        }
        2 => {
            // A bush.
            let height = randomness.between(0.35, 0.8);
            let (low, high) = (ground(0.0, -0.2).y, ground(0.0, height).y);
            let leaf = lit(rgb(0.20, 0.33, 0.14));
            for number in 0..220 {
                // Large and dark ones first: the inside.
                let inside = 1.0 - number as f32 / 220.0;
                let rise = randomness.unit().powf(0.8);
                let center = point(randomness.between(-0.9, 0.9), low + 0.3 + (high + 0.1 - low - 0.3) * rise);
                let radius = randomness.between(0.025, 0.05) + inside * 0.08;
                let color = leaf.lit(randomness.between(0.55, 1.0) + (1.0 - inside) * 0.45);
                canvas.fill(shapes::ellipse(center, [radius, radius * 0.8], 0.0), Ink::Flat(color, 1.0));
            }
            Obstacle {
                covered: [-1.2, high + 0.15, 1.2, low + 0.3],
                name: Some(if is_indoors { "a plant" } else { "a bush" }),
            }
        }
        3 => {
            // A car's bonnet.
            let height = randomness.between(0.4, 0.85);
            let side = randomness.sign();
            let paint = lit(randomness.pick([
                rgb(0.75, 0.75, 0.77),
                rgb(0.14, 0.15, 0.17),
                rgb(0.5, 0.1, 0.1),
                rgb(0.15, 0.25, 0.45),
            ]));
            let edge = side * randomness.between(-0.15, 0.25);
            let outline: Vec<Point> = [
                (edge, -0.3),
                (edge, height * 0.7),
                (edge + side * 0.25, height),
                (side * 3.0, height * 1.15),
                (side * 3.0, -0.3),
            ]
            .map(|(x, y)| ground(x, y))
            .to_vec();
            canvas.fill(shapes::polygon(&outline), Ink::Flat(paint, 1.0));
            let shine = [ground(edge + side * 0.1, height * 0.8), ground(side * 3.0, height * 0.95)];
            canvas.stroke(shapes::curve(&shine), 0.05, paint.glossy(0.18), 0.7);
            let lamp = ground(edge + side * 0.12, height * 0.55);
            canvas.fill(shapes::ellipse(lamp, [0.09, 0.06], 0.0), Ink::Flat(rgb(0.9, 0.9, 0.85), 1.0));
            let (one, other) = (ground(edge, 0.0).x, ground(side * 3.0, 0.0).x);
            let covered = [one.min(other), ground(0.0, height * 0.9).y, one.max(other), ground(0.0, -0.3).y];
            Obstacle { covered, name: Some("a parked car") }
        }
        _ => {
            // A railing: thin enough that nothing is hidden for good.
            let height = randomness.between(0.75, 1.0);
            let metal = lit(rgb(0.30, 0.32, 0.34));
            for level in [height, 0.12] {
                canvas.stroke(shapes::curve(&[ground(-2.0, level), ground(2.0, level)]), 0.04, metal, 1.0);
            }
            for number in -8..=8 {
                let x = number as f32 * 0.17;
                canvas.stroke(shapes::curve(&[ground(x, height), ground(x, 0.12)]), 0.016, metal, 1.0);
            }
            Obstacle { covered: [0.0; 4], name: Some("a railing") }
        }
    }
}
