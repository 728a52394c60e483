//! What a person is doing, and the angles of the limbs that go with it.

use crate::person::Person;
use crate::person::belongings::{Belonging, BelongingKind};
use crate::randomness::Randomness;

/// How the legs move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gait {
    Standing,
    Walking,
    Jogging,
}

/// What an arm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArmTask {
    Free,
    /// Holds something in front of the chest to look at or drink from.
    Phone,
    Call,
    Pocket,
    Crossed,
    /// Hangs down with something in the hand.
    Carry,
    Cup,
    Umbrella,
    Pull,
    Push,
    Leash,
    /// Holds the strap of a bag.
    Strap,
    Hip,
}

/// Angles of an arm, in radians.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArmAngles {
    /// Upper arm, forwards.
    pub(crate) swing: f32,
    /// Upper arm, away from the body.
    pub(crate) abduction: f32,
    /// Elbow.
    pub(crate) flex: f32,
    /// How far the forearm points to the other side, as a part of its direction.
    pub(crate) inward: f32,
}

/// Angles of a leg, in radians.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LegAngles {
    pub(crate) swing: f32,
    pub(crate) splay: f32,
    pub(crate) flex: f32,
}

/// A pose. Arrays hold the left side first.
#[derive(Debug, Clone)]
pub(crate) struct Pose {
    pub(crate) gait: Gait,
    pub(crate) tasks: [ArmTask; 2],
    pub(crate) arms: [ArmAngles; 2],
    pub(crate) legs: [LegAngles; 2],
    /// The back's angle forwards, in radians.
    pub(crate) lean: f32,
    /// The head's turn to its left, in radians.
    pub(crate) head_turn: f32,
    /// The head's angle downwards, in radians.
    pub(crate) head_nod: f32,
}

/// Index into the arrays of a side: 1 is left, -1 right.
pub(crate) fn side_index(side: f32) -> usize {
    usize::from(side < 0.0)
}

impl Pose {
    /// A pose that suits what the person has in hand.
    pub(crate) fn new(randomness: &mut Randomness, person: &Person, carried: &[Belonging]) -> Self {
        let is_busy = carried.iter().any(|belonging| belonging.kind.takes_a_hand());
        let gait = randomness.weighted([
            (Gait::Walking, 0.6),
            (Gait::Standing, 0.36),
            (Gait::Jogging, if is_busy || person.upper.kind.is_dress() { 0.0 } else { 0.04 }),
        ]);
        let tasks = tasks(randomness, gait, carried);
        let stride = match gait {
            Gait::Standing => 0.0,
            Gait::Walking => randomness.between(0.55, 1.0),
            Gait::Jogging => 1.35,
        };
        let phase = randomness.between(0.0, std::f32::consts::TAU);
        let lean = person.physique.stoop
            + match gait {
                Gait::Standing => 0.0,
                Gait::Walking => 0.04,
                Gait::Jogging => 0.14,
            };
        let looks_down = tasks.contains(&ArmTask::Phone);
        let turn = randomness.normal(0.0, 0.3);
        Self {
            gait,
            tasks,
            arms: [0, 1].map(|index| arm(randomness, tasks[index], (phase.sin() * stride, index), gait)),
            legs: [0, 1].map(|index| leg(randomness, phase, stride, index)),
            lean,
            head_turn: if looks_down { turn * 0.3 } else { turn },
            head_nod: if looks_down { randomness.between(0.25, 0.5) } else { randomness.normal(0.06, 0.09) },
        }
    }
}

fn tasks(randomness: &mut Randomness, gait: Gait, carried: &[Belonging]) -> [ArmTask; 2] {
    let mut tasks = [ArmTask::Free; 2];
    if gait == Gait::Jogging {
        return tasks;
    }
    let mut is_free = [true; 2];
    for belonging in carried {
        let index = side_index(belonging.side);
        let task = match belonging.kind {
            BelongingKind::Handbag | BelongingKind::ShoppingBag => ArmTask::Carry,
            BelongingKind::Suitcase => ArmTask::Pull,
            BelongingKind::Umbrella => ArmTask::Umbrella,
            BelongingKind::Cup | BelongingKind::Bottle => ArmTask::Cup,
            BelongingKind::Dog => ArmTask::Leash,
            BelongingKind::Stroller => {
                tasks = [ArmTask::Push; 2];
                is_free = [false; 2];
                continue;
            }
            BelongingKind::Backpack | BelongingKind::ShoulderBag | BelongingKind::Tote => continue,
        };
        tasks[index] = task;
        is_free[index] = false;
    }
    if is_free == [true; 2] && randomness.chance(0.05) {
        return [ArmTask::Crossed; 2];
    }
    if is_free == [true; 2] && randomness.chance(0.08) {
        return [ArmTask::Pocket; 2];
    }
    // The hand that is preferred may do something; at most one does.
    let preferred = usize::from(randomness.chance(0.75));
    for index in [preferred, 1 - preferred] {
        if is_free[index] {
            tasks[index] = randomness.weighted([
                (ArmTask::Free, 0.6),
                (ArmTask::Phone, 0.17),
                (ArmTask::Call, 0.06),
                (ArmTask::Pocket, 0.09),
                (ArmTask::Strap, if carried.is_empty() { 0.0 } else { 0.05 }),
                (ArmTask::Hip, if gait == Gait::Standing { 0.05 } else { 0.0 }),
            ]);
            break;
        }
    }
    tasks
}

fn arm(randomness: &mut Randomness, task: ArmTask, (step, index): (f32, usize), gait: Gait) -> ArmAngles {
    let angles = |swing, abduction, flex, inward| ArmAngles { swing, abduction, flex, inward };
    // Arms swing against the legs.
    let swing = if index == 0 { -step } else { step };
    let exact = match task {
        ArmTask::Free if gait == Gait::Jogging => angles(swing * 0.6, 0.2, 1.5, 0.15),
        ArmTask::Free => angles(swing * 0.48 + 0.02, 0.13, 0.2 + 0.25 * swing.max(0.0), 0.03),
        ArmTask::Phone => angles(0.5, 0.16, 1.55, 0.42),
        ArmTask::Call => angles(0.75, 0.45, 2.15, 0.2),
        ArmTask::Pocket => angles(-0.22, 0.3, 0.62, 0.42),
        ArmTask::Crossed => angles(0.42, 0.2, 1.15, 1.1),
        ArmTask::Carry => angles(swing * 0.12, 0.14, 0.12, 0.0),
        ArmTask::Cup => angles(0.3, 0.16, 1.5, 0.22),
        ArmTask::Umbrella => angles(0.4, 0.2, 1.9, 0.2),
        ArmTask::Pull => angles(-0.42, 0.2, 0.1, -0.05),
        ArmTask::Push => angles(0.5, 0.1, 0.75, 0.05),
        ArmTask::Leash => angles(0.15, 0.2, 0.5, -0.1),
        ArmTask::Strap => angles(0.05, 0.35, 2.2, 0.35),
        ArmTask::Hip => angles(-0.35, 0.75, 0.95, 0.95),
    };
    ArmAngles {
        swing: exact.swing + randomness.normal(0.0, 0.05),
        abduction: (exact.abduction + randomness.normal(0.0, 0.04)).max(0.06),
        flex: (exact.flex + randomness.normal(0.0, 0.07)).max(0.05),
        inward: exact.inward,
    }
}

fn leg(randomness: &mut Randomness, phase: f32, stride: f32, index: usize) -> LegAngles {
    let phase = if index == 0 { phase } else { phase + std::f32::consts::PI };
    // The knee bends while the leg comes forwards.
    let lift = phase.cos().max(0.0);
    LegAngles {
        swing: 0.42 * stride * phase.sin() + 0.12 * stride * lift + randomness.normal(0.0, 0.03),
        splay: if stride > 0.0 { 0.02 } else { randomness.between(0.03, 0.11) },
        flex: 0.08 + stride * (0.75 * lift + 0.12 * (-phase.sin()).max(0.0)),
    }
}
