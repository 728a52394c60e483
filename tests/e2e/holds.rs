//! Legal holds: what is held stays as it is, whoever wants it gone, until the hold is lifted.

mod commands;
mod erasing;
mod generations;
mod instances;
mod stand;

use crate::stands::polling::until;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{
    AttributeCondition, DeleteGalleryRequest, DeleteImagesRequest, Filter, Hold, ImageMetadata, LiftHoldRequest,
    ListHoldsRequest, PlaceHoldRequest, Retention, SetRetentionRequest, UpdateImagesRequest, update_images_request,
};
use stand::{DAY_MS, GALLERY, Stand, image, of_camera, of_person};
use tonic::{Code, Status};

/// A hold of one person, case-1, beside images of three others.
async fn placed(stand: &mut Stand) {
    let hold = stand.place("case-1", Some(of_person("1"))).await.unwrap();
    assert_eq!((hold.images, hold.reason.as_str(), hold.filter), (3, "theft", Some(of_person("1"))));
    assert!(hold.placed_at.is_some_and(|time| time.seconds > 1_600_000_000));
    // The same again is harmless, also by another instance; another one of its name is not.
    let again = stand.other.place_hold(request("case-1", Some(of_person("1")))).await.unwrap().into_inner();
    assert_eq!(again.placed_at, hold.placed_at);
    let refused = stand.place("case-1", Some(of_person("2"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("lift that one first"), "{refused}");
    let coat = AttributeCondition { name: "coat".to_owned(), values: vec!["red".to_owned()] };
    for wrong in [
        PlaceHoldRequest { reason: "  ".to_owned(), ..request("a", None) },
        PlaceHoldRequest { reason: "x".repeat(1_025), ..request("a", None) },
        request("Not a name", None),
        // What the gallery cannot filter by, it cannot hold by.
        request("a", Some(Filter { attributes: vec![coat], ..Filter::default() })),
    ] {
        let refused = stand.client.place_hold(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(stand.gallery().await.held, 3);
    let lift = LiftHoldRequest { gallery: GALLERY.to_owned(), name: "nobody".to_owned() };
    assert_eq!(stand.client.lift_hold(lift).await.unwrap_err().code(), Code::InvalidArgument);
}

fn request(name: &str, filter: Option<Filter>) -> PlaceHoldRequest {
    let (gallery, name, reason) = (GALLERY.to_owned(), name.to_owned(), "theft".to_owned());
    PlaceHoldRequest { gallery, name, filter, reason }
}

async fn removals_pass_over_what_is_held(stand: &mut Stand) {
    // 01, 05 and 09 are of person 1.
    let image_ids = ["01", "02", "05", "06", "09", "10", "99"].map(|id| format!("{id}.jpg")).to_vec();
    let request = DeleteImagesRequest { gallery: GALLERY.to_owned(), image_ids, ..DeleteImagesRequest::default() };
    let reply = stand.other.delete_images(request).await.unwrap().into_inner();
    assert_eq!((reply.deleted, reply.held), (3, 3));
    // Persons 1 and 3 were seen by c1.
    let filter = Some(of_camera("c1"));
    let request = DeleteImagesRequest { gallery: GALLERY.to_owned(), filter, ..DeleteImagesRequest::default() };
    let reply = stand.client.delete_images(request).await.unwrap().into_inner();
    assert_eq!((reply.deleted, reply.held), (3, 3));
    assert_eq!(stand.ids().await, ["00.jpg", "01.jpg", "04.jpg", "05.jpg", "08.jpg", "09.jpg"]);
}

#[track_caller]
fn assert_held(refused: &Status) {
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("descry hold lift case-1 --gallery lobby"), "{refused}");
}

async fn nothing_leaves_a_hold_by_a_change(stand: &mut Stand) {
    let change = |image_id: &str, metadata: ImageMetadata| UpdateImagesRequest {
        gallery: GALLERY.to_owned(),
        changes: vec![update_images_request::Change { image_id: image_id.to_owned(), metadata: Some(metadata) }],
        metadata_mask: None,
    };
    let person = |person: &str| ImageMetadata { person_id: Some(person.to_owned()), ..ImageMetadata::default() };
    let refused = stand.client.update_images(change("01.jpg", person("9"))).await.unwrap_err();
    assert_held(&refused);
    assert!(refused.message().contains("01.jpg"), "{refused}");
    // What the hold does not go by may change; and others may come to it.
    let elsewhere = ImageMetadata { camera_id: Some("c7".to_owned()), ..ImageMetadata::default() };
    stand.client.update_images(change("01.jpg", elsewhere)).await.unwrap();
    assert_eq!(stored_images(&mut stand.client, GALLERY).await["01.jpg"].metadata.as_ref().unwrap().person_id(), "1");

    // Indexing again: another file in its place, another person, the same with more, another file for somebody else.
    let model = stand.models[0].clone();
    let images = [
        image("05.jpg", 2, "1", "c1", &model),
        image("05.jpg", 1, "9", "c1", &model),
        image("05.jpg", 1, "1", "c2", &model),
        image("00.jpg", 2, "0", "c0", &model),
    ];
    let mut outcomes = Vec::new();
    for image in images {
        outcomes.extend(stand.index(vec![image]).await);
    }
    for refused in &outcomes[..2] {
        let Some(Outcome::Error(error)) = &refused.outcome else { panic!("{refused:?}") };
        assert_eq!(error.code, i32::from(Code::FailedPrecondition));
        assert!(error.message.contains("descry hold lift case-1"), "{}", error.message);
    }
    for written in &outcomes[2..] {
        assert!(matches!(&written.outcome, Some(Outcome::Indexed(indexed)) if !indexed.unchanged), "{written:?}");
    }
    let refused = stand.client.delete_gallery(DeleteGalleryRequest { name: GALLERY.to_owned() }).await.unwrap_err();
    assert_held(&refused);
    assert_eq!(stand.gallery().await.held, 3);
}

async fn the_whole_gallery_can_be_held(stand: &mut Stand) {
    assert_eq!(stand.place("all", None).await.unwrap().images, 6);
    let filter = Some(of_person("0"));
    let request = DeleteImagesRequest { gallery: GALLERY.to_owned(), filter, ..DeleteImagesRequest::default() };
    let reply = stand.client.delete_images(request).await.unwrap().into_inner();
    assert_eq!((reply.deleted, reply.held), (0, 3));
    let list = |page_token: &str| ListHoldsRequest {
        gallery: GALLERY.to_owned(),
        page_size: 1,
        page_token: page_token.to_owned(),
    };
    let first = stand.other.list_holds(list("")).await.unwrap().into_inner();
    assert_eq!((first.holds[0].name.as_str(), first.next_page_token.as_str()), ("all", "all"));
    assert_eq!((first.holds[0].images, first.holds[0].filter.clone()), (6, None));
    let second = stand.other.list_holds(list("all")).await.unwrap().into_inner();
    let names: Vec<&Hold> = second.holds.iter().collect();
    assert_eq!((names.len(), names[0].name.as_str(), second.next_page_token.as_str()), (1, "case-1", ""));
    // The images of person 1 stay held.
    let lift = LiftHoldRequest { gallery: GALLERY.to_owned(), name: "all".to_owned() };
    assert_eq!(stand.client.lift_hold(lift).await.unwrap().into_inner().released, 3);
}

async fn retention_passes_over_what_is_held(stand: &mut Stand) {
    let a_day = Some(Retention { default_ms: DAY_MS, ..Retention::default() });
    let set =
        |validate_only| SetRetentionRequest { gallery: GALLERY.to_owned(), retention: a_day.clone(), validate_only };
    // All are of years ago. What is only asked changes nothing.
    let told = stand.client.set_retention(set(true)).await.unwrap().into_inner();
    assert_eq!((told.past_retention, told.held, told.images, &told.retention), (3, 3, 6, &a_day));
    assert_eq!(stand.gallery().await.retention, Some(Retention::default()));
    stand.client.set_retention(set(false)).await.unwrap();
    until("what is not held is swept", async || (stand.gallery().await.images == 3).then_some(())).await;
    // A later sweep leaves them alone too: one that comes now is removed by it.
    let model = stand.models[0].clone();
    let told = stand.index(vec![image("10.jpg", 1, "0", "c0", &model), image("11.jpg", 1, "1", "c0", &model)]).await;
    let kept_until = |place: usize| match &told[place].outcome {
        Some(Outcome::Indexed(indexed)) => indexed.kept_until,
        Some(Outcome::Error(_)) | None => panic!("{told:?}"),
    };
    assert!(kept_until(0).is_some() && kept_until(1).is_none(), "{told:?}");
    until("a sweep comes", async || (stand.gallery().await.images == 4).then_some(())).await;
    assert_eq!(stand.ids().await, ["01.jpg", "05.jpg", "09.jpg", "11.jpg"]);
    let gallery = stand.gallery().await;
    assert_eq!((gallery.held, gallery.past_retention), (4, 0));

    let lift = LiftHoldRequest { gallery: GALLERY.to_owned(), name: "case-1".to_owned() };
    let lifted = stand.other.lift_hold(lift).await.unwrap().into_inner();
    assert_eq!((lifted.released, lifted.past_retention), (4, 4));
    until("what was held is swept", async || (stand.gallery().await.images == 0).then_some(())).await;
    stand.client.delete_gallery(DeleteGalleryRequest { name: GALLERY.to_owned() }).await.unwrap();
}

async fn check(mut stand: Stand) {
    placed(&mut stand).await;
    removals_pass_over_what_is_held(&mut stand).await;
    nothing_leaves_a_hold_by_a_change(&mut stand).await;
    the_whole_gallery_can_be_held(&mut stand).await;
    retention_passes_over_what_is_held(&mut stand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_in_the_embedded_store() {
    check(Stand::embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_stays_in_qdrant() {
    check(Stand::qdrant().await).await;
}
