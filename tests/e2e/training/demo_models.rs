//! The scripts that make the demo's models and take them over, in small.

use descry_tests::{demo_folder, program};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn script(name: &str, arguments: &[&OsStr], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new("bash");
    command.arg(demo_folder().join(name)).args(arguments).env("DESCRY", program("descry"));
    command.envs(environment.iter().copied()).output().unwrap()
}

fn train(out: &Path, environment: &[(&str, &str)]) -> Output {
    script("train-models.sh", &[out.as_os_str()], environment)
}

fn adopt(out: &Path, demo: &Path, people: &str) -> Output {
    script("adopt-models.sh", &[out.as_os_str(), demo.as_os_str()], &[("PEOPLE", people)])
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const SMALL: [(&str, &str); 2] = [("IDENTITIES", "30"), ("EPOCHS", "1")];

#[test]
fn one_command_makes_the_demos_models_and_another_takes_them_over() {
    let folder = tempfile::tempdir().unwrap();
    let (out, demo) = (folder.path().join("of a name with spaces"), folder.path().join("demo"));

    // What was not begun by the script is not touched.
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.tex"), "years of work").unwrap();
    assert!(complaint(&train(&out, &SMALL)).contains("not begun by this script"));
    fs::remove_file(out.join("thesis.tex")).unwrap();

    assert!(complaint(&adopt(&out, &demo, "3")).contains("not finished"));
    let printed = succeeds(&train(&out, &SMALL));
    assert!(printed.contains("30 people"), "{printed}");

    // Other wishes are not mixed with what there is; the same ones find everything done.
    let message = complaint(&train(&out, &[("IDENTITIES", "30"), ("EPOCHS", "2")]));
    assert!(message.contains("EPOCHS=1") && message.contains("EPOCHS=2"), "{message}");
    let weights = out.join("up-person/best.safetensors");
    let before = fs::read(&weights).unwrap();
    let printed = succeeds(&train(&out, &SMALL));
    assert!(!printed.contains("30 people") && fs::read(&weights).unwrap() == before, "{printed}");

    // Too few people for the gallery: nothing is taken over.
    assert!(complaint(&adopt(&out, &demo, "50")).contains("people"));
    assert!(!demo.join("up_person.safetensors").exists());
    succeeds(&adopt(&out, &demo, "3"));
    assert_eq!(fs::read(demo.join("up_person.safetensors")).unwrap(), before);
    let settings = fs::read_to_string(demo.join("dm_adapter.yaml")).unwrap();
    assert!(settings.contains("num_experts") && !settings.contains(folder.path().to_str().unwrap()), "{settings}");
    let annotations: Value = serde_json::from_slice(&fs::read(demo.join("gallery/reid_raw.json")).unwrap()).unwrap();
    let images = annotations.as_array().unwrap();
    assert_eq!(images.len(), 3 * 4);
    assert!(images.iter().all(|image| demo.join("gallery/imgs").join(image["file_path"].as_str().unwrap()).is_file()));
    assert_eq!(fs::read_to_string(demo.join("gallery.csv")).unwrap().lines().count(), 1 + images.len());
    assert!(demo.join("dm_adapter.safetensors").is_file() && demo.join("tokenizer.json").is_file());
}
