//! Broken connections, busy hubs, refusals.

use loopback_hub::{Fault, LoopbackHub};
use sparse_hub::{Error, Hub, HubOptions};

use crate::support::{Workshop, bytes, names};

const SIZE: usize = 50_000;

fn weights(workshop: &Workshop) -> Vec<u8> {
    let directory = workshop.client().model_directory("org/tiny").unwrap();
    assert!(
        !names(&workshop.in_cache("blobs"))
            .iter()
            .any(|name| name.ends_with(".incomplete"))
    );
    std::fs::read(directory.join("model.safetensors")).unwrap()
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let workshop = Workshop::with_model(SIZE);
    workshop.hub.fail("/cdn/", Fault::Cut { after: 20_000 }, 2);
    assert_eq!(weights(&workshop), bytes(SIZE));
    let starts: Vec<Option<u64>> = workshop
        .hub
        .requests()
        .into_iter()
        .filter(|request| request.method == "GET" && request.target.contains("/cdn/"))
        .map(|request| request.range_start)
        .collect();
    assert_eq!(starts, [None, Some(20_000), Some(40_000)]);
}

#[test]
fn a_later_run_resumes_what_an_earlier_left() {
    let workshop = Workshop::with_model(SIZE);
    // No byte of progress for longer than the patience of three new attempts.
    workshop.hub.fail("/cdn/", Fault::Cut { after: 30_000 }, 1);
    workshop.hub.fail("/cdn/", Fault::Cut { after: 0 }, 4);
    let error = workshop.client().model_directory("org/tiny").unwrap_err();
    assert!(
        matches!(error, Error::Network { .. }) && !error.is_user_error(),
        "{error}"
    );
    assert!(
        !workshop.in_cache("refs/main").exists(),
        "half a model is no revision"
    );

    workshop.hub.clear_requests();
    assert_eq!(weights(&workshop), bytes(SIZE));
    let requests = workshop.hub.requests();
    let resumed = requests
        .iter()
        .find(|request| request.method == "GET" && request.target.contains("/cdn/"))
        .unwrap();
    assert_eq!((resumed.range_start, resumed.status), (Some(30_000), 206));
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let workshop = Workshop::with_model(SIZE);
    workshop.hub.fail("/cdn/", Fault::Cut { after: 20_000 }, 1);
    workshop.hub.fail("/cdn/", Fault::IgnoreRange, 1);
    assert_eq!(weights(&workshop), bytes(SIZE));
}

#[test]
fn damage_is_noticed_and_repaired_once() {
    let workshop = Workshop::with_model(SIZE);
    workshop.hub.fail("/cdn/", Fault::Corrupt, 1);
    workshop.hub.fail("config.json", Fault::Corrupt, 1);
    assert_eq!(weights(&workshop), bytes(SIZE));

    let workshop = Workshop::with_model(SIZE);
    workshop.hub.fail("/cdn/", Fault::Corrupt, 2);
    let error = workshop.client().model_directory("org/tiny").unwrap_err();
    assert!(
        matches!(&error, Error::Damaged { file, .. } if file == "model.safetensors"),
        "{error}"
    );
    assert!(
        !names(&workshop.in_cache("blobs"))
            .iter()
            .any(|name| name.ends_with(".incomplete"))
    );
}

#[test]
fn a_busy_hub_is_asked_again() {
    for status in [429, 500, 503] {
        let workshop = Workshop::with_model(10);
        for part in ["/revision/", "/tree/", "config.json", "/cdn/"] {
            workshop.hub.fail(part, Fault::status(status), 2);
        }
        assert_eq!(weights(&workshop), bytes(10), "{status}");
    }
    // For ever, it is an error of its own kind.
    let workshop = Workshop::with_model(10);
    workshop.hub.fail("/revision/", Fault::status(429), 9);
    let error = workshop.client().model_directory("org/tiny").unwrap_err();
    assert!(
        matches!(error, Error::RateLimited { .. }) && !error.is_user_error(),
        "{error}"
    );
    let workshop = Workshop::with_model(10);
    workshop.hub.fail("config.json", Fault::status(500), 9);
    let error = workshop.client().model_directory("org/tiny").unwrap_err();
    assert!(
        matches!(error, Error::Server { status: 500, .. }),
        "{error}"
    );
    assert_eq!(
        workshop.hub.count("HEAD", "config.json"),
        4,
        "one attempt and three new ones"
    );
}

#[test]
fn the_hubs_pause_is_kept() {
    let workshop = Workshop::with_model(10);
    let limited = Fault::Status {
        code: 429,
        retry_after: Some(1),
    };
    workshop.hub.fail("/revision/", limited, 1);
    let start = std::time::Instant::now();
    assert_eq!(weights(&workshop), bytes(10));
    assert!(start.elapsed().as_millis() >= 1000);

    // An hour is too long to wait for.
    let limited = Fault::Status {
        code: 429,
        retry_after: Some(3600),
    };
    workshop.hub.fail("/revision/", limited, 1);
    let fresh = tempfile::tempdir().unwrap();
    let client = Hub::new(workshop.options().with_cache_dir(fresh.path())).unwrap();
    let error = client.model_directory("org/tiny").unwrap_err();
    assert!(error.to_string().contains("for 3600 s"), "{error}");
}

#[test]
fn refusals_say_what_is_wrong_and_what_helps() {
    let workshop = Workshop::with_model(10);
    let text = |options: HubOptions, id: &str| {
        let error = Hub::new(options).unwrap().model_directory(id).unwrap_err();
        assert!(error.is_user_error(), "{error}");
        error.to_string()
    };
    let missing = text(workshop.options(), "org/tyni");
    assert!(
        missing.contains("has no model `org/tyni`, or it is private: check the spelling"),
        "{missing}"
    );
    let missing = text(
        workshop.options().with_token(loopback_hub::READER),
        "org/tyni",
    );
    assert!(
        missing.contains("whether the token may read it"),
        "{missing}"
    );
    let revision = text(workshop.options().with_revision("v9"), "org/tiny");
    assert_eq!(
        revision,
        "model `org/tiny` has no revision `v9`: name a branch, a tag or a commit of it"
    );
    let subfolder = text(workshop.options().with_subfolder("query"), "org/tiny");
    assert!(
        subfolder.contains("has no `query` at revision `main`; it has `config.json`"),
        "{subfolder}"
    );
    let token = text(workshop.options().with_token("hf_wrong"), "org/tiny");
    assert!(token.contains("the token is not valid"), "{token}");
    workshop.hub.set_gated("org/tiny");
    let gated = text(workshop.options(), "org/tiny");
    assert!(
        gated.contains("forbids access") && gated.contains("its owner grants access"),
        "{gated}"
    );
    let id = text(workshop.options(), "org/a/b");
    assert!(id.contains("expected `owner/name`"), "{id}");
}

#[test]
fn without_a_network_the_cache_is_used() {
    let cache = tempfile::tempdir().unwrap();
    let (endpoint, directory) = {
        let hub = LoopbackHub::start();
        hub.add_model("org/tiny", [("config.json", "{}")]);
        let options = HubOptions::default()
            .with_token("")
            .with_endpoint(hub.endpoint())
            .with_cache_dir(cache.path());
        let directory = Hub::new(options)
            .unwrap()
            .model_directory("org/tiny")
            .unwrap();
        (hub.endpoint(), directory)
    };
    // The hub is gone.
    let options = HubOptions::default()
        .with_endpoint(endpoint)
        .with_cache_dir(cache.path())
        .with_retries(1, 1);
    let client = Hub::new(options).unwrap();
    assert_eq!(client.model_directory("org/tiny").unwrap(), directory);
    let error = client.model_directory("org/other").unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Network { .. }), "{text}");
    assert!(
        text.contains("check the network and the proxy settings"),
        "{text}"
    );
}

#[test]
fn offline_nothing_is_asked_and_what_is_missing_is_named() {
    let workshop = Workshop::with_model(10);
    let error = workshop.offline().model_directory("org/tiny").unwrap_err();
    assert!(
        error.is_user_error() && error.to_string().contains("is not in the cache"),
        "{error}"
    );
    assert!(workshop.hub.requests().is_empty());

    let directory = workshop.client().model_directory("org/tiny").unwrap();
    workshop.hub.clear_requests();
    std::fs::remove_file(directory.join("tokenizer.json")).unwrap();
    let error = workshop.offline().model_directory("org/tiny").unwrap_err();
    assert!(
        error.to_string().contains("(`tokenizer.json` is missing)"),
        "{error}"
    );
    assert!(workshop.hub.requests().is_empty());
}

#[test]
fn a_password_in_the_address_of_the_hub_is_never_shown() {
    let workshop = Workshop::new();
    let with_password = workshop
        .hub
        .endpoint()
        .replace("http://", "http://me:s3cret@");
    // One that answers and has no such repository, and one that nobody listens at.
    for endpoint in [with_password.as_str(), "http://me:s3cret@127.0.0.1:9"] {
        let options = workshop.options().with_endpoint(endpoint);
        let error = Hub::new(options.with_retries(0, 1))
            .unwrap()
            .model_directory("org/absent")
            .unwrap_err();
        let mut shown = format!("{error} {error:?}");
        let mut cause = std::error::Error::source(&error);
        while let Some(source) = cause {
            shown.push_str(&format!(" {source} {source:?}"));
            cause = source.source();
        }
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("http://***@127.0.0.1"), "{shown}");
    }
}
