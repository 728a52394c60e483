//! Where images come from: sources with equal names, inputs without images, and metadata of other images.

use crate::stands::alone::free_address;
use crate::stands::commands::{fail, last_json, succeed};
use crate::stands::crops::{Crops, text};
use crate::stands::stored::stored_images;
use descry_proto::search::v1::ListGalleriesRequest;
use descry_tests::TestStack;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_names_live_side_by_side_behind_prefixes() {
    let stack = TestStack::start().await;
    let crops = Crops::write(6);
    // Two folders of three images each, with the same names.
    for (index, image) in crops.images.iter().enumerate() {
        let folder = crops.path(["one", "two"][index / 3]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(format!("{folder}/{}.jpg", index % 3), &image.content).unwrap();
    }
    let (one, two) = (crops.path("one"), crops.path("two"));
    let index = ["index", "--server", &stack.search_url, "--json"];
    let (printed, _) = fail(&[&index[..], &[&one, &two, "--gallery", "together"]].concat());
    let last = last_json(&printed);
    assert_eq!((last["indexed"].as_u64(), last["failures"].as_u64()), (Some(3), Some(3)), "{last}");
    assert!(last["failed"][0]["reason"].as_str().unwrap().contains("--prefix"), "{last}");

    let mut ids = BTreeSet::new();
    for (folder, prefix) in [(&one, "c1/"), (&two, "c2/")] {
        let last = last_json(&succeed(&[&index[..], &[folder, "--prefix", prefix, "--gallery", "apart"]].concat()));
        assert_eq!((last["indexed"].as_u64(), last["replaced_from_elsewhere"].as_u64()), (Some(3), Some(0)), "{last}");
        ids.extend((0..3).map(|number| format!("{prefix}{number}.jpg")));
    }
    assert!(stored_images(&mut stack.search().await, "apart").await.keys().eq(&ids));
    stack.stop().await;
}

#[test]
fn inputs_without_an_image_are_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    fs::create_dir(path("phone")).unwrap();
    for name in ["phone/1.heic", "phone/2.heic", "phone/notes.md"] {
        fs::write(path(name), b"x").unwrap();
    }
    fs::write(path("empty.tar"), [0; 1024]).unwrap();
    fs::write(path("nothing.tar"), b"").unwrap();
    let nowhere = format!("http://{}", free_address());
    for (input, said) in [("phone", "1.heic"), ("empty.tar", "empty.tar"), ("nothing.tar", "nothing.tar")] {
        let arguments = ["index", &path(input), "--server", &nowhere, "--dry-run"];
        let (printed, _) = fail(&arguments);
        assert!(printed.contains("nothing would be sent") && printed.contains(said), "{printed}");
        let (printed, _) = fail(&[&arguments[..], &["--json"]].concat());
        let report = last_json(&printed);
        assert_eq!((report["images"].as_u64(), report["failures"].as_u64()), (Some(0), Some(0)), "{report}");
        assert!(report["left_out"].as_object().is_some_and(|kinds| !kinds.is_empty()), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_run_over_nothing_is_no_success_either() {
    let stack = TestStack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name));
    fs::write(path("empty.tar"), [0; 1024]).unwrap();
    fs::create_dir(path("phone")).unwrap();
    fs::write(path("phone/1.heic"), b"x").unwrap();
    for (input, said) in [("empty.tar", "no image in"), ("phone", ".heic files")] {
        let (_, complaint) = fail(&["index", &path(input), "--server", &stack.search_url, "--gallery", "lobby"]);
        assert!(complaint.contains(said), "{complaint}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_other_images_stops_the_run_before_anything_is_sent() {
    let stack = TestStack::start().await;
    let crops = Crops::write(4);
    let (folder, metadata) = (crops.folder(), crops.path("elsewhere.csv"));
    let records: String = crops.images.iter().map(|image| format!("crops/{},7\n", image.image_id)).collect();
    fs::write(&metadata, format!("image_id,person_id\n{records}")).unwrap();
    let index =
        ["index", &folder, "--metadata", &metadata, "--server", &stack.search_url, "--gallery", "lobby", "--json"];
    for more in [&[][..], &["--dry-run"]] {
        let (_, complaint) = fail(&[&index[..], more].concat());
        for part in ["none of the 4 records", "--prefix crops/", "--allow-unmatched"] {
            assert!(complaint.contains(part), "{part}: {complaint}");
        }
    }
    let galleries = stack.search().await.list_galleries(ListGalleriesRequest::default()).await.unwrap().into_inner();
    assert!(galleries.galleries.is_empty(), "{galleries:?}");

    // The advice holds.
    let last = last_json(&succeed(&[&index[..], &["--prefix", "crops/"]].concat()));
    assert_eq!((last["indexed"].as_u64(), last["metadata_without_image"].as_u64()), (Some(4), Some(0)), "{last}");
    let stored = stored_images(&mut stack.search().await, "lobby").await;
    assert!(stored.values().all(|image| image.metadata.as_ref().unwrap().person_id.as_deref() == Some("7")));
    let last = last_json(&succeed(&[&index[..], &["--allow-unmatched"]].concat()));
    assert_eq!((last["indexed"].as_u64(), last["metadata_without_image"].as_u64()), (Some(4), Some(4)), "{last}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dry_run_counts_the_real_run_counts() {
    let stack = TestStack::start().await;
    let crops = Crops::write(3);
    for (name, content) in [("empty.jpg", b"".as_slice()), ("text.png", b"no image"), ("a.heic", b""), ("b.md", b"")] {
        fs::write(Path::new(&crops.folder()).join(name), content).unwrap();
    }
    let whole = fs::read(crops.file(&crops.images[0])).unwrap();
    fs::write(crops.path("crops/torn.jpg"), &whole[..60]).unwrap();
    fs::write(crops.path("crops/c.jfif"), &whole).unwrap();
    let folder = crops.folder();
    let index = ["index", &folder, "--server", &stack.search_url, "--gallery", "lobby", "--json"];
    let dry = last_json(&fail(&[&index[..], &["--dry-run"]].concat()).0);
    let real = last_json(&fail(&index).0);
    assert_eq!((dry["images"].as_u64(), dry["failures"].as_u64()), (Some(4), Some(3)), "{dry}");
    assert_eq!((real["indexed"].as_u64(), real["failures"].as_u64()), (Some(4), Some(3)), "{real}");
    assert_eq!(dry["left_out"], real["left_out"]);
    assert_eq!(dry["left_out"].as_object().unwrap().len(), 2, "{dry}");
    stack.stop().await;
}
