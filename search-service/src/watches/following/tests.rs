//! Streams over a store of one file, whose writes have numbers, with clocks that go as they like.

use super::*;
use crate::watches::put_watch;
use descry_store::{EmbeddedConfig, EmbeddedStore, GalleryImage, ImageMetadata};
use tempfile::TempDir;

const NOON: i64 = 1_800_000_000_000;

struct Stand {
    store: Arc<dyn VectorStore>,
    gallery: Generation,
    _folder: TempDir,
}

impl Stand {
    /// A gallery with a watch that every image matches.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig { reserve_bytes: 0, ..EmbeddedConfig::default() };
        let store = EmbeddedStore::open(folder.path().join("galleries.sqlite3"), config).await.unwrap();
        let gallery = store.create_gallery("lobby", &Fingerprint::of_parts([]), 2).await.unwrap();
        let stand = Self { store: Arc::new(store), gallery, _folder: folder };
        stand.watch("all", NOON).await;
        stand
    }

    fn next(&self) -> u64 {
        let WriteOrder::Numbered { next } = self.store.write_order() else { panic!("its writes have numbers") };
        next
    }

    async fn watch(&self, name: &str, created_at_ms: i64) {
        let watch = Watch {
            name: name.to_owned(),
            embedding: vec![1.0, 0.0],
            fingerprint: self.gallery.fingerprint.to_string(),
            min_score: -1.0,
            filter: SearchFilter::default(),
            created_at_ms,
            created_at_write: Some(self.next()),
        };
        put_watch(&*self.store, &self.gallery, &watch).await.unwrap();
    }

    async fn write(&self, generation: &Generation, ids: &[&str], indexed_at_ms: i64) {
        let image = |id: &&str| GalleryImage {
            image_id: (*id).to_owned(),
            embedding: Embedding::normalized(vec![1.0, 0.0]).unwrap(),
            metadata: ImageMetadata { indexed_at_ms, ..ImageMetadata::default() },
        };
        self.store.upsert(generation, &generation.fingerprint, ids.iter().map(image).collect()).await.unwrap();
    }

    fn follow(&self, since_ms: Option<i64>, after: Option<u64>) -> Stream {
        let following = Following {
            gallery: "lobby".to_owned(),
            names: Vec::new(),
            since_ms,
            after,
            with_positions: true,
            poll_interval: Duration::from_millis(10),
        };
        let (sender, receiver) = mpsc::channel(4);
        let stop = CancellationToken::new();
        tokio::spawn(follow(Arc::clone(&self.store), following, sender, stop.clone()));
        Stream { receiver, position: None, _stop: stop.drop_guard() }
    }
}

struct Stream {
    receiver: mpsc::Receiver<Result<Found, SearchError>>,
    position: Option<u64>,
    _stop: tokio_util::sync::DropGuard,
}

impl Stream {
    /// The matches up to a position, as watches and images.
    async fn until(&mut self, position: u64) -> Vec<String> {
        let mut found = Vec::new();
        while self.position.is_none_or(|at| at < position) {
            match self.receiver.recv().await.unwrap().unwrap() {
                Found::Match(found_match) => found.push(format!("{} {}", found_match.watch, found_match.hit.image_id)),
                Found::Position(at) => self.position = Some(at),
            }
        }
        found
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_loses_no_match() {
    let stand = Stand::new().await;
    let mut stream = stand.follow(None, None);
    stand.write(&stand.gallery, &["before"], NOON).await;
    assert_eq!(stream.until(stand.next()).await, ["all before"]);
    for (id, back_ms) in [("a minute", 61_000), ("an hour", 3_600_000), ("a year", 400 * 86_400_000)] {
        stand.write(&stand.gallery, &[id], NOON - back_ms).await;
        assert_eq!(stream.until(stand.next()).await, [format!("all {id}")]);
    }
    // Forward for a moment, and back.
    stand.write(&stand.gallery, &["ahead"], NOON + 400 * 86_400_000).await;
    stand.write(&stand.gallery, &["right again"], NOON).await;
    assert_eq!(stream.until(stand.next()).await, ["all right again", "all ahead"]);
}

#[tokio::test]
async fn a_stream_goes_on_behind_its_position_whatever_the_clock_says() {
    let stand = Stand::new().await;
    stand.write(&stand.gallery, &["1"], NOON).await;
    let position = stand.next();
    stand.write(&stand.gallery, &["2"], NOON - 86_400_000).await;
    let mut stream = stand.follow(Some(NOON), Some(position));
    assert_eq!(stream.until(stand.next()).await, ["all 2"]);
    // A position that this store never reached: the time counts instead.
    let mut stream = stand.follow(Some(NOON - 86_400_000), Some(position + 1_000));
    assert_eq!(stream.until(stand.next()).await, ["all 2", "all 1"]);
}

#[tokio::test]
async fn a_stream_from_a_time_goes_back_and_then_on() {
    let stand = Stand::new().await;
    stand.write(&stand.gallery, &["old"], NOON - 10).await;
    stand.write(&stand.gallery, &["new", "newer"], NOON + 10).await;
    let ahead = NOON + 400 * 86_400_000;
    stand.write(&stand.gallery, &["by a clock ahead"], ahead).await;
    let mut stream = stand.follow(Some(NOON), None);
    stand.write(&stand.gallery, &["later"], NOON - 20).await;
    let found = stream.until(stand.next()).await;
    assert_eq!(found, ["all new", "all newer", "all by a clock ahead", "all later"]);
}

#[tokio::test]
async fn a_watch_matches_what_is_written_after_it() {
    let stand = Stand::new().await;
    stand.write(&stand.gallery, &["1"], NOON).await;
    // The clock goes back right after the watch was made.
    stand.watch("late", NOON + 1_000).await;
    stand.write(&stand.gallery, &["2"], NOON - 1_000).await;
    let mut stream = stand.follow(None, Some(0));
    assert_eq!(stream.until(stand.next()).await, ["all 2", "late 2", "all 1"]);
}

#[tokio::test]
async fn a_generation_that_is_filled_makes_no_image_new() {
    let stand = Stand::new().await;
    stand.write(&stand.gallery, &["1"], NOON).await;
    let mut stream = stand.follow(None, None);
    let other_model = Fingerprint::of_parts([("model", b"2".as_slice())]);
    let next = stand.store.create_generation("lobby", &other_model, 2).await.unwrap();
    stand.write(&next, &["1"], NOON).await;
    let WriteOrder::Numbered { next: number } = stand.store.write_order() else { panic!() };
    assert_eq!(number, 2, "it is the same write");
    stand.store.activate(&next).await.unwrap();
    let watch = Watch {
        name: "anew".to_owned(),
        embedding: vec![1.0, 0.0],
        fingerprint: other_model.to_string(),
        min_score: -1.0,
        filter: SearchFilter::default(),
        created_at_ms: 0,
        created_at_write: Some(0),
    };
    put_watch(&*stand.store, &next, &watch).await.unwrap();
    stand.write(&next, &["2"], NOON).await;
    assert_eq!(stream.until(stand.next()).await, ["anew 2"]);
}

#[tokio::test]
async fn many_images_are_looked_at_in_parts() {
    let stand = Stand::new().await;
    let ids: Vec<String> = (0..2_500).map(|number| format!("{number:05}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    stand.write(&stand.gallery, &ids, NOON).await;
    let mut stream = stand.follow(None, Some(1));
    let mut found = stream.until(stand.next()).await;
    assert_eq!(found.len(), 2_500);
    found.dedup();
    assert_eq!(found.len(), 2_500);
    // Replaced ones are new, those of which more is known are not.
    stand.write(&stand.gallery, &ids[..1], NOON - 5).await;
    let known = ImageMetadata { person_id: Some("ann".to_owned()), ..ImageMetadata::default() };
    stand.store.update_metadata(&stand.gallery, vec![(ids[1].to_owned(), known)]).await.unwrap();
    stand.write(&stand.gallery, &["last"], NOON).await;
    assert_eq!(stream.until(stand.next()).await, ["all 00000", "all last"]);
}
