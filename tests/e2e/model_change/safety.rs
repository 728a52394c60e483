//! What makes a switch safe is the service's to know, whichever client switches and whatever it forgets: no acknowledged
//! image is lost, none that was deleted comes back, and no call has to go through a whole gallery.

use super::GALLERY;
use crate::queries::keep_in;
use crate::services::index;
use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::ComputedModel;
use crate::stands::stored::stored_images;
use crate::stands::switchable::{Behaviour, SwitchableEncoder};
use descry_proto::search::v1::index_images_request::{Image, Message, Start};
use descry_proto::search::v1::index_images_response::Outcome;
use descry_proto::search::v1::{
    ActivateGenerationRequest, CompareGenerationsRequest, CompareGenerationsResponse, CreateGalleryRequest,
    CreateGenerationRequest, DeleteImagesRequest, Gallery, ImageMetadata, IndexEmbeddingsRequest, IndexImagesRequest,
    IndexImagesResponse, StoredImage, UpdateImagesRequest, update_images_request,
};
use descry_qdrant_server::TestQdrant;
use descry_search::SearchConfig;
use std::any::Any;
use std::collections::BTreeSet;
use tonic::{Code, Status};

/// A search service over two models whose embeddings are computed, the second of which can be broken.
struct Stand {
    service: SearchAlone,
    client: Client,
    models: [ComputedModel; 2],
    second_encoder: SwitchableEncoder,
    _behind: Box<dyn Any>,
}

impl Stand {
    async fn embedded() -> Self {
        Self::start(Box::new(()), |_| {}).await
    }

    async fn qdrant() -> Self {
        let server = TestQdrant::start().unwrap();
        let url = server.url();
        Self::start(Box::new(server), |search| {
            search.store.kind = descry_search::StoreKind::Qdrant;
            search.qdrant.url = url;
        })
        .await
    }

    async fn start(behind: Box<dyn Any>, change: impl FnOnce(&mut SearchConfig)) -> Self {
        let models = ["first", "second"].map(ComputedModel::named);
        let first_url = models[0].clone().serve().await;
        let (second_encoder, second_url) = SwitchableEncoder::serve(models[1].clone()).await;
        let service = SearchAlone::start(|search| {
            search.encoder.url = first_url;
            search.encoder.other_urls = vec![second_url];
            search.encoder.retry_for_ms = 0;
            search.indexing.chunk_images = 4;
            change(search);
        })
        .await;
        let mut client = service.client().await;
        let create = CreateGalleryRequest { name: GALLERY.to_owned(), ..CreateGalleryRequest::default() };
        client.create_gallery(create).await.unwrap();
        Self { service, client, models, second_encoder, _behind: behind }
    }

    async fn begin_change(&mut self) -> u32 {
        let fingerprint = self.models[1].fingerprint.clone();
        let request = CreateGenerationRequest { gallery: GALLERY.to_owned(), fingerprint };
        self.client.create_generation(request).await.unwrap().into_inner().generation
    }

    async fn index(&mut self, ids: &[&str]) {
        for reply in index(&mut self.client, GALLERY, ids.iter().map(|id| image(id)).collect()).await {
            assert!(matches!(reply.outcome, Some(Outcome::Indexed(_))), "{reply:?}");
        }
    }

    /// Sends images to one generation alone.
    async fn fill(&mut self, generation: u32, ids: &[&str]) -> Vec<IndexImagesResponse> {
        let start = Message::Start(Start { gallery: GALLERY.to_owned(), generation, ..Start::default() });
        let images = ids.iter().map(|id| Message::Image(image(id)));
        let messages: Vec<_> =
            std::iter::once(start).chain(images).map(|message| IndexImagesRequest { message: Some(message) }).collect();
        let mut replies = self.client.index_images(tokio_stream::iter(messages)).await.unwrap().into_inner();
        let mut found = Vec::new();
        while let Some(reply) = replies.message().await.unwrap() {
            found.push(reply);
        }
        found
    }

    async fn delete(&mut self, ids: &[&str]) {
        let image_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = DeleteImagesRequest { gallery: GALLERY.to_owned(), image_ids, ..DeleteImagesRequest::default() };
        assert_eq!(self.client.delete_images(request).await.unwrap().into_inner().deleted, ids.len() as u64);
    }

    /// All pages of a comparison with the serving generation, added up.
    async fn compare(&mut self, generation: u32) -> CompareGenerationsResponse {
        compare_from(&mut self.client, generation, String::new()).await
    }

    async fn activate(&mut self, generation: u32, force: bool) -> Result<Gallery, Status> {
        let request = ActivateGenerationRequest { gallery: GALLERY.to_owned(), generation, force, keep_surplus: false };
        self.client.activate_generation(request).await.map(|gallery| gallery.into_inner())
    }

    async fn refused(&mut self, generation: u32) -> String {
        let refused = self.activate(generation, false).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        refused.message().to_owned()
    }

    async fn ids_of(&mut self, address: &str) -> BTreeSet<String> {
        stored_images(&mut self.client, address).await.into_keys().collect()
    }
}

fn image(image_id: &str) -> Image {
    let content = format!("the file of {image_id}").into_bytes().into();
    Image { image_id: image_id.to_owned(), content, metadata: None }
}

async fn compare_from(client: &mut Client, generation: u32, page_token: String) -> CompareGenerationsResponse {
    let mut whole = CompareGenerationsResponse::default();
    let mut request =
        CompareGenerationsRequest { gallery: GALLERY.to_owned(), generation, against: 0, limit: 1_000, page_token };
    loop {
        let page = client.compare_generations(request.clone()).await.unwrap().into_inner();
        whole.missing += page.missing;
        whole.surplus += page.surplus;
        whole.examined += page.examined;
        whole.missing_ids.extend(page.missing_ids);
        whole.surplus_ids.extend(page.surplus_ids);
        (whole.images, whole.images_against) = (page.images, page.images_against);
        if page.next_page_token.is_empty() {
            return CompareGenerationsResponse { ready: page.ready, ..whole };
        }
        request.page_token = page.next_page_token;
    }
}

/// Each promise on both stores.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod on_embedded {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(super::Stand::embedded().await).await;
            })*
        }
        mod on_qdrant {
            $(#[tokio::test]
            async fn $promise() {
                super::$promise(super::Stand::qdrant().await).await;
            })*
        }
    };
}

promises![
    what_a_generation_did_not_get_keeps_it_from_serving,
    what_was_deleted_does_not_come_back,
    a_change_of_metadata_counts_like_an_image,
    unchanged_images_do_not_become_younger,
    an_old_generation_is_no_way_to_lose_what_came_since,
    numbers_and_notes_go_with_a_generation,
    a_comparison_is_void_once_its_generation_served,
    whoever_skips_a_stretch_has_not_compared,
    what_the_serving_generation_refuses_is_in_no_other,
];

async fn what_a_generation_did_not_get_keeps_it_from_serving(mut stand: Stand) {
    stand.index(&["a", "b"]).await;
    let next = stand.begin_change().await;
    stand.fill(next, &["a", "b"]).await;
    let found = stand.compare(next).await;
    assert_eq!((found.missing, found.surplus, found.examined, found.ready), (0, 0, 4, true));
    // The client has compared, and would switch. An image comes in between that the new model cannot encode.
    stand.second_encoder.behave(Behaviour::Fails);
    stand.index(&["c"]).await;
    let reason = stand.refused(next).await;
    assert!(reason.contains("lacks 1"), "{reason}");
    // One that reaches both takes nothing away.
    stand.second_encoder.behave(Behaviour::Answers);
    stand.fill(next, &["c"]).await;
    assert!(stand.compare(next).await.ready);
    stand.index(&["d"]).await;
    assert_eq!(stand.activate(next, false).await.unwrap().images, 4);
    assert_eq!(stand.ids_of(GALLERY).await.len(), 4);
}

async fn what_was_deleted_does_not_come_back(mut stand: Stand) {
    stand.index(&["a", "b", "c"]).await;
    let next = stand.begin_change().await;
    stand.fill(next, &["a"]).await;
    // The client has read which images are missing, and sends them; meanwhile they are deleted, or become others.
    stand.delete(&["a", "b"]).await;
    let mut other = image("c");
    other.content = "another file".into();
    stand.second_encoder.behave(Behaviour::Fails);
    index(&mut stand.client, GALLERY, vec![other]).await;
    stand.second_encoder.behave(Behaviour::Answers);
    for reply in stand.fill(next, &["a", "b", "c", "never there"]).await {
        let Some(Outcome::Error(error)) = &reply.outcome else { panic!("{reply:?}") };
        assert_eq!(Code::from_i32(error.code), Code::NotFound, "{error:?}");
    }
    assert!(stand.ids_of(&format!("{GALLERY}.{next}")).await.is_empty());
    let embedding = stand.models[1].embedding(b"the file of a");
    let stored = StoredImage { image_id: "a".to_owned(), embedding, ..StoredImage::default() };
    let request = IndexEmbeddingsRequest {
        gallery: format!("{GALLERY}.{next}"),
        fingerprint: stand.models[1].fingerprint.clone(),
        images: vec![stored],
        ..Default::default()
    };
    let reply = stand.client.index_embeddings(request).await.unwrap().into_inner();
    assert!(matches!(&reply.results[0].outcome, Some(Outcome::Error(error)) if error.code == Code::NotFound as i32));
}

async fn a_change_of_metadata_counts_like_an_image(mut stand: Stand) {
    stand.index(&["a"]).await;
    let first = 1;
    let next = stand.begin_change().await;
    stand.fill(next, &["a"]).await;
    assert!(stand.compare(next).await.ready);
    let metadata = Some(ImageMetadata { camera_id: Some("door".to_owned()), ..ImageMetadata::default() });
    let change = update_images_request::Change { image_id: "a".to_owned(), metadata };
    let update = |gallery: String| UpdateImagesRequest { gallery, changes: vec![change.clone()], ..Default::default() };
    // Both get it, so the new one may still serve.
    stand.client.update_images(update(GALLERY.to_owned())).await.unwrap();
    stand.activate(next, false).await.unwrap();
    assert!(stand.compare(first).await.ready);
    // The old one does not get what changes now.
    let other = Some(ImageMetadata { camera_id: Some("yard".to_owned()), ..ImageMetadata::default() });
    let change = update_images_request::Change { image_id: "a".to_owned(), metadata: other };
    let update = UpdateImagesRequest { gallery: GALLERY.to_owned(), changes: vec![change], ..Default::default() };
    stand.client.update_images(update).await.unwrap();
    assert!(stand.refused(first).await.contains("lacks 1"));
}

async fn unchanged_images_do_not_become_younger(mut stand: Stand) {
    stand.index(&["a", "b"]).await;
    let before = stored_images(&mut stand.client, GALLERY).await;
    let next = stand.begin_change().await;
    // Not filled by a model change, but by somebody who indexes the same folder once more.
    stand.index(&["a", "b", "c"]).await;
    let after = stored_images(&mut stand.client, &format!("{GALLERY}.{next}")).await;
    assert_eq!(after.len(), 3);
    for (image_id, before) in before {
        let indexed_at = |image: &StoredImage| image.metadata.as_ref().unwrap().indexed_at;
        assert_eq!(indexed_at(&after[&image_id]), indexed_at(&before), "{image_id}");
    }
}

async fn an_old_generation_is_no_way_to_lose_what_came_since(mut stand: Stand) {
    stand.index(&["a"]).await;
    let next = stand.begin_change().await;
    stand.fill(next, &["a"]).await;
    stand.activate(next, false).await.unwrap();
    // Nothing came since: back and forth without force.
    stand.activate(1, false).await.unwrap();
    stand.activate(next, false).await.unwrap();
    assert!(stand.compare(1).await.ready);
    stand.index(&["b"]).await;
    assert!(stand.refused(1).await.contains("lacks 1"));
    stand.fill(1, &["b"]).await;
    stand.activate(1, false).await.unwrap();
    assert_eq!(stand.ids_of(GALLERY).await.len(), 2);
    // Forced all the same, it loses what it lacks, and knows it.
    stand.second_encoder.behave(Behaviour::Fails);
    stand.index(&["c"]).await;
    assert!(stand.refused(next).await.contains("lacks 1"));
    stand.activate(next, true).await.unwrap();
    assert_eq!(stand.ids_of(GALLERY).await.len(), 2);
}

async fn numbers_and_notes_go_with_a_generation(mut stand: Stand) {
    stand.index(&["a"]).await;
    let next = stand.begin_change().await;
    stand.fill(next, &["a"]).await;
    assert!(stand.compare(next).await.ready);
    let delete = descry_proto::search::v1::DeleteGenerationRequest { gallery: GALLERY.to_owned(), generation: next };
    stand.client.delete_generation(delete).await.unwrap();
    let again = stand.begin_change().await;
    assert!(again > next, "{again} was given before");
    assert!(stand.refused(again).await.contains("lacks 1"));
    let gone = stand.activate(next, true).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
}

async fn a_comparison_is_void_once_its_generation_served(mut stand: Stand) {
    stand.index(&["a"]).await;
    let next = stand.begin_change().await;
    stand.fill(next, &["a"]).await;
    stand.activate(next, false).await.unwrap();
    // While it serves it gets an image, and loses one, that the other does not.
    stand.index(&["b"]).await;
    stand.activate(1, true).await.unwrap();
    stand.delete(&["a"]).await;
    stand.index(&["c"]).await;
    assert!(stand.refused(next).await.contains("does not have"), "what came while it served is surplus now");
    let request =
        ActivateGenerationRequest { gallery: GALLERY.to_owned(), generation: next, force: false, keep_surplus: true };
    stand.client.activate_generation(request).await.unwrap();
    assert_eq!(stand.ids_of(GALLERY).await, ["b", "c"].map(str::to_owned).into());
}

async fn whoever_skips_a_stretch_has_not_compared(mut stand: Stand) {
    let ids: Vec<String> = (0..9_000).map(|number| format!("{number:05}")).collect();
    write(&mut stand, GALLERY, 0, &ids).await;
    let next = stand.begin_change().await;
    let request = CompareGenerationsRequest {
        gallery: GALLERY.to_owned(),
        generation: next,
        against: 0,
        limit: 1,
        page_token: String::new(),
    };
    write(&mut stand, &format!("{GALLERY}.{next}"), 1, &ids[..8_900]).await;
    let first = stand.client.compare_generations(request.clone()).await.unwrap().into_inner();
    let (comparison, _) = first.next_page_token.split_once('/').unwrap();
    let skipped = compare_from(&mut stand.client, next, format!("{comparison}/surplus/")).await;
    assert_eq!((skipped.missing, skipped.ready), (0, false));
    // Whether the first stretch came upon what is missing is the store's order to say.
    let reason = stand.refused(next).await;
    assert!(reason.contains("to the end") || reason.contains("lacks"), "{reason}");
}

async fn what_the_serving_generation_refuses_is_in_no_other(mut stand: Stand) {
    stand.index(&["a"]).await;
    let next = stand.begin_change().await;
    let nobody = Image { image_id: String::new(), ..image("x") };
    let replies = index(&mut stand.client, GALLERY, vec![nobody, image("b")]).await;
    assert_eq!(replies.iter().filter(|reply| matches!(reply.outcome, Some(Outcome::Error(_)))).count(), 1);
    assert_eq!(stand.ids_of(&format!("{GALLERY}.{next}")).await, ["b".to_owned()].into());
}

/// One failing encoder fails what it should have encoded, and nothing else.
#[tokio::test]
async fn what_is_unchanged_needs_no_encoder() {
    let model = ComputedModel::named("any");
    let (encoder, url) = SwitchableEncoder::serve(model).await;
    let service = SearchAlone::start(|search| {
        search.encoder.url = url;
        search.encoder.retry_for_ms = 0;
    })
    .await;
    let mut client = service.client().await;
    let create = CreateGalleryRequest { name: GALLERY.to_owned(), ..CreateGalleryRequest::default() };
    client.create_gallery(create).await.unwrap();
    index(&mut client, GALLERY, vec![image("a"), image("b")]).await;
    encoder.behave(Behaviour::Fails);
    for reply in index(&mut client, GALLERY, vec![image("a"), image("b"), image("new")]).await {
        match reply.outcome {
            Some(Outcome::Indexed(done)) => assert!(done.unchanged && reply.image_id != "new"),
            Some(Outcome::Error(_)) => assert_eq!(reply.image_id, "new"),
            None => panic!("{reply:?}"),
        }
    }
}

/// One call once went through the whole gallery, forwards and back; no deadline is long enough for that.
#[tokio::test]
async fn a_comparison_goes_stretch_by_stretch() {
    const IMAGES: usize = 12_000;
    const MOST_OF_A_CALL: u64 = 16 * 512;
    let mut stand = Stand::embedded().await;
    let ids: Vec<String> = (0..IMAGES).map(|number| format!("{number:05}")).collect();
    write(&mut stand, GALLERY, 0, &ids).await;
    let next = stand.begin_change().await;
    let address = format!("{GALLERY}.{next}");
    // The last one is missing.
    write(&mut stand, &address, 1, &ids[..IMAGES - 1]).await;
    let request = CompareGenerationsRequest {
        gallery: GALLERY.to_owned(),
        generation: next,
        against: 0,
        limit: 10,
        page_token: String::new(),
    };
    let first = stand.client.compare_generations(request.clone()).await.unwrap().into_inner();
    assert!(first.examined <= MOST_OF_A_CALL && !first.next_page_token.is_empty() && !first.ready, "{first:?}");
    // Nothing but the token is needed to go on, of whatever connection.
    let mut other = stand.service.client().await;
    let rest = compare_from(&mut other, next, first.next_page_token.clone()).await;
    assert_eq!((first.missing + rest.missing, rest.surplus, rest.ready), (1, 0, false));
    assert_eq!(first.examined + rest.examined, 2 * IMAGES as u64 - 1);
    assert_eq!(rest.missing_ids, [ids[IMAGES - 1].clone()]);
    assert!(stand.refused(next).await.contains("lacks 1"));
    write(&mut stand, &address, 1, &ids[IMAGES - 1..]).await;
    // A gallery of this size is not compared on the spot.
    assert!(stand.refused(next).await.contains("was not compared"));
    assert!(stand.compare(next).await.ready);
    stand.activate(next, false).await.unwrap();
    for wrong in ["x", "a/missing/not a place", &"9".repeat(300)] {
        let request = CompareGenerationsRequest { generation: 1, page_token: wrong.to_owned(), ..request.clone() };
        let refused = stand.client.compare_generations(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

/// Writes embeddings of one of the models, as computed from the ids.
async fn write(stand: &mut Stand, address: &str, model: usize, ids: &[String]) {
    for ids in ids.chunks(1_000) {
        let stored = |id: &String| StoredImage {
            image_id: id.clone(),
            embedding: stand.models[model].embedding(id.as_bytes()),
            ..StoredImage::default()
        };
        let request = IndexEmbeddingsRequest {
            gallery: address.to_owned(),
            fingerprint: stand.models[model].fingerprint.clone(),
            images: ids.iter().map(stored).collect(),
            ..Default::default()
        };
        let reply = stand.client.index_embeddings(request).await.unwrap().into_inner();
        assert!(reply.results.iter().all(|reply| matches!(reply.outcome, Some(Outcome::Indexed(_)))));
    }
}

/// A generation whose encoder never answers costs the gallery one wait, not one for each chunk.
#[tokio::test]
async fn an_abandoned_model_change_slows_nothing_down() {
    let mut stand = Stand::start(Box::new(()), |search| search.indexing.patience_with_later_generations_ms = 200).await;
    stand.begin_change().await;
    stand.second_encoder.behave(Behaviour::Hangs);
    let ids: Vec<String> = (0..80).map(|number| number.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    stand.index(&ids).await;
    let calls = stand.second_encoder.image_calls();
    // Chunks that are prepared at the same time may each find out for themselves.
    assert!((1..=3).contains(&calls), "{calls} of 20 chunks waited");
    assert_eq!(stand.ids_of(GALLERY).await.len(), 80);
}

/// Encoders that changed their models since they were last asked are asked again, by a watch too.
#[tokio::test]
async fn encoders_that_swapped_their_models_are_found() {
    let models = ["first", "second"].map(ComputedModel::named);
    let (one, one_url) = SwitchableEncoder::serve(models[0].clone()).await;
    let (other, other_url) = SwitchableEncoder::serve(models[1].clone()).await;
    let service = SearchAlone::start(|search| {
        search.encoder.url = one_url;
        search.encoder.other_urls = vec![other_url];
    })
    .await;
    let mut client = service.client().await;
    let create = CreateGalleryRequest { name: GALLERY.to_owned(), ..CreateGalleryRequest::default() };
    client.create_gallery(create).await.unwrap();
    index(&mut client, GALLERY, vec![image("a")]).await;
    one.set_model(models[1].clone());
    other.set_model(models[0].clone());
    let watch = descry_proto::search::v1::CreateWatchRequest {
        gallery: GALLERY.to_owned(),
        name: "coat".to_owned(),
        parts: vec![crate::queries::part(crate::queries::text("a red coat"), 1.0)],
        min_score: 0.5,
        filter: None,
    };
    let made = client.create_watch(watch).await.unwrap().into_inner();
    assert_eq!(made.fingerprint, models[0].fingerprint);
}

/// Stopping waits for nobody who does not answer: once it waited for each gallery in turn.
#[tokio::test]
async fn a_store_that_hangs_does_not_hold_up_the_end() {
    let server = TestQdrant::start().unwrap();
    let mut config = SearchConfig::load(None).unwrap();
    keep_in(&server, &mut config);
    config.encoder.url = ComputedModel::named("any").serve().await;
    config.retention.sweep_interval_ms = 1;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(descry_search::serve(listener, config, async {
        let _ = stopped.await;
    }));
    let connect = async || Client::connect(url.clone()).await.ok();
    let mut client = crate::stands::polling::until("the service listens", connect).await;
    for number in 0..20 {
        let create = CreateGalleryRequest { name: format!("g{number}"), ..CreateGalleryRequest::default() };
        client.create_gallery(create).await.unwrap();
    }
    server.stall_next(1_000_000, std::time::Duration::from_secs(3_600));
    let hanging = async || (server.pending_stalls() < 1_000_000).then_some(());
    crate::stands::polling::until("a sweep hangs", hanging).await;
    stop.send(()).unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), serving).await;
    ended.expect("it ends although nothing answers").unwrap().unwrap();
}
