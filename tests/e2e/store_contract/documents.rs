//! Promises about the texts that are kept with a gallery.

use super::gallery::{assert_not_found, model};
use super::stand::Stand;
use std::collections::BTreeMap;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

pub(super) async fn documents_are_kept_replaced_and_removed(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    assert!(store.documents(&name).await.unwrap().is_empty());
    assert_eq!(store.document(&name, "plan").await.unwrap(), None);
    store.put_document(&name, "plan", None).await.unwrap();

    let long = "{\"wert\": \"ключ 😀\"}\n".repeat(2_000);
    let kept = [("plan", "first"), ("empty", ""), ("quotes \"'; --", "'"), ("ключ/😀", long.as_str())];
    for (key, value) in kept {
        store.put_document(&name, key, text(value)).await.unwrap();
    }
    store.put_document(&name, "plan", text("second")).await.unwrap();
    assert_eq!(store.document(&name, "plan").await.unwrap(), text("second"));
    assert_eq!(store.document(&name, "Plan").await.unwrap(), None);
    let mut expected: BTreeMap<String, String> =
        kept.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    expected.insert("plan".to_owned(), "second".to_owned());
    assert_eq!(store.documents(&name).await.unwrap(), expected);

    store.put_document(&name, "empty", None).await.unwrap();
    store.put_document(&name, "empty", None).await.unwrap();
    expected.remove("empty");
    assert_eq!(store.documents(&name).await.unwrap(), expected);
}

pub(super) async fn documents_belong_to_one_gallery(stand: Stand) {
    let (store, name, other) = (&stand.store, stand.name("street"), stand.name("yard"));
    for gallery in [&name, &other] {
        store.create_gallery(gallery, &model("a"), 2).await.unwrap();
        store.put_document(gallery, "plan", text(gallery)).await.unwrap();
    }
    store.put_document(&name, "only here", text("x")).await.unwrap();
    store.create_generation(&name, &model("b"), 2).await.unwrap();
    store.activate(&name, 2).await.unwrap();
    store.delete_generation(&name, 1).await.unwrap();
    assert_eq!(store.documents(&name).await.unwrap().len(), 2, "they are not of a generation");
    assert_eq!(store.documents(&other).await.unwrap(), BTreeMap::from([("plan".to_owned(), other.clone())]));

    store.delete_gallery(&name).await.unwrap();
    assert_not_found(store.documents(&name).await, &name);
    assert_eq!(store.document(&other, "plan").await.unwrap(), Some(other.clone()));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    assert!(store.documents(&name).await.unwrap().is_empty(), "they went with their gallery");
}

pub(super) async fn of_instances_that_expect_the_same_one_wins(stand: Stand) {
    let (store, name) = (&stand.store, stand.name("street"));
    store.create_gallery(&name, &model("a"), 2).await.unwrap();
    let generation = store.resolve(&name).await.unwrap();
    let replace = async |expected: Option<&str>, wanted: Option<&str>| {
        store.replace_document(&generation, "plan", expected, wanted.map(str::to_owned)).await.unwrap()
    };
    let kept = async || store.document(&name, "plan").await.unwrap();
    // Nothing is there, whatever is expected.
    assert!(!replace(Some("first"), Some("second")).await && kept().await.is_none());
    assert!(replace(None, None).await && replace(Some("first"), None).await && kept().await.is_none());
    assert!(replace(None, Some("first")).await);
    assert_eq!(kept().await, text("first"));
    assert!(!replace(None, Some("other")).await, "it was there");
    assert!(!replace(Some("Firs"), Some("other")).await && !replace(Some("other"), None).await);
    assert_eq!(kept().await, text("first"));
    let long = "'; -- ключ 😀\n".repeat(1_000);
    assert!(replace(Some("first"), Some(&long)).await && replace(Some(&long), Some("last")).await);
    assert_eq!(kept().await, text("last"));
    assert!(replace(Some("last"), None).await && kept().await.is_none());

    // All at once, from the same state, round after round.
    let mut state: Option<String> = None;
    for round in 0..10 {
        let attempts = (0..8).map(|instance| {
            let (store, generation) = (store.clone(), generation.clone());
            let (state, wanted) = (state.clone(), format!("{round} by {instance}"));
            tokio::spawn(async move {
                let text = Some(wanted.clone());
                let is_won = store.replace_document(&generation, "plan", state.as_deref(), text).await.unwrap();
                is_won.then_some(wanted)
            })
        });
        let mut winners = Vec::new();
        for attempt in attempts.collect::<Vec<_>>() {
            winners.extend(attempt.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        state = kept().await;
        assert_eq!(state.as_ref(), winners.first());
    }
    store.delete_gallery(&name).await.unwrap();
    assert_not_found(store.replace_document(&generation, "plan", None, text("late")).await, &generation.address());
}
