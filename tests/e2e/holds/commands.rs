//! Holds and retention on the command line.

use super::stand::{GALLERY, Stand};
use crate::stands::commands::{fail, last_json, succeed};
use crate::stands::crops::Crops;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_are_placed_listed_and_lifted() {
    let stand = Stand::start(None, |config| config.retention.sweep_interval_ms = 0).await;
    let at = ["--server", stand.url.as_str(), "--gallery", GALLERY];
    let hold = |arguments: &[&'static str]| [&["hold"][..], arguments, &at].concat();
    let gallery =
        |arguments: &[&'static str]| [&["gallery"][..], arguments, &["--server", stand.url.as_str()]].concat();
    assert!(succeed(&hold(&["list"])).contains("no holds"));
    let place = ["place", "case-17", "--person", "1", "--reason", "theft, 2026-117"];
    let said = succeed(&hold(&place));
    assert!(said.contains("keeps 3 images") && said.contains("descry hold lift case-17 --gallery lobby"), "{said}");
    let said = succeed(&hold(&["place", "later", "--image", "not-yet.jpg", "--reason", "x"]));
    assert!(said.contains("no image of gallery lobby meets it yet"), "{said}");
    let (_, refused) = fail(&hold(&["place", "case-17", "--person", "2", "--reason", "other"]));
    assert!(refused.contains("lift that one first"), "{refused}");
    let (_, refused) = fail(&hold(&["place", "without-reason", "--reason", " "]));
    assert!(refused.contains("must say why"), "{refused}");

    let listed = last_json(&succeed(&hold(&["list", "--json"])));
    let fields = |index: usize| ["name", "images", "keeps", "reason"].map(|name| listed[index][name].clone());
    assert_eq!(fields(0), [json!("case-17"), json!(3), json!("person 1"), json!("theft, 2026-117")]);
    assert_eq!(fields(1), [json!("later"), json!(0), json!("image not-yet.jpg"), json!("x")]);
    assert!(succeed(&hold(&["list"])).contains("theft, 2026-117"));

    let said = succeed(&gallery(&["remove", GALLERY, "--camera", "c1"]));
    assert!(said.contains("removed 3 images") && said.contains("3 more are under a hold and stay"), "{said}");
    let said = succeed(&gallery(&["show", GALLERY]));
    assert!(said.contains("held        3 images stay"), "{said}");
    assert_eq!(last_json(&succeed(&gallery(&["show", GALLERY, "--json"])))["held"], 3);
    let (_, refused) = fail(&gallery(&["delete", GALLERY, "--yes"]));
    assert!(refused.contains("descry hold lift case-17 --gallery lobby"), "{refused}");

    // What ends a hold asks first, as what deletes does.
    let (_, refused) = fail(&hold(&["lift", "case-17"]));
    assert!(refused.contains("It keeps 3 images") && refused.contains("--yes"), "{refused}");
    let (_, refused) = fail(&hold(&["lift", "nobody", "--yes"]));
    assert!(refused.contains("has no hold"), "{refused}");
    succeed(&gallery(&["retain", GALLERY, "--default", "30d", "--yes"]));
    let said = succeed(&hold(&["lift", "case-17", "--yes"]));
    assert!(said.contains("3 images are under no hold") && said.contains("3 of them are past"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_asks_before_images_go() {
    let stand = Stand::start(None, |config| config.retention.sweep_interval_ms = 0).await;
    let gallery =
        |arguments: &[&'static str]| [&["gallery"][..], arguments, &["--server", stand.url.as_str()]].concat();
    let kept = || last_json(&succeed(&gallery(&["show", GALLERY, "--json"])))["retention"].clone();
    let before = kept();
    // Nobody can be asked here.
    for command in [&["retain", GALLERY, "--default", "30d"][..], &["create", GALLERY, "--retain", "30d"]] {
        let (_, refused) = fail(&gallery(command));
        assert!(refused.contains("12 of 12 images are already past that; the next sweep removes them."), "{refused}");
        assert!(refused.contains("--yes"), "{refused}");
        assert_eq!(kept(), before, "nothing is changed");
    }
    // Where none goes, there is nothing to ask.
    succeed(&gallery(&["retain", GALLERY, "--default", "40000d"]));
    succeed(&gallery(&["retain", GALLERY, "--default", "30d", "--yes"]));
    // A gallery keeps what it was told, and says so.
    let said = succeed(&gallery(&["create", GALLERY, "--retain", "60d"]));
    assert!(said.contains("it keeps images: 30d") && said.contains("told before"), "{said}");

    // Who indexes hears of it at the begin and at the end.
    let crops = Crops::write(1);
    let folder = crops.folder();
    let output = descry_tests::descry(["index", folder.as_str(), "--gallery", GALLERY, "--server", &stand.url]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr) + &text(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("12 images of gallery lobby are already past its retention"), "{said}");
    assert!(said.contains("12 images of gallery lobby are past its retention in all"), "{said}");
}
