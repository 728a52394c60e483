//! The promises of `VectorStore`, each checked against every store.
//!
//! Add a promise as an asynchronous function in the file of its subject, and its name to the list below. What only one
//! store promises is in `embedded_file.rs`, `embedded_search.rs`, `embedded_groups.rs`, `qdrant_server.rs`, `qdrant_groups.rs`,
//! `qdrant_outages.rs` and `qdrant_cluster.rs`; `both_stores.rs` compares the two, and `accuracy_of_groups.rs` does
//! with a data set; `brute_force.rs` knows the right answers.
//!
//! With `DESCRY_TEST_QDRANT_URL` set, the Qdrant half runs against that server instead of the one in this process;
//! galleries get names of their own and are deleted afterwards.

mod accuracy_of_groups;
mod both_stores;
mod brute_force;
mod by_address;
mod documents;
mod embedded_file;
mod embedded_groups;
mod embedded_search;
mod filters;
mod gallery;
mod generations;
mod groups;
mod pages;
mod persons;
mod qdrant_cluster;
mod qdrant_groups;
mod qdrant_outages;
mod qdrant_server;
mod reads;
mod stand;
mod updates;
mod writes;

use stand::Stand;

macro_rules! check_promises {
    ($($group:ident::$promise:ident),* $(,)?) => {
        mod on_embedded {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::Stand::embedded().await.check(super::$group::$promise).await;
                }
            )*
        }

        mod on_qdrant {
            $(
                #[tokio::test]
                async fn $promise() {
                    super::Stand::qdrant().check(super::$group::$promise).await;
                }
            )*
        }
    };
}

check_promises![
    writes::creating_again_returns_the_existing_gallery,
    writes::a_name_belongs_to_one_model,
    writes::settings_are_kept_as_given_first,
    writes::unknown_galleries_are_named,
    writes::galleries_are_listed_by_name,
    writes::a_deleted_gallery_leaves_nothing_behind,
    writes::writing_again_replaces,
    writes::of_equal_ids_in_one_write_the_last_wins,
    writes::other_models_are_refused_before_anything_is_written,
    writes::deleting_counts_what_existed,
    writes::large_writes_arrive_whole,
    writes::concurrent_writes_all_arrive,
    reads::metadata_survives_unchanged,
    reads::ids_may_be_any_text,
    reads::galleries_do_not_mix,
    reads::scores_are_cosines_in_falling_order,
    reads::ties_are_broken_by_image_id,
    reads::limits_may_be_anything,
    reads::an_empty_gallery_has_no_hits,
    reads::queries_of_other_models_are_refused,
    reads::embeddings_come_back_by_image_id,
    reads::hits_bring_embeddings_when_asked,
    reads::hits_below_the_least_score_are_left_out,
    reads::exact_queries_agree_with_comparing_each_image,
    reads::a_running_store_is_ready,
    filters::every_filter_agrees_with_checking_each_image,
    filters::times_are_half_open_and_images_without_time_never_match,
    filters::values_of_attributes_may_be_any_text,
    filters::undeclared_attributes_are_refused,
    persons::persons_agree_with_comparing_each_image,
    persons::each_person_is_found_by_its_best_image,
    persons::persons_of_other_models_are_not_asked_for,
    groups::groups_agree_with_scoring_all_of_them,
    groups::groups_follow_what_is_written_and_removed,
    groups::equal_groups_come_by_their_best_images,
    groups::groups_of_other_models_are_not_asked_for,
    updates::updating_metadata_replaces_all_of_it,
    updates::many_updates_arrive_whole,
    updates::what_meets_a_filter_is_counted_and_deleted,
    updates::scrubbing_takes_nothing_that_was_not_deleted,
    pages::pages_give_each_image_once,
    pages::writes_between_pages_lose_nothing,
    pages::places_that_are_none_are_refused,
    generations::a_handle_of_a_gallery_that_was_made_anew_fails,
    generations::numbers_are_given_once,
    generations::all_generations_come_at_once,
    generations::a_begun_generation_is_gone_on_with,
    generations::generations_are_written_and_read_by_address,
    generations::switching_is_atomic,
    generations::the_generation_that_serves_is_not_deleted,
    generations::all_generations_go_with_their_gallery,
    generations::unknown_generations_are_named,
    documents::documents_are_kept_replaced_and_removed,
    documents::documents_belong_to_one_gallery,
    documents::of_instances_that_expect_the_same_one_wins,
];
