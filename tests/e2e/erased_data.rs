//! What is deleted or replaced through the service is in no file of its store a moment later.

use crate::stands::Client;
use crate::stands::alone::free_address;
use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::polling::until;
use descry_proto::search::v1::search_service_client::SearchServiceClient;
use descry_proto::search::v1::update_images_request::Change;
use descry_proto::search::v1::{
    CreateGalleryRequest, DeleteGalleryRequest, DeleteImagesRequest, Filter, ImageMetadata, IndexEmbeddingsRequest,
    StoredImage, UpdateImagesRequest,
};
use descry_search::SearchConfig;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Texts that are nowhere else, of an image's number and its version.
fn word(what: &str, number: usize, version: u32) -> String {
    format!("{what}-{number:04}-{version}-unmistakable")
}

fn metadata(number: usize, version: u32) -> ImageMetadata {
    ImageMetadata {
        person_id: Some(word("person", number, version)),
        camera_id: Some(word("camera", number, version)),
        track_id: Some(word("track", number, version)),
        attributes: [("note".to_owned(), word("note", number, version).repeat(1 + number % 7 * 60))].into(),
        ..ImageMetadata::default()
    }
}

fn image(model: &ComputedModel, number: usize, version: u32) -> StoredImage {
    let image_id = word("image", number, 0);
    let embedding = model.embedding(format!("{image_id} {version}").as_bytes());
    StoredImage { image_id, metadata: Some(metadata(number, version)), content_sha256: String::new(), embedding }
}

/// What was written of a version of an image, but for its id.
fn traces(model: &ComputedModel, number: usize, version: u32) -> Vec<Vec<u8>> {
    let mut traces: Vec<Vec<u8>> =
        ["person", "camera", "track", "note"].map(|what| word(what, number, version).into_bytes()).into();
    // The store brings embeddings to unit length, which these have: of a value the last bit may differ, so not all of it is compared.
    let embedding = image(model, number, version).embedding;
    traces.extend(embedding.chunks(4).map(|values| values.iter().flat_map(|value| value.to_le_bytes()).collect()));
    traces
}

/// How many of the traces are in any file of the folder.
fn found(folder: &Path, traces: &[Vec<u8>]) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<Vec<u8>> = entries.map(|path| std::fs::read(path).unwrap()).collect();
    let wanted: std::collections::HashSet<&[u8]> = traces.iter().map(|trace| &trace[..16]).collect();
    let may_begin: std::collections::HashSet<u16> =
        wanted.iter().map(|trace| u16::from_le_bytes([trace[0], trace[1]])).collect();
    let windows = files.iter().flat_map(|file| file.windows(16));
    let begins = windows.filter(|window| may_begin.contains(&u16::from_le_bytes([window[0], window[1]])));
    begins.filter(|window| wanted.contains(window)).count()
}

struct Running {
    client: Client,
    stop: oneshot::Sender<()>,
    service: JoinHandle<()>,
}

async fn start(folder: &Path) -> Running {
    let mut config = SearchConfig::load(None).unwrap();
    config.embedded.path = folder.join("galleries.sqlite3");
    config.embedded.reserve_bytes = 0;
    config.encoder.url = format!("http://{}", free_address());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let stopped = async move { drop(stopped.await) };
    let service = tokio::spawn(async move { descry_search::serve(listener, config, stopped).await.unwrap() });
    Running { client: SearchServiceClient::connect(url).await.unwrap(), stop, service }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_what_is_deleted_or_replaced_stays_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let model = ComputedModel::named("any");
    let Running { mut client, stop, service } = start(folder.path()).await;
    let gallery = "lobby".to_owned();
    let create = CreateGalleryRequest {
        name: gallery.clone(),
        fingerprint: model.fingerprint.clone(),
        embedding_dimension: DIMENSION as u32,
        ..CreateGalleryRequest::default()
    };
    client.create_gallery(create).await.unwrap();
    let index = |images: Vec<StoredImage>| IndexEmbeddingsRequest {
        gallery: gallery.clone(),
        fingerprint: model.fingerprint.clone(),
        images,
        ..IndexEmbeddingsRequest::default()
    };
    client.index_embeddings(index((0..150).map(|number| image(&model, number, 1)).collect())).await.unwrap();
    let first: Vec<Vec<u8>> = (0..150).flat_map(|number| traces(&model, number, 1)).collect();
    assert!(found(folder.path(), &first) >= first.len(), "all of it is there before");

    // A third is deleted by id, ten of it one by one; others by person; some are replaced, of some what is known.
    let by_ids = |numbers: std::ops::Range<usize>| DeleteImagesRequest {
        gallery: gallery.clone(),
        image_ids: numbers.map(|number| word("image", number, 0)).collect(),
        filter: None,
    };
    client.delete_images(by_ids(0..40)).await.unwrap();
    for number in 40..50 {
        client.delete_images(by_ids(number..number + 1)).await.unwrap();
    }
    let persons =
        Filter { person_ids: (50..80).map(|number| word("person", number, 1)).collect(), ..Filter::default() };
    let by_filter = DeleteImagesRequest { gallery: gallery.clone(), image_ids: Vec::new(), filter: Some(persons) };
    assert_eq!(client.delete_images(by_filter).await.unwrap().into_inner().deleted, 30);
    client.index_embeddings(index((80..110).map(|number| image(&model, number, 2)).collect())).await.unwrap();
    let changes = (110..130).map(|number| {
        let image_id = word("image", number, 0);
        Change { image_id, metadata: Some(metadata(number, 2)) }
    });
    let update = UpdateImagesRequest { gallery: gallery.clone(), changes: changes.collect(), metadata_mask: None };
    client.update_images(update).await.unwrap();

    let of = |numbers: std::ops::Range<usize>| numbers.flat_map(|number| traces(&model, number, 1));
    let mut gone: Vec<Vec<u8>> = of(0..110).collect();
    gone.extend((0..80).map(|number| word("image", number, 0).into_bytes()));
    gone.extend((110..130).flat_map(|number| traces(&model, number, 1)[..4].to_vec()));
    until("what is deleted is overwritten", async || (found(folder.path(), &gone) == 0).then_some(())).await;
    let kept: Vec<Vec<u8>> = of(130..150).collect();
    assert!(found(folder.path(), &kept) >= kept.len(), "what is not deleted is there");

    client.delete_gallery(DeleteGalleryRequest { name: gallery.clone() }).await.unwrap();
    stop.send(()).unwrap();
    drop(client);
    service.await.unwrap();
    let all: Vec<Vec<u8>> =
        (0..150).flat_map(|number| [traces(&model, number, 1), traces(&model, number, 2)].concat()).collect();
    until("the store is closed", async || (found(folder.path(), &all) == 0).then_some(())).await;
}
