//! The service's calls, one a method.

use crate::connection::answer;
use crate::{ClientError, Connection};
use descry_proto::search::v1::{
    ActivateGenerationRequest, CalibrateRequest, Calibration, CompareGenerationsRequest, CompareGenerationsResponse,
    CreateGalleryRequest, CreateGenerationRequest, CreateWatchRequest, DeleteGalleryRequest, DeleteGenerationRequest,
    DeleteWatchRequest, Encoder, EraseImagesRequest, EraseImagesResponse, Gallery, GalleryStatistics,
    GetGalleryRequest, GetGalleryStatisticsRequest, Hold, LiftHoldRequest, LiftHoldResponse, ListEncodersRequest,
    ListGalleriesRequest, ListGenerationsRequest, ListGenerationsResponse, ListHoldsRequest, ListWatchesRequest,
    ListWatchesResponse, PlaceHoldRequest, Retention, SetRetentionRequest, Watch,
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
    /// Learns from captions what scores mean, so that hits come with probabilities.
    calibrate(CalibrateRequest) -> Calibration;
    /// Creates a gallery. Repeating it is harmless.
    create_gallery(CreateGalleryRequest) -> Gallery;
    /// Counts a gallery's cameras, people and attributes.
    get_gallery_statistics(GetGalleryStatisticsRequest) -> GalleryStatistics;
    /// Erases people, tracks or images for good, and keeps them from coming back.
    erase_images(EraseImagesRequest) -> EraseImagesResponse;
    /// Changes how long images are kept.
    set_retention(SetRetentionRequest) -> Gallery;
    /// Holds some of a gallery's images, or all of them, until the hold is lifted.
    place_hold(PlaceHoldRequest) -> Hold;
    /// Begins a model change, or goes on with one; [`crate::ModelChange`] drives all of it.
    create_generation(CreateGenerationRequest) -> Gallery;
    /// One page of what a generation lacks of another and has beyond it; [`Connection::compare`] adds them up.
    compare_generations(CompareGenerationsRequest) -> CompareGenerationsResponse;
    /// Lets another generation answer for the gallery.
    activate_generation(ActivateGenerationRequest) -> Gallery;
    /// Registers a description against which newly indexed images are matched.
    create_watch(CreateWatchRequest) -> Watch;
}

/// Galleries, generations, holds and watches by their names.
impl Connection {
    /// All galleries.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn galleries(&self) -> Result<Vec<Gallery>, ClientError> {
        let (mut galleries, mut request) = (Vec::new(), ListGalleriesRequest::default());
        loop {
            let page = answer(self.service().list_galleries(request.clone()).await)?;
            galleries.extend(page.galleries);
            if !goes_on(&mut request.page_token, page.next_page_token)? {
                return Ok(galleries);
            }
        }
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

    /// How long the images of a gallery are kept, with this changed: in milliseconds, 0 for ever; what is not named stays as it
    /// is. [`Connection::set_retention`] makes it so.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn retention_with(
        &self,
        gallery: &str,
        default_ms: Option<u64>,
        camera_ms: impl IntoIterator<Item = (String, u64)>,
    ) -> Result<Retention, ClientError> {
        let mut retention = self.gallery(gallery).await?.retention.unwrap_or_default();
        retention.default_ms = default_ms.unwrap_or(retention.default_ms);
        retention.camera_ms.extend(camera_ms);
        Ok(retention)
    }

    /// The gallery as it would be if its images were kept so long, with how many of them the next sweep would remove. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn preview_retention(&self, gallery: &str, retention: Retention) -> Result<Gallery, ClientError> {
        let (gallery, retention) = (gallery.to_owned(), Some(retention));
        self.set_retention(SetRetentionRequest { gallery, retention, validate_only: true }).await
    }

    /// The holds of a gallery.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn holds(&self, gallery: &str) -> Result<Vec<Hold>, ClientError> {
        let mut request = ListHoldsRequest { gallery: gallery.to_owned(), ..ListHoldsRequest::default() };
        let mut holds = Vec::new();
        loop {
            let page = answer(self.service().list_holds(request.clone()).await)?;
            holds.extend(page.holds);
            if !goes_on(&mut request.page_token, page.next_page_token)? {
                return Ok(holds);
            }
        }
    }

    /// Lifts a hold.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub async fn lift_hold(&self, gallery: &str, name: &str) -> Result<LiftHoldResponse, ClientError> {
        let request = LiftHoldRequest { gallery: gallery.to_owned(), name: name.to_owned() };
        answer(self.service().lift_hold(request).await)
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
        let mut request = ListWatchesRequest { gallery: gallery.to_owned(), ..ListWatchesRequest::default() };
        let mut all = ListWatchesResponse::default();
        loop {
            let page = answer(self.service().list_watches(request.clone()).await)?;
            all.watches.extend(page.watches);
            all.unreadable.extend(page.unreadable);
            if !goes_on(&mut request.page_token, page.next_page_token)? {
                return Ok(all);
            }
        }
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

/// Whether there is a further page, which the token is moved on to.
fn goes_on(token: &mut String, next: String) -> Result<bool, ClientError> {
    if !next.is_empty() && next == *token {
        return Err(ClientError::StrangeAnswer { what: "a page that ends where it begins" });
    }
    *token = next;
    Ok(!token.is_empty())
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
