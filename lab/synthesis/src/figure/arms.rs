//! Arms, sleeves and hands.

use super::{Figure, pattern};
use crate::canvas::{Canvas, Ink};
use crate::color::rgb;
use crate::geometry::{Place, point};
use crate::light::Finish;
use crate::person::garment::{Pattern, Sleeves, UpperKind};
use crate::pose::ArmTask;
use crate::shapes;

/// How far down the upper arm a short sleeve reaches.
const SHORT: f32 = 0.62;

pub(super) fn draw(figure: &Figure<'_>, canvas: &mut Canvas, index: usize) {
    let person = figure.person;
    let upper = &person.upper;
    let arm = figure.skeleton.arms[index];
    let size = person.physique.height / 1.72 * (0.45 + 0.55 * person.physique.girth);
    let skin = person.physique.skin;
    let cut = upper.kind.cut();
    let sleeves_end = match upper.sleeves {
        Sleeves::None | Sleeves::Short | Sleeves::Elbow => false,
        Sleeves::Long => true,
    };
    let (shoulder, elbow, wrist) = (0.046 * size, 0.041 * size, 0.030 * size);
    let has_hand = figure.pose.tasks[index] != ArmTask::Pocket;
    if has_hand {
        hand(figure, canvas, index, size);
    }
    if !sleeves_end {
        figure.limb(canvas, [(arm.shoulder, shoulder * 0.96), (arm.elbow, elbow)], skin, Finish::Matt);
        figure.limb(canvas, [(arm.elbow, elbow), (arm.wrist, wrist)], skin, Finish::Matt);
    }
    let mut shade = match upper.pattern {
        Pattern::BlockedSleeves => upper.accent.shade,
        Pattern::Plain
        | Pattern::HorizontalStripes
        | Pattern::VerticalStripes
        | Pattern::Checks
        | Pattern::Dots
        | Pattern::Print
        | Pattern::ChestBand => upper.tint.shade,
    };
    if upper.kind == UpperKind::DownVest {
        // What is worn below a vest has the sleeves.
        shade = upper.inner.map_or(rgb(0.35, 0.35, 0.37), |inner| inner.shade);
    }
    let ease = if upper.kind == UpperKind::DownVest { 0.008 } else { cut.ease * 0.62 + 0.003 };
    // At the shoulder the sleeve is set into the torso's cloth, which is wide already.
    let top = shoulder + ease * 0.4;
    let upper_ends = [(arm.shoulder, top), (arm.elbow, elbow + ease)];
    match upper.sleeves {
        Sleeves::None => {}
        Sleeves::Short => {
            let end = arm.shoulder.towards(arm.elbow, SHORT);
            let ends = [(arm.shoulder, top), (end, elbow + ease + 0.012)];
            flat_ended(figure, canvas, ends, (shade, cut.finish));
            pattern::around_limb(figure, canvas, ends, 2);
        }
        Sleeves::Elbow => {
            flat_ended(figure, canvas, upper_ends, (shade, cut.finish));
            pattern::around_limb(figure, canvas, upper_ends, 3);
        }
        Sleeves::Long => {
            let lower_ends = [(arm.elbow, elbow + ease), (arm.wrist, wrist + ease * 0.8 + 0.004)];
            figure.limb(canvas, upper_ends, shade, cut.finish);
            pattern::around_limb(figure, canvas, upper_ends, 4);
            figure.limb(canvas, lower_ends, shade, cut.finish);
            pattern::around_limb(figure, canvas, lower_ends, 4);
            creases(figure, canvas, [arm.shoulder, arm.elbow, arm.wrist], elbow + ease);
            if cut.is_quilted && upper.kind != UpperKind::DownVest {
                for ends in [upper_ends, lower_ends] {
                    pattern::bands(figure, canvas, ends, 4, (rgb(0.0, 0.0, 0.0), 0.012, 0.3));
                }
            }
            let cuff = [(arm.elbow.towards(arm.wrist, 0.86), wrist + ease), (arm.wrist, wrist + ease)];
            pattern::bands(figure, canvas, cuff, 1, (shade.lit(0.6), 0.012, 0.7));
        }
    }
    outline_against_torso(figure, canvas, [arm.shoulder, arm.elbow, arm.wrist], elbow + ease);
}

/// A sleeve whose end is cut straight, unlike a capsule's.
fn flat_ended(
    figure: &Figure<'_>,
    canvas: &mut Canvas,
    ends: [(Place, f32); 2],
    (shade, finish): (crate::color::Rgb, Finish),
) {
    let [(from, from_radius), (to, to_radius)] = ends;
    let (start, end) = (figure.view.point(from), figure.view.point(to));
    let along = (end - start).direction();
    let across = along.normal();
    let colors = figure.light.across(shade, finish);
    let across = if across.x < 0.0 { across * -1.0 } else { across };
    let middle = start.towards(end, 0.5);
    let ink = Ink::Along {
        from: middle - across * from_radius,
        to: middle + across * from_radius,
        colors: &colors,
        opacity: 1.0,
    };
    canvas.fill(shapes::ellipse(start, [from_radius, from_radius], 0.0), ink);
    let corners = [
        start + across * from_radius,
        end + across * to_radius,
        end - across * to_radius,
        start - across * from_radius,
    ];
    canvas.fill(shapes::polygon(&corners), ink);
    figure.crease(canvas, &[end - across * to_radius, end + across * to_radius], 0.007, 0.35);
}

fn creases(figure: &Figure<'_>, canvas: &mut Canvas, [shoulder, elbow, wrist]: [Place; 3], radius: f32) {
    let strength = if figure.person.upper.tint.name.is_dark() { 0.2 } else { 0.10 };
    let (shoulder, elbow, wrist) = (figure.view.point(shoulder), figure.view.point(elbow), figure.view.point(wrist));
    let across = (wrist - shoulder).direction().normal();
    for (share, slant) in [(-0.16, 0.35), (0.02, -0.2), (0.2, 0.3)] {
        let middle = if share < 0.0 { elbow.towards(shoulder, -share) } else { elbow.towards(wrist, share) };
        let tilt = (wrist - shoulder).direction() * (radius * slant);
        figure.crease(
            canvas,
            &[middle - across * (radius * 0.9) - tilt, middle + across * (radius * 0.5) + tilt],
            0.014,
            strength,
        );
    }
}

/// A soft shadow beside the arm, without which it would melt into a torso of the same colour.
fn outline_against_torso(figure: &Figure<'_>, canvas: &mut Canvas, joints: [Place; 3], radius: f32) {
    let joints = joints.map(|joint| figure.view.point(joint));
    let middle = figure.view.point(figure.skeleton.spine(0.5));
    let side = if joints[1].x > middle.x { -1.0 } else { 1.0 };
    let line = [
        joints[0].towards(joints[1], 0.3) + point(side * radius * 1.05, 0.0),
        joints[1] + point(side * radius, 0.0),
        joints[1].towards(joints[2], 0.7) + point(side * radius * 0.85, 0.0),
    ];
    figure.crease(canvas, &line, 0.010, 0.22);
}

fn hand(figure: &Figure<'_>, canvas: &mut Canvas, index: usize, size: f32) {
    let arm = figure.skeleton.arms[index];
    let (shade, bulk) = match figure.person.gloves {
        Some(gloves) => (gloves.shade, 1.15),
        None => (figure.person.physique.skin, 1.0),
    };
    let radius = 0.029 * size * bulk;
    figure.limb(canvas, [(arm.wrist, radius * 0.9), (arm.hand, radius)], shade, Finish::Matt);
    let forearm = (arm.hand - arm.wrist).direction();
    let fingers = arm.hand + forearm * (0.028 * size);
    figure.limb(canvas, [(arm.hand, radius * 0.92), (fingers, radius * 0.62)], shade.lit(0.95), Finish::Matt);
    let thumb = arm.wrist.towards(arm.hand, 0.7) + crate::geometry::place(0.0, 0.0, 0.028 * size);
    figure.limb(
        canvas,
        [(arm.wrist.towards(arm.hand, 0.4), radius * 0.4), (thumb, radius * 0.42)],
        shade,
        Finish::Matt,
    );
    super::hand_items::shaft(figure, canvas, index);
    if matches!(figure.pose.tasks[index], ArmTask::Phone | ArmTask::Call) {
        super::hand_items::phone(figure, canvas, index);
    }
}
