//! What of a person one image shows: all that its captions may speak of.

use crate::figure::{Figure, canopy_place, companion_places, hanging_place};
use crate::frame::Frame;
use crate::geometry::{Place, Point, place};
use crate::person::Person;
use crate::person::belongings::{Belonging, BelongingKind};
use crate::person::body::{Eyewear, HairStyle};
use crate::person::garment::{HeadwearKind, Pattern};
use crate::pose::{ArmTask, Gait};

/// From where the person is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Front,
    Back,
    /// Facing the left of the picture.
    Left,
    Right,
}

/// What is seen. Where a field is false, a caption must be silent about it.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    pub(crate) person: &'a Person,
    pub(crate) view: View,
    pub(crate) gait: Gait,
    pub(crate) task: Option<ArmTask>,
    /// Whether the camera tells only dark from light.
    pub(crate) is_infrared: bool,
    pub(crate) hair: bool,
    pub(crate) eyewear: bool,
    pub(crate) beard: bool,
    pub(crate) mask: bool,
    pub(crate) headwear: bool,
    pub(crate) upper: bool,
    pub(crate) pattern: bool,
    pub(crate) inner: bool,
    pub(crate) lower: bool,
    pub(crate) shoes: bool,
    pub(crate) scarf: bool,
    pub(crate) gloves: bool,
    pub(crate) belongings: Vec<Belonging>,
    /// What the person stands or walks behind.
    pub(crate) obstacle: Option<&'static str>,
}

/// The part of the image plane that can be seen.
pub(crate) struct Sight {
    pub(crate) frame: Frame,
    pub(crate) size_px: Point,
    /// Hidden rectangles: left, top, right, bottom.
    pub(crate) covered: Vec<[f32; 4]>,
}

impl Sight {
    fn sees(&self, plane: Point) -> bool {
        let pixel = self.frame.pixel(plane);
        let is_inside = pixel.x > 0.0 && pixel.y > 0.0 && pixel.x < self.size_px.x && pixel.y < self.size_px.y;
        let is_covered = self.covered.iter().any(|[left, top, right, bottom]| {
            plane.x > *left && plane.x < *right && plane.y > *top && plane.y < *bottom
        });
        is_inside && !is_covered
    }
}

/// From where a turned body is seen.
fn view(figure: &Figure<'_>) -> View {
    let (front, right) = (figure.view.frontness(), figure.view.rightness());
    if front > 0.55 {
        View::Front
    } else if front < -0.55 {
        View::Back
    } else if right > 0.0 {
        View::Right
    } else {
        View::Left
    }
}

/// What a figure shows to a camera.
pub(crate) fn observe<'a>(figure: &Figure<'a>, sight: &Sight, is_infrared: bool) -> Facts<'a> {
    let person = figure.person;
    let skeleton = &figure.skeleton;
    let sees = |body: Place| sight.sees(figure.view.point(body));
    let any = |places: [Place; 2]| places.into_iter().any(&sees);
    let front = figure.view.frontness();
    let face = figure.view.turned(skeleton.head, figure.pose.head_turn).frontness();
    let umbrella = figure.carried.iter().find(|belonging| belonging.kind == BelongingKind::Umbrella);
    // A canopy hides the head when the camera looks down at it.
    let is_under_cover = umbrella.is_some_and(|umbrella| {
        let rim = canopy_place(figure, umbrella);
        figure.view.point(rim + place(0.0, 0.0, 0.4)).y > figure.view.point(skeleton.crown()).y
            || figure.view.point(rim - place(0.0, 0.0, 0.4)).y > figure.view.point(skeleton.crown()).y
    });
    let head = sees(skeleton.head) && !is_under_cover;
    let hat = person.headwear.as_ref().map(|headwear| headwear.kind);
    let covers_hair = hat == Some(HeadwearKind::Hood)
        || (hat.is_some() && matches!(person.hair.style, HairStyle::Bald | HairStyle::Buzzed));
    let has_scarf = person.scarf.is_some();
    let scarf_is_free = front > -0.2 || !matches!(person.hair.style, HairStyle::Long | HairStyle::Bob);
    let upper = any([skeleton.spine(0.6), skeleton.spine(0.3)]);
    let knees = skeleton.legs.map(|leg| leg.hip.towards(leg.knee, 0.7));
    let shins = skeleton.legs.map(|leg| leg.knee.towards(leg.ankle, 0.5));
    let hem = person.upper.kind.cut().hem;
    let lower = if hem < 0.35 { any(shins) } else { any(knees) };
    let toes = skeleton.legs.map(|leg| leg.toe.towards(leg.ankle, 0.3));
    let hands_are_free = figure.pose.tasks.iter().any(|task| *task != ArmTask::Pocket);
    let pattern = match person.upper.pattern {
        Pattern::Plain => false,
        Pattern::Print => front > 0.4 && !figure.pose.tasks.contains(&ArmTask::Crossed) && sees(skeleton.spine(0.7)),
        Pattern::ChestBand => upper && !(front < 0.0 && person.owns(BelongingKind::Backpack)),
        Pattern::HorizontalStripes
        | Pattern::VerticalStripes
        | Pattern::Checks
        | Pattern::Dots
        | Pattern::BlockedSleeves => upper,
    };
    Facts {
        person,
        view: view(figure),
        gait: figure.pose.gait,
        task: task(figure),
        is_infrared,
        hair: head && !covers_hair,
        eyewear: head && person.face.eyewear != Eyewear::None && face > 0.4,
        beard: head && person.face.has_beard && !person.face.has_mask && face > 0.3,
        mask: head && person.face.has_mask && face > 0.2,
        headwear: head && person.headwear.is_some(),
        upper,
        pattern,
        inner: upper && person.upper.inner.is_some() && front > 0.35,
        lower: lower && person.lower.is_some(),
        shoes: any(toes) && umbrella.is_none_or(|_| sees(skeleton.pelvis)),
        scarf: has_scarf && head && scarf_is_free,
        gloves: person.gloves.is_some() && hands_are_free && skeleton.arms.iter().any(|arm| sees(arm.hand)),
        belongings: figure.carried.iter().filter(|belonging| is_seen(figure, belonging, &sees)).copied().collect(),
        obstacle: None,
    }
}

/// What the arms do, where it shows.
fn task(figure: &Figure<'_>) -> Option<ArmTask> {
    let front = figure.view.frontness();
    figure.pose.tasks.into_iter().enumerate().find_map(|(index, task)| {
        // Positive where the arm's side faces the camera.
        let nearness = -crate::skeleton::side(index) * figure.view.rightness();
        let is_seen = match task {
            ArmTask::Phone => front > -0.15 && nearness > -0.9,
            ArmTask::Call => nearness > -0.6,
            ArmTask::Pocket => nearness > -0.5,
            ArmTask::Crossed => front > 0.3,
            ArmTask::Free
            | ArmTask::Carry
            | ArmTask::Cup
            | ArmTask::Umbrella
            | ArmTask::Pull
            | ArmTask::Push
            | ArmTask::Leash
            | ArmTask::Strap
            | ArmTask::Hip => false,
        };
        is_seen.then_some(task)
    })
}

fn is_seen(figure: &Figure<'_>, belonging: &Belonging, sees: &dyn Fn(Place) -> bool) -> bool {
    let front = figure.view.frontness();
    let nearness = -belonging.side * figure.view.rightness();
    let hand = figure.skeleton.arms[crate::pose::side_index(belonging.side)].hand;
    match belonging.kind {
        BelongingKind::Backpack => front < 0.5 && sees(figure.skeleton.spine(0.6)),
        BelongingKind::ShoulderBag | BelongingKind::Tote => nearness > -0.5 && sees(hanging_place(figure, belonging)),
        BelongingKind::Handbag | BelongingKind::ShoppingBag => nearness > -0.6 && sees(hand - place(0.0, 0.2, 0.0)),
        BelongingKind::Cup | BelongingKind::Bottle => front > -0.1 && nearness > -0.85 && sees(hand),
        BelongingKind::Umbrella => sees(canopy_place(figure, belonging) + place(0.0, 0.08, 0.0)),
        BelongingKind::Suitcase | BelongingKind::Dog | BelongingKind::Stroller => {
            let places = companion_places(&figure.skeleton, belonging);
            let middle = places.first().zip(places.last()).map(|(one, other)| one.towards(*other, 0.5));
            let is_behind_the_body = if belonging.kind == BelongingKind::Stroller {
                front < -0.5
            } else if belonging.kind == BelongingKind::Suitcase {
                front > 0.93 || nearness < -0.8
            } else {
                nearness < -0.85
            };
            !is_behind_the_body && middle.is_some_and(sees)
        }
    }
}
