//! Services that are killed in the middle of an erasure. Asking again ends it, and nothing comes back.

use super::stand::Stand;
use super::{GALLERY, image, person, write, writing};
use crate::stands::random::Random;
use crate::stands::stored::stored_images;

const SEEDS: u64 = 4;

/// Of these every second one is erased.
const IMAGES: u64 = 600;

/// Longer than an erasure of so many takes.
const MOST_MS: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_was_killed_is_finished_by_asking_again() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let stand = Stand::new().await;
        let service = stand.start().await;
        let mut client = service.client.clone();
        stand.create(&mut client).await;
        let [first, _] = &stand.models;
        let images: Vec<_> = (0..IMAGES)
            .map(|number| {
                let who = if number % 2 == 1 { "erased" } else { "kept" };
                image(first, &format!("{number:03}.jpg"), (who, "", ""), &format!("content {number}"))
            })
            .collect();
        for chunk in images.chunks(200) {
            write(&mut client, writing(first, chunk.to_vec())).await;
        }
        let mut erasing = client.clone();
        let begun = tokio::spawn(async move { erasing.erase_images(person("erased")).await });
        tokio::time::sleep(random.moment(MOST_MS)).await;
        service.kill();
        let was_answered = begun.await.unwrap().is_ok();

        let service = stand.start().await;
        let mut client = service.client.clone();
        if !was_answered {
            client.erase_images(person("erased")).await.unwrap();
        }
        for address in [GALLERY.to_owned(), format!("{GALLERY}.2")] {
            let stored = stored_images(&mut client, &address).await;
            assert!(stored.values().all(|image| image.metadata.as_ref().unwrap().person_id() == "kept"), "{address}");
        }
        assert_eq!(stored_images(&mut client, GALLERY).await.len() as u64, IMAGES / 2);
        // However much of it was done before the kill, all is marked.
        for chunk in images.chunks(200) {
            let outcomes = write(&mut client, writing(first, chunk.to_vec())).await;
            let expected = ["indexed", "ERASED"].repeat(chunk.len() / 2);
            assert_eq!(outcomes, expected);
        }
        let renamed: Vec<_> = (0..20)
            .map(|number| image(first, &format!("renamed-{number}.jpg"), ("", "", ""), &format!("content {number}")))
            .collect();
        assert_eq!(write(&mut client, writing(first, renamed)).await, ["indexed", "ERASED"].repeat(10));
        service.kill();
    }
}
