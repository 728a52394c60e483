//! The images of hits: which file is opened for a hit, and which never is.
//!
//! Where a hit's image lies is what the service says. It may be of another machine, and its names may come from anybody
//! who filled the gallery. So names choose only among files that are images: with a folder, those in it; without one,
//! regular files whose name ends as an image's. What is opened is shown on the sheet and goes nowhere else.

use anyhow::Context as _;
use descry_client::{PATH_ATTRIBUTE, frame_part};
use descry_intake::FramePart;
use descry_proto::search::v1::Hit;
use descry_terminal::whole_file;
use image::RgbImage;
use image::imageops::{FilterType, resize};
use std::path::{Component, Path, PathBuf};

/// The largest picture of a hit, in pixels.
pub(super) const WIDTH: u32 = 176;
pub(super) const HEIGHT: u32 = 288;
/// Pixels of a gallery image that will be decoded for a thumbnail.
const MAX_PIXELS: u64 = 50_000_000;
/// How names of images end.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "jpe", "jfif", "pjpeg", "png", "webp", "bmp"];

/// Opens the images of hits.
pub(crate) struct Pictures {
    /// Without links in it.
    folder: Option<PathBuf>,
    /// Turns images as their EXIF data says: as the gallery was indexed and is searched.
    is_upright: bool,
}

impl Pictures {
    /// From a folder by the hits' ids, or, without one, from where they were indexed. `is_upright` is the gallery's
    /// setting, so that people see what the model saw.
    pub(crate) fn from(folder: Option<&Path>, is_upright: bool) -> anyhow::Result<Self> {
        let folder = match folder {
            Some(folder) => {
                let real = folder.canonicalize().with_context(|| format!("--images {}", folder.display()))?;
                anyhow::ensure!(real.is_dir(), "--images {}: this is no folder", folder.display());
                Some(real)
            }
            None => None,
        };
        Ok(Self { folder, is_upright })
    }

    /// What to do where no image was found.
    pub(super) fn advice(&self) -> &'static str {
        match self.folder {
            Some(_) => "Give the folder that was indexed, below which the ids are paths, with --images DIR",
            None => "Give the folder that was indexed with --images DIR",
        }
    }

    /// The image, or the part of a frame that it was cut out of, as large as fits, proportions kept; or why there is none.
    pub(super) fn of(&self, hit: &Hit) -> Result<RgbImage, String> {
        let part = hit.metadata.as_ref().and_then(|metadata| frame_part(&hit.image_id, metadata));
        let path = self.path_of(hit, part)?;
        let content = whole_file::read_regular(&path, whole_file::MAX_IMAGE_BYTES)
            .map_err(|error| descry_serving::explain(&error))?;
        let decoded = match part {
            // What was cut out of a frame says itself which way up that was.
            Some(part) => part.cut(&path, &content).map_err(|error| descry_serving::explain(&error))?,
            None => descry_model::decode_image(&content, MAX_PIXELS, self.is_upright)
                .map_err(|error| descry_serving::explain(&error))?,
        };
        let (width, height) = (decoded.width as u32, decoded.height as u32);
        let picture = RgbImage::from_raw(width, height, decoded.samples).ok_or("the image has no pixels")?;
        let scale = (f64::from(WIDTH) / f64::from(width)).min(f64::from(HEIGHT) / f64::from(height));
        let fit = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
        Ok(resize(&picture, fit(width, WIDTH), fit(height, HEIGHT), FilterType::Triangle))
    }

    fn path_of(&self, hit: &Hit, part: Option<FramePart>) -> Result<PathBuf, String> {
        if let Some(folder) = &self.folder {
            // Of a crop out of a frame it is the frame that lies in the folder.
            let frame_id = hit.metadata.as_ref().and_then(|metadata| metadata.frame_id.as_deref());
            return below(folder, frame_id.filter(|_| part.is_some()).unwrap_or(&hit.image_id));
        }
        let attributes = hit.metadata.as_ref().map(|metadata| &metadata.attributes);
        let path = attributes.and_then(|attributes| attributes.get(PATH_ATTRIBUTE));
        let path = PathBuf::from(path.ok_or("the gallery does not say where it was indexed")?);
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        if !ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            return Err(format!("{} does not end as an image does, so it is not opened", path.display()));
        }
        Ok(path)
    }
}

/// A file in the folder: neither by `..` nor by a link outside of it.
fn below(folder: &Path, image_id: &str) -> Result<PathBuf, String> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if image_id.is_empty() || !Path::new(image_id).components().all(is_plain) {
        return Err("the id leads out of the folder, so it is not opened".to_owned());
    }
    let path = folder.join(image_id);
    let real = path.canonicalize().map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if real.starts_with(folder) {
        return Ok(real);
    }
    Err(format!("{} is a link that leads out of the folder, so it is not opened", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use descry_proto::search::v1::ImageMetadata;
    use std::fs;

    fn hit(image_id: &str, path: Option<&Path>) -> Hit {
        let attributes = path.map(|path| (PATH_ATTRIBUTE.to_owned(), path.to_str().unwrap().to_owned()));
        let metadata = ImageMetadata { attributes: attributes.into_iter().collect(), ..ImageMetadata::default() };
        Hit { image_id: image_id.to_owned(), metadata: Some(metadata), ..Hit::default() }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("crops");
        fs::create_dir_all(folder.join("c1")).unwrap();
        for path in [outside.path().join("x.png"), folder.join("c1/a.png")] {
            RgbImage::new(2, 4).save(path).unwrap();
        }
        std::os::unix::fs::symlink(outside.path().join("x.png"), folder.join("link.png")).unwrap();
        std::os::unix::fs::symlink(folder.join("c1/a.png"), folder.join("inside.png")).unwrap();
        let pictures = Pictures::from(Some(&folder), false).unwrap();
        for image_id in ["c1/a.png", "./c1/a.png", "inside.png"] {
            assert!(pictures.of(&hit(image_id, None)).is_ok(), "{image_id}");
        }
        let absolute = outside.path().join("x.png");
        for image_id in ["../x.png", "c1/../../x.png", absolute.to_str().unwrap(), "link.png", ""] {
            let reason = pictures.of(&hit(image_id, Some(&absolute))).unwrap_err();
            assert!(reason.contains("out of the folder"), "{image_id}: {reason}");
        }
        assert!(pictures.of(&hit("c1/b.png", None)).unwrap_err().contains("c1/b.png"));
        assert!(Pictures::from(Some(&absolute), false).is_err());
    }

    #[test]
    fn a_stored_path_opens_nothing_but_images() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("a.PNG");
        RgbImage::new(2, 4).save_with_format(&image, image::ImageFormat::Png).unwrap();
        let pictures = Pictures::from(None, false).unwrap();
        assert_eq!(pictures.of(&hit("a", Some(&image))).unwrap().dimensions(), (144, 288));
        let secret = folder.path().join("id_rsa");
        fs::copy(&image, &secret).unwrap();
        assert!(pictures.of(&hit("a", Some(&secret))).unwrap_err().contains("does not end as an image"));
        let device = folder.path().join("zero.png");
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        assert!(pictures.of(&hit("a", Some(&device))).unwrap_err().contains("a device"));
        assert!(pictures.of(&hit("a", None)).unwrap_err().contains("does not say"));
    }
    #[test]
    fn of_a_frame_the_person_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let frame = folder.path().join("1.png");
        // A red person in a white hall.
        let person = |x, y| (10..16).contains(&x) && (4..20).contains(&y);
        let red = image::Rgb([200, 0, 0]);
        RgbImage::from_fn(60, 40, |x, y| if person(x, y) { red } else { image::Rgb([255; 3]) }).save(&frame).unwrap();
        let mut hit = hit("lobby/1.png#10,4,6,16", Some(&frame));
        let metadata = hit.metadata.as_mut().unwrap();
        metadata.frame_id = Some("1.png".to_owned());
        metadata.r#box = Some(descry_proto::search::v1::CropBox { left: 10, top: 4, width: 6, height: 16 });
        for pictures in [Pictures::from(None, false).unwrap(), Pictures::from(Some(folder.path()), true).unwrap()] {
            let picture = pictures.of(&hit).unwrap();
            assert_eq!(picture.dimensions(), (108, 288));
            assert!(picture.pixels().all(|pixel| *pixel == red));
        }
        // A frame that has become smaller shows nobody else.
        RgbImage::new(8, 8).save(&frame).unwrap();
        assert!(Pictures::from(None, false).unwrap().of(&hit).unwrap_err().contains("8 x 8"));
    }
}
