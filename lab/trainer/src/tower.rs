//! The two towers: batches to features.

mod block;
mod layers;
mod mixture;
mod parallel;
mod text;
mod vision;

pub(crate) use block::Encoded;
pub(crate) use mixture::RoutingLoad;
pub(crate) use text::{TextBalance, TextTower};
pub(crate) use vision::{VisionInput, VisionTower};
