//! Queries of one part and of several.

use super::{CAPTION, LOBBY_IMAGES, Lobby, ids, image_id, of_parts, part, rank, text};
use crate::services::text_search;
use descry_proto::search::v1::query_part::What;
use descry_proto::search::v1::{Fusion, Hit, SearchRequest};
use std::collections::HashMap;

pub(super) async fn one_part_may_be_given_either_way(lobby: &mut Lobby) {
    let short = lobby.search(text_search("lobby", CAPTION, 10)).await;
    assert_eq!(short.len(), 10);
    assert!(short.iter().all(|hit| hit.contributions == [hit.score]), "one part gives all of the score");
    assert!(short[..4].iter().all(|hit| hit.image_id.starts_with("p2601_")), "{:?}", ids(&short));
    // Whatever weight it has.
    let long = lobby.search(of_parts(vec![part(text(CAPTION), 3.0)], 10)).await;
    assert_eq!(ids(&long), ids(&short));
    assert!(long.iter().zip(&short).all(|(a, b)| (a.score - b.score).abs() < 1e-5));
}

pub(super) async fn contributions_add_up_to_the_score(lobby: &mut Lobby) {
    let (like, unlike) = ("p2602_c0_1.jpg", "p2603_c1_1.jpg");
    let content = lobby.image(like).content.clone();
    let parts = vec![part(text(CAPTION), 1.0), part(What::Image(content), 0.5), part(image_id(unlike), -0.3)];
    let hits = lobby.search(of_parts(parts, LOBBY_IMAGES)).await;
    assert_eq!(hits.len(), LOBBY_IMAGES as usize);
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
    for hit in &hits {
        assert_eq!(hit.contributions.len(), 3);
        let sum: f32 = hit.contributions.iter().sum();
        assert!((sum - hit.score).abs() < 1e-3, "{sum}: {hit:?}");
    }
    // In the order of the parts: an image is most like itself.
    let most =
        |part: usize| hits.iter().max_by(|a, b| a.contributions[part].total_cmp(&b.contributions[part])).unwrap();
    assert!(most(0).image_id.starts_with("p2601_"));
    assert_eq!(most(1).image_id, like);
    let lowered = hits.iter().min_by(|a, b| a.contributions[2].total_cmp(&b.contributions[2])).unwrap();
    assert_eq!(lowered.image_id, unlike);
    assert!(lowered.contributions[2] < 0.0);
}

pub(super) async fn a_negative_part_lowers_what_is_like_it(lobby: &mut Lobby) {
    let wanted = part(image_id("p2601_c1_1.jpg"), 1.0);
    let unwanted = part(image_id("p2602_c0_1.jpg"), -0.5);
    let before = lobby.search(of_parts(vec![wanted.clone()], LOBBY_IMAGES)).await;
    let after = lobby.search(of_parts(vec![wanted, unwanted], LOBBY_IMAGES)).await;
    let unwanted = lobby.ids_of("2602");
    assert_eq!(unwanted.len(), 4);
    for image_id in &unwanted {
        let score = |hits: &[Hit]| hits[rank(hits, image_id)].score;
        assert!(score(&after) < score(&before) - 0.1, "{image_id}: {} from {}", score(&after), score(&before));
    }
    let ranks = |hits: &[Hit]| unwanted.iter().map(|image_id| rank(hits, image_id)).sum::<usize>();
    assert!(ranks(&after) > ranks(&before), "others come before them: {:?}", ids(&after));
    assert!(after[..4].iter().all(|hit| hit.image_id.starts_with("p2601_")), "{:?}", ids(&after));
}

pub(super) async fn reciprocal_ranks_are_added(lobby: &mut Lobby) {
    let parts: [(What, f32); 3] =
        [(text(CAPTION), 1.0), (image_id("p2603_c1_1.jpg"), 0.5), (image_id("p2606_c3_2.jpg"), -0.25)];
    // By hand, from the ranking of each part alone.
    let mut expected: HashMap<String, [f32; 3]> = HashMap::new();
    for (index, (what, weight)) in parts.iter().enumerate() {
        let alone = lobby.search(of_parts(vec![part(what.clone(), 1.0)], LOBBY_IMAGES)).await;
        for (rank, hit) in alone.into_iter().enumerate() {
            expected.entry(hit.image_id).or_default()[index] = *weight / (61.0 + rank as f32);
        }
    }
    let parts = parts.into_iter().map(|(what, weight)| part(what, weight)).collect();
    let request = SearchRequest { fusion: Fusion::ReciprocalRank.into(), ..of_parts(parts, LOBBY_IMAGES) };
    let fused = lobby.search(request).await;
    assert_eq!(fused.len(), LOBBY_IMAGES as usize);
    assert!(fused.is_sorted_by(|a, b| a.score >= b.score));
    for hit in &fused {
        let expected = expected[&hit.image_id];
        assert_eq!(hit.contributions.len(), expected.len());
        let is_as_expected = hit.contributions.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(is_as_expected, "{hit:?}, by hand {expected:?}");
        let sum: f32 = hit.contributions.iter().sum();
        assert!((sum - hit.score).abs() < 1e-6, "{hit:?}");
    }
}
