use super::*;
use crate::color::{ColorName, Tint};
use crate::person::belongings::BelongingKind;
use crate::person::body::{Eyewear, HairStyle};
use crate::person::crowd;
use crate::person::garment::{Headwear, HeadwearKind, Lower, LowerKind, Pattern, ShoeKind, Sleeves, UpperKind};

fn tiny(domain: Domain) -> SynthesisSettings {
    SynthesisSettings { domain, width_px: 32, height_px: 96, ..SynthesisSettings::default() }
}

const STYLES: [HairStyle; 8] = [
    HairStyle::Bald,
    HairStyle::Buzzed,
    HairStyle::Short,
    HairStyle::Curly,
    HairStyle::Bob,
    HairStyle::Long,
    HairStyle::Ponytail,
    HairStyle::Bun,
];
const PATTERNS: [Pattern; 8] = [
    Pattern::Plain,
    Pattern::HorizontalStripes,
    Pattern::VerticalStripes,
    Pattern::Checks,
    Pattern::Dots,
    Pattern::Print,
    Pattern::BlockedSleeves,
    Pattern::ChestBand,
];

#[test]
fn every_garment_pattern_hair_and_belonging_can_be_drawn() {
    let mut randomness = Randomness::new(3, Purpose::Identity, 0, 0);
    let mut people = crowd(3, UpperKind::ALL.len() * LowerKind::ALL.len(), Domain::Street);
    for (number, person) in people.iter_mut().enumerate() {
        person.upper.kind = UpperKind::ALL[number % UpperKind::ALL.len()];
        let kind = LowerKind::ALL[number / UpperKind::ALL.len()];
        let tint = Tint::new(ColorName::ALL[number % 16], &mut randomness);
        person.lower =
            (!person.upper.kind.is_dress()).then_some(Lower { kind, tint, has_side_stripe: true, width: 1.2 });
        person.upper.pattern = PATTERNS[(number + number / 8) % 8];
        person.upper.sleeves = [Sleeves::None, Sleeves::Short, Sleeves::Elbow, Sleeves::Long][number % 4];
        person.upper.inner = (number % 3 == 0).then_some(tint);
        person.hair.style = STYLES[(number + number / 18) % 8];
        person.shoes.kind =
            [ShoeKind::Sneakers, ShoeKind::Boots, ShoeKind::Sandals, ShoeKind::Heels, ShoeKind::LeatherShoes]
                [number % 5];
        person.face.eyewear = [Eyewear::None, Eyewear::Glasses, Eyewear::Sunglasses][number % 3];
        person.face.has_mask = number % 7 == 0;
        person.scarf = (number % 4 == 0).then_some(tint);
        person.headwear = (number % 2 == 0).then(|| Headwear {
            kind: [HeadwearKind::Cap, HeadwearKind::Beanie, HeadwearKind::BrimmedHat, HeadwearKind::Hood]
                [number / 2 % 4],
            tint,
        });
        let kind = BelongingKind::ALL[number % BelongingKind::ALL.len()];
        person.belongings = vec![Belonging { kind, tint, side: randomness.sign() }];
    }
    for identity in 0..people.len() {
        let shot = take(&tiny(Domain::Street), &people, identity, identity % 5).unwrap();
        assert_eq!(shot.pixels.len(), 32 * 96 * 3);
        let (low, high) = shot.pixels.iter().fold((255, 0), |(low, high), value| (low.min(*value), high.max(*value)));
        assert!(high - low > 40, "{identity}: the picture is nearly even");
    }
}

#[test]
fn every_camera_of_every_domain_takes_pictures() {
    for domain in Domain::ALL {
        assert!(cameras(domain).len() >= 5);
        let people = crowd(4, 8, domain);
        let settings = tiny(domain);
        let mut used = std::collections::HashSet::new();
        for identity in 0..people.len() {
            for image in 0..5 {
                let shot = take(&settings, &people, identity, image).unwrap();
                used.insert(shot.camera);
                if cameras(domain)[shot.camera].is_infrared {
                    assert!(shot.facts.is_infrared);
                }
            }
        }
        assert_eq!(used.len(), cameras(domain).len(), "{domain}");
    }
}

#[test]
fn from_behind_nothing_of_face_and_chest_is_a_fact() {
    let people = crowd(11, 150, Domain::Street);
    let settings = tiny(Domain::Street);
    let mut seen = [0; 2];
    for identity in 0..people.len() {
        for image in 0..2 {
            let facts = take(&settings, &people, identity, image).unwrap().facts;
            if facts.view == crate::facts::View::Back {
                assert!(!facts.inner);
                let is_printed = facts.person.upper.pattern == Pattern::Print;
                assert!(!(facts.pattern && is_printed));
                seen[0] += 1;
            }
            if facts.view == crate::facts::View::Front {
                assert!(facts.belongings.iter().all(|item| item.kind != BelongingKind::Backpack));
                seen[1] += 1;
            }
            assert!(facts.belongings.iter().all(|item| facts.person.owns(item.kind)));
        }
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}
