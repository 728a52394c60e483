//! Frames with boxes: what a detector and a tracker found in a scene comes back by description, with frame, box and track.

use crate::lifecycle::upright::turned;
use crate::stands::commands::{fail, last_json, succeed};
use crate::stands::crops::text;
use crate::stands::stored::stored_images;
use descry_proto::search::v1::{DeleteImagesRequest, StoredImage};
use descry_tests::{TestStack, demo_folder};
use image::{GenericImage as _, Rgb, RgbImage};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const WHITE_COAT: &str = "a man in a white long coat and green trousers with a blue backpack";
/// Whom it describes, and who else walks through the scene.
const DESCRIBED: &str = "2602";
const PERSONS: [&str; 3] = ["2601", DESCRIBED, "2603"];
const FRAMES: usize = 4;
const FRAME_SIDES: (u32, u32) = (640, 480);

/// Somebody in a frame: who it is, and left, top, width and height in pixels from 0.
#[derive(Debug, Clone, Copy)]
struct Seen {
    frame: usize,
    person: &'static str,
    sides: [u32; 4],
}

impl Seen {
    fn frame_id(&self) -> String {
        format!("{:06}.png", self.frame)
    }

    fn image_id(&self) -> String {
        let [left, top, width, height] = self.sides;
        format!("{}#{left},{top},{width},{height}", self.frame_id())
    }
}

/// A camera's frames, in each of which three people stand before a wall.
struct Scene {
    folder: TempDir,
    seen: Vec<Seen>,
}

impl Scene {
    /// Draws the demo's images of three people into frames that keep every pixel.
    fn draw() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("frames")).unwrap();
        let mut seen = Vec::new();
        for frame in 1..=FRAMES {
            let (width, height) = FRAME_SIDES;
            let mut picture =
                RgbImage::from_fn(width, height, |x, y| Rgb([90 + (y / 4) as u8, 110, 90 + (x / 8) as u8]));
            for (place, person) in PERSONS.into_iter().enumerate() {
                let crop = image::open(&photos(person)[frame - 1]).unwrap().to_rgb8();
                let (left, top) = (20 + 190 * place as u32 + 3 * frame as u32, 15 + 7 * frame as u32);
                picture.copy_from(&crop, left, top).unwrap();
                seen.push(Seen { frame, person, sides: [left, top, crop.width(), crop.height()] });
            }
            picture.save(folder.path().join(format!("frames/{frame:06}.png"))).unwrap();
        }
        Self { folder, seen }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.folder.path().join(name), content).unwrap();
        self.path(name)
    }

    /// One line for each box.
    fn lines(&self, line: impl Fn(&Seen) -> String) -> String {
        self.seen.iter().map(|seen| line(seen) + "\n").collect()
    }

    fn ids(&self) -> BTreeSet<String> {
        self.seen.iter().map(Seen::image_id).collect()
    }

    /// MOT Challenge's form, whose pixels count from 1.
    fn mot(&self) -> String {
        let line = |seen: &Seen| {
            let [left, top, width, height] = seen.sides;
            format!("{},{},{},{},{width},{height},0.9,-1,-1,-1", seen.frame, seen.person, left + 1, top + 1)
        };
        self.write("det.txt", self.lines(line))
    }

    /// COCO's form with images, annotations and categories, where people are the third category, and a car is none.
    fn coco(&self) -> String {
        let annotation = |seen: &Seen| json!({"image_id": 100 + seen.frame, "bbox": seen.sides, "category_id": 3, "track_id": seen.person});
        let mut annotations: Vec<Value> = self.seen.iter().map(annotation).collect();
        annotations.push(json!({"image_id": 101, "bbox": [0, 0, 50, 50], "category_id": 1}));
        let images: Vec<Value> =
            (1..=FRAMES).map(|frame| json!({"id": 100 + frame, "file_name": format!("{frame:06}.png")})).collect();
        let categories = json!([{"id": 1, "name": "car"}, {"id": 3, "name": "person"}]);
        let file = json!({"images": images, "annotations": annotations, "categories": categories});
        self.write("annotations.json", file.to_string())
    }

    /// COCO's list of results, whose images are told by another file.
    fn results(&self) -> String {
        let result =
            |seen: &Seen| json!({"image_id": 100 + seen.frame, "bbox": seen.sides, "category_id": 3, "score": 0.9});
        self.write("results.json", Value::from_iter(self.seen.iter().map(result)).to_string())
    }

    /// A folder of label files, as YOLO's `save_txt` and `save_conf` write them for a tracker.
    fn yolo(&self) -> String {
        fs::create_dir(self.path("labels")).unwrap();
        for frame in 1..=FRAMES {
            let mut lines = "2 0.5 0.5 0.1 0.1 0.8 1\n".to_owned();
            for Seen { person, sides, .. } in self.seen.iter().filter(|seen| seen.frame == frame) {
                let [left, top, width, height] = sides.map(f64::from);
                let (wide, high) = (f64::from(FRAME_SIDES.0), f64::from(FRAME_SIDES.1));
                let centre = ((left + width / 2.0) / wide, (top + height / 2.0) / high);
                let line = format!(
                    "0 {:.6} {:.6} {:.6} {:.6} 0.9 {person}\n",
                    centre.0,
                    centre.1,
                    width / wide,
                    height / high
                );
                lines.push_str(&line);
            }
            self.write(&format!("labels/{frame:06}.txt"), lines);
        }
        self.path("labels")
    }

    fn csv(&self) -> String {
        let line = |seen: &Seen| {
            let [left, top, width, height] = seen.sides;
            format!("{},{left},{top},{width},{height},{},0.9", seen.frame_id(), seen.person)
        };
        self.write("boxes.csv", format!("frame,left,top,width,height,track_id,score\n{}", self.lines(line)))
    }

    fn json_lines(&self) -> String {
        let line = |seen: &Seen| json!({"frame": seen.frame, "box": seen.sides, "track_id": seen.person}).to_string();
        self.write("boxes.jsonl", self.lines(line))
    }
}

/// The demo's images of a person.
fn photos(person: &str) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(demo_folder().join("gallery/imgs/test")).unwrap().map(|entry| entry.unwrap().path());
    let of_person = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("p{person}_"));
    let mut photos: Vec<_> = files.filter(|path| of_person(path)).collect();
    photos.sort();
    photos
}

fn count(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no {field} in {report}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_a_scene_come_back_with_frame_box_and_track() {
    let stack = TestStack::start().await;
    let scene = Scene::draw();
    let (frames, boxes, journal) = (scene.path("frames"), scene.mot(), scene.path("scene.journal"));
    let target = ["--server", &stack.search_url, "--gallery", "scene", "--json"];
    let index = |boxes: &str, more: &[&str]| {
        let arguments = [&["index", &frames, "--boxes", boxes, "--camera", "c1"][..], more, &target].concat();
        last_json(&succeed(&arguments))
    };
    let report = index(&boxes, &["--journal", &journal]);
    assert_eq!((count(&report, "indexed"), count(&report, "failures")), (12, 0), "{report}");
    assert!(stored_images(&mut stack.search().await, "scene").await.keys().eq(&scene.ids()));

    let found = last_json(&succeed(&[&["search", WHITE_COAT, "-n", "4"][..], &target].concat()));
    let hits = found["hits"].as_array().unwrap();
    assert_eq!(hits.len(), FRAMES);
    for hit in hits {
        let seen = scene.seen.iter().find(|seen| hit["image_id"] == seen.image_id()).unwrap();
        assert_eq!(seen.person, DESCRIBED, "{hit}");
        assert_eq!((&hit["track_id"], &hit["camera_id"]), (&json!(DESCRIBED), &json!("c1")));
        assert_eq!((&hit["frame_id"], &hit["box"]), (&json!(seen.frame_id()), &json!(seen.sides)));
        assert_eq!(hit["attributes"]["score"], "0.9");
        assert!(hit["attributes"]["path"].as_str().unwrap().ends_with(&seen.frame_id()), "{hit}");
    }
    // A crop is exactly the picture that was drawn there.
    for seen in scene.seen.iter().filter(|seen| seen.person == DESCRIBED) {
        let photo = text(&photos(seen.person)[seen.frame - 1]);
        let found = last_json(&succeed(&[&["search", "--image", &photo, "-n", "1"][..], &target].concat()));
        let hit = &found["hits"][0];
        assert_eq!(hit["image_id"], seen.image_id());
        assert!((hit["score"].as_f64().unwrap() - 1.0).abs() < 1e-3, "{hit}");
    }

    // Nothing is new, whichever program wrote the boxes; with the journal nothing is sent at all.
    let again = index(&boxes, &["--journal", &journal]);
    assert_eq!((count(&again, "skipped_by_journal"), count(&again, "done")), (12, 12), "{again}");
    let images = scene.coco();
    for (boxes, more) in [
        (boxes, &[][..]),
        (images.clone(), &[]),
        (scene.results(), &["--images-json", &images, "--category", "person"]),
        (scene.yolo(), &[]),
        (scene.csv(), &[]),
        (scene.json_lines(), &[]),
    ] {
        let again = index(&boxes, more);
        let counts = ["indexed", "unchanged", "failures"].map(|field| count(&again, field));
        assert_eq!(counts, [0, 12, 0], "{boxes}: {again}");
    }

    // Names tell times, and those that do not are counted.
    let named = scene.path("named");
    fs::create_dir(&named).unwrap();
    for (frame, name) in [(1, "20260501_143045.png"), (2, "later.png")] {
        fs::copy(format!("{frames}/{frame:06}.png"), format!("{named}/{name}")).unwrap();
    }
    let both = scene.write("both.csv", "frame,left,top,width,height\n20260501_143045,0,0,60,99\nlater,0,0,60,99\n");
    let times = ["--time-pattern", "%Y%m%d_%H%M%S", "--clock-zone", "+02:00"];
    let report = last_json(&succeed(&[&["index", &named, "--boxes", &both][..], &times, &target].concat()));
    assert!(report["notes"].to_string().contains("1 names do not fit") && count(&report, "indexed") == 2, "{report}");
    let stored = stored_images(&mut stack.search().await, "scene").await;
    let time_of = |image_id: &str| stored[image_id].metadata.as_ref().unwrap().captured_at.map(|time| time.to_string());
    assert_eq!(time_of("20260501_143045.png#0,0,60,99").as_deref(), Some("2026-05-01T12:30:45Z"));
    assert_eq!(time_of("later.png#0,0,60,99"), None);
    let deleted = ["20260501_143045.png#0,0,60,99", "later.png#0,0,60,99"].map(str::to_owned).to_vec();
    let delete = DeleteImagesRequest { gallery: "scene".to_owned(), image_ids: deleted, ..Default::default() };
    assert_eq!(stack.search().await.delete_images(delete).await.unwrap().into_inner().deleted, 2);

    // Padding, and what is left out.
    let padded = index(&scene.path("boxes.csv"), &["--box-padding", "2px", "--min-score", "0.5"]);
    assert_eq!(count(&padded, "indexed"), 12, "{padded}");
    let stored = stored_images(&mut stack.search().await, "scene").await;
    assert!(stored.keys().eq(&scene.ids()), "another cut is another picture of the same box");
    let first = &scene.seen[0];
    let cut = stored[&first.image_id()].metadata.as_ref().unwrap().r#box.unwrap();
    let [left, top, width, height] = first.sides;
    let expected = (left as i32 - 2, top as i32 - 2, width + 4, height + 4);
    assert_eq!((cut.left, cut.top, cut.width, cut.height), expected);
    let arguments = ["index", &frames, "--boxes", &scene.path("boxes.csv"), "--min-score", "0.95"];
    let (_, complaint) = fail(&[&arguments[..], &target].concat());
    assert!(complaint.contains("boxes below the least score: 12"), "{complaint}");
    people_stand_upright_in_frames_that_lie_on_their_side(&stack, &scene).await;
    stack.stop().await;
}

/// A camera that was held sideways: the boxes are of the picture as people see it.
async fn people_stand_upright_in_frames_that_lie_on_their_side(stack: &TestStack, scene: &Scene) {
    let lying = scene.path("lying");
    fs::create_dir(&lying).unwrap();
    let frame = turned(&fs::read(scene.path("frames/000001.png")).unwrap());
    fs::write(format!("{lying}/000001.jpg"), frame).unwrap();
    let of_frame: Vec<&Seen> = scene.seen.iter().filter(|seen| seen.frame == 1).collect();
    let row = |seen: &&Seen| seen.sides.map(|side| side.to_string()).join(",");
    let rows: Vec<String> = of_frame.iter().map(|seen| format!("1,{}", row(seen))).collect();
    let boxes = scene.write("upright.csv", format!("frame,left,top,width,height\n{}\n", rows.join("\n")));
    let journal = scene.path("upright.journal");
    let target = ["--server", &stack.search_url, "--gallery", "lying", "--json"];
    let index = |more: &[&str]| {
        let arguments = [&["index", &lying, "--boxes", &boxes, "--journal", &journal][..], more, &target].concat();
        last_json(&succeed(&arguments))
    };
    let report = index(&["--boxes-upright", "--time-from", "exif"]);
    assert_eq!(count(&report, "indexed"), 3, "{report}");
    assert!(report["notes"].to_string().contains("3 images have no time in EXIF data"), "{report}");
    let described = of_frame.iter().find(|seen| seen.person == DESCRIBED).unwrap();
    let photo = text(&photos(DESCRIBED)[0]);
    let found = last_json(&succeed(&[&["search", "--image", &photo, "-n", "1"][..], &target].concat()));
    let hit = &found["hits"][0];
    assert_eq!((&hit["box"], &hit["attributes"]["frame_turned"]), (&json!(described.sides), &json!("upright")));
    assert!(hit["score"].as_f64().unwrap() > 0.95, "{hit}");

    // The journal knows these crops, and not what the same boxes are in the frame as it is stored.
    assert_eq!(count(&index(&["--boxes-upright"]), "skipped_by_journal"), 3);
    let report = index(&[]);
    assert_eq!((count(&report, "skipped_by_journal"), count(&report, "indexed")), (0, 3), "{report}");
    let images = stored_images(&mut stack.search().await, "lying").await;
    let way_up = |image: &StoredImage| image.metadata.as_ref().unwrap().attributes["frame_turned"].clone();
    assert!(images.values().all(|image| way_up(image) == "as_stored"), "{images:?}");
}

#[test]
fn damaged_boxes_and_frames_are_named_and_cost_no_other() {
    let scene = Scene::draw();
    let frames = scene.path("frames");
    let index = |boxes: &str| ["index", &frames, "--dry-run", "--json", "--boxes", boxes].map(str::to_owned);
    let failing = |boxes: &str| fail(&index(boxes).each_ref().map(String::as_str));

    let coco = fs::read(scene.coco()).unwrap();
    let torn = scene.write("torn.json", &coco[..coco.len() / 2]);
    let deep = scene.write("deep.json", "[".repeat(100_000));
    let elsewhere = scene.write("elsewhere.csv", "frame,left,top,width,height\nx.jpg,0,0,9,9\n");
    for (boxes, said) in
        [(torn, "EOF"), (deep, "EOF"), (elsewhere, "no frame \"x.jpg\""), (scene.path("gone.csv"), "gone.csv")]
    {
        let (_, complaint) = failing(&boxes);
        assert!(complaint.contains(said), "{boxes}: {complaint}");
    }

    // A million boxes in one place of one frame are one image.
    let crowd = scene.write("crowd.txt", "1,-1,1,1,9,9,1\n".repeat(1_000_000));
    let report = last_json(&failing(&crowd).0);
    assert_eq!((count(&report, "images"), count(&report, "failures")), (1, 999_999));
    assert!(report["failed"].as_array().unwrap().len() <= 20, "only some are named");

    // A torn frame, a box beyond all numbers, a row that is none: each is named, and the others are cut.
    let frame = fs::read(scene.path("frames/000004.png")).unwrap();
    scene.write("frames/000004.png", &frame[..frame.len() / 2]);
    let odd = "1,0,0,1e9,1e9\n1,0,0,1e300,9\n1,NaN,0,9,9\n1,7\n1,900,0,9,9\n2,-3,-3,9,9\n";
    let whole = fs::read_to_string(scene.csv()).unwrap().replace(",track_id,score", "");
    let rows: Vec<String> = whole.lines().map(|row| row.split(',').take(5).collect::<Vec<_>>().join(",")).collect();
    let report = last_json(&failing(&scene.write("odd.csv", format!("{}\n{odd}", rows.join("\n")))).0);
    assert_eq!((count(&report, "images"), count(&report, "failures")), (9 + 2, 3 + 4), "{report}");
    let failed = report["failed"].to_string();
    for said in ["cut short", "is none", "2 cells", "outside"] {
        assert!(failed.contains(said), "{said}: {failed}");
    }
}
