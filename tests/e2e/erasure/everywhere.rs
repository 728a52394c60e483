//! One person is erased with `descry erase`, and looked for wherever the service and its user keep anything.

use super::GALLERY;
use super::stand::{Service, Stand, holding};
use crate::services::demo_images;
use crate::stands::Client;
use crate::stands::commands::{fail, last_json, succeed};
use crate::stands::crops::text;
use crate::stands::stored::stored_images;
use descry_model::sha256_hex;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{
    CreateWatchRequest, Filter, GetGalleryStatisticsRequest, GroupBy, ListWatchesRequest, QueryPart, RefineRequest,
    SearchRequest, WatchMatchesRequest, search_request,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

const PEOPLE: usize = 4;
const IMAGES_OF_EACH: usize = 4;

/// Who is erased. No text that a service writes holds these letters by chance.
const ERASED: &str = "zqxj-erased";

fn person_id(number: usize) -> String {
    if number == 1 { ERASED.to_owned() } else { format!("wvyk-kept-{number}") }
}

/// Crops of four people on two cameras, each person a track, with what is known of them beside.
struct Files {
    crops: PathBuf,
    metadata: PathBuf,
    journal: PathBuf,
    ids_of_erased: BTreeSet<String>,
    /// All that names the person: ids, track and the hashes of the files.
    names: Vec<String>,
}

impl Files {
    fn write(stand: &Stand) -> Self {
        let (crops, metadata) = (stand.path("crops"), stand.path("crops.csv"));
        fs::create_dir(&crops).unwrap();
        let mut csv = "image_id,person_id,camera_id,track_id\n".to_owned();
        let (mut ids_of_erased, mut names) = (BTreeSet::new(), vec![ERASED.to_owned(), "zqxj-track".to_owned()]);
        for (number, image) in demo_images(PEOPLE * IMAGES_OF_EACH).into_iter().enumerate() {
            let person = number / IMAGES_OF_EACH;
            let of_erased = person == 1;
            let stem = if of_erased { "zqxj-image" } else { "wvyk-image" };
            let image_id = format!("{stem}-{number}.jpg");
            let track = if of_erased { "zqxj-track".to_owned() } else { format!("wvyk-track-{person}") };
            csv.push_str(&format!("{image_id},{},camera-{},{track}\n", person_id(person), number % 2));
            fs::write(crops.join(&image_id), &image.content).unwrap();
            if of_erased {
                names.push(sha256_hex(&image.content));
                ids_of_erased.insert(image_id);
            }
        }
        names.push("zqxj-image".to_owned());
        fs::write(&metadata, csv).unwrap();
        Self { crops, metadata, journal: stand.path("lobby.journal"), ids_of_erased, names }
    }

    /// Indexes the folder; the numbers of images that were indexed, unchanged, refused as erased, let back, and failed.
    fn index(&self, service: &Service, more: &[&str]) -> [u64; 5] {
        let (crops, metadata, journal) = (text(&self.crops), text(&self.metadata), text(&self.journal));
        let arguments = ["index", &crops, "--gallery", GALLERY, "--server", &service.url, "--metadata", &metadata];
        let printed = succeed(&[&arguments[..], &["--journal", &journal, "--json"], more].concat());
        let report = last_json(&printed);
        ["indexed", "unchanged", "erased", "let_back", "failures"].map(|field| report[field].as_u64().unwrap())
    }
}

async fn watch(client: &mut Client, name: &str, what: What, filter: Option<Filter>) {
    let parts = vec![QueryPart { what: Some(what), weight: Some(1.0) }];
    let (gallery, name) = (GALLERY.to_owned(), name.to_owned());
    client.create_watch(CreateWatchRequest { gallery, name, parts, min_score: -1.0, filter }).await.unwrap();
}

fn search(group_by: GroupBy) -> SearchRequest {
    SearchRequest {
        gallery: GALLERY.to_owned(),
        query: Some(search_request::Query::Text("somebody".to_owned())),
        limit: 100,
        group_by: group_by.into(),
        ..SearchRequest::default()
    }
}

/// Everything that the service tells of its gallery, as one text.
async fn all_told(client: &mut Client) -> String {
    let mut told = String::new();
    for group_by in [GroupBy::Image, GroupBy::Person, GroupBy::Track] {
        let reply = client.search(search(group_by)).await.unwrap().into_inner();
        assert!(reply.hits.len() >= 3, "{reply:?}");
        told.push_str(&format!("{reply:?}"));
    }
    let accepted_ids = vec!["wvyk-image-0.jpg".to_owned()];
    let refine = RefineRequest { search: Some(search(GroupBy::Image)), accepted_ids, ..RefineRequest::default() };
    told.push_str(&format!("{:?}", client.refine(refine).await.unwrap().into_inner()));
    for address in [GALLERY.to_owned(), format!("{GALLERY}.2")] {
        told.push_str(&format!("{:?}", stored_images(client, &address).await));
    }
    let statistics = GetGalleryStatisticsRequest { gallery: GALLERY.to_owned(), limit: 0 };
    told.push_str(&format!("{:?}", client.get_gallery_statistics(statistics).await.unwrap()));
    let list = ListWatchesRequest { gallery: GALLERY.to_owned(), ..ListWatchesRequest::default() };
    told.push_str(&format!("{:?}", client.list_watches(list).await.unwrap()));
    let since = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let names = vec!["everybody".to_owned()];
    let follow = WatchMatchesRequest { gallery: GALLERY.to_owned(), names, since, ..WatchMatchesRequest::default() };
    let mut matches = client.watch_matches(follow).await.unwrap().into_inner();
    for _ in 0..(PEOPLE - 1) * IMAGES_OF_EACH {
        told.push_str(&format!("{:?}", matches.message().await.unwrap()));
    }
    told
}

struct Erased {
    stand: Stand,
    service: Service,
    files: Files,
    receipt: Value,
}

/// A gallery of two generations and four watches, from which one person was erased.
async fn erased() -> Erased {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let mut client = service.client.clone();
    stand.create(&mut client).await;
    let files = Files::write(&stand);
    watch(&mut client, "everybody", What::Text("anybody".to_owned()), None).await;
    assert_eq!(files.index(&service, &[]), [16, 0, 0, 0, 0]);
    let only = Filter { person_ids: vec![ERASED.to_owned()], ..Filter::default() };
    watch(&mut client, "by-person", What::Text("anybody".to_owned()), Some(only)).await;
    let first = files.ids_of_erased.first().unwrap().clone();
    watch(&mut client, "by-image", What::ImageId(first.clone()), None).await;
    let content = fs::read(files.crops.join(&first)).unwrap();
    watch(&mut client, "by-picture", What::Image(content.into()), None).await;
    let told = all_told(&mut client).await;
    assert!(told.contains(ERASED) && told.contains("zqxj-image") && told.contains("zqxj-track"));

    let (journal, receipt) = (text(&files.journal), text(&stand.path("receipt.json")));
    let arguments = ["erase", "--gallery", GALLERY, "--person", ERASED, "--server", &service.url];
    let (_, complaint) = fail(&arguments);
    assert!(complaint.contains("--yes") && complaint.contains("4 images go"), "{complaint}");
    let printed = succeed(&[&arguments[..], &["--journal", &journal, "--receipt", &receipt, "--yes"]].concat());
    for words in ["gallery lobby: 4 images erased", "4 from generation 1, 4 from generation 2", "4 notes taken out"] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let mode = fs::metadata(&receipt).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let receipt = serde_json::from_str(&fs::read_to_string(receipt).unwrap()).unwrap();
    Erased { stand, service, files, receipt }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_is_erased_is_told_of_nowhere_and_does_not_come_back() {
    let Erased { stand, service, files, receipt } = erased().await;
    let of_gallery = &receipt["galleries"][0];
    let told: BTreeSet<String> = serde_json::from_value(of_gallery["image_ids"].clone()).unwrap();
    assert_eq!(told, files.ids_of_erased);
    assert_eq!(of_gallery["watches"], serde_json::json!(["by-image", "by-person", "by-picture"]));
    assert_eq!((&of_gallery["marks"], &of_gallery["images"]), (&9.into(), &4.into()));

    let mut client = service.client.clone();
    let told = all_told(&mut client).await;
    assert!(files.names.iter().all(|name| !told.contains(name)), "{told}");
    let export = stand.path("lobby.parquet");
    succeed(&["gallery", "export", GALLERY, &text(&export), "--server", &service.url]);
    assert_eq!(holding(&export, &files.names), Vec::<String>::new());
    assert_eq!(holding(&files.journal, &files.names), Vec::<String>::new());
    assert_eq!(holding(&stand.path("service.log"), &files.names), Vec::<String>::new());
    let log = fs::read_to_string(stand.path("service.log")).unwrap();
    let erasure_id = of_gallery["erasure_id"].as_str().unwrap();
    assert!(log.lines().any(|line| line.contains(erasure_id) && line.contains("INFO")), "{log}");
    // What the audit log says of the erasure itself names nobody either.
    let audit = fs::read_dir(stand.path("audit/one")).unwrap().map(|entry| entry.unwrap().path());
    let lines: Vec<String> = audit
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.contains("EraseImages"))
        .collect();
    // Two previews, and the erasure: that it begins, and how it ended.
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| files.names.iter().all(|name| !line.contains(name))), "{lines:?}");
    assert!(lines[3].contains(erasure_id) && lines[3].contains("\"marks\":9"), "{}", lines[3]);

    // A later run of the same job brings nothing back, says so, and is no failure.
    for _ in 0..2 {
        assert_eq!(files.index(&service, &[]), [0, 0, 4, 0, 0]);
    }
    assert_eq!(holding(&files.journal, &files.names), Vec::<String>::new());
    assert_eq!(stored_images(&mut client, GALLERY).await.len(), 12);
    let crops = text(&files.crops);
    let printed = succeed(&["index", &crops, "--gallery", GALLERY, "--server", &service.url]);
    assert!(printed.contains("4 not taken") && printed.contains("--force-erased"), "{printed}");
    assert!(!printed.contains("zqxj"), "{printed}");
    // Unless it is forced.
    assert_eq!(files.index(&service, &["--force-erased"]), [4, 0, 0, 4, 0]);
    assert_eq!(stored_images(&mut client, &format!("{GALLERY}.2")).await.len(), 16);
    let told = all_told(&mut client).await;
    assert!(told.contains(ERASED), "{told}");
    fs::remove_file(&files.journal).unwrap();
    assert_eq!(files.index(&service, &[]), [0, 16, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_does_not_hold_what_was_erased() {
    let Erased { stand, service, files, receipt } = erased().await;
    assert_eq!(receipt["galleries"][0]["pending"], serde_json::json!([]));
    assert_eq!(holding(&stand.path("data"), &files.names), Vec::<String>::new());
    let data = stand.path("data");
    assert!(
        !holding(&data, &["wvyk-image-0.jpg".to_owned()]).is_empty(),
        "what is kept is found, so what is not would be"
    );
    service.kill();
    assert_eq!(holding(&data, &files.names), Vec::<String>::new());
}
