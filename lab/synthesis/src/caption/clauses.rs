//! Predicates about a person. Words in braces agree with the subject: see [`Subject::say`].

use super::{phrases, vocabulary};
use crate::facts::{Facts, View};
use crate::person::belongings::{Belonging, BelongingKind};
use crate::person::body::Gender;
use crate::person::garment::HeadwearKind;
use crate::pose::{ArmTask, Gait};
use crate::randomness::Randomness;

/// Who a sentence is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    He,
    She,
    They,
}

impl Subject {
    /// The pronoun that goes with a noun.
    pub(crate) fn of(gender: Gender, is_gender_told: bool) -> Self {
        match (is_gender_told, gender) {
            (false, _) => Self::They,
            (true, Gender::Male) => Self::He,
            (true, Gender::Female) => Self::She,
        }
    }

    pub(crate) fn pronoun(self) -> &'static str {
        match self {
            Self::He => "he",
            Self::She => "she",
            Self::They => "they",
        }
    }

    pub(crate) fn possessive(self) -> &'static str {
        match self {
            Self::He => "his",
            Self::She => "her",
            Self::They => "their",
        }
    }

    fn object(self) -> &'static str {
        match self {
            Self::He => "him",
            Self::She => "her",
            Self::They => "them",
        }
    }

    /// Fills in what agrees with the subject: verbs, as `{wears}`, and `{his}` and `{him}`. After a noun the verb is
    /// singular even where the pronoun is "they".
    pub(crate) fn say(self, template: &str, is_pronoun: bool) -> String {
        let is_plural = is_pronoun && self == Self::They;
        let mut text = template.replace("{his}", self.possessive()).replace("{him}", self.object());
        let verbs = [
            ("wears", "wear"),
            ("carries", "carry"),
            ("has", "have"),
            ("is", "are"),
            ("holds", "hold"),
            ("pulls", "pull"),
            ("pushes", "push"),
            ("walks", "walk"),
            ("stands", "stand"),
            ("looks", "look"),
        ];
        for (singular, plural) in verbs {
            text = text.replace(&format!("{{{singular}}}"), if is_plural { plural } else { singular });
        }
        text
    }
}

/// What the person does, as "walking away from the camera".
pub(crate) fn action(randomness: &mut Randomness, facts: &Facts<'_>) -> String {
    let side = if facts.view == View::Left { "left" } else { "right" };
    let body = match (facts.gait, facts.view) {
        (Gait::Walking, View::Front) => randomness
            .pick(["walking towards the camera", "walking forward", "walking", "walking towards us"])
            .to_owned(),
        (Gait::Walking, View::Back) => {
            randomness.pick(["walking away from the camera", "walking away", "walking", "walking ahead"]).to_owned()
        }
        (Gait::Walking, View::Left | View::Right) => match randomness.index(4) {
            0 => format!("walking to the {side}"),
            1 => format!("walking towards the {side}"),
            2 => "walking past".to_owned(),
            _ => "walking".to_owned(),
        },
        (Gait::Standing, View::Front) => randomness
            .pick(["standing and facing the camera", "standing still", "standing", "facing the camera"])
            .to_owned(),
        (Gait::Standing, View::Back) => {
            randomness.pick(["standing with {his} back to the camera", "standing still", "standing"]).to_owned()
        }
        (Gait::Standing, View::Left | View::Right) => match randomness.index(3) {
            0 => format!("standing and facing {side}"),
            1 => "standing sideways".to_owned(),
            _ => "standing".to_owned(),
        },
        (Gait::Jogging, _) => randomness.pick(["jogging", "running"]).to_owned(),
    };
    let place = match facts.obstacle {
        Some(obstacle) if randomness.chance(0.35) => format!(" behind {obstacle}"),
        Some(_) | None => String::new(),
    };
    body + &place + task(randomness, facts.task)
}

fn task(randomness: &mut Randomness, task: Option<ArmTask>) -> &'static str {
    if !randomness.chance(0.85) {
        return "";
    }
    match task {
        Some(ArmTask::Phone) => randomness.pick([
            " while looking at a phone",
            " and looking down at {his} phone",
            " with a phone in {his} hand",
            " while checking a mobile phone",
        ]),
        Some(ArmTask::Call) => {
            randomness.pick([" while talking on the phone", " with a phone at {his} ear", " and making a phone call"])
        }
        Some(ArmTask::Pocket) => randomness.pick([" with a hand in {his} pocket", " with {his} hand in the pocket"]),
        Some(ArmTask::Crossed) => randomness.pick([" with {his} arms crossed", " with folded arms"]),
        Some(
            ArmTask::Free
            | ArmTask::Carry
            | ArmTask::Cup
            | ArmTask::Umbrella
            | ArmTask::Pull
            | ArmTask::Push
            | ArmTask::Leash
            | ArmTask::Strap
            | ArmTask::Hip,
        )
        | None => "",
    }
}

/// A whole predicate for something that is carried.
pub(crate) fn belonging(randomness: &mut Randomness, facts: &Facts<'_>, item: &Belonging) -> String {
    let thing = phrases::belonging(randomness, facts, item);
    let pick = |randomness: &mut Randomness, templates: &[&str]| {
        let template = templates[randomness.index(templates.len())];
        template.replace("{thing}", &thing)
    };
    match item.kind {
        BelongingKind::Backpack => pick(
            randomness,
            &["{carries} {thing}", "{has} {thing} on {his} back", "{wears} {thing}", "{is} carrying {thing}"],
        ),
        BelongingKind::ShoulderBag => pick(
            randomness,
            &[
                "{carries} {thing}",
                "{has} {thing} slung across {his} body",
                "{has} {thing} at {his} side",
                "{is} carrying {thing}",
            ],
        ),
        BelongingKind::Tote => pick(
            randomness,
            &["{carries} {thing}", "{has} {thing} over {his} shoulder", "{is} carrying {thing} under {his} arm"],
        ),
        BelongingKind::Handbag | BelongingKind::ShoppingBag => pick(
            randomness,
            &[
                "{carries} {thing}",
                "{holds} {thing} in one hand",
                "{is} holding {thing}",
                "{has} {thing} in {his} hand",
            ],
        ),
        BelongingKind::Suitcase => {
            pick(randomness, &["{pulls} {thing}", "{is} pulling {thing} along", "{has} {thing} with {him}"])
        }
        BelongingKind::Umbrella => pick(
            randomness,
            &["{holds} {thing}", "{is} holding {thing} overhead", "{carries} an open {thing}", "{has} {thing} up"],
        )
        .replace("an open a ", "an open ")
        .replace("an open an ", "an open "),
        BelongingKind::Cup | BelongingKind::Bottle => {
            pick(randomness, &["{holds} {thing}", "{is} holding {thing}", "{has} {thing} in {his} hand"])
        }
        BelongingKind::Stroller => pick(randomness, &["{pushes} {thing}", "{is} pushing {thing}"]),
        BelongingKind::Dog => {
            pick(randomness, &["{is} walking {thing}", "{has} {thing} on a leash", "{is} out with {thing} on a leash"])
        }
    }
}

pub(crate) fn headwear(randomness: &mut Randomness, facts: &Facts<'_>) -> Option<String> {
    let kind = facts.person.headwear.as_ref()?.kind;
    if kind == HeadwearKind::Hood {
        return Some(
            randomness.pick(["{has} the hood up", "{has} {his} hood pulled up", "{wears} the hood up"]).to_owned(),
        );
    }
    let thing = phrases::headwear(randomness, facts)?;
    Some(match randomness.index(3) {
        0 => format!("{{has}} {thing} on"),
        _ => format!("{{wears}} {thing}"),
    })
}

/// Scarf, gloves and mask, as phrases after "wears".
pub(crate) fn extras(randomness: &mut Randomness, facts: &Facts<'_>) -> Vec<String> {
    let mut extras = Vec::new();
    if facts.eyewear && randomness.chance(0.7) {
        extras.push(phrases::eyewear(facts).to_owned());
    }
    if let Some(scarf) = facts.person.scarf.filter(|_| facts.scarf && randomness.chance(0.75)) {
        extras.push(phrases::with_article(&format!("{} scarf", vocabulary::color(randomness, scarf.name, facts))));
    }
    if let Some(gloves) = facts.person.gloves.filter(|_| facts.gloves && randomness.chance(0.6)) {
        extras.push(format!("{} gloves", vocabulary::color(randomness, gloves.name, facts)));
    }
    if facts.mask && randomness.chance(0.7) {
        extras.push(randomness.pick(["a face mask", "a mask"]).to_owned());
    }
    extras
}
