//! The promises of `VectorStore`, each checked against every store.
//!
//! Add a promise as an asynchronous function in `writes.rs`, `reads.rs` or `filters.rs`, and its name to the list
//! below. What only one store promises is in `embedded_file.rs` and `qdrant_server.rs`.
//!
//! With `DESCRY_TEST_QDRANT_URL` set, the Qdrant half runs against that server instead of the one in this process;
//! galleries get names of their own and are deleted afterwards.

mod embedded_file;
mod filters;
mod gallery;
mod qdrant_server;
mod reads;
mod stand;
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
    reads::a_running_store_is_ready,
    filters::every_filter_agrees_with_checking_each_image,
    filters::times_are_half_open_and_images_without_time_never_match,
];
