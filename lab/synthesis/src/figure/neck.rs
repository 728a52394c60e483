//! Neck, collar and scarf.

use super::Figure;
use super::tube::{Tube, ring};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::place;
use crate::light::Finish;
use crate::person::cut::{Collar, Cut};
use crate::person::garment::HeadwearKind;
use crate::shapes;

pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, cut: &Cut) {
    let person = figure.person;
    let skin = person.physique.skin;
    let light = &figure.light;
    let shade = person.upper.tint.shade;
    let is_front = torso.visibility(0.2, 0.0) > 0.0;
    if is_front {
        // What a neckline leaves bare.
        let bare = light.frontal(skin).lit(0.94);
        match cut.collar {
            Collar::Wide => canvas.fill(neckline(torso, 0.42, 0.9), Ink::Flat(bare, 1.0)),
            Collar::Crew => canvas.fill(neckline(torso, 0.19, 0.55), Ink::Flat(bare, 1.0)),
            Collar::Shirt | Collar::Lapels if person.upper.inner.is_none() => {
                canvas.fill(torso.area(&[(0.04, -0.5), (0.3, 0.0), (0.04, 0.5)]), Ink::Flat(bare, 1.0));
            }
            Collar::Shirt | Collar::Lapels | Collar::Stand | Collar::Hood => {}
        }
    }
    // From behind, the cloth's edge is higher than in front.
    let base = figure.skeleton.spine(1.0) + place(0.0, if is_front { 0.0 } else { 0.078 }, 0.0);
    let top = figure.skeleton.head - place(0.0, 0.075, 0.02);
    let size = person.physique.height / 1.72;
    let width = 0.054 * size * (0.6 + 0.4 * person.physique.girth);
    figure.limb(canvas, [(base, width * 1.08), (top, width * 0.95)], skin.lit(0.86), Finish::Matt);
    if is_front && cut.collar == Collar::Crew {
        let rim = torso.line(&[(0.0, -0.75), (0.13, -0.5), (0.185, 0.0), (0.13, 0.5), (0.0, 0.75)]);
        canvas.stroke(rim, 0.011, light.frontal(shade.lit(0.78)), 1.0);
    }
    match cut.collar {
        Collar::Crew | Collar::Wide => {}
        Collar::Shirt | Collar::Lapels => {
            lapels(figure, canvas, torso, cut.collar);
            stand(figure, canvas, 0.022, 1.12);
        }
        Collar::Stand => stand(figure, canvas, 0.055, 1.3),
        Collar::Hood => hood_down(figure, canvas),
    }
    if let Some(scarf) = person.scarf {
        let center = figure.skeleton.spine(1.02);
        let rings = vec![
            ring(center + place(0.0, 0.055, 0.015), width * 1.3, width * 1.3),
            ring(center + place(0.0, 0.01, 0.01), width * 1.95, width * 1.9),
            ring(center - place(0.0, 0.04, 0.0), width * 1.7, width * 1.75),
        ];
        let wrap = Tube::new(&figure.view, rings);
        wrap.fill(canvas, light, scarf.shade, Finish::Matt);
        canvas.stroke(shapes::curve(&wrap.across(0.4)), 0.012, rgb(0.0, 0.0, 0.0), 0.3);
        let end = torso.patch([0.1, 0.5], [0.18, 0.5]);
        canvas.fill(end, Ink::Flat(light.frontal(scarf.shade.lit(0.92)), 1.0));
    }
}

/// A round opening that reaches down to a level.
fn neckline(torso: &Tube<'_>, depth: f32, width: f32) -> Option<tiny_skia::Path> {
    let points: Vec<(f32, f32)> = (0..=8)
        .map(|step| {
            let angle = -width + step as f32 / 4.0 * width;
            (depth * (1.0 - (angle / width).powi(2)).max(0.0).sqrt(), angle)
        })
        .collect();
    torso.area(&points)
}

/// Cloth that stands up around the neck: its height and its width compared with the neck's.
fn stand(figure: &Figure<'_>, canvas: &mut Canvas, height: f32, width: f32) {
    let upper = &figure.person.upper;
    let size = figure.person.physique.height / 1.72 * width;
    let base = figure.skeleton.spine(0.99);
    let rings = vec![
        ring(base + place(0.0, height, 0.004), 0.058 * size, 0.058 * size),
        ring(base, 0.066 * size, 0.066 * size),
        ring(base - place(0.0, 0.015, 0.0), 0.07 * size, 0.07 * size),
    ];
    let collar = Tube::new(&figure.view, rings);
    let is_back = figure.view.frontness() < 0.35;
    // From the front the throat shows between the collar's ends.
    let path = if is_back { collar.outline() } else { collar.patch([0.0, 1.0], [0.4, 5.88]) };
    if is_back || height > 0.03 {
        let path = if height > 0.03 { collar.outline() } else { path };
        collar.fill_path(canvas, &figure.light, path, (upper.tint.shade.lit(0.93), upper.kind.cut().finish));
        canvas.stroke(shapes::curve(&collar.across(0.0)), 0.006, rgb(0.0, 0.0, 0.0), 0.35);
    }
}

fn lapels(figure: &Figure<'_>, canvas: &mut Canvas, torso: &Tube<'_>, collar: Collar) {
    let shade = figure.person.upper.tint.shade;
    let color = figure.light.frontal(if shade.luminance() < 0.2 { shade.glossy(0.06) } else { shade.lit(0.88) });
    for side in [-1.0_f32, 1.0] {
        let corners: &[(f32, f32)] = match collar {
            Collar::Lapels => &[(0.0, 0.95), (0.28, 0.78), (0.33, 0.55), (0.56, 0.05), (0.30, 0.28), (0.05, 0.55)],
            Collar::Shirt | Collar::Crew | Collar::Wide | Collar::Stand | Collar::Hood => {
                &[(0.0, 0.95), (0.2, 0.75), (0.3, 0.4), (0.17, 0.04), (0.05, 0.5)]
            }
        };
        let corners: Vec<(f32, f32)> = corners.iter().map(|(level, angle)| (*level, side * angle)).collect();
        let area = torso.area(&corners);
        canvas.fill(area.clone(), Ink::Flat(color, 1.0));
        canvas.stroke(area, 0.005, rgb(0.0, 0.0, 0.0), 0.35);
    }
}

/// A hood that hangs on the back.
fn hood_down(figure: &Figure<'_>, canvas: &mut Canvas) {
    let person = figure.person;
    if person.headwear.as_ref().is_some_and(|headwear| headwear.kind == HeadwearKind::Hood) {
        return;
    }
    let upper = &person.upper;
    let center = figure.skeleton.spine(0.99);
    let size = person.physique.height / 1.72;
    let rings = vec![
        ring(center + place(0.0, 0.045, -0.02), 0.082 * size, 0.072 * size),
        ring(center + place(0.0, 0.01, -0.03), 0.105 * size, 0.098 * size),
        ring(center - place(0.0, 0.05, 0.045), 0.09 * size, 0.09 * size),
        ring(center - place(0.0, 0.10, 0.06), 0.05 * size, 0.07 * size),
    ];
    let hood = Tube::new(&figure.view, rings);
    if figure.view.frontness() < 0.25 {
        hood.fill(canvas, &figure.light, upper.tint.shade.lit(0.94), upper.kind.cut().finish);
        canvas.stroke(shapes::curve(&hood.across(0.97)), 0.01, rgb(0.0, 0.0, 0.0), 0.3);
        canvas.stroke(shapes::curve(&hood.across(0.1)), 0.012, rgb(0.0, 0.0, 0.0), 0.3);
    } else {
        // From the front its edge lies around the throat.
        for side in [-1.0, 1.0] {
            let points = [(0.0, side * 1.5), (0.3, side * 0.85), (0.62, side * 0.3)];
            canvas.stroke(hood.line(&points), 0.042, figure.light.frontal(upper.tint.shade.lit(0.88)), 1.0);
        }
        for side in [-1.0, 1.0] {
            let from = hood.at(0.6, side * 0.25);
            let cord = [from, from + crate::geometry::point(side * 0.004, 0.13)];
            canvas.stroke(shapes::curve(&cord), 0.006, rgb(0.85, 0.85, 0.83), 0.7);
        }
    }
}
