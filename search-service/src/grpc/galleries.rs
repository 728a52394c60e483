//! Galleries and their generations.

use super::SearchGrpc;
use super::messages::{gallery_message, gallery_settings, retention_of, statistics_message};
use super::reply_room::{ReplyRoom, page_limit};
use crate::SearchError;
use crate::audit;
use crate::galleries::{Activation, CompareRequest};
use crate::holds::Holds;
use crate::retention::Retention;
use crate::statistics::Statistics;
use crate::validation::{check_address, check_gallery_name, check_retention, check_settings, invalid};
use descry_model::Fingerprint;
use descry_proto::search::v1 as proto;
use descry_serving::Access;
use descry_store::{GalleryAddress, GallerySettings, Generation, NewGallery, SearchFilter};

/// Ids that a comparison names where the caller does not say.
const DEFAULT_NAMED_IDS: u32 = 100;

/// Ids that a comparison names at most.
const MAX_NAMED_IDS: u32 = 100_000;

/// Values of a list of statistics where the caller does not say, and at most.
const DEFAULT_COUNTED_VALUES: u32 = 100;
const MAX_LISTED_VALUES: u32 = 1_000;

/// Galleries that are counted at once.
pub(super) const COUNTED_TOGETHER: usize = 2;
const COUNTING_RETRY_AFTER_MS: u64 = 1_000;

impl SearchGrpc {
    pub(super) async fn create_gallery(
        &self,
        request: proto::CreateGalleryRequest,
    ) -> Result<proto::Gallery, SearchError> {
        let proto::CreateGalleryRequest { name, settings, retention, fingerprint, embedding_dimension } = request;
        check_gallery_name(&name)?;
        let settings = gallery_settings(settings.unwrap_or_default())?;
        check_settings(&settings, &self.limits)?;
        let retention = retention.map(retention_of).transpose()?;
        retention.iter().try_for_each(|retention| check_retention(retention, &self.limits))?;
        let (fingerprint, dimension) = if fingerprint.is_empty() {
            let model = self.encoders.first_model().await?;
            (model.fingerprint, model.dimension)
        } else {
            let fingerprint = parse_fingerprint("fingerprint", &fingerprint)?;
            let dimension = usize::try_from(embedding_dimension).unwrap_or_default();
            self.check_dimension(&name, &fingerprint, dimension).await?;
            (fingerprint, dimension)
        };
        let galleries = self.store.galleries().await?;
        let max = self.limits.max_galleries;
        if galleries.len() >= max && galleries.iter().all(|gallery| gallery.gallery != name) {
            return Err(invalid("gallery", format!("there are {max} galleries already, as many as are allowed")));
        }
        let wanted = settings.clone();
        let gallery = self.galleries.create(NewGallery { name, fingerprint, dimension, settings }).await?;
        if wanted != gallery.settings && wanted != GallerySettings::default() {
            let reason =
                "it exists already, with other settings; they are decided when a gallery is created".to_owned();
            return Err(SearchError::NotReady { name: gallery.gallery, reason });
        }
        // Asked once more, a gallery keeps what it was told since.
        if let Some(retention) = retention {
            retention.put_first(&*self.store, &gallery).await?;
        }
        self.described_and_counted(&gallery).await
    }

    pub(super) async fn get_gallery(&self, request: proto::GetGalleryRequest) -> Result<proto::Gallery, SearchError> {
        check_address(&request.name)?;
        self.described_and_counted(&self.store.resolve(&request.name).await?).await
    }

    pub(super) async fn list_galleries(
        &self,
        access: &Access,
        request: proto::ListGalleriesRequest,
    ) -> Result<proto::ListGalleriesResponse, SearchError> {
        let proto::ListGalleriesRequest { page_size, page_token } = request;
        let mut stored = self.store.galleries().await?;
        stored.sort_unstable_by(|a, b| a.gallery.cmp(&b.gallery));
        stored.retain(|gallery| page_token.is_empty() || gallery.gallery > page_token);
        // Those that the caller may not know of are not there.
        stored.retain(|gallery| access.may_see(&gallery.gallery));
        let most = page_limit(page_size);
        let mut room = ReplyRoom::new(self.limits.max_reply_bytes);
        let mut galleries: Vec<proto::Gallery> = Vec::new();
        let mut next_page_token = String::new();
        // Described one by one, so that a page costs what is on it.
        for gallery in stored {
            let described = match self.described(&gallery).await {
                Ok(described) => described,
                // Deleted in the meantime.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            if galleries.len() >= most || !room.fits(&described) {
                next_page_token = galleries.last().map(|last| last.name.clone()).unwrap_or_default();
                break;
            }
            galleries.push(described);
        }
        Ok(proto::ListGalleriesResponse { galleries, next_page_token })
    }

    pub(super) async fn get_gallery_statistics(
        &self,
        request: proto::GetGalleryStatisticsRequest,
    ) -> Result<proto::GalleryStatistics, SearchError> {
        let proto::GetGalleryStatisticsRequest { gallery, limit } = request;
        check_address(&gallery)?;
        let limit = if limit == 0 { DEFAULT_COUNTED_VALUES } else { limit };
        if limit > MAX_LISTED_VALUES {
            return Err(invalid("limit", format!("{limit}, at most {MAX_LISTED_VALUES} are allowed")));
        }
        // Each reads all metadata of a gallery.
        let _counting = self.counting.try_acquire().map_err(|_| SearchError::Overloaded {
            what: "the number of galleries that are counted at once",
            retry_after_ms: COUNTING_RETRY_AFTER_MS,
        })?;
        let generation = self.store.resolve(&gallery).await?;
        let statistics = Statistics::of(&*self.store, &generation).await?;
        Ok(statistics_message(statistics, limit as usize, self.limits.max_reply_bytes))
    }

    pub(super) async fn delete_gallery(
        &self,
        request: proto::DeleteGalleryRequest,
    ) -> Result<proto::DeleteGalleryResponse, SearchError> {
        check_gallery_name(&request.name)?;
        if audit::is_recorded()
            && let Ok(generation) = self.store.resolve(&request.name).await
        {
            audit::note(&generation, None);
            audit::count("deleted", self.store.describe(&generation).await?.images);
        }
        self.galleries.delete(&request.name).await?;
        self.calibrations.forget(&request.name);
        tracing::info!(gallery = request.name, "a gallery is deleted");
        Ok(proto::DeleteGalleryResponse {})
    }

    pub(super) async fn set_retention(
        &self,
        request: proto::SetRetentionRequest,
    ) -> Result<proto::Gallery, SearchError> {
        let proto::SetRetentionRequest { gallery, retention, validate_only } = request;
        check_gallery_name(&gallery)?;
        let retention = retention_of(retention.unwrap_or_default())?;
        check_retention(&retention, &self.limits)?;
        let gallery = self.store.resolve(&gallery).await?;
        if validate_only {
            return self.described_with(&gallery, retention).await;
        }
        retention.put(&*self.store, &gallery).await?;
        let described = self.described_and_counted(&gallery).await?;
        if described.past_retention > 0 {
            let (gallery, count) = (&described.name, described.past_retention);
            tracing::warn!(
                gallery,
                count,
                "images are older than they are kept from now on; the next sweep removes them"
            );
        }
        Ok(described)
    }

    pub(super) async fn create_generation(
        &self,
        request: proto::CreateGenerationRequest,
    ) -> Result<proto::Gallery, SearchError> {
        let proto::CreateGenerationRequest { gallery, fingerprint } = request;
        check_gallery_name(&gallery)?;
        let fingerprint = parse_fingerprint("fingerprint", &fingerprint)?;
        let active = self.store.resolve(&gallery).await?;
        if active.fingerprint == fingerprint {
            let reason = "that model serves already".to_owned();
            return Err(SearchError::NotReady { name: gallery, reason });
        }
        let (_, model) = self.encoders.of(&gallery, &fingerprint).await?;
        let generation = self.galleries.create_generation(&gallery, &model.fingerprint, model.dimension).await?;
        self.described(&generation).await
    }

    pub(super) async fn list_generations(
        &self,
        request: proto::ListGenerationsRequest,
    ) -> Result<proto::ListGenerationsResponse, SearchError> {
        check_gallery_name(&request.gallery)?;
        let found = self.store.generations(&request.gallery).await?;
        let active = found.active.number;
        let mut all: Vec<&Generation> = found.all().collect();
        all.sort_unstable_by_key(|generation| generation.number);
        let mut generations = Vec::with_capacity(all.len());
        for generation in all {
            generations.push(self.described(generation).await?);
        }
        Ok(proto::ListGenerationsResponse { generations, active })
    }

    pub(super) async fn compare_generations(
        &self,
        request: proto::CompareGenerationsRequest,
    ) -> Result<proto::CompareGenerationsResponse, SearchError> {
        let proto::CompareGenerationsRequest { gallery, generation, against, limit, page_token } = request;
        check_gallery_name(&gallery)?;
        let limit = if limit == 0 { DEFAULT_NAMED_IDS } else { limit };
        if limit > MAX_NAMED_IDS {
            return Err(invalid("limit", format!("{limit}, at most {MAX_NAMED_IDS} are allowed")));
        }
        let numbered = |number| GalleryAddress { name: &gallery, generation: Some(number) }.to_string();
        let generation = self.store.resolve(&numbered(generation)).await?;
        let against = if against == 0 { gallery.clone() } else { numbered(against) };
        let against = self.store.resolve(&against).await?;
        let page_token = Some(page_token.as_str()).filter(|token| !token.is_empty());
        let request = CompareRequest { generation: &generation, against: &against, named: limit as usize, page_token };
        let found = self.galleries.compare(request).await?;
        // Counting takes its time in a large gallery: once at the beginning, and once at the end.
        let is_counted = page_token.is_none() || found.next_page_token.is_none();
        let (images, images_against) = if is_counted {
            let (own, other) = tokio::try_join!(self.store.describe(&generation), self.store.describe(&against))?;
            (own.images, other.images)
        } else {
            (0, 0)
        };
        let mut room = ReplyRoom::new(self.limits.max_reply_bytes);
        let mut named = |ids: Vec<String>| ids.into_iter().take_while(|id| room.takes(id.len())).collect::<Vec<_>>();
        let (missing_ids, surplus_ids) = (named(found.missing.first), named(found.surplus.first));
        Ok(proto::CompareGenerationsResponse {
            images,
            images_against,
            missing: found.missing.count,
            missing_ids,
            surplus: found.surplus.count,
            surplus_ids,
            next_page_token: found.next_page_token.unwrap_or_default(),
            examined: found.examined,
            ready: found.is_ready,
        })
    }

    pub(super) async fn activate_generation(
        &self,
        request: proto::ActivateGenerationRequest,
    ) -> Result<proto::Gallery, SearchError> {
        let proto::ActivateGenerationRequest { gallery, generation, force, keep_surplus } = request;
        check_gallery_name(&gallery)?;
        let active = self.galleries.activate(&gallery, Activation { generation, force, keep_surplus }).await?;
        self.described(&active).await
    }

    pub(super) async fn delete_generation(
        &self,
        request: proto::DeleteGenerationRequest,
    ) -> Result<proto::DeleteGenerationResponse, SearchError> {
        check_gallery_name(&request.gallery)?;
        self.galleries.delete_generation(&request.gallery, request.generation).await?;
        tracing::info!(gallery = request.gallery, generation = request.generation, "a generation is deleted");
        Ok(proto::DeleteGenerationResponse {})
    }

    /// A gallery whose embeddings are longer or shorter than its model's is one that nothing can search.
    async fn check_dimension(
        &self,
        name: &str,
        fingerprint: &Fingerprint,
        dimension: usize,
    ) -> Result<(), SearchError> {
        match self.encoders.of(name, fingerprint).await {
            Ok((_, model)) if model.dimension != dimension => {
                let reason = format!(
                    "{dimension}, but embeddings of model {fingerprint} have {} values: they are not this model's, or were \
                     changed since",
                    model.dimension
                );
                Err(invalid("embedding_dimension", reason))
            }
            // Where nobody can be asked, the caller is to be believed: galleries are copied to places without encoder.
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::debug!(gallery = name, %error, "the length of a model's embeddings cannot be checked");
                Ok(())
            }
        }
    }

    /// As [`Self::described`], with how many images are held, and how many the next sweep removes.
    async fn described_and_counted(&self, generation: &Generation) -> Result<proto::Gallery, SearchError> {
        self.described_with(generation, Retention::of(&*self.store, generation).await?).await
    }

    /// The same as if images were kept so long.
    async fn described_with(
        &self,
        generation: &Generation,
        retention: Retention,
    ) -> Result<proto::Gallery, SearchError> {
        let holds = Holds::of(&*self.store, generation).await?;
        let now_ms = self.retention_clock.now_ms();
        let past_retention = retention.count_expired(&*self.store, generation, &holds, now_ms).await?;
        let held = holds.count_held(&*self.store, generation, &SearchFilter::default()).await?;
        Ok(proto::Gallery { past_retention, held, ..self.described_as(generation, retention).await? })
    }

    async fn described(&self, generation: &Generation) -> Result<proto::Gallery, SearchError> {
        self.described_as(generation, Retention::of(&*self.store, generation).await?).await
    }

    async fn described_as(&self, generation: &Generation, retention: Retention) -> Result<proto::Gallery, SearchError> {
        let gallery = self.store.describe(generation).await?;
        let calibrated = self.calibrations.of(generation).await?.is_some();
        let recall = self.probe.of(generation);
        Ok(gallery_message(gallery, retention, calibrated, recall))
    }
}

pub(super) fn parse_fingerprint(field: &str, text: &str) -> Result<Fingerprint, SearchError> {
    text.parse().map_err(|error: descry_model::ModelError| invalid(field, error.to_string()))
}
