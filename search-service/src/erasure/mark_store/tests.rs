use super::*;
use descry_model::Fingerprint;
use descry_store::{EmbeddedConfig, EmbeddedStore};
use std::path::PathBuf;

struct Stand {
    store: Arc<dyn VectorStore>,
    gallery: Generation,
    folder: tempfile::TempDir,
}

impl Stand {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("galleries.sqlite3");
        let store = EmbeddedStore::open(path, EmbeddedConfig::default()).await.unwrap();
        let fingerprint: Fingerprint = "f".repeat(64).parse().unwrap();
        let gallery = store.create_gallery("lobby", &fingerprint, 2).await.unwrap();
        Self { store: Arc::new(store), gallery, folder }
    }

    /// A service of its own.
    fn service(&self, key: Option<&str>) -> MarkStore {
        let path = key.map(|digits| {
            let path = self.folder.path().join(format!("key-{digits}"));
            std::fs::write(&path, digits.repeat(KEY_BYTES)).unwrap();
            path
        });
        MarkStore::open(Arc::clone(&self.store), &path.unwrap_or_default()).unwrap()
    }
}

fn persons(names: &[String]) -> Vec<Thing<'_>> {
    names.iter().map(|name| Thing::Person(name)).collect()
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("person-{number}")).collect()
}

#[tokio::test]
async fn what_one_instance_marks_another_one_knows_at_once() {
    let stand = Stand::new().await;
    let (first, second) = (stand.service(None), stand.service(None));
    assert!(second.of(&stand.gallery).await.unwrap().version.is_none());
    let all = names(0..200);
    assert_eq!(first.add(&stand.gallery, &persons(&all)).await.unwrap(), 200);
    let known = second.of(&stand.gallery).await.unwrap();
    assert!(persons(&all).into_iter().all(|thing| known.contains(thing)));
    assert!(!known.contains(Thing::Person("person-200")) && !known.contains(Thing::Image("person-1")));
    assert!(Arc::ptr_eq(&known, &second.of(&stand.gallery).await.unwrap()), "what is the same is not read again");
    assert_eq!(first.add(&stand.gallery, &persons(&all[..7])).await.unwrap(), 7);
    assert!(
        !known.is_version_of(&second.of(&stand.gallery).await.unwrap()),
        "who wrote them may not have come to tell others"
    );
    assert_eq!(second.take_away(&stand.gallery, &persons(&names(198..205))).await.unwrap(), 2);
    let known = first.of(&stand.gallery).await.unwrap();
    assert!(known.contains(Thing::Person("person-197")) && !known.contains(Thing::Person("person-198")));
    assert_eq!(second.take_away(&stand.gallery, &persons(&names(198..205))).await.unwrap(), 0);
    // Nothing that lies in the store is a name.
    let documents = stand.store.documents(&stand.gallery).await.unwrap();
    assert!(documents.len() > 10 && documents.values().all(|text| !text.contains("person")), "{documents:?}");
}

#[tokio::test]
async fn all_marks_of_instances_at_work_at_once_are_kept() {
    let stand = Stand::new().await;
    let services: Vec<MarkStore> = (0..4).map(|_| stand.service(None)).collect();
    let all: Vec<Vec<String>> = (0..4).map(|number| names(number * 25..(number + 1) * 25)).collect();
    let adding = services.iter().zip(&all).map(|(service, names)| {
        let gallery = &stand.gallery;
        async move { service.add(gallery, &persons(names)).await.unwrap() }
    });
    futures::future::join_all(adding).await;
    let known = stand.service(None).of(&stand.gallery).await.unwrap();
    assert_eq!(known.len(), 100);
    assert!(all.iter().flat_map(|names| persons(names)).all(|thing| known.contains(thing)));
}

#[tokio::test]
async fn marks_of_a_key_that_is_not_there_are_no_reason_to_write() {
    let stand = Stand::new().await;
    let erased = names(0..1);
    stand.service(Some("0f")).add(&stand.gallery, &persons(&erased)).await.unwrap();
    for other in [None, Some("f0")] {
        let refused = stand.service(other).of(&stand.gallery).await.err().unwrap().to_string();
        assert!(refused.contains("erasure.key_file"), "{refused}");
    }
    // Beside it the key of the gallery counts on, and the other way round.
    let stand = Stand::new().await;
    stand.service(None).add(&stand.gallery, &persons(&erased)).await.unwrap();
    let later = stand.service(Some("0f"));
    assert!(later.of(&stand.gallery).await.unwrap().contains(Thing::Person("person-0")));
    later.add(&stand.gallery, &persons(&names(1..2))).await.unwrap();
    let known = stand.service(Some("0f")).of(&stand.gallery).await.unwrap();
    assert!(persons(&names(0..2)).into_iter().all(|thing| known.contains(thing)));
    assert_eq!(later.take_away(&stand.gallery, &persons(&names(0..2))).await.unwrap(), 2);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_taken_for_nothing() {
    let stand = Stand::new().await;
    let service = stand.service(None);
    service.add(&stand.gallery, &persons(&names(0..100))).await.unwrap();
    let documents = stand.store.documents(&stand.gallery).await.unwrap();
    for (key, text) in documents {
        let torn = text[..text.len() - 1].to_owned();
        stand.store.put_document(&stand.gallery, &key, Some(torn)).await.unwrap();
        let refused = stand.service(None).of(&stand.gallery).await.err();
        let refused = refused.unwrap_or_else(|| panic!("{key}")).to_string();
        assert!(refused.contains(&format!("{key:?}")), "{refused}");
        stand.store.put_document(&stand.gallery, &key, Some(text)).await.unwrap();
    }
    let limited = MarkStore { max_marks: 100, ..stand.service(None) };
    let refused = limited.add(&stand.gallery, &persons(&names(100..101))).await.unwrap_err().to_string();
    assert!(refused.contains("101 marks") && refused.contains("100 are allowed"), "{refused}");
    limited.add(&stand.gallery, &persons(&names(0..1))).await.unwrap();
    let missing = MarkStore::open(Arc::clone(&stand.store), &PathBuf::from("/nowhere")).err().unwrap();
    assert!(missing.to_string().contains("erasure.key_file"));
}

#[tokio::test]
async fn a_gallery_that_is_made_anew_begins_without() {
    let stand = Stand::new().await;
    let service = stand.service(None);
    service.add(&stand.gallery, &persons(&names(0..1))).await.unwrap();
    assert_eq!(service.of(&stand.gallery).await.unwrap().len(), 1);
    stand.store.delete_gallery("lobby").await.unwrap();
    let fingerprint = stand.gallery.fingerprint.clone();
    let anew = stand.store.create_gallery("lobby", &fingerprint, 2).await.unwrap();
    assert_eq!(service.of(&anew).await.unwrap().len(), 0);
    service.forget("lobby");
}
