//! Folders, lists and archives: the same images, whatever they come in.

use crate::stands::commands::{last_json, succeed};
use crate::stands::crops::Crops;
use crate::stands::stored::{known, stored_images};
use descry_model::sha256_hex;
use descry_tests::TestStack;
use serde_json::json;
use std::fs;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_input_gives_the_same_gallery() {
    let stack = TestStack::start().await;
    let crops = Crops::write(12);
    let (folder, metadata) = (crops.folder(), crops.metadata());
    let (list, archive, shard) = (crops.path("list.txt"), crops.path("crops.tar"), crops.path("shard-0.tar"));
    let names: Vec<&str> = crops.images.iter().map(|image| image.image_id.as_str()).collect();
    fs::write(&list, format!("# twelve crops\n{}\n", names.join("\n"))).unwrap();
    let members: Vec<(String, Vec<u8>)> =
        crops.images.iter().map(|image| (image.image_id.clone(), image.content.to_vec())).collect();
    fs::write(&archive, tar(&members)).unwrap();
    fs::write(&shard, tar(&samples(&crops))).unwrap();

    let mut client = stack.search().await;
    for (gallery, input) in [
        ("folder", vec![folder.as_str(), "--metadata", &metadata]),
        ("list", vec![list.as_str(), "--root", &folder, "--metadata", &metadata]),
        ("archive", vec![archive.as_str(), "--metadata", &metadata]),
        // It brings its metadata along.
        ("shard", vec![shard.as_str()]),
    ] {
        let mut arguments = vec!["index", "--server", &stack.search_url, "--gallery", gallery, "--json"];
        arguments.extend(&input);
        let last = last_json(&succeed(&arguments));
        assert_eq!((last["indexed"].as_u64(), last["failures"].as_u64()), (Some(12), Some(0)), "{gallery}: {last}");
        assert_eq!(last["finished"], true);
        let is_archive = ["archive", "shard"].contains(&gallery);
        // Nobody knows how many images are in an archive before it is read.
        assert_eq!(last["total"].as_u64(), (!is_archive).then_some(12), "{gallery}");

        let stored = stored_images(&mut client, gallery).await;
        assert_eq!(stored.len(), 12, "{gallery}");
        for image in &crops.images {
            let found = &stored[&image.image_id];
            let mut expected = image.metadata.clone().unwrap();
            let (attribute, source) =
                if is_archive { ("archive", input[0].to_owned()) } else { ("path", crops.file(image)) };
            expected.attributes.insert(attribute.to_owned(), source);
            assert_eq!(known(found), expected, "{gallery}: {}", image.image_id);
            assert_eq!(found.content_sha256, sha256_hex(&image.content), "{gallery}: {}", image.image_id);
        }
    }
    stack.stop().await;
}

/// A WebDataset shard: each image with a JSON file, which stands before it or behind it.
fn samples(crops: &Crops) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    for (index, image) in crops.images.iter().enumerate() {
        let known = image.metadata.clone().unwrap();
        let key = image.image_id.trim_end_matches(".jpg");
        let sidecar = json!({
            "__key__": key,
            "person_id": known.person_id,
            "camera_id": known.camera_id,
            "captured_at": known.captured_at.unwrap().to_string(),
            "weather": known.attributes["weather"],
        });
        let mut sample = [
            (image.image_id.clone(), image.content.to_vec()),
            (format!("{key}.json"), sidecar.to_string().into_bytes()),
        ];
        if index % 2 == 0 {
            sample.reverse();
        }
        members.extend(sample);
    }
    members
}

const BLOCK_BYTES: usize = 512;

/// An archive as POSIX describes it, of files with short names.
fn tar(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in members {
        let mut header = [0_u8; BLOCK_BYTES];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[108..116].copy_from_slice(b"0000000\0");
        header[116..124].copy_from_slice(b"0000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"14522632410\0");
        // The sum of all bytes counts its own place as blanks.
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(BLOCK_BYTES), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK_BYTES, 0);
    archive
}
