//! What is drawn and written, and what is refused.

use super::*;
use descry_proto::search::v1::ImageMetadata;
use image::Rgb;

fn row(hits: Vec<Hit>, pictures: &Pictures) -> anyhow::Result<Row> {
    let reply = SearchResponse { hits, not_in_gallery_probability: Some(0.998), ..SearchResponse::default() };
    Row::of("é漢 <b>".repeat(90), &reply, 0, pictures)
}

/// Hits with an image of their own in the folder, and one without.
fn hits(folder: &Path) -> Vec<Hit> {
    RgbImage::from_pixel(12, 36, Rgb([200, 30, 30])).save(folder.join("a.png")).unwrap();
    let sighting = Sighting { image_id: "<i>".to_owned(), camera_id: Some("c\"2".to_owned()), ..Sighting::default() };
    let hit = |image_id: &str| Hit {
        image_id: image_id.to_owned(),
        score: 0.7743,
        match_probability: Some(0.85),
        metadata: Some(ImageMetadata {
            person_id: Some("12".to_owned()),
            camera_id: Some("c1".to_owned()),
            attributes: [("<bag>".to_owned(), "'yes'&".to_owned()), (PATH_ATTRIBUTE.to_owned(), "/x".to_owned())]
                .into(),
            ..ImageMetadata::default()
        }),
        sightings: vec![sighting.clone()],
        sighting_count: 7,
        ..Hit::default()
    };
    let mut hits = vec![hit("a.png")];
    hits.extend((0..20).map(|_| hit("<script>alert(1)</script>.png")));
    hits
}

#[test]
fn missing_images_and_long_titles_are_drawn_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = Pictures::from(Some(folder.path()), false).unwrap();
    let rows = [row(hits(folder.path()), &pictures).unwrap(), row(Vec::new(), &pictures).unwrap()];
    for (name, format) in [("s.png", ImageFormat::Png), ("s.JPG", ImageFormat::Jpeg)] {
        let file = SheetFile::at(&folder.path().join(name)).unwrap();
        file.check().unwrap();
        file.write(&rows).unwrap();
        let content = std::fs::read(file.path()).unwrap();
        assert_eq!(image::guess_format(&content).unwrap(), format);
        let sheet = image::load_from_memory(&content).unwrap().to_rgb8();
        assert!(sheet.pixels().any(|pixel| pixel.0[0] > 180 && pixel.0[1] < 60), "no picture on {name}");
        assert_eq!(sheet.width(), 12 + 8 * (pictures::WIDTH + 12));
    }
}

#[test]
fn a_page_is_text_whatever_the_names_are() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = Pictures::from(Some(folder.path()), false).unwrap();
    let file = SheetFile::at(&folder.path().join("s.html")).unwrap();
    file.write(&[row(hits(folder.path()), &pictures).unwrap()]).unwrap();
    let page = std::fs::read_to_string(file.path()).unwrap();
    for told in
        ["nobody here matches: 100 %", "1 · 0.7743 · 85 %", "#12  7 images", "1 of 7 images", "c&quot;2", "a.png"]
    {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(
        page.contains("&lt;bag&gt;: &#39;yes&#39;&amp;") || page.contains("&lt;bag&gt;: &apos;yes&apos;&amp;"),
        "{page}"
    );
    for raw in ["<script", "<b>", "<i>", "'yes'", "/x"] {
        assert!(!page.contains(raw), "{raw}: {page}");
    }
    // The picture is in it, and nothing else is loaded.
    assert_eq!(page.matches("<img").count(), 1);
    assert!(page.contains("src=\"data:image/jpeg;base64,/9j/") && !page.contains("http:"));
}

#[test]
fn a_sheet_without_any_image_is_an_error_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    for pictures in [Pictures::from(None, false).unwrap(), Pictures::from(Some(folder.path()), false).unwrap()] {
        let hits = vec![Hit { image_id: "b.png".to_owned(), ..Hit::default() }; 3];
        let error = row(hits, &pictures).err().unwrap().to_string();
        assert!(error.contains("none of the 3 images") && error.contains("--images DIR"), "{error}");
        assert!(row(Vec::new(), &pictures).is_ok());
    }
}

#[test]
fn the_ending_says_what_is_written() {
    for wrong in ["hits", "hits.gif", "hits.png.txt", ".png"] {
        assert!(wrong.parse::<SheetFile>().unwrap_err().contains(".html"), "{wrong}");
    }
    assert_eq!("x/HITS.HTM".parse::<SheetFile>().unwrap().form, Form::Page);
}
