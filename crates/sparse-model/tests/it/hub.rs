//! Models of the hub, over one on the loopback address.

use burn::tensor::Device;
use loopback_hub::{Fault, LoopbackHub, READER, WRITER};
use sparse_model::{
    EncodeOptions, HubOptions, LoadOptions, LoraOptions, PushOptions, Result, SparseEncoder,
};

use crate::support::{golden, load};

struct Workshop {
    hub: LoopbackHub,
    cache: tempfile::TempDir,
}

impl Workshop {
    /// A hub with a SPLADE model, and an empty cache.
    fn new() -> Self {
        let hub = LoopbackHub::start();
        hub.add_model_directory("org/splade", &golden("encoders/splade-max"));
        Self {
            hub,
            cache: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> HubOptions {
        HubOptions::default()
            .with_endpoint(self.hub.endpoint())
            .with_cache_dir(self.cache.path())
            .with_token("")
            .with_retries(2, 1)
    }

    fn load(&self, name: &str, hub: HubOptions) -> Result<SparseEncoder> {
        let options = LoadOptions {
            hub,
            ..LoadOptions::default()
        };
        SparseEncoder::from_pretrained_with(name, &options, &Device::default())
    }

    fn refusal(&self, name: &str, hub: HubOptions) -> String {
        let error = self.load(name, hub).unwrap_err();
        assert!(error.is_user_error(), "{error}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    }
}

fn vectors(encoder: &SparseEncoder) -> Vec<Vec<(u32, f32)>> {
    let texts = ["the cat sat on the mat", "a dog"];
    let matrix = encoder
        .encode_document(&texts, &EncodeOptions::default())
        .unwrap();
    matrix.rows().map(|row| row.iter().collect()).collect()
}

#[test]
fn a_model_of_the_hub_is_the_model_of_the_directory() {
    let workshop = Workshop::new();
    let expected = vectors(&load("encoders/splade-max"));
    // Interrupted, and the hub busy besides.
    workshop.hub.fail("/cdn/", Fault::Cut { after: 100_000 }, 2);
    workshop.hub.fail("modules.json", Fault::status(500), 1);
    workshop.hub.fail("/tree/", Fault::status(429), 1);
    let encoder = workshop.load("org/splade", workshop.options()).unwrap();
    assert_eq!(vectors(&encoder), expected);
    assert_eq!(encoder.name(), "org/splade");

    // From the cache: without a question offline, and with a hub that is down.
    workshop.hub.clear_requests();
    let offline = workshop.options().with_local_files_only(true);
    assert_eq!(
        vectors(&workshop.load("org/splade", offline).unwrap()),
        expected
    );
    assert!(workshop.hub.requests().is_empty());
    workshop.hub.fail("", Fault::status(503), 100);
    assert_eq!(
        vectors(&workshop.load("org/splade", workshop.options()).unwrap()),
        expected
    );
}

#[test]
fn revisions_and_subfolders_choose_the_model() {
    let workshop = Workshop::new();
    let mut files = workshop.hub.model_files("org/splade", "main").unwrap();
    files = files
        .into_iter()
        .map(|(path, content)| (format!("sparse/{path}"), content))
        .collect();
    let config = files.get_mut("sparse/1_SpladePooling/config.json").unwrap();
    *config = br#"{"pooling_strategy": "sum", "activation_function": "relu"}"#.to_vec();
    workshop.hub.add_model_revision("org/splade", "sums", files);
    let options = workshop
        .options()
        .with_revision("sums")
        .with_subfolder("sparse");
    let encoder = workshop.load("org/splade", options).unwrap();
    assert!(
        encoder.architecture().contains("'sum'"),
        "{}",
        encoder.architecture()
    );
    let main = workshop.load("org/splade", workshop.options()).unwrap();
    assert!(main.architecture().contains("'max'"));
    let text = workshop.refusal("org/splade", workshop.options().with_revision("sum"));
    assert!(text.contains("has no revision `sum`"), "{text}");
    let text = workshop.refusal("org/splade", workshop.options().with_subfolder("sparse"));
    assert!(
        text.contains("has no `sparse` at revision `main`"),
        "{text}"
    );
}

#[test]
fn refusals_name_the_model_and_the_remedy() {
    let workshop = Workshop::new();
    let text = workshop.refusal("org/spalde", workshop.options());
    assert!(
        text.contains("`org/spalde` is no directory") && text.contains("check the spelling"),
        "{text}"
    );
    // A name without owner is looked for where the reference looks.
    let text = workshop.refusal("splade", workshop.options());
    assert!(text.contains("`sparse-encoder/splade`"), "{text}");
    let text = workshop.refusal("no/such/model", workshop.options());
    assert!(text.contains("can't be an id on the hub"), "{text}");

    workshop.hub.set_private("org/splade");
    let text = workshop.refusal("org/splade", workshop.options());
    assert!(text.contains("set HF_TOKEN"), "{text}");
    let with_token = workshop.options().with_token(READER);
    assert!(workshop.load("org/splade", with_token).is_ok());
    let text = workshop.refusal("org/splade", workshop.options().with_token("hf_other"));
    assert!(text.contains("the token is not valid"), "{text}");
    workshop.hub.set_gated("org/splade");
    let fresh = tempfile::tempdir().unwrap();
    let options = workshop
        .options()
        .with_token(READER)
        .with_cache_dir(fresh.path());
    let text = workshop.refusal("org/splade", options);
    assert!(text.contains("its owner grants access"), "{text}");
}

#[test]
fn a_hub_that_fails_for_good_is_not_the_users_fault() {
    for status in [429, 500] {
        let workshop = Workshop::new();
        workshop.hub.fail("", Fault::status(status), 100);
        let error = workshop.load("org/splade", workshop.options()).unwrap_err();
        assert!(!error.is_user_error(), "{error}");
    }
}

#[test]
fn a_pushed_model_comes_back_equal() {
    let workshop = Workshop::new();
    let encoder = load("encoders/splade-sum");
    let writer = workshop.options().with_token(WRITER);
    let options = PushOptions {
        private: Some(true),
        hub: writer.clone(),
        ..PushOptions::default()
    };
    let upload = encoder.push_to_hub("me/sums", &options).unwrap();
    assert!(upload.url.contains("/me/sums/commit/"), "{}", upload.url);
    assert_eq!(workshop.hub.is_private("me/sums"), Some(true));
    let (title, description) = workshop.hub.last_commit("me/sums", "main").unwrap();
    assert_eq!(
        (title.as_str(), description.as_str()),
        ("Add new SparseEncoder model", "")
    );
    let back = workshop.load("me/sums", writer.clone()).unwrap();
    assert_eq!(vectors(&back), vectors(&encoder));

    // Again: only on request, and the card that is there stays unless it shall not.
    assert!(
        encoder
            .push_to_hub("me/sums", &options)
            .unwrap_err()
            .is_user_error()
    );
    let card =
        |branch: &str| workshop.hub.model_files("me/sums", branch).unwrap()["README.md"].clone();
    workshop.hub.add_model("me/sums", [("README.md", "mine")]);
    let again = PushOptions {
        exist_ok: true,
        ..options.clone()
    };
    encoder.push_to_hub("me/sums", &again).unwrap();
    assert_eq!(card("main"), b"mine");
    let branch = PushOptions {
        revision: Some("v2".to_string()),
        commit_message: Some("Second".to_string()),
        replace_model_card: true,
        ..again
    };
    encoder.push_to_hub("me/sums", &branch).unwrap();
    assert!(card("v2").starts_with(b"---\n"));
    assert_eq!(card("main"), b"mine");
    assert_eq!(
        workshop.hub.last_commit("me/sums", "v2").unwrap().0,
        "Second"
    );
}

#[test]
fn a_pull_request_describes_the_model() {
    let workshop = Workshop::new();
    let encoder = load("encoders/splade-sum");
    let options = PushOptions {
        create_pr: true,
        hub: workshop.options().with_token(WRITER),
        ..PushOptions::default()
    };
    let before = workshop.hub.model_files("org/splade", "main");
    let upload = encoder.push_to_hub("org/splade", &options).unwrap();
    assert!(
        upload.url.ends_with("/org/splade/discussions/1"),
        "{}",
        upload.url
    );
    let description = &workshop.hub.pull_requests("org/splade")[0].description;
    for part in [
        "SpladePooling",
        "from sentence_transformers import SparseEncoder",
        "\"org/splade\"",
    ] {
        assert!(description.contains(part), "{description}");
    }
    assert_eq!(workshop.hub.model_files("org/splade", "main"), before);

    let reader = PushOptions {
        hub: workshop.options().with_token(READER),
        ..options
    };
    let error = encoder.push_to_hub("org/splade", &reader).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        error.is_user_error() && cause.contains("permission to write"),
        "{cause}"
    );
}

#[test]
fn an_adapter_finds_its_base_model_on_the_hub() {
    let workshop = Workshop::new();
    let base = workshop.load("org/splade", workshop.options()).unwrap();
    let adapted = base.add_adapter(&LoraOptions::default()).unwrap();
    let options = PushOptions {
        hub: workshop.options().with_token(WRITER),
        ..PushOptions::default()
    };
    adapted.push_to_hub("me/adapter", &options).unwrap();
    let files = workshop.hub.model_files("me/adapter", "main").unwrap();
    let config = String::from_utf8(files["adapter_config.json"].clone()).unwrap();
    assert!(
        config.contains("\"base_model_name_or_path\": \"org/splade\""),
        "{config}"
    );
    assert!(!files.contains_key("model.safetensors"));
    let loaded = workshop.load("me/adapter", workshop.options()).unwrap();
    assert!(loaded.has_adapter());
    assert_eq!(vectors(&loaded), vectors(&adapted));
}

#[test]
fn a_source_on_the_hub_is_an_id_with_a_commit() {
    let workshop = Workshop::new();
    let encoder = workshop.load("org/splade", workshop.options()).unwrap();
    let source = encoder.source().unwrap();
    let text = source.to_string();
    let (id, commit) = text.split_once('@').unwrap();
    assert_eq!(id, "org/splade");
    assert_eq!(commit.len(), 40, "{text}");
    assert_eq!(
        encoder.fingerprint().unwrap(),
        load("encoders/splade-max").fingerprint().unwrap()
    );
}
