//! One generation of a gallery, as a handle.

use crate::gallery::{GallerySettings, NewGallery};
use crate::{GalleryImage, StoreError, now_ms};
use descry_model::Fingerprint;

/// One generation of a gallery: a named set of person images whose embeddings come from one model.
///
/// It is looked up once, with [`VectorStore::resolve`](crate::VectorStore::resolve) or
/// [`VectorStore::generations`](crate::VectorStore::generations), and then names that generation and no other: numbers
/// are never used twice, so a handle whose generation is gone fails, also when a gallery of its name was made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Name of the gallery, `[a-z0-9][a-z0-9_-]{0,62}` (checked before it reaches a store).
    pub gallery: String,
    /// Which generation of the gallery this is: at least 1, rising, and given to no later generation of a gallery of this
    /// name.
    pub number: u32,
    /// The model that filled it; writes and queries of another model are refused.
    pub fingerprint: Fingerprint,
    /// Length of its embeddings.
    pub dimension: usize,
    /// Creation time in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// As given at the gallery's creation.
    pub settings: GallerySettings,
}

/// All generations of a gallery at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generations {
    /// The one that answers for the gallery.
    pub active: Generation,
    /// The others by rising number. Those behind the active one are filled for a change of the model; those before it
    /// are what one may go back to.
    pub others: Vec<Generation>,
}

impl Generations {
    /// The one of a number.
    #[must_use]
    pub fn find(&self, number: u32) -> Option<&Generation> {
        self.all().find(|generation| generation.number == number)
    }

    /// All of them, the active one first.
    pub fn all(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.active).chain(&self.others)
    }

    /// Those that are filled beside the active one.
    pub fn later(&self) -> impl Iterator<Item = &Generation> {
        self.others.iter().filter(|other| other.number > self.active.number)
    }
}

impl Generation {
    /// A generation to be, made now.
    pub(crate) fn of_new(new: NewGallery, number: u32) -> Self {
        let NewGallery { name: gallery, fingerprint, dimension, settings } = new;
        Self { gallery, number, fingerprint, dimension, created_at_ms: now_ms(), settings }
    }

    /// How this generation is addressed.
    #[must_use]
    pub fn address(&self) -> String {
        GalleryAddress { name: &self.gallery, generation: Some(self.number) }.to_string()
    }

    /// Refuses embeddings that may not be compared with those of this gallery.
    ///
    /// # Errors
    /// [`StoreError::FingerprintMismatch`] or [`StoreError::DimensionMismatch`], naming both sides.
    pub fn require_model(&self, fingerprint: &Fingerprint, dimension: usize) -> Result<(), StoreError> {
        if *fingerprint != self.fingerprint {
            return Err(StoreError::FingerprintMismatch {
                name: self.gallery.clone(),
                gallery: self.fingerprint.clone(),
                given: fingerprint.clone(),
            });
        }
        if dimension != self.dimension {
            return Err(StoreError::DimensionMismatch {
                name: self.gallery.clone(),
                gallery: self.dimension,
                given: dimension,
            });
        }
        Ok(())
    }

    /// Refuses a write of which any image is of another model: nothing is written then.
    pub(crate) fn require_model_of_images(
        &self,
        fingerprint: &Fingerprint,
        images: &[GalleryImage],
    ) -> Result<(), StoreError> {
        self.require_model(fingerprint, self.dimension)?;
        images.iter().try_for_each(|image| self.require_model(fingerprint, image.embedding.dimension()))
    }

    /// What creating an existing gallery once more comes to: itself, if it is of the same model.
    pub(crate) fn created_again(self, fingerprint: &Fingerprint, dimension: usize) -> Result<Self, StoreError> {
        if *fingerprint != self.fingerprint {
            return Err(StoreError::GalleryExists { name: self.gallery, fingerprint: self.fingerprint });
        }
        self.require_model(fingerprint, dimension)?;
        Ok(self)
    }
}

/// A gallery by its name, or one of its generations: `lobby`, `lobby.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GalleryAddress<'a> {
    /// Name of the gallery.
    pub name: &'a str,
    /// `None` for the active one.
    pub generation: Option<u32>,
}

impl<'a> GalleryAddress<'a> {
    /// Reads an address. Names have no dots, so anything behind one is a number or the whole is a name that no gallery
    /// has.
    pub fn parse(text: &'a str) -> Self {
        match text.rsplit_once('.') {
            Some((name, number)) if !number.starts_with(['0', '+']) => match number.parse() {
                Ok(generation) => Self { name, generation: Some(generation) },
                Err(_) => Self { name: text, generation: None },
            },
            _ => Self { name: text, generation: None },
        }
    }
}

impl std::fmt::Display for GalleryAddress<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.generation {
            Some(generation) => write!(formatter, "{}.{generation}", self.name),
            None => formatter.write_str(self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text, name, generation| {
            assert_eq!(GalleryAddress::parse(text), GalleryAddress { name, generation }, "{text}");
            assert_eq!(GalleryAddress::parse(text).to_string(), text);
        };
        check("lobby", "lobby", None);
        check("lobby.2", "lobby", Some(2));
        check("lobby.02", "lobby.02", None);
        check("lobby.", "lobby.", None);
        check("lobby.99999999999", "lobby.99999999999", None);
    }
}
