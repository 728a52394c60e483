//! Several instances over one store: a hold is answered when no removal is under way that did not see it.

use super::stand::{GALLERY, Stand, of_person};
use crate::stands::polling::until;
use descry_proto::search::v1::{DeleteImagesRequest, ListHoldsRequest, PlaceHoldRequest};
use descry_store::{QdrantConfig, QdrantStore, VectorStore, now_ms};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_answered_after_removals_that_did_not_see_it() {
    let mut stand = Stand::qdrant().await;
    let config = QdrantConfig { url: stand.qdrant.as_ref().unwrap().url(), ..QdrantConfig::default() };
    let store = QdrantStore::connect(&config, || None).unwrap();
    let gallery = store.resolve(GALLERY).await.unwrap();
    let note = async |key: &str, until_ms: Option<i64>| {
        store.put_document(&gallery, key, until_ms.map(|ms| ms.to_string())).await.unwrap();
    };
    let notes = async || {
        let keys = store.documents(&gallery).await.unwrap().into_keys();
        keys.filter(|key| key.starts_with("removing.")).collect::<Vec<_>>()
    };
    // One that was killed long ago keeps nobody waiting, and one that is at work does.
    note("removing.killed", Some(now_ms() - 1)).await;
    note("removing.at-work", Some(now_ms() + 60_000)).await;
    let (gallery_name, name, reason) = (GALLERY.to_owned(), "case-1".to_owned(), "theft".to_owned());
    let request = PlaceHoldRequest { gallery: gallery_name, name, filter: Some(of_person("1")), reason };
    let mut other = stand.other.clone();
    let placing = tokio::spawn(async move { other.place_hold(request).await });
    let list = || ListHoldsRequest { gallery: GALLERY.to_owned(), ..ListHoldsRequest::default() };
    until("the hold is there", async || {
        (!stand.client.list_holds(list()).await.unwrap().into_inner().holds.is_empty()).then_some(())
    })
    .await;
    until("the old note is gone", async || (notes().await == ["removing.at-work"]).then_some(())).await;
    assert!(!placing.is_finished(), "it is not answered while another instance removes");
    // Whoever begins to remove by now sees it, and leaves no note behind.
    let filter = Some(of_person("1"));
    let request = DeleteImagesRequest { gallery: GALLERY.to_owned(), filter, ..DeleteImagesRequest::default() };
    let reply = stand.client.delete_images(request).await.unwrap().into_inner();
    assert_eq!((reply.deleted, reply.held), (0, 3));
    assert_eq!(notes().await, ["removing.at-work"]);
    note("removing.at-work", None).await;
    assert_eq!(placing.await.unwrap().unwrap().into_inner().images, 3);
}
