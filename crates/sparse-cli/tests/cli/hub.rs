//! Models of the hub, from the command line: over a hub on the loopback address, proxies, offline.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};

use loopback_hub::{LoopbackHub, READER, WRITER};

use crate::support::{Workshop, binary, model, stdout};

/// A hub with a model, and a home for the client.
struct Web {
    hub: LoopbackHub,
    home: tempfile::TempDir,
}

impl Web {
    fn new() -> Self {
        let hub = LoopbackHub::start();
        hub.add_model_directory("org/splade", &model());
        Self {
            hub,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The binary, with nothing of this machine's settings.
    fn binary(&self) -> Command {
        let mut command = binary();
        for name in [
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
            "SENTENCE_TRANSFORMERS_HOME",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
        ] {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.home.path());
        command
    }

    fn decode(&self, more: &[&str]) -> Output {
        self.binary()
            .args(["decode", "--model", "org/splade", "the cat", "--quiet"])
            .args(more)
            .output()
            .unwrap()
    }
}

fn expected() -> String {
    let model = model();
    stdout(&crate::support::run(&[
        "decode",
        "--model",
        model.to_str().unwrap(),
        "the cat",
    ]))
}

/// The message of a command that must fail by the user's fault.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    text
}

#[test]
fn a_hub_id_is_a_model() {
    let web = Web::new();
    assert_eq!(stdout(&web.decode(&[])), expected());
    let commit =
        std::fs::read_to_string(web.home.path().join("hub/models--org--splade/refs/main")).unwrap();
    web.hub.clear_requests();
    assert_eq!(stdout(&web.decode(&["--revision", &commit])), expected());
    assert_eq!(stdout(&web.decode(&["--local-files-only"])), expected());
    let offline = web
        .binary()
        .env("HF_HUB_OFFLINE", "1")
        .args(["decode", "--model", "org/splade", "the cat"])
        .output()
        .unwrap();
    assert_eq!(stdout(&offline), expected());
    assert!(web.hub.requests().is_empty());

    let elsewhere = tempfile::tempdir().unwrap();
    let cache = elsewhere.path().to_str().unwrap();
    let text = refusal(&web.decode(&["--local-files-only", "--cache-dir", cache]));
    assert!(text.contains("is not in the cache"), "{text}");
    let text = refusal(&web.decode(&["--revision", "v7"]));
    assert!(text.contains("has no revision `v7`"), "{text}");
}

#[test]
fn a_private_model_is_read_with_the_token_of_the_environment() {
    let web = Web::new();
    web.hub.set_private("org/splade");
    let text = refusal(&web.decode(&[]));
    assert!(text.contains("set HF_TOKEN"), "{text}");
    std::fs::write(web.home.path().join("token"), READER).unwrap();
    assert_eq!(stdout(&web.decode(&[])), expected());
}

#[test]
fn a_training_file_names_model_and_revision() {
    let web = Web::new();
    let commit = web.hub.add_model_revision(
        "org/splade",
        "v1",
        web.hub.model_files("org/splade", "main").unwrap(),
    );
    let workshop = Workshop::new();
    let output = web
        .binary()
        .current_dir(workshop.folder.path())
        .args(["train", "train.toml", "--quiet"])
        .args([
            "--set",
            "model.name_or_path=org/splade",
            "--set",
            "model.revision=v1",
        ])
        .args(["--set", "arguments.max_steps=1"])
        .output()
        .unwrap();
    stdout(&output);
    assert!(workshop.path("out/final/model.safetensors").exists());
    let hub = web.home.path().join("hub/models--org--splade");
    assert_eq!(
        std::fs::read_to_string(hub.join("refs/v1")).unwrap(),
        commit
    );
    assert!(!hub.join("refs/main").exists());
}

#[test]
fn a_model_is_pushed() {
    let web = Web::new();
    let model = model();
    let push = |token: &str, more: &[&str]| {
        web.binary()
            .env("HF_TOKEN", token)
            .args([
                "push",
                "--model",
                model.to_str().unwrap(),
                "--repo-id",
                "me/new",
            ])
            .args(more)
            .output()
            .unwrap()
    };
    let text = stdout(&push(WRITER, &["--private"]));
    assert!(
        text.starts_with(&format!("{}/me/new/commit/", web.hub.endpoint())),
        "{text}"
    );
    assert_eq!(web.hub.is_private("me/new"), Some(true));
    let text = refusal(&push(WRITER, &[]));
    assert!(text.contains("is on the hub already"), "{text}");
    let text = stdout(&push(
        WRITER,
        &["--create-pr", "--commit-message", "Better"],
    ));
    assert!(text.trim_end().ends_with("/me/new/discussions/1"), "{text}");
    assert_eq!(web.hub.pull_requests("me/new")[0].title, "Better");
    let text = refusal(&push(READER, &["--exist-ok"]));
    assert!(text.contains("permission to write"), "{text}");
}

#[test]
fn proxies_are_taken_from_the_environment() {
    // The name can't be resolved: whatever arrives came by the proxy.
    let nowhere = "http://hub.invalid";
    let web = Web::new();
    let output = web
        .binary()
        .env("HF_ENDPOINT", nowhere)
        .env("HTTP_PROXY", web.hub.endpoint())
        .args(["decode", "--model", "org/splade", "the cat"])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), expected());

    let web = Web::new();
    let hub = web.hub.endpoint().replace("http://", "");
    let socks = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socks.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in socks.incoming() {
            let hub = hub.clone();
            std::thread::spawn(move || relay(client.unwrap(), &hub));
        }
    });
    let output = web
        .binary()
        .env("HF_ENDPOINT", nowhere)
        .env("ALL_PROXY", format!("socks5h://{address}"))
        .args(["decode", "--model", "org/splade", "the cat"])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), expected());
}

/// A SOCKS 5 proxy for one connection (RFC 1928) that leads every name to the hub.
fn relay(mut client: TcpStream, hub: &str) {
    let mut head = [0; 2];
    client.read_exact(&mut head).unwrap();
    let mut methods = vec![0; head[1].into()];
    client.read_exact(&mut methods).unwrap();
    client.write_all(&[5, 0]).unwrap();
    // Version, connect, reserved, kind of address.
    let mut request = [0; 4];
    client.read_exact(&mut request).unwrap();
    assert_eq!(request[..3], [5, 1, 0]);
    let length = if request[3] == 1 {
        4
    } else {
        let mut length = [0; 1];
        client.read_exact(&mut length).unwrap();
        length[0]
    };
    let mut address_and_port = vec![0; usize::from(length) + 2];
    client.read_exact(&mut address_and_port).unwrap();
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut server = TcpStream::connect(hub).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _ = std::io::copy(&mut server, &mut client);
}
