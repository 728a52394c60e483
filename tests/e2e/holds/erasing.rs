//! Holds and erasures: a hold wins, and what it keeps goes with the erasure that is asked for after it is lifted.

use super::stand::{GALLERY, Stand, of_camera};
use descry_proto::search::v1::{CreateGenerationRequest, EraseImagesRequest, IndexEmbeddingsRequest, LiftHoldRequest};

async fn check(mut stand: Stand) {
    // Of the images of person 1 (01, 05 and 09), all are of camera c1.
    stand.place("case-1", Some(of_camera("c1"))).await.unwrap();
    let erase = |person: &str, preview| EraseImagesRequest {
        gallery: GALLERY.to_owned(),
        person_ids: vec![person.to_owned()],
        preview,
        ..EraseImagesRequest::default()
    };
    for preview in [true, false] {
        let told = stand.client.erase_images(erase("1", preview)).await.unwrap().into_inner();
        assert_eq!((told.images, told.held, told.image_ids.len()), (0, 3, 0), "preview: {preview}");
    }
    assert_eq!(stand.ids().await.len(), 12);
    let told = stand.client.erase_images(erase("2", false)).await.unwrap().into_inner();
    assert_eq!((told.images, told.held), (3, 0), "of camera c0");

    // A model change takes along what is held, marked or not.
    let (gallery, fingerprint) = (GALLERY.to_owned(), stand.models[1].fingerprint.clone());
    let request = CreateGenerationRequest { gallery, fingerprint: fingerprint.clone() };
    let next = stand.client.create_generation(request).await.unwrap().into_inner().generation;
    let image = super::stand::image("01.jpg", 1, "1", "c1", &stand.models[1]);
    let gallery = format!("{GALLERY}.{next}");
    let request = IndexEmbeddingsRequest { gallery, fingerprint, images: vec![image], ..Default::default() };
    let results = stand.client.index_embeddings(request).await.unwrap().into_inner().results;
    assert!(format!("{results:?}").contains("Indexed"), "{results:?}");

    let lift = LiftHoldRequest { gallery: GALLERY.to_owned(), name: "case-1".to_owned() };
    stand.client.lift_hold(lift).await.unwrap();
    let told = stand.client.erase_images(erase("1", false)).await.unwrap().into_inner();
    assert_eq!((told.images, told.held), (3, 0));
    assert_eq!(stand.ids().await.len(), 6);
}

#[tokio::test]
async fn an_erasure_leaves_what_is_held_in_the_embedded_store() {
    check(Stand::embedded().await).await;
}

#[tokio::test]
async fn an_erasure_leaves_what_is_held_in_qdrant() {
    check(Stand::qdrant().await).await;
}
