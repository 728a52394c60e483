//! A disk for tests that fails, fills up, forgets what was not synced, and loses its power, all by seed.
//!
//! [`SimulatedDisk`] is the disk, `vfs` lets SQLite work on it. What is checked with it is in the files beside them.

mod disk;
mod full_disk;
mod power_loss;
mod random;
mod script;
mod vfs;

pub(super) use disk::SimulatedDisk;
pub(super) use vfs::VFS_NAME;
