//! The service's calls, one a method.

use crate::connection::answer;
use crate::{ClientError, Connection};
use descry_proto::search::v1::{
    ActivateGenerationRequest, CalibrateRequest, Calibration, CompareGenerationsRequest, CompareGenerationsResponse,
    CreateGalleryRequest, CreateGenerationRequest, CreateWatchRequest, DeleteGalleryRequest, DeleteGenerationRequest,
    DeleteWatchRequest, Encoder, Gallery, GalleryStatistics, GetGalleryRequest, GetGalleryStatisticsRequest,
    ListEncodersRequest, ListGalleriesRequest, ListGenerationsRequest, ListGenerationsResponse, ListWatchesRequest,
    ListWatchesResponse, RefineRequest, SearchBatchRequest, SearchBatchResponse, SearchRequest, SearchResponse,
    SetRetentionRequest, Watch,
};

/// Methods that hand a message to the service and its reply, or its refusal, to the caller. What a message means stands
/// in its `.proto` file.
macro_rules! calls {
    ($($(#[$documentation:meta])+ $name:ident($request:ty) -> $reply:ty;)+) => {
        /// One call each, made once: [`ClientError::Refused`] is the only error, and says which it was.
        impl Connection {
            $(
                $(#[$documentation])+
                ///
                /// # Errors
                /// [`ClientError::Refused`].
                pub async fn $name(&self, request: $request) -> Result<$reply, ClientError> {
                    answer(self.service().$name(request).await)
                }
            )+
        }
    };
}

calls! {
    /// Ranks a gallery's images for a description.
    search(SearchRequest) -> SearchResponse;
    /// Several searches at once, each answered for itself.
    search_batch(SearchBatchRequest) -> SearchBatchResponse;
    /// Ranks the rest of a gallery anew after some hits were accepted and others rejected.
    refine(RefineRequest) -> SearchResponse;
    /// Learns from captions what scores mean, so that hits come with probabilities.
    calibrate(CalibrateRequest) -> Calibration;
    /// Creates a gallery. Repeating it is harmless.
    create_gallery(CreateGalleryRequest) -> Gallery;
    /// Counts a gallery's cameras, people and attributes.
    get_gallery_statistics(GetGalleryStatisticsRequest) -> GalleryStatistics;
    /// Changes how long images are kept.
    set_retention(SetRetentionRequest) -> Gallery;
    /// Begins a model change, or goes on with one; [`crate::ModelChange`] drives all of it.
    create_generation(CreateGenerationRequest) -> Gallery;
    /// One page of what a generation lacks of another and has beyond it; [`Connection::compare`] adds them up.
    compare_generations(CompareGenerationsRequest) -> CompareGenerationsResponse;
    /// Lets another generation answer for the gallery.
    activate_generation(ActivateGenerationRequest) -> Gallery;
    /// Registers a description against which newly indexed images are matched.
    create_watch(CreateWatchRequest) -> Watch;
}

/// Galleries, generations and watches by their names.
impl Connection {
    /// All galleries.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn galleries(&self) -> Result<Vec<Gallery>, ClientError> {
        Ok(answer(self.service().list_galleries(ListGalleriesRequest {}).await)?.galleries)
    }

    /// The gallery.
    ///
    /// # Errors
    /// [`ClientError::Refused`] also where there is none, with the code `NOT_FOUND`.
    pub async fn gallery(&self, name: &str) -> Result<Gallery, ClientError> {
        answer(self.service().get_gallery(GetGalleryRequest { name: name.to_owned() }).await)
    }

    /// The gallery as it is, or as the request describes it where there is none.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn find_or_create(&self, request: CreateGalleryRequest) -> Result<Gallery, ClientError> {
        match self.gallery(&request.name).await {
            Err(error) if error.code() == Some(tonic::Code::NotFound) => self.create_gallery(request).await,
            found => found,
        }
    }

    /// Removes a gallery with all its images and generations.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn delete_gallery(&self, name: &str) -> Result<(), ClientError> {
        answer(self.service().delete_gallery(DeleteGalleryRequest { name: name.to_owned() }).await).map(drop)
    }

    /// Changes how long the images of a gallery are kept, in milliseconds, 0 for ever; what is not named stays as it was.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn change_retention(
        &self,
        gallery: &str,
        default_ms: Option<u64>,
        camera_ms: impl IntoIterator<Item = (String, u64)>,
    ) -> Result<Gallery, ClientError> {
        let mut retention = self.gallery(gallery).await?.retention.unwrap_or_default();
        retention.default_ms = default_ms.unwrap_or(retention.default_ms);
        retention.camera_ms.extend(camera_ms);
        self.set_retention(SetRetentionRequest { gallery: gallery.to_owned(), retention: Some(retention) }).await
    }

    /// All generations of a gallery, and which of them serves.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn generations(&self, gallery: &str) -> Result<ListGenerationsResponse, ClientError> {
        answer(self.service().list_generations(ListGenerationsRequest { gallery: gallery.to_owned() }).await)
    }

    /// Deletes a generation that does not serve, with all its embeddings.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn delete_generation(&self, gallery: &str, generation: u32) -> Result<(), ClientError> {
        let request = DeleteGenerationRequest { gallery: gallery.to_owned(), generation };
        answer(self.service().delete_generation(request).await).map(drop)
    }

    /// The watches of a gallery.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn watches(&self, gallery: &str) -> Result<ListWatchesResponse, ClientError> {
        answer(self.service().list_watches(ListWatchesRequest { gallery: gallery.to_owned() }).await)
    }

    /// Deletes a watch.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn delete_watch(&self, gallery: &str, name: &str) -> Result<(), ClientError> {
        let request = DeleteWatchRequest { gallery: gallery.to_owned(), name: name.to_owned() };
        answer(self.service().delete_watch(request).await).map(drop)
    }

    /// The encoders that the service knows, and how each of them is.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn encoders(&self) -> Result<Vec<Encoder>, ClientError> {
        answer(self.service().list_encoders(ListEncodersRequest {}).await).map(|reply| reply.encoders)
    }
}

/// How one generation of a gallery is addressed, such as `lobby.2`.
pub fn generation_address(gallery: &str, generation: u32) -> String {
    format!("{gallery}.{generation}")
}

/// Embeddings of different models cannot be compared.
pub(crate) fn check_model(gallery: &Gallery, fingerprint: &str) -> Result<(), ClientError> {
    if gallery.fingerprint == fingerprint {
        return Ok(());
    }
    Err(ClientError::OtherModel {
        gallery: gallery.name.clone(),
        fingerprint: gallery.fingerprint.clone(),
        given: fingerprint.to_owned(),
    })
}
