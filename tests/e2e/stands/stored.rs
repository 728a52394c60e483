//! What a gallery holds.

use super::Client;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::{GetGalleryRequest, ImageMetadata, ListImagesRequest, StoredImage};
use std::collections::BTreeMap;
use tonic::client::GrpcService;
use tonic::codegen::{Body, Bytes, StdError};

const PAGE_IMAGES: u32 = 200;

/// Every image of a gallery or a generation, with its embedding. None may be there twice.
pub(crate) async fn stored_images<Transport>(
    client: &mut SearchServiceClient<Transport>,
    address: &str,
) -> BTreeMap<String, StoredImage>
where
    Transport: GrpcService<tonic::body::Body, Error: Into<StdError>>,
    Transport::ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    let mut stored = BTreeMap::new();
    let mut request = ListImagesRequest {
        gallery: address.to_owned(),
        page_size: PAGE_IMAGES,
        with_embeddings: true,
        ..ListImagesRequest::default()
    };
    loop {
        let page = client.list_images(request.clone()).await.unwrap().into_inner();
        for image in page.images {
            let image_id = image.image_id.clone();
            assert!(stored.insert(image_id.clone(), image).is_none(), "{address} has {image_id} twice");
        }
        if page.next_page_token.is_empty() {
            return stored;
        }
        request.page_token = page.next_page_token;
    }
}

/// What is known of an image, apart from the time at which it was indexed.
pub(crate) fn known(image: &StoredImage) -> ImageMetadata {
    ImageMetadata { indexed_at: None, ..image.metadata.clone().unwrap_or_default() }
}

/// How many images a gallery or a generation has; none where it is not there yet.
pub(crate) async fn count(client: &mut Client, address: &str) -> u64 {
    let request = GetGalleryRequest { name: address.to_owned() };
    client.get_gallery(request).await.map_or(0, |gallery| gallery.into_inner().images)
}
