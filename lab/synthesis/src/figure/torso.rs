//! The upper garment on the torso.

use super::tube::{Ring, Tube, ring};
use super::{Figure, bags, details, neck, pattern, skirt};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::{Place, place};
use crate::person::cut::Cut;
use crate::person::garment::UpperKind;
use crate::shapes;
use std::f32::consts::{FRAC_PI_2, PI};

/// Levels of the torso's tube where something is, see [`rings`].
pub(crate) const CHEST: f32 = 0.5;
pub(crate) const WAIST: f32 = 4.0 / 6.0;
pub(crate) const HIPS: f32 = 5.0 / 6.0;

/// How deep a torso is, compared with its width.
const DEPTH: f32 = 0.66;

pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas) {
    let upper = &figure.person.upper;
    let cut = upper.kind.cut();
    skirt::draw_lower(figure, canvas);
    let torso = Tube::new(&figure.view, rings(figure, &cut));
    torso.fill(canvas, &figure.light, upper.tint.shade, cut.finish);
    pattern::draw(figure, canvas, &torso);
    folds(figure, canvas, &torso, &cut);
    if cut.is_quilted {
        details::quilting(figure, canvas, &torso);
    }
    details::front(figure, canvas, &torso, &cut);
    if upper.kind == UpperKind::TankTop {
        bare_shoulders(figure, canvas, &torso);
    }
    details::hem(figure, canvas, &torso, &cut);
    shade(canvas, &torso);
    bags::straps(figure, canvas, &torso);
    neck::draw(figure, canvas, &torso, &cut);
}

/// Neck, two at the shoulders, chest, waist, hips, hem.
pub(super) fn rings(figure: &Figure<'_>, cut: &Cut) -> Vec<Ring> {
    let body = &figure.person.physique;
    let skeleton = &figure.skeleton;
    let size = body.height / 1.72;
    let ease = cut.ease;
    let waist = body.waist + (body.chest.max(body.hips) - body.waist) * (1.0 - cut.fitted) * 0.8 + ease;
    // Cloth hangs from the chest; below the waist only its own width counts.
    let hips = body.hips + ease * 0.55;
    let at = |share: f32| skeleton.spine(share);
    vec![
        ring(at(1.03), 0.060 * size, 0.062 * size),
        ring(at(0.965), body.shoulders * 0.64 + ease * 0.6, 0.074 * size + ease),
        ring(at(0.87), body.shoulders + 0.020 * size + ease * 0.45, 0.088 * size + ease),
        ring(at(0.68), body.chest + ease, body.chest * DEPTH + ease),
        ring(at(0.33), waist, waist * DEPTH + 0.005),
        ring(at(0.02), hips, hips * DEPTH + 0.012),
        hem_ring(figure, cut.hem * body.height, hips + cut.flare),
    ]
}

/// Where cloth of a width hangs at a height above the ground: around both legs.
pub(super) fn hem_ring(figure: &Figure<'_>, height: f32, half_width: f32) -> Ring {
    let pelvis = figure.skeleton.pelvis;
    if height >= pelvis.y - 0.02 {
        let center = place(pelvis.x, height.min(pelvis.y + 0.1), pelvis.z);
        return ring(center, half_width, half_width * DEPTH + 0.012);
    }
    let thickness = 0.075 * figure.person.physique.girth;
    let legs = figure.skeleton.legs.map(|leg| {
        let share = |from: Place, to: Place| ((from.y - height) / (from.y - to.y).max(0.01)).clamp(0.0, 1.0);
        if height > leg.knee.y {
            leg.hip.towards(leg.knee, share(leg.hip, leg.knee))
        } else {
            leg.knee.towards(leg.ankle, share(leg.knee, leg.ankle))
        }
    });
    let reach = |pick: fn(&Place) -> f32| {
        let values = legs.map(|leg| pick(&leg));
        (values[0].min(values[1]) - thickness, values[0].max(values[1]) + thickness)
    };
    let ((left, right), (back, front)) = (reach(|leg| leg.x), reach(|leg| leg.z));
    let center = place(f32::midpoint(left, right), height, f32::midpoint(back, front));
    let half_width = half_width.max((right - left) / 2.0);
    ring(center, half_width, (half_width * 0.75).max((front - back) / 2.0))
}

/// Cloth creases where the body bends.
fn folds(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, cut: &Cut) {
    if cut.is_quilted {
        return;
    }
    let strength = if figure.person.upper.tint.name.is_dark() { 0.20 } else { 0.10 };
    let sway = figure.variation - 0.5;
    for (number, side) in [-1.0_f32, 1.0].into_iter().enumerate() {
        let edge = |level: f32| torso.facing(level) + side * FRAC_PI_2;
        let inner = |level: f32, share: f32| torso.facing(level) + side * FRAC_PI_2 * share;
        let shift = sway * 0.1 + number as f32 * 0.03;
        let lines = [
            // From the armpit, into the waist, and where the cloth lies on the hips.
            [(0.40, edge(0.40) - side * 0.3), (0.47, inner(0.47, 0.62)), (0.56 + shift, inner(0.56, 0.5))],
            [(0.60 + shift, edge(0.6) - side * 0.25), (0.64 + shift, inner(0.64, 0.6)), (0.66, inner(0.66, 0.3))],
            [
                (0.74, edge(0.74) - side * 0.2),
                (0.71 + shift, inner(0.71, 0.55)),
                (0.72, inner(0.72, 0.25 + sway * 0.3)),
            ],
        ];
        for line in lines {
            canvas.stroke(torso.line(&line), 0.018, rgb(0.0, 0.0, 0.0), strength);
        }
    }
    if cut.hem < 0.42 {
        for angle in [-1.1, -0.45, 0.2, 0.8] {
            let angle = torso.facing(1.0) + angle + sway * 0.4;
            let line = torso.line(&[(0.76, angle * 0.9), (0.88, angle), (0.99, angle * 1.05)]);
            canvas.stroke(line, 0.017, rgb(0.0, 0.0, 0.0), strength * 0.8);
        }
    }
    // The furrow of the back, the shadow below the chest.
    let furrow = torso.line(&[(0.36, PI), (0.5, PI), (0.64, PI)]);
    canvas.stroke(furrow, 0.022, rgb(0.0, 0.0, 0.0), strength * 0.5);
}

/// Straps instead of sleeves.
fn bare_shoulders(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>) {
    let skin = figure.light.frontal(figure.person.physique.skin);
    for side in [-1.0_f32, 1.0] {
        let facing = torso.facing(0.3);
        let edge = facing + side * FRAC_PI_2;
        let corners = [(0.2, edge), (0.2, edge - side * 0.55), (0.36, edge - side * 0.42), (0.47, edge)];
        canvas.fill(torso.area(&corners), Ink::Flat(skin, 1.0));
    }
}

/// Light comes from above: what is lower is darker.
fn shade(canvas: &mut Canvas, torso: &Tube<'_>) {
    let from = torso.at(0.25, torso.facing(0.25));
    let to = torso.at(1.0, torso.facing(1.0));
    let ink = Ink::Fading { from, to, color: rgb(0.0, 0.0, 0.02), opacities: [0.0, 0.17] };
    canvas.fill(torso.outline(), ink);
    let [left, right] = [-1.0, 1.0].map(|side| torso.edge(0.2, side));
    // The chin's shadow.
    let chin = shapes::ellipse(left.towards(right, 0.5), [0.075, 0.035], 0.0);
    canvas.fill(chin, Ink::Flat(rgb(0.0, 0.0, 0.0), 0.10));
}
