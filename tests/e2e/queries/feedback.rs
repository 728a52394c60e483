//! Rankings after some hits were judged.

use super::{CAPTION, LOBBY_IMAGES, Lobby, ids, image_id, of_parts, part, rank, text};
use crate::services::text_search;
use descry_proto::search::v1::{Filter, Fusion, Hit, RefineRequest, SearchRequest};
use tonic::{Code, Status};

async fn refine(
    lobby: &mut Lobby,
    search: SearchRequest,
    accepted: &[&str],
    rejected: &[&str],
) -> Result<Vec<Hit>, Status> {
    let owned = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
    let request = RefineRequest { search: Some(search), accepted_ids: owned(accepted), rejected_ids: owned(rejected) };
    lobby.client.refine(request).await.map(|reply| reply.into_inner().hits)
}

pub(super) async fn judged_images_move_the_ranking(lobby: &mut Lobby) {
    let search = text_search("lobby", CAPTION, LOBBY_IMAGES);
    let before = lobby.search(search.clone()).await;
    let unjudged = refine(lobby, search.clone(), &[], &[]).await.unwrap();
    assert_eq!(ids(&unjudged), ids(&before));

    // The description is of 2601, but 2603 was meant.
    let (accepted, rejected) = ("p2603_c1_1.jpg", "p2601_c1_1.jpg");
    let after = refine(lobby, search.clone(), &[accepted], &[rejected]).await.unwrap();
    assert_eq!(after.len(), LOBBY_IMAGES as usize - 2);
    assert!(after.is_sorted_by(|a, b| a.score >= b.score));
    assert!(after.iter().all(|hit| ![accepted, rejected].contains(&hit.image_id.as_str())));
    let meant: Vec<String> = lobby.ids_of("2603").into_iter().filter(|image_id| image_id != accepted).collect();
    assert_eq!(meant.len(), 3);
    for image_id in &meant {
        // More than the two places that the judged images leave.
        let (now, then) = (rank(&after, image_id), rank(&before, image_id));
        assert!(now + 2 < then, "{image_id} is at {now}, was at {then}");
    }

    // The weights of the search's own parts and its fusion make no difference; its filter and limit hold.
    let filter = Filter { camera_ids: vec!["c3".to_owned(), "c5".to_owned()], ..Filter::default() };
    let narrow = SearchRequest { filter: Some(filter), limit: 6, ..search };
    let plain = refine(lobby, narrow.clone(), &[accepted], &[rejected]).await.unwrap();
    assert_eq!(plain.len(), 6);
    assert!(plain.iter().all(|hit| {
        let camera = hit.metadata.as_ref().and_then(|metadata| metadata.camera_id.as_deref());
        matches!(camera, Some("c3" | "c5"))
    }));
    let parts = of_parts(vec![part(text(CAPTION), 7.0)], 6);
    let weighted = SearchRequest { filter: narrow.filter, fusion: Fusion::ReciprocalRank.into(), ..parts };
    let weighted = refine(lobby, weighted, &[accepted], &[rejected]).await.unwrap();
    assert_eq!(ids(&weighted), ids(&plain));
}

pub(super) async fn judgements_that_make_no_sense_are_refused(lobby: &mut Lobby) {
    let search = text_search("lobby", CAPTION, 5);
    let check = |result: Result<Vec<Hit>, Status>, code: Code, word: &str| {
        let status = result.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(word), "{word:?} is not in: {status}");
    };
    let (first, second) = ("p2601_c1_1.jpg", "p2603_c1_1.jpg");
    let both = refine(lobby, search.clone(), &[second, first], &[first]).await;
    check(both, Code::InvalidArgument, first);
    let unknown = refine(lobby, search.clone(), &["unknown.jpg"], &[]).await;
    check(unknown, Code::InvalidArgument, "unknown.jpg");
    check(refine(lobby, search.clone(), &[], &[""]).await, Code::InvalidArgument, "rejected_ids");
    let many = vec![first; 257];
    check(refine(lobby, search.clone(), &many, &[]).await, Code::InvalidArgument, "256");
    check(refine(lobby, text_search("nowhere", CAPTION, 5), &[], &[first]).await, Code::NotFound, "nowhere");
    let without = lobby.client.refine(RefineRequest::default()).await.map(|reply| reply.into_inner().hits);
    check(without, Code::InvalidArgument, "search");
    // Judgements alone are no query.
    let nothing = SearchRequest { gallery: "lobby".to_owned(), ..SearchRequest::default() };
    check(refine(lobby, nothing, &[first], &[]).await, Code::InvalidArgument, "query");
    // Nor is what nothing is to be like.
    let itself = of_parts(vec![part(image_id(first), 0.0)], 5);
    check(refine(lobby, itself, &[], &[first]).await, Code::InvalidArgument, "positive weight");
}
