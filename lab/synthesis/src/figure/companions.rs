//! What moves along beside a person: suitcases, strollers, dogs.

use super::Figure;
use super::tube::{Tube, ring};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::{Place, place};
use crate::light::Finish;
use crate::person::belongings::{Belonging, BelongingKind};
use crate::pose::side_index;
use crate::shapes;
use crate::skeleton::Skeleton;

/// Where it stands: first its middle on the ground, then its upper and outer ends, which tell how much room it takes.
pub(crate) fn companion_places(skeleton: &Skeleton, belonging: &Belonging) -> Vec<Place> {
    let side = belonging.side;
    match belonging.kind {
        BelongingKind::Suitcase => {
            let hand = skeleton.arms[side_index(side)].hand;
            let middle = place(hand.x + side * 0.04, 0.0, hand.z - 0.26);
            vec![middle, middle + place(0.0, 0.6, 0.0)]
        }
        BelongingKind::Dog => {
            let middle = place(side * 0.52, 0.0, 0.16);
            vec![middle, middle + place(0.0, 0.45, 0.3), middle + place(0.0, 0.4, -0.3)]
        }
        BelongingKind::Stroller => {
            let middle = place(0.0, 0.0, 0.72);
            vec![middle, middle + place(0.0, 0.95, 0.1)]
        }
        BelongingKind::Backpack
        | BelongingKind::ShoulderBag
        | BelongingKind::Tote
        | BelongingKind::Handbag
        | BelongingKind::ShoppingBag
        | BelongingKind::Umbrella
        | BelongingKind::Cup
        | BelongingKind::Bottle => Vec::new(),
    }
}

pub(super) fn suitcase(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let Some(stand) = companion_places(&figure.skeleton, belonging).first().copied() else { return };
    let hand = figure.skeleton.arms[side_index(belonging.side)].hand;
    let shade = belonging.tint.shade;
    let top = stand + place(0.0, 0.58, 0.0);
    let metal = figure.light.frontal(rgb(0.55, 0.55, 0.57));
    for side in [-0.07, 0.07] {
        let rod = [hand + place(side * 0.7, 0.0, 0.0), top + place(side, 0.0, 0.0)].map(|end| figure.view.point(end));
        canvas.stroke(shapes::curve(&rod), 0.012, metal, 1.0);
    }
    for side in [-0.14, 0.14] {
        let wheel = figure.view.point(stand + place(side, 0.025, 0.0));
        canvas.fill(shapes::ellipse(wheel, [0.028, 0.028], 0.0), Ink::Flat(rgb(0.08, 0.08, 0.08), 1.0));
    }
    let rings = vec![
        ring(top, 0.165, 0.10),
        ring(top - place(0.0, 0.03, 0.0), 0.19, 0.12),
        ring(stand + place(0.0, 0.08, 0.0), 0.19, 0.12),
        ring(stand + place(0.0, 0.05, 0.0), 0.175, 0.11),
    ];
    let case = Tube::new(&figure.view, rings);
    case.fill(canvas, &figure.light, shade, Finish::Glossy);
    for angle in [-1.0, -0.35, 0.35, 1.0] {
        let angle = case.facing(0.5) + angle;
        figure.crease(canvas, &[case.at(0.1, angle), case.at(0.9, angle)], 0.010, 0.28);
    }
    canvas.stroke(case.outline(), 0.007, rgb(0.0, 0.0, 0.0), 0.4);
}

pub(super) fn stroller(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let Some(stand) = companion_places(&figure.skeleton, belonging).first().copied() else { return };
    let shade = belonging.tint.shade;
    let metal = figure.light.frontal(rgb(0.38, 0.38, 0.40));
    let black = rgb(0.09, 0.09, 0.1);
    for side in [-1.0, 1.0] {
        let rod = [
            figure.skeleton.arms[side_index(side)].hand,
            stand + place(side * 0.21, 0.5, -0.1),
            stand + place(side * 0.2, 0.1, 0.3),
        ];
        canvas.stroke(shapes::curve(&rod.map(|end| figure.view.point(end))), 0.018, metal, 1.0);
        let leg = [stand + place(side * 0.2, 0.5, 0.05), stand + place(side * 0.2, 0.1, -0.25)];
        canvas.stroke(shapes::curve(&leg.map(|end| figure.view.point(end))), 0.016, metal, 1.0);
        for ahead in [-0.25, 0.3] {
            let wheel = figure.view.point(stand + place(side * 0.2, 0.09, ahead));
            let width = 0.025 + 0.065 * figure.view.rightness().abs();
            canvas.stroke(shapes::ellipse(wheel, [width, 0.085], 0.0), 0.022, black, 1.0);
        }
    }
    let rings = vec![
        ring(stand + place(0.0, 0.64, 0.06), 0.2, 0.26),
        ring(stand + place(0.0, 0.5, 0.04), 0.2, 0.28),
        ring(stand + place(0.0, 0.34, 0.04), 0.17, 0.22),
    ];
    Tube::new(&figure.view, rings).fill(canvas, &figure.light, shade, Finish::Matt);
    let hood = vec![
        ring(stand + place(0.0, 0.98, -0.06), 0.12, 0.10),
        ring(stand + place(0.0, 0.92, -0.06), 0.19, 0.17),
        ring(stand + place(0.0, 0.64, -0.02), 0.21, 0.20),
    ];
    let hood = Tube::new(&figure.view, hood);
    hood.fill(canvas, &figure.light, shade.lit(0.85), Finish::Matt);
    canvas.stroke(hood.outline(), 0.008, rgb(0.0, 0.0, 0.0), 0.3);
}

pub(super) fn dog(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    let Some(stand) = companion_places(&figure.skeleton, belonging).first().copied() else { return };
    let shade = belonging.tint.shade;
    let hand = figure.skeleton.arms[side_index(belonging.side)].hand;
    let at = |x: f32, y: f32, z: f32| stand + place(x, y, z);
    for (x, z) in [(-0.06, -0.2), (0.06, -0.16), (-0.06, 0.16), (0.06, 0.2)] {
        let ends = [(at(x, 0.24, z), 0.035), (at(x, 0.02, z + 0.01), 0.022)];
        figure.limb(canvas, ends, shade.lit(0.85), Finish::Matt);
    }
    figure.limb(canvas, [(at(0.0, 0.31, -0.22), 0.02), (at(0.0, 0.44, -0.34), 0.012)], shade, Finish::Matt);
    figure.limb(canvas, [(at(0.0, 0.29, -0.17), 0.085), (at(0.0, 0.30, 0.17), 0.095)], shade, Finish::Matt);
    let is_away = figure.view.frontness() < 0.0;
    let head = |canvas: &mut Canvas| {
        figure.limb(canvas, [(at(0.0, 0.34, 0.2), 0.065), (at(0.0, 0.46, 0.27), 0.06)], shade, Finish::Matt);
        figure.limb(
            canvas,
            [(at(0.0, 0.46, 0.27), 0.065), (at(0.0, 0.43, 0.37), 0.035)],
            shade.lit(1.05),
            Finish::Matt,
        );
        for side in [-0.05, 0.05] {
            figure.limb(
                canvas,
                [(at(side, 0.50, 0.25), 0.022), (at(side * 1.3, 0.43, 0.25), 0.016)],
                shade.lit(0.6),
                Finish::Matt,
            );
        }
        let nose = figure.view.point(at(0.0, 0.435, 0.40));
        canvas.fill(shapes::ellipse(nose, [0.014, 0.012], 0.0), Ink::Flat(rgb(0.05, 0.05, 0.05), 1.0));
    };
    head(canvas);
    if is_away {
        figure.limb(canvas, [(at(0.0, 0.29, -0.17), 0.085), (at(0.0, 0.30, 0.1), 0.09)], shade, Finish::Matt);
    }
    let collar = figure.view.point(at(0.0, 0.4, 0.22));
    let grip = figure.view.point(hand);
    let sag = grip.towards(collar, 0.55) + crate::geometry::point(0.0, 0.07);
    canvas.stroke(shapes::curve(&[grip, sag, collar]), 0.007, rgb(0.5, 0.1, 0.1), 1.0);
}
