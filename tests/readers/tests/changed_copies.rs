//! What libFuzzer does for hours, for seconds: each reader gets the files of its corpus, and copies in which something was
//! changed. A failure names the reader, the file and the seed.

use descry_readers::READERS;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// Changed copies of each file.
const COPIES: u64 = 200;

/// Numbers that lengths and counts are often wrong about.
const EXTREMES: [u32; 6] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff];

fn below(random: &mut ChaCha8Rng, limit: usize) -> usize {
    (random.next_u64() % limit.max(1) as u64) as usize
}

/// One to four changes: a byte, a number, a piece that is gone, doubled, or taken from another file, an early end.
fn changed(original: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = original.to_vec();
    for _ in 0..=below(&mut random, 4) {
        let place = below(&mut random, bytes.len());
        let end = (place + 1 + below(&mut random, 16)).min(bytes.len());
        match below(&mut random, 6) {
            0 if place < bytes.len() => bytes[place] ^= 1 << below(&mut random, 8),
            1 => {
                let number = EXTREMES[below(&mut random, EXTREMES.len())].to_le_bytes();
                let taken = number.len().min(bytes.len() - place);
                bytes[place..place + taken].copy_from_slice(&number[..taken]);
            }
            2 => drop(bytes.drain(place..end)),
            3 => {
                let piece = bytes[place..end].to_vec();
                drop(bytes.splice(place..place, piece));
            }
            4 => {
                let start = below(&mut random, other.len());
                let piece = other[start..(start + 16).min(other.len())].to_vec();
                drop(bytes.splice(place..place, piece));
            }
            _ => bytes.truncate(place),
        }
    }
    bytes
}

#[test]
fn changed_copies_are_refused_or_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut folders: Vec<String> =
        fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let names: Vec<&str> = READERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names, "each reader has a folder of files to begin with");
    for (name, read) in READERS {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let contents: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(!contents.is_empty(), "{name} has no file to begin with");
        for (number, (file, content)) in files.iter().zip(&contents).enumerate() {
            let other = &contents[(number + 1) % contents.len()];
            for seed in 0..COPIES {
                let bytes = if seed == 0 { content.clone() } else { changed(content, other, seed) };
                let held = catch_unwind(|| read(&bytes)).is_ok();
                assert!(held, "{name}: {} changed by seed {seed} breaks its reader", file.display());
            }
        }
    }
}
