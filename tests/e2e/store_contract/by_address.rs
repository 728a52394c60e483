//! A store asked by address: each call looks its generation up first, as a request does.

use descry_model::{Embedding, Fingerprint};
use descry_store::{
    Gallery, GalleryImage, Generation, GroupBy, GroupHit, Grouping, Hit, ImageMetadata, ImagePage, NearestQuery,
    NewGallery, PageRequest, Pool, SearchFilter, StoreError, VectorStore,
};
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

/// A store with methods that take `lobby` or `lobby.2` where the contract takes a handle.
#[derive(Clone)]
pub(super) struct ByAddress(pub(super) Arc<dyn VectorStore>);

impl Deref for ByAddress {
    type Target = dyn VectorStore;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl ByAddress {
    pub(super) async fn gallery(&self, address: &str) -> Result<Gallery, StoreError> {
        self.0.describe(&self.0.resolve(address).await?).await
    }

    pub(super) async fn create(&self, new: NewGallery) -> Result<Gallery, StoreError> {
        self.0.describe(&self.0.create(new).await?).await
    }

    pub(super) async fn create_gallery(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, StoreError> {
        self.create(NewGallery::new(name, fingerprint, dimension)).await
    }

    pub(super) async fn create_generation(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<Gallery, StoreError> {
        self.0.describe(&self.0.create_generation(name, fingerprint, dimension).await?).await
    }

    /// The active generations of all galleries.
    pub(super) async fn list_galleries(&self) -> Result<Vec<Gallery>, StoreError> {
        let mut described = Vec::new();
        for generation in self.0.galleries().await? {
            described.push(self.0.describe(&generation).await?);
        }
        Ok(described)
    }

    /// All generations by rising number.
    pub(super) async fn generations(&self, name: &str) -> Result<Vec<Gallery>, StoreError> {
        let generations = self.0.generations(name).await?;
        let mut described = Vec::new();
        for generation in generations.all() {
            described.push(self.0.describe(generation).await?);
        }
        described.sort_by_key(|gallery| gallery.generation.number);
        Ok(described)
    }

    pub(super) async fn activate(&self, name: &str, number: u32) -> Result<(), StoreError> {
        self.0.activate(&self.numbered(name, number).await?).await
    }

    pub(super) async fn delete_generation(&self, name: &str, number: u32) -> Result<(), StoreError> {
        self.0.delete_generation(&self.numbered(name, number).await?).await
    }

    async fn numbered(&self, name: &str, number: u32) -> Result<Generation, StoreError> {
        self.0.resolve(&format!("{name}.{number}")).await
    }

    pub(super) async fn upsert(
        &self,
        address: &str,
        fingerprint: &Fingerprint,
        images: Vec<GalleryImage>,
    ) -> Result<(), StoreError> {
        self.0.upsert(&self.0.resolve(address).await?, fingerprint, images).await
    }

    pub(super) async fn update_metadata(
        &self,
        address: &str,
        images: Vec<(String, ImageMetadata)>,
    ) -> Result<u64, StoreError> {
        self.0.update_metadata(&self.0.resolve(address).await?, images).await
    }

    pub(super) async fn delete_images(&self, address: &str, image_ids: &[String]) -> Result<u64, StoreError> {
        self.0.delete_images(&self.0.resolve(address).await?, image_ids).await
    }

    pub(super) async fn delete_matching(&self, address: &str, filter: &SearchFilter) -> Result<u64, StoreError> {
        self.0.delete_matching(&self.0.resolve(address).await?, filter).await
    }

    pub(super) async fn count(&self, address: &str, filter: &SearchFilter) -> Result<u64, StoreError> {
        self.0.count(&self.0.resolve(address).await?, filter).await
    }

    pub(super) async fn images(
        &self,
        address: &str,
        image_ids: &[String],
    ) -> Result<HashMap<String, ImageMetadata>, StoreError> {
        self.0.images(&self.0.resolve(address).await?, image_ids).await
    }

    pub(super) async fn embeddings(
        &self,
        address: &str,
        image_ids: &[String],
    ) -> Result<HashMap<String, Embedding>, StoreError> {
        self.0.embeddings(&self.0.resolve(address).await?, image_ids).await
    }

    pub(super) async fn page(&self, address: &str, request: PageRequest) -> Result<ImagePage, StoreError> {
        self.0.page(&self.0.resolve(address).await?, request).await
    }

    pub(super) async fn nearest(&self, address: &str, query: NearestQuery) -> Result<Vec<Hit>, StoreError> {
        self.0.nearest(&self.0.resolve(address).await?, query).await
    }

    pub(super) async fn nearest_persons(&self, address: &str, query: NearestQuery) -> Result<Vec<Hit>, StoreError> {
        let grouping = Grouping { by: GroupBy::Person, pool: Pool::Best };
        let groups = self.nearest_groups(address, query, grouping).await?;
        Ok(groups.into_iter().map(|group| group.best).collect())
    }

    pub(super) async fn nearest_groups(
        &self,
        address: &str,
        query: NearestQuery,
        grouping: Grouping,
    ) -> Result<Vec<GroupHit>, StoreError> {
        self.0.nearest_groups(&self.0.resolve(address).await?, query, grouping).await
    }

    pub(super) async fn document(&self, name: &str, key: &str) -> Result<Option<String>, StoreError> {
        self.0.document(&self.0.resolve(name).await?, key).await
    }

    pub(super) async fn documents(&self, name: &str) -> Result<BTreeMap<String, String>, StoreError> {
        self.0.documents(&self.0.resolve(name).await?).await
    }

    pub(super) async fn put_document(&self, name: &str, key: &str, text: Option<String>) -> Result<(), StoreError> {
        self.0.put_document(&self.0.resolve(name).await?, key, text).await
    }
}
