//! The training file of the overview, against a hub on the loopback address.

use std::path::Path;

use loopback_hub::{LoopbackHub, READER, WRITER};
use serde_json::Value;

use crate::support::{binary, stdout};

#[test]
fn the_overview_trains_evaluates_saves_and_pushes() {
    let hub = LoopbackHub::start();
    let folder = tempfile::tempdir().unwrap();
    let run = |token: &str| {
        let out = format!(
            "arguments.output_dir={}",
            folder.path().join("overview").display()
        );
        binary()
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env("HF_ENDPOINT", hub.endpoint())
            .env("HF_HOME", folder.path())
            .env("HF_TOKEN", token)
            .args(["train", "examples/training_overview.toml", "--set", &out])
            .output()
            .unwrap()
    };
    // Who may not write hears it at once.
    let refused = run(READER);
    assert_eq!(refused.status.code(), Some(2));
    assert!(!folder.path().join("overview").exists());

    let metrics: Value = serde_json::from_str(&stdout(&run(WRITER))).unwrap();
    assert!(metrics["packages-dev_dot_accuracy"].as_f64().unwrap() > 0.5);
    let files = hub.model_files("user/overview", "main").unwrap();
    let local = std::fs::read(folder.path().join("overview/final/model.safetensors")).unwrap();
    assert!(files["model.safetensors"] == local, "another model");
    assert!(files.contains_key("last-checkpoint/optimizer.safetensors"));
    let card = String::from_utf8(files["README.md"].clone()).unwrap();
    assert!(
        card.contains("Finds Debian packages by what they do"),
        "{card}"
    );
    let (title, _) = hub.last_commit("user/overview", "main").unwrap();
    assert_eq!(title, "End of training");
}
