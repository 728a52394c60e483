use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

fn read(yaml: &[u8]) -> Result<RunSettings, ExportError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("configs.yaml");
    std::fs::write(&path, yaml).unwrap();
    RunSettings::read(&path)
}

fn check_refused(yaml: &str, parts: &[&str]) {
    let message = read(yaml.as_bytes()).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{yaml:.200}: {message}");
    }
}

#[test]
fn what_pyyaml_writes_is_read() {
    let yaml = "MLM: true\nalpha: 0.9\nbeta: 0.999\ndepth_adapter: 0\ndepth_lora: 3\ndepth_prefix: 4\n\
        img_size: !!python/tuple\n- 384\n- 128\nlr: 1.0e-05\nmilestones: !!python/tuple\n- 20\n- 50\nname: topk\n\
        num_experts: 6\nprefix_length: 10\nrank: 8\nreduction: 7\nresume_ckpt_file: ''\n\
        stride_size: 16\ntext_length: 77\ntopk: 2\nvocab_size: 49408\n";
    let expected = RunSettings {
        image_size_px: Some((384, 128)),
        stride: Some(16),
        topk: Some(2),
        context_length: Some(77),
        num_experts: Some(6),
        reduction: Some(7),
        rank: Some(8),
        prefix_length: Some(10),
        depth_lora: Some(3),
        depth_prefix: Some(4),
        depth_adapter: Some(0),
        vocab_size: Some(49408),
        ..RunSettings::default()
    };
    assert_eq!(read(yaml.as_bytes()).unwrap(), expected);
}

#[test]
fn other_ways_to_write_them_are_read() {
    let size = |yaml: &str| read(yaml.as_bytes()).unwrap().image_size_px;
    assert_eq!(size("img_size: [128, 48]"), Some((128, 48)));
    assert_eq!(size("{img_size: !!python/tuple [128, 48], nested: {a: [1, {b: c}]}}"), Some((128, 48)));
    assert_eq!(size("---\nold: &id001 !!python/tuple\n- 384\n- 128\nimg_size: *id001\n...\n"), Some((384, 128)));
    assert_eq!(size("!!python/object:argparse.Namespace\nimg_size: [2, 1]\nloss:\n  topk: [1]\n"), Some((2, 1)));
    assert_eq!(size("img_size: null\ntopk: ~\n"), None);
    assert_eq!(size("? [a, b]\n: topk\nother: 1\n"), None);
}

#[test]
fn wrong_types_name_the_key_and_what_was_expected() {
    check_refused("topk: two", &["`topk`", "is `two`", "a positive whole number", "configs.yaml"]);
    check_refused("topk: '2'", &["`topk`", "is the string \"2\""]);
    check_refused("topk: 2.0", &["`topk`", "is `2.0`"]);
    check_refused("topk: 0", &["`topk`", "a positive whole number"]);
    check_refused("stride_size: -16", &["`stride_size`"]);
    check_refused("depth_lora: {a: 1}", &["`depth_lora`", "is a nested value", "a whole number"]);
    check_refused("rank: 99999999999999999999999", &["`rank`"]);
    check_refused("img_size: 384", &["`img_size`", "height and width"]);
    check_refused("img_size: [384, 128, 3]", &["`img_size`", "is another list"]);
    check_refused("img_size: [384, wide]", &["`img_size`"]);
    check_refused("img_size: [0, 128]", &["`img_size`"]);
}

#[test]
fn files_that_are_no_settings_are_refused() {
    check_refused("", &["expected a YAML mapping"]);
    check_refused("- topk\n- 2\n", &["expected a YAML mapping"]);
    check_refused("topk: 1\n---\ntopk: 2\n", &["more than one YAML document"]);
    check_refused("topk: 1\ntopk: 2\n", &["`topk` is given twice"]);
    check_refused("topk: [1", &["configs.yaml"]);
    check_refused("topk: *nowhere", &["configs.yaml"]);
    check_refused(&"# padding\n".repeat(200_000), &["over the limit of 1048576 bytes"]);
    assert!(read(b"topk: \xff\xfe").unwrap_err().to_string().contains("byte 0xFF at offset 6, in line 1"));
    assert!(read(b"\xff\xfet\0o\0").unwrap_err().to_string().contains("UTF-16"));
}

#[test]
fn marks_and_numbers_of_other_programs_do_no_harm() {
    let settings = read(b"\xef\xbb\xbftopk: 2\nlr: NaN\nbest: .inf\nworst: -Infinity\n").unwrap();
    assert_eq!(settings.topk, Some(2));
    check_refused("topk: NaN", &["`topk`", "is `NaN`"]);
}

#[test]
fn hostile_nesting_and_aliases_cost_little() {
    let mut bomb = "a0: &a0 [x, x, x]\n".to_owned();
    for level in 1..64 {
        let below = level - 1;
        bomb += &format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}]\n");
    }
    assert_eq!(read((bomb.clone() + "topk: 2\n").as_bytes()).unwrap().topk, Some(2));
    check_refused(&(bomb + "img_size: *a63\n"), &["`img_size`", "nested value"]);
    for open in ["[", "{a: ", "- ", "? "] {
        let _ = read(open.repeat(200_000).as_bytes());
        let _ = read(("deep: ".to_owned() + &open.repeat(200_000)).as_bytes());
    }
}

#[test]
fn the_first_settings_win() {
    let first = RunSettings { topk: Some(1), ..RunSettings::default() };
    let second = RunSettings { topk: Some(2), rank: Some(3), ..RunSettings::default() };
    assert_eq!(first.or(second), RunSettings { topk: Some(1), rank: Some(3), ..RunSettings::default() });
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(yaml in "\\PC{0,200}") {
        let _ = top_level_items(&yaml);
    }

    #[test]
    fn arbitrary_markup_never_panics(yaml in "[-a: \\n\\[\\]{},&*!?|>'\"#%@`~.\\t]{0,80}") {
        let _ = top_level_items(&yaml);
    }
}
