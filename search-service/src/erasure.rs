//! Forgetting a person, a track or an image, for good.
//!
//! Removing images is half of it: the next run of an index job would bring them back. So before anything is removed, a
//! gallery gets **marks** (`marks`) of what is to stay away: hashes with a key (`key`), from which nobody reads a name who has
//! not got both. They are documents of the gallery (`mark_store`). Whatever writes to a gallery looks at them before and after
//! (`crate::galleries`), so that no instance of the service brings back what another one erases at that moment.
//!
//! Erasing (`erasing`) goes from what is found again by nothing else to what everything else is found by: marks, watches that
//! name the subject or are made of it (`standing_searches`), images in all generations, and what is left of all that on the disk.
//! Each step can be repeated, and one that was killed is finished by asking again.

mod erasing;
mod key;
mod mark_store;
mod marks;
mod standing_searches;
mod subject;

pub(crate) use erasing::{Erased, erase, preview};
pub(crate) use key::{Thing, of_image};
pub(crate) use mark_store::MarkStore;
pub(crate) use marks::Marks;
pub(crate) use subject::{Subject, Traces, TrackName};

/// What becomes of an image that was erased and is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comeback {
    /// It is refused.
    Refused,
    /// It is taken, and its marks are taken away.
    Allowed,
}

impl Comeback {
    pub(crate) fn of(allow_erased: bool) -> Self {
        if allow_erased { Self::Allowed } else { Self::Refused }
    }
}
