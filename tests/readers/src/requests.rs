//! Every request message: what passes the look at its bytes can be decoded, and takes no more memory than its limits allow,
//! which libFuzzer's own limit of memory sees.

use descry_proto::{encoder, search};
use descry_wire::{Shaped, check};
use prost::Message;

fn look<Request: Message + Default + Shaped>(bytes: &[u8]) {
    let Some(shape) = Request::SHAPE else { return };
    if check(shape, bytes).is_ok()
        && let Ok(request) = Request::decode(bytes)
    {
        // What is written again is what was meant.
        let written = request.encode_to_vec();
        assert!(check(shape, &written).is_ok());
        assert_eq!(Request::decode(&*written).unwrap().encode_to_vec(), written);
    }
}

macro_rules! requests {
    ($($request:ty),* $(,)?) => {
        /// All of them, in the order of the `.proto` files.
        const LOOKS: &[fn(&[u8])] = &[$(look::<$request>),*];
    };
}

requests![
    search::v1::CreateGalleryRequest,
    search::v1::GetGalleryRequest,
    search::v1::ListGalleriesRequest,
    search::v1::DeleteGalleryRequest,
    search::v1::GetGalleryStatisticsRequest,
    search::v1::CheckGalleryRequest,
    search::v1::SetRetentionRequest,
    search::v1::PlaceHoldRequest,
    search::v1::ListHoldsRequest,
    search::v1::LiftHoldRequest,
    search::v1::CreateGenerationRequest,
    search::v1::ListGenerationsRequest,
    search::v1::CompareGenerationsRequest,
    search::v1::ActivateGenerationRequest,
    search::v1::DeleteGenerationRequest,
    search::v1::IndexImagesRequest,
    search::v1::IndexEmbeddingsRequest,
    search::v1::ListImagesRequest,
    search::v1::UpdateImagesRequest,
    search::v1::DeleteImagesRequest,
    search::v1::EraseImagesRequest,
    search::v1::SearchRequest,
    search::v1::SearchBatchRequest,
    search::v1::RefineRequest,
    search::v1::CalibrateRequest,
    search::v1::CreateWatchRequest,
    search::v1::ListWatchesRequest,
    search::v1::DeleteWatchRequest,
    search::v1::WatchMatchesRequest,
    search::v1::ListEncodersRequest,
    encoder::v1::EncodeTextRequest,
    encoder::v1::EncodeImageRequest,
    encoder::v1::EncodeTextStreamRequest,
    encoder::v1::EncodeImageStreamRequest,
    encoder::v1::GetModelRequest,
];

/// Reads bytes as the module says; panics where a promise is broken.
pub fn read(bytes: &[u8]) {
    let Some((first, message)) = bytes.split_first() else { return };
    LOOKS[usize::from(*first) % LOOKS.len()](message);
}
