//! One image: who stands where, seen by which camera, and how it is drawn.

use crate::Domain;
use crate::SynthesisSettings;
use crate::camera::cameras;
use crate::canvas::Canvas;
use crate::cloth::crumple;
use crate::facts::{Facts, Sight, observe};
use crate::figure::{Figure, canopy_place, companion_places};
use crate::frame::{Frame, Projection, Viewpoint};
use crate::geometry::{Place, Point, place, point};
use crate::lens::Picture;
use crate::light::Light;
use crate::person::Person;
use crate::person::belongings::{Belonging, BelongingKind};
use crate::pose::Pose;
use crate::randomness::{Purpose, Randomness};
use crate::scene::{Stage, contact_shadow, occluder};
use crate::skeleton::Skeleton;
use std::f32::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// Share of images with somebody else in the background, and with something before the person.
const BYSTANDERS: f32 = 0.32;
const OBSTACLES: f32 = 0.13;
/// Share of images in which somebody else walks through the foreground.
const PASSERS_BY: f32 = 0.04;

/// An image that was taken.
pub(crate) struct Shot<'a> {
    /// Number of the camera in its domain.
    pub(crate) camera: usize,
    /// Rows of red, green and blue.
    pub(crate) pixels: Vec<u8>,
    pub(crate) facts: Facts<'a>,
}

/// Takes one image of one person; `None` for a size that cannot be drawn.
pub(crate) fn take<'a>(
    settings: &SynthesisSettings,
    people: &'a [Person],
    identity: usize,
    image: usize,
) -> Option<Shot<'a>> {
    let mut randomness = Randomness::new(settings.world_seed(), Purpose::Image, identity as u64, image as u64);
    let number = camera_number(settings, identity, image);
    let camera = cameras(settings.domain).get(number)?;
    let person = people.get(identity)?;
    let pitch = (camera.pitch_degrees + randomness.normal(0.0, 1.6)).max(1.0).to_radians();
    let distance = camera.distance * randomness.between(0.85, 1.2);
    let projection = Projection::new(distance, pitch, person.physique.height * 0.5);
    let light = Light::new(&mut randomness, camera.hardness);
    let yaw = yaw(&mut randomness);
    let figure = figure(&mut randomness, person, Viewpoint::new(projection, Place::default(), yaw), light);
    let (frame, size_px) = frame(&mut randomness, settings, &figure);

    let mut canvas = Canvas::new(settings.width_px, settings.height_px)?;
    canvas.set_frame(&frame);
    let mut stage = Stage {
        canvas: &mut canvas,
        projection,
        light,
        fixed: Randomness::new(settings.world_seed(), Purpose::Camera, number as u64, 0),
        along: randomness.between(0.0, 40.0),
    };
    stage.draw(camera.scene);
    bystanders(&mut randomness, &mut canvas, (people, identity), (projection, light));
    contact_shadow(&mut canvas, &projection, Place::default(), &light);
    soften(&mut canvas, randomness.between(0.8, 2.4) * size_px.y / 384.0);

    let mut layer = Canvas::new(settings.width_px, settings.height_px)?;
    layer.set_frame(&frame);
    figure.draw(&mut layer);
    crumple(layer.pixmap_mut(), &mut randomness, 0.09);
    let paint = tiny_skia::PixmapPaint::default();
    canvas.pixmap_mut().draw_pixmap(0, 0, layer.pixmap().as_ref(), &paint, tiny_skia::Transform::identity(), None);

    let mut sight = Sight { frame, size_px, covered: Vec::new() };
    let mut obstacle = None;
    if randomness.chance(OBSTACLES) {
        let drawn = occluder::draw(&mut canvas, &projection, &light, &mut randomness, settings.domain == Domain::Mall);
        sight.covered.push(drawn.covered);
        obstacle = drawn.name;
    } else if randomness.chance(PASSERS_BY) {
        sight.covered.push(passer_by(&mut randomness, &mut canvas, (people, identity), (projection, light)));
    }
    let mut facts = observe(&figure, &sight, camera.is_infrared);
    facts.obstacle = obstacle;
    let mut picture = Picture::of(canvas.pixmap());
    picture.capture(camera, &mut randomness);
    Some(Shot { camera: number, pixels: picture.to_bytes(), facts })
}

/// Each identity walks past the cameras in its own order, sometimes past the same one again.
fn camera_number(settings: &SynthesisSettings, identity: usize, image: usize) -> usize {
    let mut randomness = Randomness::new(settings.world_seed(), Purpose::Route, identity as u64, 0);
    let mut route: Vec<usize> = (0..cameras(settings.domain).len()).collect();
    randomness.shuffle(&mut route);
    let returns = randomness.chance(0.3) && image == 1;
    let stop = if returns { 0 } else { image % route.len() };
    route.get(stop).copied().unwrap_or(0)
}

fn yaw(randomness: &mut Randomness) -> f32 {
    let around = randomness.weighted([
        (0.0, 0.30),
        (PI, 0.26),
        (FRAC_PI_4, 0.09),
        (-FRAC_PI_4, 0.09),
        (FRAC_PI_2, 0.07),
        (-FRAC_PI_2, 0.07),
        (3.0 * FRAC_PI_4, 0.06),
        (-3.0 * FRAC_PI_4, 0.06),
    ]);
    around + randomness.normal(0.0, 0.2)
}

fn figure<'a>(randomness: &mut Randomness, person: &'a Person, view: Viewpoint, light: Light) -> Figure<'a> {
    let carried: Vec<Belonging> =
        person.belongings.iter().filter(|item| randomness.chance(item.kind.presence())).copied().collect();
    let pose = Pose::new(randomness, person, &carried);
    let skeleton = Skeleton::new(&person.physique, &pose);
    Figure { person, carried, pose, skeleton, view, light, variation: randomness.unit() }
}

/// A detector's box around the figure, not quite exact, filled into the picture.
fn frame(randomness: &mut Randomness, settings: &SynthesisSettings, figure: &Figure<'_>) -> (Frame, Point) {
    let skeleton = &figure.skeleton;
    let mut places = vec![skeleton.crown() + place(0.0, 0.03, 0.0)];
    places.extend(skeleton.arms.iter().flat_map(|arm| [arm.shoulder, arm.elbow, arm.hand]));
    places.extend(skeleton.legs.iter().flat_map(|leg| [leg.knee, leg.heel, leg.toe]));
    for belonging in &figure.carried {
        if randomness.chance(0.75) {
            places.extend(companion_places(skeleton, belonging));
            if belonging.kind == BelongingKind::Umbrella {
                let rim = canopy_place(figure, belonging);
                places.extend([rim + place(0.0, 0.23, 0.0), rim + place(0.3, 0.0, 0.0), rim - place(0.3, 0.0, 0.0)]);
            }
        }
    }
    let seen: Vec<Point> = places.into_iter().map(|body| figure.view.point(body)).collect();
    let least = |pick: fn(&Point) -> f32| seen.iter().map(pick).fold(f32::INFINITY, f32::min);
    let most = |pick: fn(&Point) -> f32| seen.iter().map(pick).fold(f32::NEG_INFINITY, f32::max);
    let (left, right) = (least(|point| point.x) - 0.085, most(|point| point.x) + 0.085);
    let (top, bottom) = (least(|point| point.y) - 0.02, most(|point| point.y) + 0.035);
    let size_px = point(settings.width_px as f32, settings.height_px as f32);
    let fill = randomness.normal(0.93, 0.035).clamp(0.82, 1.04);
    let mut down = size_px.y * fill / (bottom - top);
    let mut across = down * randomness.normal(1.0, 0.03);
    // Crops are squeezed into the data set's shape, within bounds; beyond them the person gets smaller.
    const NARROWEST: f32 = 0.74;
    let widest = size_px.x * 0.97 / (right - left);
    if across > widest {
        across = widest.max(down * NARROWEST);
        if across > widest {
            across = widest.max(down * NARROWEST * 0.8);
            down = across / NARROWEST;
        }
    }
    let shift = point(randomness.normal(0.0, 0.028) * size_px.x, randomness.normal(0.0, 0.012) * size_px.y);
    let origin = point(
        size_px.x / 2.0 - f32::midpoint(left, right) * across + shift.x,
        size_px.y / 2.0 - f32::midpoint(top, bottom) * down + shift.y,
    );
    (Frame { pixels_per_metre: point(across, down), origin_px: origin }, size_px)
}

fn somebody<'a>(randomness: &mut Randomness, people: &'a [Person], not: usize) -> Option<&'a Person> {
    let index = randomness.index(people.len());
    let index = if index == not { (index + 1) % people.len().max(1) } else { index };
    people.get(index)
}

fn bystanders(
    randomness: &mut Randomness,
    canvas: &mut Canvas,
    (people, identity): (&[Person], usize),
    (projection, light): (Projection, Light),
) {
    if !randomness.chance(BYSTANDERS) {
        return;
    }
    for _ in 0..=randomness.index(2) {
        let depth = -randomness.between(1.6, 5.5);
        let stand = place(randomness.sign() * randomness.between(0.35, 0.7) * (1.0 - depth * 0.12), 0.0, depth);
        let Some(person) = somebody(randomness, people, identity) else { return };
        let view = Viewpoint::new(projection, stand, yaw(randomness));
        let other = figure(randomness, person, view, light);
        contact_shadow(canvas, &projection, stand, &light);
        other.draw(canvas);
    }
}

fn passer_by(
    randomness: &mut Randomness,
    canvas: &mut Canvas,
    (people, identity): (&[Person], usize),
    (projection, light): (Projection, Light),
) -> occluder::Covered {
    let stand = place(randomness.sign() * randomness.between(0.42, 0.6), 0.0, randomness.between(0.5, 0.9));
    let Some(person) = somebody(randomness, people, identity) else { return [0.0; 4] };
    let view = Viewpoint::new(projection, stand, yaw(randomness));
    let other = figure(randomness, person, view, light);
    contact_shadow(canvas, &projection, stand, &light);
    other.draw(canvas);
    let (head, feet) = (other.view.point(other.skeleton.crown()), other.view.point(Place::default()));
    [feet.x - 0.24, head.y, feet.x + 0.24, feet.y]
}

/// What is behind the person is not in focus.
fn soften(canvas: &mut Canvas, deviation_px: f32) {
    let mut picture = Picture::of(canvas.pixmap());
    picture.blur(deviation_px);
    picture.write_to(canvas.pixmap_mut());
}

#[cfg(test)]
mod tests;
