//! Changes of a store by seed, and a plain model of what they come to.

use super::random::Random;
use crate::{
    EmbeddedStore, GalleryAddress, GalleryImage, ImageMetadata, PageRequest, SearchFilter, StoreError, VectorStore as _,
};
use descry_model::{Embedding, Fingerprint};
use std::collections::BTreeMap;

pub(super) const DIMENSION: usize = 8;

/// What a store holds, as everybody can read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) galleries: BTreeMap<String, GalleryModel>,
    /// The highest number of a generation that was deleted; it shows when another one is made.
    retired: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GalleryModel {
    active: u32,
    /// By number; each with its images, of which the version of the file and the person are told.
    generations: BTreeMap<u32, BTreeMap<String, (String, Option<String>)>>,
    documents: BTreeMap<String, String>,
}

/// A change.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Create(String),
    CreateGeneration(String),
    Activate(String, u32),
    DeleteGeneration(String, u32),
    DeleteGallery(String),
    Write(String, u32, Vec<(String, u64)>),
    Update(String, u32, String, String),
    Delete(String, u32, Vec<String>),
    DeleteOf(String, u32, String),
    Document(String, String, Option<String>),
}

const GALLERIES: [&str; 2] = ["lobby", "yard"];
const IMAGES: u64 = 12;
const PERSONS: u64 = 3;

/// The model of a generation: numbers have models of their own, so that a gallery can be given new ones.
fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::of_parts([("model", number.to_string().as_bytes())])
}

/// The embedding of a version of an image.
pub(super) fn embedding(version: u64) -> Embedding {
    let mut random = Random::new(version);
    Embedding::normalized((0..DIMENSION).map(|_| random.below(2_001) as f32 - 999.5).collect()).unwrap()
}

pub(super) fn image(image_id: &str, version: u64) -> GalleryImage {
    let person_id = Some(format!("p{}", version % PERSONS));
    let metadata = ImageMetadata { person_id, content_sha256: version.to_string(), ..ImageMetadata::default() };
    GalleryImage { image_id: image_id.to_owned(), embedding: embedding(version), metadata }
}

impl Change {
    /// A change that makes sense.
    pub(super) fn any(model: &Model, random: &mut Random) -> Self {
        let name = GALLERIES[random.below(2) as usize].to_owned();
        let Some(gallery) = model.galleries.get(&name) else { return Self::Create(name) };
        let numbers: Vec<u32> = gallery.generations.keys().copied().collect();
        let number = numbers[random.below(numbers.len() as u64) as usize];
        let image_id = |random: &mut Random| format!("{}.jpg", random.below(IMAGES));
        match random.below(20) {
            0 => Self::CreateGeneration(name),
            1 => Self::Activate(name, number),
            2 if number != gallery.active => Self::DeleteGeneration(name, number),
            3 => Self::DeleteGallery(name),
            4 | 5 => Self::Update(name, number, image_id(random), format!("q{}", random.below(PERSONS))),
            6 | 7 => {
                let count = random.below(4) + 1;
                Self::Delete(name, number, (0..count).map(|_| image_id(random)).collect())
            }
            8 => Self::DeleteOf(name, number, format!("p{}", random.below(PERSONS))),
            9 | 10 => {
                let text = (!random.once_in(3)).then(|| random.number().to_string().repeat(20));
                Self::Document(name, format!("key{}", random.below(3)), text)
            }
            _ => {
                let count = random.below(8) + 1;
                Self::Write(name, number, (0..count).map(|_| (image_id(random), random.number())).collect())
            }
        }
    }

    pub(super) async fn make(&self, store: &EmbeddedStore) -> Result<(), StoreError> {
        let address = |name, number| GalleryAddress { name, generation: Some(number) }.to_string();
        match self {
            Self::Create(name) => {
                store.create_gallery(name, &fingerprint(0), DIMENSION).await?;
            }
            Self::CreateGeneration(name) => {
                let last = store.generations(name).await?.all().map(|generation| generation.number).max().unwrap();
                store.create_generation(name, &fingerprint(last), DIMENSION).await?;
            }
            Self::Activate(name, number) => store.activate(&store.resolve(&address(name, *number)).await?).await?,
            Self::DeleteGeneration(name, number) => {
                store.delete_generation(&store.resolve(&address(name, *number)).await?).await?;
            }
            Self::DeleteGallery(name) => store.delete_gallery(name).await?,
            Self::Write(name, number, images) => {
                let generation = store.resolve(&address(name, *number)).await?;
                let images = images.iter().map(|(image_id, version)| image(image_id, *version)).collect();
                store.upsert(&generation, &generation.fingerprint, images).await?;
            }
            Self::Update(name, number, image_id, person) => {
                let generation = store.resolve(&address(name, *number)).await?;
                let metadata = ImageMetadata { person_id: Some(person.clone()), ..ImageMetadata::default() };
                store.update_metadata(&generation, vec![(image_id.clone(), metadata)]).await?;
            }
            Self::Delete(name, number, ids) => {
                store.delete_images(&store.resolve(&address(name, *number)).await?, ids).await?;
            }
            Self::DeleteOf(name, number, person) => {
                let filter = SearchFilter { person_ids: vec![person.clone()], ..SearchFilter::default() };
                store.delete_matching(&store.resolve(&address(name, *number)).await?, &filter).await?;
            }
            Self::Document(name, key, text) => {
                store.put_document(&store.resolve(name).await?, key, text.clone()).await?;
            }
        }
        Ok(())
    }
}

impl Model {
    /// What a change comes to.
    pub(super) fn after(&self, change: &Change) -> Self {
        let mut next = self.clone();
        let retired = next.retired;
        let mut images = |name: &String, number: &u32, work: &mut dyn FnMut(&mut BTreeMap<String, _>)| {
            work(next.galleries.get_mut(name).unwrap().generations.get_mut(number).unwrap());
        };
        match change {
            Change::Write(name, number, written) => images(name, number, &mut |images| {
                for (image_id, version) in written {
                    images.insert(image_id.clone(), (version.to_string(), Some(format!("p{}", version % PERSONS))));
                }
            }),
            Change::Update(name, number, image_id, person) => images(name, number, &mut |images| {
                if let Some((_, known)) = images.get_mut(image_id) {
                    *known = Some(person.clone());
                }
            }),
            Change::Delete(name, number, ids) => {
                images(name, number, &mut |images| ids.iter().for_each(|image_id| drop(images.remove(image_id))));
            }
            Change::DeleteOf(name, number, person) => {
                images(name, number, &mut |images| images.retain(|_, (_, known)| known.as_ref() != Some(person)));
            }
            Change::Create(name) => {
                let number = retired + 1;
                let gallery = GalleryModel { active: number, ..GalleryModel::default() };
                next.galleries.entry(name.clone()).or_insert(gallery).generations.entry(number).or_default();
            }
            Change::CreateGeneration(name) => {
                let generations = &mut next.galleries.get_mut(name).unwrap().generations;
                let last = *generations.last_key_value().unwrap().0;
                generations.insert(last.max(retired) + 1, BTreeMap::new());
            }
            Change::Activate(name, number) => next.galleries.get_mut(name).unwrap().active = *number,
            Change::DeleteGeneration(name, number) => {
                next.galleries.get_mut(name).unwrap().generations.remove(number);
                next.retired = retired.max(*number);
            }
            Change::DeleteGallery(name) => {
                let gallery = next.galleries.remove(name).unwrap();
                next.retired = retired.max(*gallery.generations.last_key_value().unwrap().0);
            }
            Change::Document(name, key, text) => {
                let documents = &mut next.galleries.get_mut(name).unwrap().documents;
                match text {
                    Some(text) => drop(documents.insert(key.clone(), text.clone())),
                    None => drop(documents.remove(key)),
                }
            }
        }
        next
    }

    /// What a store holds, all of it read but the retired number, which nobody is told.
    pub(super) async fn read(store: &EmbeddedStore) -> Result<Self, StoreError> {
        let mut model = Self::default();
        for active in store.galleries().await? {
            let mut gallery = GalleryModel { active: active.number, ..GalleryModel::default() };
            gallery.documents = store.documents(&active).await?;
            for generation in store.generations(&active.gallery).await?.all() {
                let request = PageRequest { limit: 1_000, ..PageRequest::default() };
                let mut images = BTreeMap::new();
                for image in store.page(generation, request).await?.images {
                    let GalleryImage { image_id, embedding: read, metadata } = image;
                    let wanted = embedding(metadata.content_sha256.parse().unwrap());
                    let nearness: f32 = read.as_slice().iter().zip(wanted.as_slice()).map(|(a, b)| a * b).sum();
                    assert!(nearness > 0.999, "{image_id} has the embedding of another version");
                    images.insert(image_id, (metadata.content_sha256, metadata.person_id));
                }
                gallery.generations.insert(generation.number, images);
            }
            model.galleries.insert(active.gallery, gallery);
        }
        Ok(model)
    }

    pub(super) fn without_retired(&self) -> Self {
        Self { retired: 0, ..self.clone() }
    }
}
