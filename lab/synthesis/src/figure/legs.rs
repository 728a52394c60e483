//! Legs and what covers them one by one.

use super::{Figure, pattern, shoes};
use crate::canvas::Canvas;
use crate::color::{Rgb, rgb};
use crate::geometry::{Place, place};
use crate::light::Finish;
use crate::person::garment::{LowerKind, ShoeKind};
use crate::shapes;

pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas, index: usize) {
    let person = figure.person;
    let leg = figure.skeleton.legs[index];
    let size = person.physique.height / 1.72 * (0.4 + 0.6 * person.physique.girth);
    let (thigh, knee, calf, ankle) = (0.084 * size, 0.054 * size, 0.050 * size, 0.034 * size);
    let skin = person.physique.skin;
    // The leg behind gets less light.
    let other = figure.skeleton.legs[1 - index];
    let is_behind = figure.view.see(leg.knee).depth + 0.02 < figure.view.see(other.knee).depth;
    let lit = if is_behind { 0.84 } else { 1.0 };
    let Some(lower) = person.lower.as_ref().filter(|lower| !lower.kind.is_skirt()) else {
        // Under a skirt in the cold there are tights.
        let shade = if person.has_tights() { rgb(0.10, 0.10, 0.11) } else { skin };
        shoes::draw(figure, canvas, index, shade.lit(lit));
        bare(figure, canvas, index, shade.lit(lit), [thigh, knee, calf, ankle]);
        shoes::draw_shaft(figure, canvas, index, ankle + 0.012);
        return;
    };
    let shade = lower.tint.shade.lit(lit);
    shoes::draw(figure, canvas, index, skin.lit(lit));
    if lower.kind == LowerKind::Shorts {
        bare(figure, canvas, index, skin.lit(lit), [thigh, knee, calf, ankle]);
        shoes::draw_shaft(figure, canvas, index, ankle + 0.012);
        let end = leg.hip.towards(leg.knee, 0.86);
        let ends = [(leg.hip, thigh * 1.06), (end, thigh * 0.92 * lower.width)];
        figure.limb(canvas, ends, shade, Finish::Matt);
        hem_line(figure, canvas, end, leg.knee, thigh * 0.9 * lower.width);
        return;
    }
    let (knee_width, ankle_width) = match lower.kind {
        LowerKind::Leggings => (knee * 1.02, ankle * 1.12),
        LowerKind::Sweatpants => (knee * 1.22 * lower.width, ankle * 1.3),
        LowerKind::Jeans => (knee * 1.12 * lower.width, ankle * 1.36 * lower.width),
        LowerKind::Trousers
        | LowerKind::SuitTrousers
        | LowerKind::Shorts
        | LowerKind::ShortSkirt
        | LowerKind::LongSkirt => (knee * 1.14 * lower.width, ankle * 1.5 * lower.width),
    };
    let thigh_width = if lower.kind == LowerKind::Leggings { thigh * 0.98 } else { thigh * 1.05 };
    let finish = if lower.kind == LowerKind::Leggings { Finish::Satin } else { Finish::Matt };
    let end = leg.ankle + (leg.knee - leg.ankle).direction() * -0.012;
    figure.limb(canvas, [(leg.hip, thigh_width), (leg.knee, knee_width)], shade, finish);
    figure.limb(canvas, [(leg.knee, knee_width), (end, ankle_width)], shade, finish);
    if lower.kind != LowerKind::Leggings {
        creases(figure, canvas, index, knee_width);
    }
    if lower.kind == LowerKind::SuitTrousers {
        let front = place(0.0, 0.0, knee_width);
        let line = [leg.hip + front, leg.knee + front, end + front * 0.8].map(|joint| figure.view.point(joint));
        if figure.view.frontness() > 0.0 {
            canvas.stroke(shapes::curve(&line), 0.006, rgb(0.0, 0.0, 0.0), 0.3);
        }
    }
    if lower.has_side_stripe {
        side_stripe(figure, canvas, index, [thigh_width, knee_width, ankle_width]);
    }
    if lower.kind == LowerKind::Sweatpants || lower.kind == LowerKind::Leggings {
        let cuff = [(leg.knee.towards(leg.ankle, 0.93), ankle_width), (end, ankle_width)];
        pattern::bands(figure, canvas, cuff, 1, (shade.lit(0.7), 0.02, 0.8));
    }
    if person.shoes.kind == ShoeKind::Boots {
        shoes::draw_shaft(figure, canvas, index, ankle_width.min(ankle * 1.3) + 0.012);
    }
}

fn bare(figure: &Figure<'_>, canvas: &mut Canvas, index: usize, shade: Rgb, [thigh, knee, calf, ankle]: [f32; 4]) {
    let leg = figure.skeleton.legs[index];
    let bulge = leg.knee.towards(leg.ankle, 0.3) - place(0.0, 0.0, 0.012);
    figure.limb(canvas, [(leg.hip, thigh), (leg.knee, knee)], shade, Finish::Matt);
    figure.limb(canvas, [(leg.knee, knee * 0.95), (bulge, calf)], shade, Finish::Matt);
    figure.limb(canvas, [(bulge, calf), (leg.ankle, ankle)], shade, Finish::Matt);
    let cap = figure.view.point(leg.knee);
    figure.crease(
        canvas,
        &[cap + crate::geometry::point(-0.02, 0.03), cap + crate::geometry::point(0.02, 0.035)],
        0.008,
        0.12,
    );
}

fn hem_line(figure: &Figure<'_>, canvas: &mut Canvas, end: Place, knee: Place, radius: f32) {
    let (end, knee) = (figure.view.point(end), figure.view.point(knee));
    let across = (knee - end).direction().normal();
    let below = end.towards(knee, 0.75);
    figure.crease(canvas, &[below - across * radius, below + across * radius], 0.012, 0.3);
}

fn creases(figure: &Figure<'_>, canvas: &mut Canvas, index: usize, radius: f32) {
    let Some(lower) = &figure.person.lower else { return };
    let strength = if lower.tint.name.is_dark() { 0.12 } else { 0.06 };
    let leg = figure.skeleton.legs[index];
    let [hip, knee, ankle] = [leg.hip, leg.knee, leg.ankle].map(|joint| figure.view.point(joint));
    let across = (ankle - hip).direction().normal();
    let along = (ankle - hip).direction();
    let sway = figure.variation - 0.5;
    let mut fold = |middle: crate::geometry::Point, width: f32, tilt: f32| {
        let half = across * (radius * width);
        let slope = along * (radius * tilt);
        figure.crease(
            canvas,
            &[middle - half - slope, middle + slope * 0.2, middle + half * 0.7 + slope],
            0.017,
            strength,
        );
    };
    fold(knee.towards(hip, 0.07), 0.55, 0.15 + sway * 0.3);
    fold(knee.towards(ankle, 0.09), 0.5, -0.15 + sway * 0.3);
    fold(ankle.towards(knee, 0.09), 0.55, 0.15);
    fold(ankle.towards(knee, 0.02), 0.6, -0.1 + sway * 0.2);
}

fn side_stripe(figure: &Figure<'_>, canvas: &mut Canvas, index: usize, radii: [f32; 3]) {
    let leg = figure.skeleton.legs[index];
    let outwards = crate::skeleton::side(index);
    // Seen only where the outer side of the leg faces the camera.
    let towards_camera = -outwards * figure.view.rightness();
    if towards_camera < -0.45 {
        return;
    }
    let outer = [(leg.hip, radii[0]), (leg.knee, radii[1]), (leg.ankle, radii[2])]
        .map(|(joint, radius)| figure.view.point(joint + place(outwards * radius * 0.82, 0.0, 0.0)));
    let color = figure.light.frontal(rgb(0.88, 0.88, 0.88));
    canvas.stroke(shapes::curve(&outer), 0.018, color, 0.9);
}
