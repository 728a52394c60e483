//! The life of a gallery, from its creation to its end, in a service that cannot encode anything.

use crate::stands::Client;
use crate::stands::alone::SearchAlone;
use crate::stands::commands::{fail, last_json, succeed};
use crate::stands::computed::{ComputedModel, DIMENSION};
use crate::stands::stored::stored_images;
use descry_proto::search::v1::{ImageMetadata, IndexEmbeddingsRequest, StoredImage};
use prost_types::Timestamp;
use serde_json::{Value, json};
use std::fs;
use std::time::SystemTime;

const DAY_MS: u64 = 86_400_000;

/// `descry gallery …` on a service.
struct Galleries<'a> {
    server: &'a str,
}

impl Galleries<'_> {
    fn arguments<'b>(&'b self, arguments: &[&'b str]) -> Vec<&'b str> {
        [&["gallery"][..], arguments, &["--server", self.server]].concat()
    }

    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        succeed(&self.arguments(arguments))
    }

    #[track_caller]
    fn fail(&self, arguments: &[&str]) -> String {
        fail(&self.arguments(arguments)).1
    }

    #[track_caller]
    fn show(&self) -> Value {
        last_json(&self.succeed(&["show", "lobby", "--json"]))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gallery_is_made_kept_in_order_and_deleted() {
    let service = SearchAlone::start(|_| {}).await;
    let galleries = Galleries { server: &service.url };
    let (model, other) = (ComputedModel::named("any"), ComputedModel::named("other"));
    assert_eq!(last_json(&galleries.succeed(&["list", "--json"])), json!([]));
    let dimension = DIMENSION.to_string();
    let create = ["create", "lobby", "--attribute", "weather", "--dimension", &dimension, "--fingerprint"];
    let kept = ["--retain", "30d", "--retain-camera", "c1=7d"];
    let said = galleries.succeed(&[&create[..], &[model.fingerprint.as_str()], &kept[..]].concat());
    assert!(said.contains("gallery lobby") && said.contains(&model.fingerprint[..12]), "{said}");
    let taken = galleries.fail(&[&create[..], &[other.fingerprint.as_str()]].concat());
    assert!(taken.contains("lobby") && taken.contains(&model.fingerprint), "{taken}");

    let mut client = service.client().await;
    write(&mut client, &model).await;
    let listed = last_json(&galleries.succeed(&["list", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["name"], &listed[0]["images"]), (&json!("lobby"), &json!(10)));
    let shown = galleries.show();
    for (field, expected) in [
        ("images", json!(10)),
        ("fingerprint", json!(model.fingerprint)),
        ("embedding_dimension", json!(DIMENSION)),
        ("generation", json!(1)),
        ("active_generation", json!(1)),
        ("index_state", json!("exact")),
        ("calibrated", json!(false)),
        ("retention", json!({"default_ms": 30 * DAY_MS, "camera_ms": {"c1": 7 * DAY_MS}})),
    ] {
        assert_eq!(shown[field], expected, "{field}");
    }
    assert_eq!(shown["settings"]["indexed_attributes"], json!(["weather"]));
    assert_eq!(shown["generations"].as_array().unwrap().len(), 1);
    let told = galleries.succeed(&["show", "lobby"]);
    assert!(told.contains("30d, c1 7d") && told.contains("weather") && told.contains("10, about"), "{told}");

    // What is not named stays.
    galleries.succeed(&["retain", "lobby", "--default", "forever", "--camera", "c2=12h"]);
    let kept = json!({"default_ms": 0, "camera_ms": {"c1": 7 * DAY_MS, "c2": DAY_MS / 2}});
    assert_eq!(galleries.show()["retention"], kept);

    update(&galleries, &mut client).await;
    let said = galleries.succeed(&["remove", "lobby", "--image", "01.jpg", "--image", "nobody.jpg"]);
    assert!(said.contains("removed 1 images") && said.contains("1 of the images named"), "{said}");
    // 01.jpg is gone, 02.jpg has come to this camera, 03.jpg has left it.
    let said = galleries.succeed(&["remove", "lobby", "--camera", "c2"]);
    assert!(said.contains("removed 4 images"), "{said}");
    let refused = galleries.fail(&["remove", "lobby"]);
    assert!(refused.contains("--image"), "{refused}");
    let left: Vec<String> = stored_images(&mut client, "lobby").await.into_keys().collect();
    assert_eq!(left, ["00.jpg", "03.jpg", "04.jpg", "06.jpg", "08.jpg"]);

    // Nobody can be asked here.
    let refused = galleries.fail(&["delete", "lobby"]);
    assert!(refused.contains("--yes"), "{refused}");
    assert_eq!(galleries.show()["images"], 5);
    galleries.succeed(&["delete", "lobby", "--yes"]);
    assert_eq!(last_json(&galleries.succeed(&["list", "--json"])), json!([]));
    let gone = galleries.fail(&["show", "lobby"]);
    assert!(gone.contains("lobby"), "{gone}");
}

/// Ten images of today, of two cameras in turn.
async fn write(client: &mut Client, model: &ComputedModel) {
    let image = |number: usize| {
        let image_id = format!("{number:02}.jpg");
        let metadata = ImageMetadata {
            person_id: Some("7".to_owned()),
            camera_id: Some(["c1", "c2"][number % 2].to_owned()),
            captured_at: Some(Timestamp::from(SystemTime::now())),
            attributes: [("path".to_owned(), format!("/crops/{image_id}"))].into(),
            ..ImageMetadata::default()
        };
        let embedding = model.embedding(image_id.as_bytes());
        StoredImage { image_id, metadata: Some(metadata), content_sha256: String::new(), embedding }
    };
    let images = (0..10).map(image).collect();
    let (gallery, fingerprint) = ("lobby".to_owned(), model.fingerprint.clone());
    let request = IndexEmbeddingsRequest { gallery, fingerprint, images, ..Default::default() };
    assert_eq!(client.index_embeddings(request).await.unwrap().into_inner().results.len(), 10);
}

/// A record replaces everything that was known, except where the file is.
async fn update(galleries: &Galleries<'_>, client: &mut Client) {
    let before = stored_images(client, "lobby").await;
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records.csv");
    let csv = "image_id,person_id,camera_id,weather\n02.jpg,8,c2,rain\n03.jpg,9,,sun\nnobody.jpg,1,c1,sun\n";
    fs::write(&records, csv).unwrap();
    let update = ["update", "lobby", "--metadata", records.to_str().unwrap()];
    let said = galleries.succeed(&update);
    assert!(said.contains("2 of 3 records"), "{said}");
    // What a record does not say is kept, until it is to be cleared.
    let kept = stored_images(client, "lobby").await;
    for image_id in ["02.jpg", "03.jpg"] {
        let captured_at = |images: &std::collections::BTreeMap<String, StoredImage>| {
            images[image_id].metadata.as_ref().unwrap().captured_at
        };
        assert_eq!(captured_at(&kept), captured_at(&before), "{image_id}");
        assert!(captured_at(&kept).is_some());
    }
    galleries.succeed(&[&update[..], &["--clear-metadata"]].concat());
    let after = stored_images(client, "lobby").await;
    for (image_id, person_id, camera_id, weather) in [("02.jpg", "8", Some("c2"), "rain"), ("03.jpg", "9", None, "sun")]
    {
        let attributes = [("path", format!("/crops/{image_id}")), ("weather", weather.to_owned())];
        let expected = ImageMetadata {
            person_id: Some(person_id.to_owned()),
            camera_id: camera_id.map(str::to_owned),
            captured_at: None,
            attributes: attributes.map(|(name, value)| (name.to_owned(), value)).into(),
            indexed_at: before[image_id].metadata.as_ref().unwrap().indexed_at,
            ..ImageMetadata::default()
        };
        assert_eq!(after[image_id].metadata.as_ref(), Some(&expected), "{image_id}");
        assert_eq!(after[image_id].embedding, before[image_id].embedding);
    }
    assert_eq!(after["04.jpg"], before["04.jpg"]);
}
