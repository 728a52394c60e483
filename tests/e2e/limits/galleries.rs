//! Galleries and their calibration.

use super::check;
use crate::queries::{CAPTION, Lobby};
use descry_proto::search::v1::calibrate_request::Caption;
use descry_proto::search::v1::{
    CalibrateRequest, CreateGalleryRequest, DeleteGalleryRequest, GallerySettings, GetGalleryRequest,
    ListGalleriesRequest, QdrantSettings, Retention, SearchAccuracy, SetRetentionRequest,
};
use tonic::Code;

pub(super) async fn settings_and_names(lobby: &mut Lobby) {
    let declaring = |names: &[&str]| {
        let indexed_attributes = names.iter().map(|name| (*name).to_owned()).collect();
        let settings = GallerySettings { indexed_attributes, ..GallerySettings::default() };
        CreateGalleryRequest { name: "new".to_owned(), settings: Some(settings), ..CreateGalleryRequest::default() }
    };
    let set = |qdrant: QdrantSettings| {
        let settings = GallerySettings { qdrant: Some(qdrant), ..GallerySettings::default() };
        CreateGalleryRequest { name: "new".to_owned(), settings: Some(settings), ..CreateGalleryRequest::default() }
    };
    let usual = QdrantSettings::default;
    let of_model = |fingerprint: &str, embedding_dimension: u32| CreateGalleryRequest {
        name: "new".to_owned(),
        fingerprint: fingerprint.to_owned(),
        embedding_dimension,
        ..CreateGalleryRequest::default()
    };
    let model = "5a".repeat(32);
    let names: Vec<String> = (0..65).map(|number| format!("name-{number}")).collect();
    let many: Vec<&str> = names.iter().map(String::as_str).collect();
    let long = "a".repeat(64);
    let of_ef = |hnsw_ef| Some(SearchAccuracy { hnsw_ef: Some(hnsw_ef), ..SearchAccuracy::default() });
    for (request, word) in [
        (declaring(&["weather", "coat.colour"]), "coat.colour"),
        (declaring(&[""]), "indexed_attributes"),
        (declaring(&["größe"]), "größe"),
        (declaring(&["a b"]), "a b"),
        (declaring(&["a[]"]), "a[]"),
        (declaring(&["\""]), "indexed_attributes"),
        (declaring(&[long.as_str()]), "indexed_attributes"),
        (declaring(&["weather", "coat", "weather"]), "twice"),
        (declaring(&many), "65 attributes, at most 64"),
        (set(QdrantSettings { hnsw_m: Some(513), ..usual() }), "settings.qdrant.hnsw_m"),
        (set(QdrantSettings { hnsw_m: Some(u64::MAX), ..usual() }), "settings.qdrant.hnsw_m"),
        (set(QdrantSettings { hnsw_ef_construct: Some(3), ..usual() }), "settings.qdrant.hnsw_ef_construct"),
        (set(QdrantSettings { accuracy: of_ef(0), ..usual() }), "settings.qdrant.accuracy.hnsw_ef"),
        (set(QdrantSettings { shard_number: Some(0), ..usual() }), "settings.qdrant.shard_number"),
        (set(QdrantSettings { replication_factor: Some(65), ..usual() }), "settings.qdrant.replication_factor"),
        (set(QdrantSettings { write_consistency_factor: Some(0), ..usual() }), "write_consistency_factor"),
        (of_model("no fingerprint", 128), "fingerprint"),
        (of_model(&model, 0), "dimension"),
        (of_model(&model, 65_537), "dimension"),
        (of_model(&model, u32::MAX), "dimension"),
    ] {
        check(lobby.client.create_gallery(request).await, Code::InvalidArgument, word);
    }
    for name in ["", "lobby.1", "lobby.2", "lobby.", ".lobby", "Lobby", "a/b", "../lobby", "lobby\0", long.as_str()] {
        let named = CreateGalleryRequest { name: name.to_owned(), ..CreateGalleryRequest::default() };
        check(lobby.client.create_gallery(named).await, Code::InvalidArgument, "gallery");
        let delete = DeleteGalleryRequest { name: name.to_owned() };
        check(lobby.client.delete_gallery(delete).await, Code::InvalidArgument, "gallery");
    }
    // The name belongs to another model.
    let taken = CreateGalleryRequest { name: "lobby".to_owned(), ..of_model(&model, 128) };
    check(lobby.client.create_gallery(taken).await, Code::AlreadyExists, "lobby");

    let camera_ms = (0..10_001).map(|number| (format!("c{number}"), 5)).collect();
    let set = SetRetentionRequest {
        gallery: "lobby".to_owned(),
        retention: Some(Retention { default_ms: 0, camera_ms }),
        validate_only: false,
    };
    check(lobby.client.set_retention(set).await, Code::InvalidArgument, "retention.camera_ms");
    for (name, code) in [("lobby.999", Code::NotFound), ("lobby.0", Code::InvalidArgument)] {
        let request = GetGalleryRequest { name: name.to_owned() };
        check(lobby.client.get_gallery(request).await, code, "gallery");
    }
    let listed = lobby.client.list_galleries(ListGalleriesRequest::default()).await.unwrap().into_inner().galleries;
    assert_eq!(listed.iter().map(|gallery| gallery.name.as_str()).collect::<Vec<_>>(), ["lobby"]);
    assert_eq!(listed[0].retention, Some(Retention::default()));
}

pub(super) async fn captions(lobby: &mut Lobby) {
    let captions = |gallery: &str, text: &str, count: usize| CalibrateRequest {
        gallery: gallery.to_owned(),
        captions: vec![Caption { text: text.to_owned(), person_id: None }; count],
    };
    let long = "a".repeat(20_000);
    for (request, code, word) in [
        (captions("lobby", CAPTION, 0), Code::InvalidArgument, "at least 20"),
        (captions("lobby", "a man", 10_001), Code::InvalidArgument, "10001 captions, at most 10000"),
        (captions("lobby", &long, 30), Code::InvalidArgument, "captions[0].text"),
        (captions("lobby", " ", 30), Code::InvalidArgument, "].text"),
        (captions("lobby.1", CAPTION, 30), Code::InvalidArgument, "gallery"),
        (captions("nowhere", CAPTION, 30), Code::NotFound, "nowhere"),
    ] {
        check(lobby.client.calibrate(request).await, code, word);
    }
}
