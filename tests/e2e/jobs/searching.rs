//! `descry search`: what its options ask for, and what it prints.

use super::ranking;
use crate::stands::commands::{fail, last_json, succeed};
use crate::stands::crops::{Crops, person, weather};
use descry_tests::TestStack;
use serde_json::Value;
use std::collections::BTreeSet;

const TEXT: &str = "a woman in a black jacket with a red bag";
const IMAGES: usize = 48;

/// `descry search` in the gallery of a service.
struct Searches<'a> {
    server: &'a str,
}

impl Searches<'_> {
    fn arguments<'b>(&'b self, arguments: &[&'b str]) -> Vec<&'b str> {
        [&["search"][..], arguments, &["--server", self.server, "--gallery", "lobby"]].concat()
    }

    /// The hits as objects, and their ranking.
    #[track_caller]
    fn hits(&self, arguments: &[&str]) -> (Vec<Value>, Vec<(String, f64)>) {
        let printed = succeed(&[&self.arguments(arguments)[..], &["--json"]].concat());
        let ranking = ranking(&printed);
        let hits = last_json(&printed)["hits"].as_array().unwrap().clone();
        for hit in &hits {
            let parts = hit["contributions"].as_array().unwrap().iter().map(|part| part.as_f64().unwrap());
            assert!((parts.sum::<f64>() - hit["score"].as_f64().unwrap()).abs() < 1e-3, "{hit}");
        }
        (hits, ranking)
    }
}

fn ids(ranking: &[(String, f64)]) -> BTreeSet<String> {
    ranking.iter().map(|(image_id, _)| image_id.clone()).collect()
}

fn text_of<'a>(hit: &'a Value, field: &str) -> &'a str {
    hit[field].as_str().unwrap_or_else(|| panic!("no {field} in {hit}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_find_what_they_are_asked_for() {
    let stack = TestStack::start().await;
    let crops = Crops::write(IMAGES);
    let (folder, metadata) = (crops.folder(), crops.metadata());
    let url = stack.search_url.as_str();
    let index = ["index", &folder, "--metadata", &metadata, "--attribute", "weather", "--server", url];
    succeed(&[&index[..], &["--gallery", "lobby"]].concat());
    let searches = Searches { server: url };

    let (plain, all) = searches.hits(&[TEXT, "-n", "100"]);
    assert_eq!(ids(&all), crops.ids());
    assert!(plain.iter().all(|hit| hit["contributions"].as_array().unwrap().len() == 1));
    let told = succeed(&searches.arguments(&[TEXT]));
    assert!(told.contains(&all[0].0) && told.contains("captured"), "{told}");
    let (_, rest) = searches.hits(&[TEXT, "-n", "5", "--offset", "2"]);
    assert_eq!(
        rest.iter().map(|(id, _)| id).collect::<Vec<_>>(),
        all[2..7].iter().map(|(id, _)| id).collect::<Vec<_>>()
    );

    check_persons(&searches, &crops);
    check_filters(&searches, &crops);
    check_denials(&searches, &all);
    check_feedback(&searches, &all);

    // A picture finds itself, from a file or from the gallery.
    let image = &crops.images[5];
    for (option, value) in [("--image", crops.file(image)), ("--like", image.image_id.clone())] {
        let (_, found) = searches.hits(&[option, &value, "-n", "3"]);
        assert_eq!(found[0].0, image.image_id, "{option}");
        assert!((found[0].1 - 1.0).abs() < 1e-3, "{option}: {}", found[0].1);
    }
    stack.stop().await;
}

/// One hit for each person: the best of this person's images, with all of them as sightings.
fn check_persons(searches: &Searches<'_>, crops: &Crops) {
    let (hits, ranking) = searches.hits(&[TEXT, "--by-person", "-n", "4"]);
    let persons: BTreeSet<&str> = hits.iter().map(|hit| text_of(hit, "person_id")).collect();
    assert_eq!((hits.len(), persons.len()), (4, 4), "{ranking:?}");
    for hit in &hits {
        let own = crops.ids_where(|image| person(image) == text_of(hit, "person_id"));
        let sightings = hit["sightings"].as_array().unwrap();
        let seen: BTreeSet<String> =
            sightings.iter().map(|sighting| text_of(sighting, "image_id").to_owned()).collect();
        assert_eq!((&seen, sightings.len()), (&own, own.len()), "{hit}");
        let (_, alone) = searches.hits(&[TEXT, "--person", text_of(hit, "person_id"), "-n", "100"]);
        assert_eq!(ids(&alone), own);
        assert_eq!(alone[0].0, text_of(hit, "image_id"));
    }
}

fn check_filters(searches: &Searches<'_>, crops: &Crops) {
    let (hits, sunny) = searches.hits(&[TEXT, "-n", "100", "--attribute", "weather=sun"]);
    assert_eq!(ids(&sunny), crops.ids_where(|image| weather(image) == "sun"));
    assert!(hits.iter().all(|hit| hit["attributes"]["weather"] == "sun"));
    let camera = |image_id: &str| image_id.split('/').next().unwrap().to_owned();
    let first = camera(&crops.images[0].image_id);
    let (_, elsewhere) = searches.hits(&[TEXT, "-n", "100", "--not-camera", &first]);
    assert_eq!(ids(&elsewhere), crops.ids_where(|image| camera(&image.image_id) != first));
    // A gallery can be asked for what it declares, and for nothing else.
    let (_, complaint) = fail(&searches.arguments(&[TEXT, "--attribute", "mood=good"]));
    assert!(complaint.contains("mood"), "{complaint}");
}

/// What a person does not look like is a part of the query, and changes what is found.
fn check_denials(searches: &Searches<'_>, plain: &[(String, f64)]) {
    let (hits, denied) = searches.hits(&[TEXT, "--not", "a man with a yellow suitcase", "-n", "100"]);
    assert!(hits.iter().all(|hit| hit["contributions"].as_array().unwrap().len() == 2));
    assert_eq!(ids(&denied), ids(plain));
    let moved = denied.iter().zip(plain).filter(|(one, other)| one.0 != other.0).count();
    assert!(moved > 0, "the denial changed nothing");
    // Denying the description itself leaves nothing to look for.
    fail(&searches.arguments(&[TEXT, "--not", TEXT, "--not", TEXT]));
}

/// Judged images are not shown again, and turn the query to what was accepted.
fn check_feedback(searches: &Searches<'_>, plain: &[(String, f64)]) {
    let (accepted, rejected) = (plain[3].0.as_str(), plain[0].0.as_str());
    let (hits, refined) = searches.hits(&[TEXT, "--accept", accepted, "--reject", rejected, "-n", "100"]);
    let mut rest = ids(plain);
    assert!(rest.remove(accepted) && rest.remove(rejected));
    assert_eq!(ids(&refined), rest);
    // The text, the accepted image and the rejected one.
    assert!(hits.iter().all(|hit| hit["contributions"].as_array().unwrap().len() == 3));
    let left = plain.iter().filter(|(image_id, _)| rest.contains(image_id));
    let moved = left.zip(&refined).filter(|(one, other)| one.0 != other.0).count();
    assert!(moved > 0, "the judgement changed nothing");
    let (_, complaint) = fail(&searches.arguments(&[TEXT, "--accept", "nobody.jpg"]));
    assert!(complaint.contains("nobody.jpg"), "{complaint}");
}
