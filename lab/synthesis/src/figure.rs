//! Draws one person.

mod arms;
mod bags;
mod companions;
mod details;
mod hair;
mod hand_items;
mod head;
mod headwear;
mod legs;
mod neck;
mod pattern;
mod shoes;
mod skirt;
mod torso;
mod tube;

use crate::canvas::{Canvas, Ink};
use crate::color::Rgb;
use crate::frame::Viewpoint;
use crate::geometry::{Place, Point};
use crate::light::{Finish, Light};
use crate::person::Person;
use crate::person::belongings::{Belonging, BelongingKind};
use crate::pose::Pose;
use crate::shapes;
use crate::skeleton::Skeleton;

pub(crate) use bags::hanging_place;
pub(crate) use companions::companion_places;
pub(crate) use hand_items::canopy_place;

/// A person in a pose at a place.
pub(crate) struct Figure<'a> {
    pub(crate) person: &'a Person,
    /// What of the person's belongings is there.
    pub(crate) carried: Vec<Belonging>,
    pub(crate) pose: Pose,
    pub(crate) skeleton: Skeleton,
    pub(crate) view: Viewpoint,
    pub(crate) light: Light,
    /// Varies creases and prints, 0 to 1.
    pub(crate) variation: f32,
}

/// Something that is drawn in one go.
#[derive(Debug, Clone, Copy)]
enum Part {
    Leg(usize),
    Torso,
    Head,
    LongHair,
    Arm(usize),
    Belonging(usize),
}

impl Figure<'_> {
    /// Draws the figure, what is farthest from the camera first.
    pub(crate) fn draw(&self, canvas: &mut Canvas) {
        let mut parts = self.parts();
        parts.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        for (_, part) in parts {
            match part {
                Part::Leg(index) => legs::draw(self, canvas, index),
                Part::Torso => torso::draw(self, canvas),
                Part::Head => head::draw(self, canvas),
                Part::LongHair => hair::draw_falling(self, canvas),
                Part::Arm(index) => arms::draw(self, canvas, index),
                Part::Belonging(index) => {
                    if let Some(belonging) = self.carried.get(index) {
                        draw_belonging(self, canvas, belonging);
                    }
                }
            }
        }
    }

    /// Parts with the order in which they cover each other.
    fn parts(&self) -> Vec<(f32, Part)> {
        let depth = |body: Place| self.view.see(body).depth;
        // Heights differ, which counts as depth under a tilted camera; only the turn of the body shall.
        let flat = |body: Place, about: Place| depth(crate::geometry::place(body.x, about.y, body.z)) - depth(about);
        let middle = self.skeleton.spine(0.5);
        let mut parts = vec![(0.0, Part::Torso), (0.03, Part::Head)];
        for index in [0, 1] {
            let leg = &self.skeleton.legs[index];
            let about = self.skeleton.pelvis;
            // Never before the torso, whose hem hangs over the legs.
            let order = flat(leg.knee.towards(leg.ankle, 0.5), about).clamp(-0.9, 0.9);
            parts.push((-2.0 + order, Part::Leg(index)));
            let arm = &self.skeleton.arms[index];
            let reach = flat(arm.elbow, middle) * 0.6 + flat(arm.wrist, middle) * 0.4;
            parts.push((reach + 0.005, Part::Arm(index)));
        }
        let behind = self.skeleton.head - crate::geometry::place(0.0, 0.0, 0.12);
        let order = if flat(behind, self.skeleton.head) > 0.0 { 0.04 } else { -0.5 };
        parts.push((order, Part::LongHair));
        for (index, belonging) in self.carried.iter().enumerate() {
            parts.push((self.belonging_order(belonging, &flat), Part::Belonging(index)));
        }
        parts
    }

    fn belonging_order(&self, belonging: &Belonging, flat: &dyn Fn(Place, Place) -> f32) -> f32 {
        let arm = &self.skeleton.arms[crate::pose::side_index(belonging.side)];
        let middle = self.skeleton.spine(0.5);
        let reach = flat(arm.elbow, middle) * 0.6 + flat(arm.wrist, middle) * 0.4;
        match belonging.kind {
            BelongingKind::Backpack => {
                if flat(middle - crate::geometry::place(0.0, 0.0, 0.2), middle) > -0.04 {
                    0.02
                } else {
                    -0.6
                }
            }
            BelongingKind::ShoulderBag | BelongingKind::Tote => {
                let side = middle + crate::geometry::place(belonging.side * 0.2, 0.0, 0.0);
                if flat(side, middle) > -0.1 { reach.max(0.02) + 0.012 } else { -0.55 }
            }
            BelongingKind::Handbag | BelongingKind::ShoppingBag | BelongingKind::Cup | BelongingKind::Bottle => {
                reach - 0.001
            }
            // The canopy is above everything.
            BelongingKind::Umbrella => 3.0,
            BelongingKind::Suitcase | BelongingKind::Dog | BelongingKind::Stroller => {
                let stands = companion_places(&self.skeleton, belonging).first().copied();
                let order = stands.map_or(0.0, |stand| flat(stand, middle));
                // What stands apart covers the whole figure, or is covered by it.
                if order > 0.0 { 2.0 } else { -4.0 }
            }
        }
    }

    /// A limb between two joints of the body.
    fn limb(&self, canvas: &mut Canvas, ends: [(Place, f32); 2], color: Rgb, finish: Finish) {
        let [(from, from_radius), (to, to_radius)] = ends;
        let (from, to) = (self.view.see(from), self.view.see(to));
        let (from_radius, to_radius) = (from_radius * from.scale, to_radius * to.scale);
        let outline = shapes::capsule(from.point, from_radius, to.point, to_radius);
        let mut across = (to.point - from.point).direction().normal();
        if across.x < 0.0 {
            across = across * -1.0;
        }
        // A limb that points at the camera is as round as one that hangs, but has no direction of its own.
        let radius = from_radius.max(to_radius);
        let middle = from.point.towards(to.point, 0.5);
        let colors = self.light.across(color, finish);
        let ink =
            Ink::Along { from: middle - across * radius, to: middle + across * radius, colors: &colors, opacity: 1.0 };
        canvas.fill(outline, ink);
    }

    /// A soft dark or light line on cloth.
    fn crease(&self, canvas: &mut Canvas, points: &[Point], width: f32, opacity: f32) {
        canvas.stroke(shapes::curve(points), width, crate::color::rgb(0.0, 0.0, 0.0), opacity);
    }
}

fn draw_belonging(figure: &Figure<'_>, canvas: &mut Canvas, belonging: &Belonging) {
    match belonging.kind {
        BelongingKind::Backpack => bags::backpack(figure, canvas, belonging),
        BelongingKind::ShoulderBag | BelongingKind::Tote => bags::hanging(figure, canvas, belonging),
        BelongingKind::Handbag | BelongingKind::ShoppingBag => hand_items::bag(figure, canvas, belonging),
        BelongingKind::Cup | BelongingKind::Bottle => hand_items::drink(figure, canvas, belonging),
        BelongingKind::Umbrella => hand_items::umbrella(figure, canvas, belonging),
        BelongingKind::Suitcase => companions::suitcase(figure, canvas, belonging),
        BelongingKind::Stroller => companions::stroller(figure, canvas, belonging),
        BelongingKind::Dog => companions::dog(figure, canvas, belonging),
    }
}
