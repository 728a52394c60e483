//! Bags that hang on the body.

use super::Figure;
use super::tube::{Tube, ring};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::{Place, place};
use crate::light::Finish;
use crate::person::belongings::{Belonging, BelongingKind};
use crate::shapes;

pub(super) fn backpack(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let body = &figure.person.physique;
    let shade = belonging.tint.shade;
    let center = figure.skeleton.spine(0.62) - place(0.0, 0.0, body.chest * 0.66 + 0.075);
    let rings = vec![
        ring(center + place(0.0, 0.225, 0.03), 0.075, 0.045),
        ring(center + place(0.0, 0.19, 0.01), 0.130, 0.080),
        ring(center + place(0.0, 0.06, -0.01), 0.155, 0.100),
        ring(center - place(0.0, 0.12, 0.005), 0.160, 0.110),
        ring(center - place(0.0, 0.21, -0.01), 0.140, 0.095),
    ];
    let bag = Tube::new(&figure.view, rings);
    bag.fill(canvas, &figure.light, shade, Finish::Satin);
    let line = figure.light.frontal(shade.detail());
    // Lid, outer pocket and handle, on the side away from the body.
    let back = std::f32::consts::PI;
    canvas.stroke(
        bag.line(&[(0.26, back - 1.3), (0.32, back - 0.6), (0.32, back + 0.6), (0.26, back + 1.3)]),
        0.008,
        line,
        0.85,
    );
    let pocket = bag.area(&[(0.58, back - 0.8), (0.58, back + 0.8), (0.93, back + 0.75), (0.93, back - 0.75)]);
    canvas.fill(pocket.clone(), Ink::Flat(figure.light.frontal(shade.lit(0.86)), 1.0));
    canvas.stroke(pocket, 0.008, line, 0.8);
    canvas.stroke(bag.outline(), 0.006, rgb(0.0, 0.0, 0.0), 0.35);
    let sides = [-0.35, 0.35].map(|angle| bag.at(0.0, back + angle));
    let top = sides[0].towards(sides[1], 0.5) - crate::geometry::point(0.0, 0.03);
    canvas.stroke(shapes::curve(&[sides[0], top, sides[1]]), 0.012, line, 0.9);
}

/// The straps over the shoulders, as the front shows them; drawn with the torso's front.
pub(super) fn straps(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>) {
    for belonging in &figure.carried {
        let color = figure.light.frontal(belonging.tint.shade);
        match belonging.kind {
            BelongingKind::Backpack => {
                for side in [-1.0, 1.0] {
                    let points = [
                        (0.14, side * 0.75),
                        (0.3, side * 0.66),
                        (0.45, side * 0.72),
                        (0.6, side * 1.15),
                        (0.63, side * 1.5),
                    ];
                    canvas.stroke(torso.line(&points), 0.036, color, 1.0);
                }
            }
            BelongingKind::ShoulderBag => {
                // From the shoulder on the other side across chest and back.
                let across = [(0.17, 0.75), (0.32, 0.42), (0.5, -0.1), (0.66, -0.7), (0.78, -1.3)];
                let mirrored = |angle: f32| if belonging.side < 0.0 { angle } else { -angle };
                let front = across.map(|(level, angle)| (level, mirrored(angle)));
                canvas.stroke(torso.line(&front), 0.024, color, 1.0);
                let back = across.map(|(level, angle)| (level, std::f32::consts::PI - mirrored(angle)));
                canvas.stroke(torso.line(&back), 0.024, color, 1.0);
            }
            BelongingKind::Tote => {
                let side = belonging.side;
                for angle in [0.9, std::f32::consts::PI - 0.9] {
                    let points = [(0.16, side * angle), (0.35, side * angle), (0.55, side * (angle + 1.2) * 0.5)];
                    canvas.stroke(torso.line(&points), 0.02, color, 1.0);
                }
            }
            BelongingKind::Handbag
            | BelongingKind::ShoppingBag
            | BelongingKind::Suitcase
            | BelongingKind::Umbrella
            | BelongingKind::Cup
            | BelongingKind::Bottle
            | BelongingKind::Stroller
            | BelongingKind::Dog => {}
        }
    }
}

/// Middle of a bag at the hip or under the arm.
pub(crate) fn hanging_place(figure: &Figure<'_>, belonging: &Belonging) -> Place {
    let body = &figure.person.physique;
    if belonging.kind == BelongingKind::Tote {
        figure.skeleton.spine(0.22) + place(belonging.side * (body.chest + 0.075), 0.0, 0.0)
    } else {
        figure.skeleton.spine(-0.02) + place(belonging.side * (body.hips + 0.05), 0.0, 0.035)
    }
}

pub(super) fn hanging(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let center = hanging_place(figure, belonging);
    let shade = belonging.tint.shade;
    let (height, length) = if belonging.kind == BelongingKind::Tote { (0.17, 0.165) } else { (0.10, 0.135) };
    let rings = vec![
        ring(center + place(0.0, height, 0.0), 0.038, length * 0.92),
        ring(center, 0.055, length),
        ring(center - place(0.0, height * 0.93, 0.0), 0.048, length * 0.94),
    ];
    let bag = Tube::new(&figure.view, rings);
    bag.fill(canvas, &figure.light, shade, Finish::Satin);
    canvas.stroke(bag.outline(), 0.007, rgb(0.0, 0.0, 0.0), 0.4);
    let line = figure.light.frontal(shade.detail());
    if belonging.kind == BelongingKind::ShoulderBag {
        let flap = bag.band(0.0, 0.5);
        canvas.fill(flap, Ink::Flat(rgb(0.0, 0.0, 0.0), 0.12));
        canvas.stroke(shapes::curve(&bag.across(0.5)), 0.008, line, 0.9);
    } else {
        let shoulder = figure.skeleton.arms[crate::pose::side_index(belonging.side)].shoulder;
        let top = figure.view.point(shoulder + place(0.0, 0.05, 0.0));
        for end in [-1.0, 1.0] {
            let low = bag.edge(0.0, end * 0.7);
            canvas.stroke(shapes::curve(&[low, top]), 0.014, line, 0.9);
        }
    }
}
