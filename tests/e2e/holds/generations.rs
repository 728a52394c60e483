//! Holds and changes of the model: they are of the gallery, and no generation goes with what is held in it alone.

use super::stand::{GALLERY, Stand, of_person};
use descry_proto::search::v1::{
    ActivateGenerationRequest, CreateGenerationRequest, DeleteGenerationRequest, DeleteImagesRequest, LiftHoldRequest,
};
use tonic::{Code, Status};

async fn drop_generation(stand: &mut Stand, generation: u32) -> Result<(), Status> {
    let request = DeleteGenerationRequest { gallery: GALLERY.to_owned(), generation };
    stand.client.delete_generation(request).await.map(drop)
}

async fn check(mut stand: Stand) {
    stand.place("case-1", Some(of_person("1"))).await.unwrap();
    let (gallery, fingerprint) = (GALLERY.to_owned(), stand.models[1].fingerprint.clone());
    let request = CreateGenerationRequest { gallery, fingerprint };
    let next = stand.client.create_generation(request).await.unwrap().into_inner().generation;
    // One that is filled, and empty still, has nothing to lose.
    drop_generation(&mut stand, next).await.unwrap();
    let (gallery, fingerprint) = (GALLERY.to_owned(), stand.models[1].fingerprint.clone());
    let request = CreateGenerationRequest { gallery, fingerprint };
    let next = stand.client.create_generation(request).await.unwrap().into_inner().generation;
    let activate =
        ActivateGenerationRequest { gallery: GALLERY.to_owned(), generation: next, force: true, keep_surplus: false };
    // Nothing is removed by a switch.
    stand.client.activate_generation(activate).await.unwrap();
    assert_eq!(stand.gallery().await.held, 0, "the empty one serves");
    let refused = drop_generation(&mut stand, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let expected = ["generation 1 is not deleted", "descry hold lift case-1 --gallery lobby"];
    assert!(expected.iter().all(|text| refused.message().contains(text)), "{refused}");
    // The gallery neither, though nothing that serves is held.
    let delete = descry_proto::search::v1::DeleteGalleryRequest { name: GALLERY.to_owned() };
    let refused = stand.client.delete_gallery(delete).await.unwrap_err();
    assert!(refused.message().contains("case-1"), "{refused}");
    // Nor are its images removed there, from where they could be brought back.
    let gallery = format!("{GALLERY}.1");
    let request = DeleteImagesRequest { gallery, filter: Some(of_person("1")), ..DeleteImagesRequest::default() };
    let reply = stand.client.delete_images(request).await.unwrap().into_inner();
    assert_eq!((reply.deleted, reply.held), (0, 3));

    let lift = LiftHoldRequest { gallery: GALLERY.to_owned(), name: "case-1".to_owned() };
    stand.client.lift_hold(lift).await.unwrap();
    drop_generation(&mut stand, 1).await.unwrap();
}

#[tokio::test]
async fn a_generation_keeps_what_is_held_in_it_alone_in_the_embedded_store() {
    check(Stand::embedded().await).await;
}

#[tokio::test]
async fn a_generation_keeps_what_is_held_in_it_alone_in_qdrant() {
    check(Stand::qdrant().await).await;
}
