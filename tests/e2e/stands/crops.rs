//! Person images in folders with a metadata file, as users have them.

use crate::services::demo_images;
use descry_proto::search::v1::index_images_request::Image;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// `crops/<camera>/<file>` and `crops.csv`, in a folder of their own.
pub(crate) struct Crops {
    folder: TempDir,
    /// As they are to be in a gallery that was indexed from the folder `crops`.
    pub(crate) images: Vec<Image>,
}

impl Crops {
    /// The first images of the demo's gallery; each second one was taken in the sun, the others in the rain.
    pub(crate) fn write(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut csv = "image_id,person_id,camera_id,captured_at,weather\n".to_owned();
        let mut images = demo_images(count);
        for (index, image) in images.iter_mut().enumerate() {
            let metadata = image.metadata.as_mut().unwrap();
            let weather = if index % 2 == 0 { "rain" } else { "sun" };
            metadata.attributes.insert("weather".to_owned(), weather.to_owned());
            let (person, camera) = (metadata.person_id.clone().unwrap(), metadata.camera_id.clone().unwrap());
            let captured_at = metadata.captured_at.unwrap();
            image.image_id = format!("{camera}/{}", image.image_id);
            csv.push_str(&format!("{},{person},{camera},{captured_at},{weather}\n", image.image_id));
            let path = folder.path().join("crops").join(&image.image_id);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &image.content).unwrap();
        }
        fs::write(folder.path().join("crops.csv"), csv).unwrap();
        Self { folder, images }
    }

    /// A path beside the folder of the images.
    pub(crate) fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    /// The folder of the images.
    pub(crate) fn folder(&self) -> String {
        self.path("crops")
    }

    /// What is known of the images.
    pub(crate) fn metadata(&self) -> String {
        self.path("crops.csv")
    }

    /// The file of an image.
    pub(crate) fn file(&self, image: &Image) -> String {
        format!("{}/{}", self.folder(), image.image_id)
    }

    pub(crate) fn ids(&self) -> BTreeSet<String> {
        self.images.iter().map(|image| image.image_id.clone()).collect()
    }

    /// The ids of those images of whose metadata something holds.
    pub(crate) fn ids_where(&self, holds: impl Fn(&Image) -> bool) -> BTreeSet<String> {
        self.images.iter().filter(|image| holds(image)).map(|image| image.image_id.clone()).collect()
    }
}

pub(crate) fn person(image: &Image) -> &str {
    image.metadata.as_ref().unwrap().person_id.as_deref().unwrap()
}

pub(crate) fn weather(image: &Image) -> &str {
    &image.metadata.as_ref().unwrap().attributes["weather"]
}

/// A path for a command line.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
