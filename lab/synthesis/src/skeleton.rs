//! Where a body's joints are, in its own coordinates.

use crate::geometry::{Place, place};
use crate::person::body::Physique;
use crate::pose::{ArmAngles, LegAngles, Pose};

/// Thickness of the sole and of the foot below the ankle, as a share of the body's height.
const ANKLE: f32 = 0.045;

/// Joints in metres. Arrays hold the left side first.
#[derive(Debug, Clone)]
pub(crate) struct Skeleton {
    pub(crate) pelvis: Place,
    /// Between the shoulders, where the neck begins.
    pub(crate) collar: Place,
    /// Middle of the head.
    pub(crate) head: Place,
    pub(crate) arms: [Arm; 2],
    pub(crate) legs: [Leg; 2],
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Arm {
    pub(crate) shoulder: Place,
    pub(crate) elbow: Place,
    pub(crate) wrist: Place,
    /// Middle of the hand.
    pub(crate) hand: Place,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) hip: Place,
    pub(crate) knee: Place,
    pub(crate) ankle: Place,
    pub(crate) heel: Place,
    pub(crate) toe: Place,
}

impl Skeleton {
    pub(crate) fn new(physique: &Physique, pose: &Pose) -> Self {
        let legs = [0, 1].map(|index| leg(physique, pose.legs[index], side(index)));
        // The lowest foot stands on the ground.
        let lowest = legs.iter().flat_map(|leg| [leg.toe.y, leg.heel.y]).fold(f32::INFINITY, f32::min);
        let lift = place(0.0, -lowest, 0.0);
        let legs = legs.map(|leg| Leg {
            hip: leg.hip + lift,
            knee: leg.knee + lift,
            ankle: leg.ankle + lift,
            heel: leg.heel + lift,
            toe: leg.toe + lift,
        });
        let pelvis = lift;
        let along_back = |length: f32, side: f32, forwards: f32| {
            let (sine, cosine) = pose.lean.sin_cos();
            pelvis + place(side, length * cosine - forwards * sine, length * sine + forwards * cosine)
        };
        let collar = along_back(physique.share(0.315), 0.0, 0.0);
        let head = along_back(physique.share(0.415), 0.0, 0.025 + pose.head_nod.max(0.0) * 0.06);
        let arms = [0, 1].map(|index| {
            let shoulder = along_back(physique.share(0.246), side(index) * physique.shoulders * 0.92, 0.0);
            arm(physique, shoulder, pose.arms[index], side(index))
        });
        Self { pelvis, collar, head, arms, legs }
    }

    /// A place on the back's axis: 0 at the pelvis, 1 at the neck.
    pub(crate) fn spine(&self, share: f32) -> Place {
        self.pelvis.towards(self.collar, share)
    }

    /// Height of the top of the head, without hair, above the ground.
    pub(crate) fn crown(&self) -> Place {
        self.head + place(0.0, 0.125, 0.0)
    }
}

/// 1 for the left side.
pub(crate) fn side(index: usize) -> f32 {
    if index == 0 { 1.0 } else { -1.0 }
}

fn arm(physique: &Physique, shoulder: Place, angles: ArmAngles, side: f32) -> Arm {
    let (spread, closeness) = angles.abduction.sin_cos();
    let (forwards, down) = angles.swing.sin_cos();
    let upper = place(side * spread, -closeness * down, closeness * forwards);
    let elbow = shoulder + upper * physique.share(0.168);
    let (forwards, down) = (angles.swing + angles.flex).sin_cos();
    let lower = place(side * (spread * 0.6 - angles.inward), -down, forwards).direction();
    let wrist = elbow + lower * physique.share(0.148);
    Arm { shoulder, elbow, wrist, hand: wrist + lower * 0.055 }
}

fn leg(physique: &Physique, angles: LegAngles, side: f32) -> Leg {
    let hip = place(side * physique.hips * 0.52, 0.0, 0.0);
    let sideways = side * angles.splay.sin();
    let (forwards, down) = angles.swing.sin_cos();
    let knee = hip + place(sideways, -down, forwards) * physique.share(0.242);
    let bent = angles.swing - angles.flex;
    let (forwards, down) = bent.sin_cos();
    let ankle = knee + place(sideways, -down, forwards) * physique.share(0.233);
    // A foot behind the body stands on its toes.
    let tilt = (bent * 0.75).clamp(-1.0, 0.25);
    let (rise, ahead) = tilt.sin_cos();
    let below = physique.share(ANKLE);
    let size = physique.height / 1.72;
    let along = |length: f32, depth: f32| {
        ankle + place(side * length * 0.12, length * rise - depth * ahead, length * ahead + depth * rise)
    };
    Leg { hip, knee, ankle, heel: along(-0.055 * size, below), toe: along(0.165 * size, below) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;
    use crate::person::Person;
    use crate::randomness::{Purpose, Randomness};

    #[test]
    fn bodies_stand_on_the_ground_and_have_their_height() {
        for number in 0..200 {
            let mut randomness = Randomness::new(7, Purpose::Image, number, 0);
            let person = Person::new(&mut randomness, Domain::Street);
            let pose = Pose::new(&mut randomness, &person, &person.belongings);
            let skeleton = Skeleton::new(&person.physique, &pose);
            let feet = skeleton.legs.iter().flat_map(|leg| [leg.heel.y, leg.toe.y]).fold(f32::INFINITY, f32::min);
            assert!(feet.abs() < 1e-4, "{feet}");
            let height = skeleton.crown().y / person.physique.height;
            assert!((0.88..1.06).contains(&height), "{height} {pose:?}");
            assert!(skeleton.arms.iter().all(|arm| arm.hand.y > 0.3));
        }
    }
}
