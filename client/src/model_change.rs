//! Changing the model of a gallery while it answers.

mod fill;
mod missing;
mod quality;
mod switch;

pub use fill::Filled;
pub use quality::{PersonQuery, Quality, QualityComparison};

use crate::calls::generation_address;
use crate::{ClientError, Connection, JobObserver, JobOptions};
use descry_model::Fingerprint;
use descry_proto::search::v1::{CreateGenerationRequest, ListGenerationsResponse};
use std::path::PathBuf;

/// What becomes of images that only the new generation has: they were indexed while it served before a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Surplus {
    /// Nothing is switched while there are some.
    #[default]
    Refuse,
    /// They are removed from it.
    Drop,
    /// They stay, and are in the gallery after the switch.
    Keep,
}

/// How a model is changed.
#[derive(Debug, Clone, Default)]
pub struct ModelChangeOptions {
    /// Where the images are, as they were indexed; empty for the paths that were noted then.
    pub images: Vec<PathBuf>,
    /// Where relative paths in file lists start; the list's folder if absent.
    pub root: Option<PathBuf>,
    /// At most so many images a second, so that searches stay fast; with none, as many as the service takes.
    pub max_images_per_second: Option<f32>,
    /// What becomes of images that only the new generation has.
    pub surplus: Surplus,
    /// What is noted, and when it is given up.
    pub job: JobOptions,
}

/// Hears of the progress of a model change. Filling is one job or several.
pub trait ModelChangeObserver: JobObserver {
    /// So many images of `total` are compared.
    fn compared(&mut self, _examined: u64, _total: u64) {}
    /// A comparison has ended.
    fn comparison_ended(&mut self) {}
    /// So many queries of `total` are answered by one of the models.
    fn searched(&mut self, _done: usize, _total: usize) {}
}

/// Does not look.
impl ModelChangeObserver for () {}

/// A change of a gallery's model under way. Each step can be repeated, and a change that was left at any point goes on
/// when it is begun again. What makes it safe is the service's: it lets no generation serve that lacks an image which was
/// acknowledged, or has one that was deleted.
///
/// ```no_run
/// # async fn change() -> Result<(), Box<dyn std::error::Error>> {
/// use descry_client::{Begun, Connection, Filled, ModelChange, ModelChangeOptions};
///
/// let connection = Connection::to("http://127.0.0.1:50051").await?;
/// let fingerprint = "0".repeat(64).parse()?;
/// let options = ModelChangeOptions::default();
/// if let Begun::UnderWay(change) = ModelChange::begin(&connection, "lobby", &fingerprint, options).await? {
///     if let Filled::Complete(_) = change.fill(&mut ()).await? {
///         change.activate(&mut ()).await?;
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ModelChange {
    connection: Connection,
    gallery: String,
    old: u32,
    new: u32,
    options: ModelChangeOptions,
}

/// Where a change of the model begins.
#[derive(Debug)]
pub enum Begun {
    /// There is a generation to be filled.
    UnderWay(Box<ModelChange>),
    /// The gallery is of that model already.
    Over {
        /// The generation that serves.
        active: u32,
        /// The one that served before, where it is still there.
        previous: Option<u32>,
    },
}

impl ModelChange {
    /// Makes a new generation for a model, or goes on with the one that was made. An encoder of the service must run the
    /// model.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn begin(
        connection: &Connection,
        gallery: &str,
        fingerprint: &Fingerprint,
        options: ModelChangeOptions,
    ) -> Result<Begun, ClientError> {
        let fingerprint = fingerprint.to_string();
        let generations = connection.generations(gallery).await?;
        let old = generations.active;
        if let Some(previous) = already_switched(&generations, &fingerprint) {
            return Ok(Begun::Over { active: old, previous });
        }
        let request = CreateGenerationRequest { gallery: gallery.to_owned(), fingerprint };
        let new = connection.create_generation(request).await?.generation;
        let (connection, gallery) = (connection.clone(), gallery.to_owned());
        Ok(Begun::UnderWay(Box::new(Self { connection, gallery, old, new, options })))
    }

    /// The generation that serves until the switch.
    pub fn old(&self) -> u32 {
        self.old
    }

    /// The generation that is filled.
    pub fn new_generation(&self) -> u32 {
        self.new
    }

    fn address(&self, generation: u32) -> String {
        generation_address(&self.gallery, generation)
    }
}

/// The generation that served before, where an earlier change has switched already.
fn already_switched(generations: &ListGenerationsResponse, fingerprint: &str) -> Option<Option<u32>> {
    let active = generations.generations.iter().find(|generation| generation.generation == generations.active)?;
    let others = generations.generations.iter().map(|generation| generation.generation);
    (active.fingerprint == fingerprint).then(|| others.filter(|&number| number < generations.active).max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::Gallery;

    #[test]
    fn a_run_after_the_switch_begins_nothing_anew() {
        let generation = |generation, fingerprint: &str| Gallery {
            generation,
            fingerprint: fingerprint.to_owned(),
            ..Gallery::default()
        };
        let both = vec![generation(1, "old"), generation(2, "new")];
        let before = ListGenerationsResponse { generations: both.clone(), active: 1 };
        assert_eq!(already_switched(&before, "new"), None);
        let after = ListGenerationsResponse { generations: both, active: 2 };
        assert_eq!(already_switched(&after, "new"), Some(Some(1)));
        let alone = ListGenerationsResponse { generations: vec![generation(2, "new")], active: 2 };
        assert_eq!(already_switched(&alone, "new"), Some(None));
    }
}
