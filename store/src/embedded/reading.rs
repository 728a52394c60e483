//! What several of the contract's reads have in common: pages, rankings, and what meets a filter.

use super::abandonment::Caller;
use super::conditions::Conditions;
use super::error::store_error;
use super::readers::{Reader, rows_behind};
use super::rescoring::{Ranked, Search, nearest};
use super::{EmbeddedError, EmbeddedStore};
use crate::{Generation, GroupHit, NearestQuery, PageRequest, SearchFilter, StoreError};

impl EmbeddedStore {
    /// Finds the rows of a page and reads them; also where the next page begins.
    pub(super) async fn read_page<Image, Read>(
        &self,
        generation: &Generation,
        request: PageRequest,
        read: Read,
    ) -> Result<(Vec<Image>, Option<String>), StoreError>
    where
        Image: Send + 'static,
        Read: FnOnce(&[i64], &Reader<'_>, usize) -> Result<Vec<Image>, EmbeddedError> + Send + 'static,
    {
        const READING: &str = "reading a page of images";
        let after = match &request.after {
            None => 0,
            Some(cursor) => cursor.parse().map_err(|_| {
                let reason = "is no place where a page of this gallery ended".to_owned();
                StoreError::Invalid { field: "page_token".to_owned(), reason }
            })?,
        };
        self.read_generation(READING, generation, move |generation, reader| {
            let failed = |source| store_error(READING, source);
            let named = reader.numbers(generation.id, &request.filter.named_images()).map_err(failed)?;
            let (ids, is_last) = {
                let matrix = generation.read()?;
                let rows = Conditions::new(&request.filter, &matrix, &named)?.matching_rows(&matrix);
                let mut ids = rows_behind(&matrix, rows.as_deref(), after, request.limit.saturating_add(1));
                let is_last = ids.len() <= request.limit;
                ids.truncate(request.limit);
                (ids, is_last)
            };
            let images = read(&ids, reader, generation.identity().dimension).map_err(failed)?;
            let next = ids.last().filter(|_| !is_last).map(ToString::to_string);
            Ok((images, next))
        })
        .await
    }

    pub(super) async fn ranked(
        &self,
        generation: &Generation,
        query: NearestQuery,
        ranked: Ranked,
    ) -> Result<Vec<GroupHit>, StoreError> {
        let slots = self.take_search_slot().await?;
        // Goes with this future.
        let (_caller, abandonment) = Caller::new();
        self.read_generation("searching", generation, move |generation, reader| {
            generation.identity().require_model(&query.fingerprint, query.embedding.dimension())?;
            // All are held until the search is over, also when the caller has gone.
            let mut slots = slots;
            nearest(&Search { generation, reader, query: &query, abandonment: &abandonment }, ranked, &mut slots)
        })
        .await
    }

    /// Numbers of the images that meet a filter.
    pub(super) async fn matching(
        &self,
        generation: &Generation,
        filter: &SearchFilter,
    ) -> Result<Vec<i64>, StoreError> {
        const FILTERING: &str = "filtering images";
        let filter = filter.clone();
        self.read_generation(FILTERING, generation, move |generation, reader| {
            let named = reader
                .numbers(generation.id, &filter.named_images())
                .map_err(|source| store_error(FILTERING, source))?;
            let matrix = generation.read()?;
            let rows = Conditions::new(&filter, &matrix, &named)?.matching_rows(&matrix);
            Ok(rows_behind(&matrix, rows.as_deref(), 0, usize::MAX))
        })
        .await
    }
}
