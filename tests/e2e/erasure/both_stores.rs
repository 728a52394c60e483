//! What the calls promise, on the embedded store and on Qdrant.

use super::{GALLERY, creating, image, of_generations, person, write, writing};
use crate::queries::keep_in;
use crate::services::index;
use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::computed::ComputedModel;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::index_images_request::Image;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{
    ActivateGenerationRequest, CreateGenerationRequest, CreateWatchRequest, EmbeddingPart, EraseImagesRequest, Filter,
    ImageMetadata, IndexEmbeddingsRequest, ListWatchesRequest, QueryPart, Track, UpdateImagesRequest,
};
use descry_qdrant_server::TestQdrant;
use descry_search::SearchConfig;
use tonic::Code;

struct Stand {
    service: SearchAlone,
    models: [ComputedModel; 2],
}

impl Stand {
    /// A service with encoders for two models, and a gallery of the first with people, tracks and a copy of a file.
    async fn start(change: impl FnOnce(&mut SearchConfig)) -> (Self, Client) {
        let models = ["first", "second"].map(ComputedModel::named);
        let [first, second] = models.clone();
        let (first, second) = (first.serve().await, second.serve().await);
        let service = SearchAlone::start(|config| {
            config.encoder.url = first;
            config.encoder.other_urls = vec![second];
            change(config);
        })
        .await;
        let mut client = service.client().await;
        client.create_gallery(creating(&models[0])).await.unwrap();
        let stand = Self { service, models };
        let images = stand.images();
        let count = images.len();
        assert_eq!(write(&mut client, writing(&stand.models[0], images)).await, vec!["indexed"; count]);
        (stand, client)
    }

    fn images(&self) -> Vec<descry_proto::search::v1::StoredImage> {
        let of = |image_id: &str, known, content: &str| image(&self.models[0], image_id, known, content);
        vec![
            of("p1.jpg", ("p", "c1", "1"), "one"),
            of("p2.jpg", ("p", "c2", "2"), "two"),
            of("copy.jpg", ("", "", ""), "two"),
            of("q1.jpg", ("q", "c1", "3"), "three"),
            of("q2.jpg", ("q", "c2", "3"), "four"),
            of("r1.jpg", ("r", "", "4"), "five"),
            of("r2.jpg", ("r", "", "5"), "six"),
            of("s1.jpg", ("s", "c1", ""), "seven"),
            of("t1.jpg", ("t", "c1", ""), "eight"),
        ]
    }
}

async fn ids(client: &mut Client, address: &str) -> Vec<String> {
    stored_images(client, address).await.into_keys().collect()
}

async fn update(client: &mut Client, image_id: &str, metadata: ImageMetadata) -> Result<(), tonic::Status> {
    let changes = vec![Change { image_id: image_id.to_owned(), metadata: Some(metadata) }];
    let request = UpdateImagesRequest { gallery: GALLERY.to_owned(), changes, ..UpdateImagesRequest::default() };
    client.update_images(request).await.map(drop)
}

async fn of_a_person(stand: &Stand, client: &mut Client) {
    let [first, _] = &stand.models;
    let preview = EraseImagesRequest { preview: true, ..person("p") };
    let told = client.erase_images(preview).await.unwrap().into_inner();
    assert_eq!((told.images, told.erasure_id.as_str()), (3, ""));
    assert_eq!(ids(client, GALLERY).await.len(), stand.images().len(), "a preview changes nothing");

    let erased = client.erase_images(person("p")).await.unwrap().into_inner();
    assert_eq!((erased.images, of_generations(&erased)), (3, vec![(1, 3)]));
    assert_eq!(erased.image_ids, ["copy.jpg", "p1.jpg", "p2.jpg"], "a copy of the file is the same picture");
    assert!(erased.erasure_id.len() == 32 && erased.erased_at.is_some());
    // The person, three ids and two files.
    assert_eq!((erased.marks, erased.held), (6, 0));
    assert_eq!(ids(client, GALLERY).await, ["q1.jpg", "q2.jpg", "r1.jpg", "r2.jpg", "s1.jpg", "t1.jpg"]);

    // By its person, its id or its file it is refused; others of the same request are not.
    let of = |image_id: &str, known, content: &str| image(first, image_id, known, content);
    let images = vec![
        of("new.jpg", ("p", "", ""), "new"),
        of("p1.jpg", ("", "", ""), "other"),
        of("new.jpg", ("", "", ""), "one"),
        of("u1.jpg", ("u", "c1", "1"), "nine"),
    ];
    assert_eq!(write(client, writing(first, images.clone())).await, ["ERASED", "ERASED", "ERASED", "indexed"]);
    let metadata = Some(ImageMetadata { person_id: Some("p".to_owned()), ..ImageMetadata::default() });
    let files =
        [("p1.jpg", "x", None), ("other.jpg", "one", None), ("other.jpg", "y", metadata), ("v1.jpg", "z", None)];
    let files = files.map(|(image_id, content, metadata)| Image {
        image_id: image_id.to_owned(),
        content: content.as_bytes().to_vec().into(),
        metadata,
    });
    let mut outcomes: Vec<String> = index(client, GALLERY, files.into()).await.iter().map(super::outcome).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["ERASED", "ERASED", "ERASED", "indexed"]);
    let as_p = ImageMetadata { person_id: Some("p".to_owned()), ..ImageMetadata::default() };
    let refused = update(client, "q1.jpg", as_p).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("erased") && refused.message().contains("--force-erased"), "{refused}");
    update(client, "q1.jpg", ImageMetadata { frame_id: Some("7".to_owned()), ..Default::default() }).await.unwrap();

    // Once more is harmless.
    let again = client.erase_images(person("p")).await.unwrap().into_inner();
    assert_eq!((again.images, again.marks), (0, 1));

    // Let back: exactly this image, and whoever is on it.
    let forced = IndexEmbeddingsRequest {
        allow_erased: true,
        ..writing(first, vec![of("p1.jpg", ("p", "c1", "1"), "one"), of("w1.jpg", ("w", "", ""), "ten")])
    };
    assert_eq!(write(client, forced).await, ["let back", "indexed"]);
    let images = vec![
        of("p1.jpg", ("p", "c1", "1"), "one again"),
        of("new.jpg", ("p", "", ""), "new"),
        of("p2.jpg", ("x", "", ""), "eleven"),
        of("x1.jpg", ("x", "", ""), "two"),
    ];
    assert_eq!(write(client, writing(first, images)).await, ["indexed", "indexed", "ERASED", "ERASED"]);
}

async fn of_tracks_and_images(stand: &Stand, client: &mut Client) {
    let [first, _] = &stand.models;
    let track = |camera: &str, track: &str| Track { camera_id: camera.to_owned(), track_id: track.to_owned() };
    let request = EraseImagesRequest {
        gallery: GALLERY.to_owned(),
        tracks: vec![track("c1", "3"), track("", "4")],
        image_ids: vec!["t1.jpg".to_owned(), "never.jpg".to_owned()],
        ..EraseImagesRequest::default()
    };
    let erased = client.erase_images(request).await.unwrap().into_inner();
    assert_eq!(erased.image_ids, ["q1.jpg", "r1.jpg", "t1.jpg"], "a track counts within its camera");
    let of = |image_id: &str, known, content: &str| image(first, image_id, known, content);
    let images = vec![
        of("a.jpg", ("", "c1", "3"), "a"),
        of("b.jpg", ("", "c2", "3"), "b"),
        of("c.jpg", ("", "", "4"), "c"),
        of("d.jpg", ("", "c1", "4"), "d"),
        of("never.jpg", ("", "", ""), "e"),
        of("f.jpg", ("t", "", ""), "f"),
    ];
    let expected = ["ERASED", "indexed", "ERASED", "indexed", "ERASED", "indexed"];
    assert_eq!(write(client, writing(first, images)).await, expected);
    let to_c1 = ImageMetadata { camera_id: Some("c1".to_owned()), ..ImageMetadata::default() };
    assert_eq!(update(client, "q2.jpg", to_c1).await.unwrap_err().code(), Code::FailedPrecondition);
}

async fn of_watches_and_generations(stand: &Stand, client: &mut Client) {
    let [_, second] = &stand.models;
    let watch = |name: &str, what: What, filter: Filter| CreateWatchRequest {
        gallery: GALLERY.to_owned(),
        name: name.to_owned(),
        parts: vec![QueryPart { what: Some(what), weight: Some(1.0) }],
        min_score: 0.9,
        filter: Some(filter),
    };
    let text = || What::Text("a man in red".to_owned());
    let persons = |person_ids: &[&str]| Filter {
        person_ids: person_ids.iter().map(|&person_id| person_id.to_owned()).collect(),
        ..Filter::default()
    };
    let embedding = |content: &str| {
        What::Embedding(EmbeddingPart {
            values: stand.models[0].embedding(content.as_bytes()),
            fingerprint: stand.models[0].fingerprint.clone(),
        })
    };
    for request in [
        watch("by-person", text(), persons(&["z", "s"])),
        watch("by-id", What::ImageId("s1.jpg".to_owned()), Filter::default()),
        watch("by-picture", embedding("seven"), Filter::default()),
        watch("of-others", text(), persons(&["z"])),
        watch("like-another", embedding("six"), Filter::default()),
    ] {
        client.create_watch(request).await.unwrap();
    }
    let create = CreateGenerationRequest { gallery: GALLERY.to_owned(), fingerprint: second.fingerprint.clone() };
    client.create_generation(create).await.unwrap();
    let contents = [("s1.jpg", ("s", "c1", ""), "seven"), ("r2.jpg", ("r", "", "5"), "six")];
    let filling = IndexEmbeddingsRequest {
        gallery: format!("{GALLERY}.2"),
        ..writing(second, contents.map(|(image_id, known, content)| image(second, image_id, known, content)).into())
    };
    assert_eq!(write(client, filling.clone()).await, ["indexed", "indexed"]);

    let erased = client.erase_images(person("s")).await.unwrap().into_inner();
    assert_eq!((of_generations(&erased), erased.image_ids), (vec![(1, 1), (2, 1)], vec!["s1.jpg".to_owned()]));
    assert_eq!(erased.watches, ["by-id", "by-person", "by-picture"]);
    let list = ListWatchesRequest { gallery: GALLERY.to_owned(), ..ListWatchesRequest::default() };
    let left = client.list_watches(list).await.unwrap().into_inner().watches;
    assert_eq!(left.iter().map(|watch| watch.name.as_str()).collect::<Vec<_>>(), ["like-another", "of-others"]);
    assert_eq!(ids(client, &format!("{GALLERY}.2")).await, ["r2.jpg"]);
    // A generation takes nothing that was erased, forced or not: it takes what the serving one holds.
    let outcomes = write(client, filling.clone()).await;
    assert!(outcomes[0] != "indexed" && outcomes[1] == "indexed", "{outcomes:?}");
    let outcomes = write(client, IndexEmbeddingsRequest { allow_erased: true, ..filling }).await;
    assert!(outcomes[0] != "indexed" && outcomes[0] != "let back", "{outcomes:?}");
    let activate =
        ActivateGenerationRequest { gallery: GALLERY.to_owned(), generation: 2, force: true, ..Default::default() };
    client.activate_generation(activate).await.unwrap();
    let late = vec![image(second, "s9.jpg", ("s", "", ""), "late")];
    assert_eq!(write(client, writing(second, late)).await, ["ERASED"], "marks are the gallery's, whatever serves");
}

async fn refusals(client: &mut Client) {
    let nobody = EraseImagesRequest { gallery: GALLERY.to_owned(), ..EraseImagesRequest::default() };
    let nowhere = EraseImagesRequest { gallery: "nowhere".to_owned(), ..person("p") };
    let generation = EraseImagesRequest { gallery: format!("{GALLERY}.1"), ..person("p") };
    let empty = EraseImagesRequest { image_ids: vec![String::new()], ..nobody.clone() };
    let no_track = EraseImagesRequest { tracks: vec![Track::default()], ..nobody.clone() };
    for (request, code) in [
        (nobody, Code::InvalidArgument),
        (nowhere, Code::NotFound),
        (generation, Code::InvalidArgument),
        (empty, Code::InvalidArgument),
        (no_track, Code::InvalidArgument),
    ] {
        let refused = client.erase_images(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{request:?}: {refused}");
    }
}

async fn check_all(change: impl FnOnce(&mut SearchConfig)) {
    let (stand, mut client) = Stand::start(change).await;
    refusals(&mut client).await;
    of_a_person(&stand, &mut client).await;
    of_tracks_and_images(&stand, &mut client).await;
    of_watches_and_generations(&stand, &mut client).await;
    drop(stand.service);
}

#[tokio::test]
async fn what_is_erased_from_the_embedded_store_stays_away() {
    check_all(|_| {}).await;
}

#[tokio::test]
async fn what_is_erased_from_qdrant_stays_away() {
    let server = TestQdrant::start().unwrap();
    check_all(|config| keep_in(&server, config)).await;
}
