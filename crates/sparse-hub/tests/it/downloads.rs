//! What arrives, where it lies, and what is not asked for twice.

use loopback_hub::READER;
use sparse_hub::{Hub, Repo};

use crate::support::{Workshop, bytes, names};

#[test]
fn a_model_lies_in_the_cache_as_pythons_client_has_it() {
    let workshop = Workshop::with_model(10_000);
    let snapshot = workshop.client().model_snapshot("org/tiny").unwrap();

    let commit = &snapshot.commit;
    assert_eq!(
        snapshot.directory,
        workshop.in_cache(&format!("snapshots/{commit}"))
    );
    assert_eq!(
        names(&snapshot.directory),
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
    assert_eq!(
        std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(),
        bytes(10_000)
    );
    assert_eq!(
        std::fs::read_to_string(workshop.in_cache("refs/main")).unwrap(),
        *commit
    );
    // Blobs have the names of the hub's entity tags: git's id of `{}`, and the SHA-256 of a large file.
    let blobs = names(&workshop.in_cache("blobs"));
    assert!(
        blobs.contains(&"9e26dfeeb6e641a33dae4961196235bdb965b21b".to_string()),
        "{blobs:?}"
    );
    assert_eq!(blobs.iter().filter(|name| name.len() == 64).count(), 1);
    assert_eq!(blobs.len(), 3);
    #[cfg(unix)]
    {
        let link = std::fs::read_link(snapshot.directory.join("config.json")).unwrap();
        assert_eq!(
            link.to_str().unwrap(),
            "../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b"
        );
    }
}

#[test]
fn what_is_in_the_cache_is_not_asked_for_again() {
    let workshop = Workshop::with_model(1000);
    let first = workshop.client().model_directory("org/tiny").unwrap();
    workshop.hub.clear_requests();
    assert_eq!(
        workshop.client().model_directory("org/tiny").unwrap(),
        first
    );
    assert_eq!(workshop.hub.count("GET", "/revision/main"), 1);
    assert_eq!(
        workshop.hub.requests().len(),
        1,
        "only what `main` means now"
    );

    // A commit never changes: nothing at all is asked.
    workshop.hub.clear_requests();
    let commit = first.file_name().unwrap().to_str().unwrap().to_string();
    let pinned = Hub::new(workshop.options().with_revision(commit)).unwrap();
    assert_eq!(pinned.model_directory("org/tiny").unwrap(), first);
    assert_eq!(
        workshop.offline().model_directory("org/tiny").unwrap(),
        first
    );
    assert!(workshop.hub.requests().is_empty());
}

#[test]
fn a_new_commit_brings_only_what_changed() {
    let workshop = Workshop::with_model(1000);
    let first = workshop.client().model_snapshot("org/tiny").unwrap();
    let second = workshop
        .hub
        .add_model("org/tiny", [("config.json", "{\"a\": 1}")]);
    workshop.hub.clear_requests();
    let snapshot = workshop.client().model_snapshot("org/tiny").unwrap();
    assert_eq!(snapshot.commit, second);
    assert_ne!(snapshot.commit, first.commit);
    assert_eq!(
        std::fs::read(snapshot.directory.join("config.json")).unwrap(),
        b"{\"a\": 1}"
    );
    assert_eq!(
        std::fs::read(snapshot.directory.join("model.safetensors")).unwrap(),
        bytes(1000)
    );
    assert_eq!(workshop.hub.count("GET", "safetensors"), 0);
    assert_eq!(workshop.hub.count("GET", "/resolve/"), 1);
}

#[test]
fn a_cache_that_python_filled_is_used() {
    let workshop = Workshop::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let snapshot = workshop.in_cache(&format!("snapshots/{commit}"));
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(workshop.in_cache("refs")).unwrap();
    std::fs::write(workshop.in_cache("refs/main"), commit).unwrap();
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    std::fs::write(snapshot.join("model.safetensors"), "w").unwrap();
    let found = workshop.offline().model_snapshot("org/tiny").unwrap();
    assert_eq!(found.directory, snapshot);
    assert_eq!(found.files.len(), 2);
    assert!(workshop.hub.requests().is_empty());
}

#[test]
fn revisions_and_subfolders_are_found() {
    let workshop = Workshop::with_model(10);
    let commit = workshop.hub.add_model_revision(
        "org/tiny",
        "v2/beta",
        [
            ("query/config.json", "{\"v\": 2}"),
            ("query/model.safetensors", "two"),
            ("config.json", "{}"),
        ],
    );
    let options = workshop
        .options()
        .with_revision("v2/beta")
        .with_subfolder("query");
    let directory = Hub::new(options)
        .unwrap()
        .model_directory("org/tiny")
        .unwrap();
    assert_eq!(
        directory,
        workshop.in_cache(&format!("snapshots/{commit}/query"))
    );
    assert_eq!(names(&directory), ["config.json", "model.safetensors"]);
    assert!(!directory.parent().unwrap().join("config.json").exists());
    assert!(workshop.in_cache("refs/v2/beta").is_file());
}

#[test]
fn a_private_model_needs_the_token() {
    let workshop = Workshop::with_model(10);
    workshop.hub.set_private("org/tiny");
    let error = workshop.client().model_directory("org/tiny").unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_user_error() && text.contains("set HF_TOKEN"),
        "{text}"
    );
    let client = Hub::new(workshop.options().with_token(READER)).unwrap();
    assert!(client.model_directory("org/tiny").is_ok());
}

#[test]
fn converted_files_of_a_data_set_are_listed_and_downloaded() {
    let workshop = Workshop::new();
    let id = "org/pairs";
    workshop.hub.add_dataset(id, [("data.csv", "a,b\n")]);
    workshop.hub.add_converted(
        id,
        [
            ("default", "train", "one"),
            ("default", "train", "two"),
            ("default", "partial-test", "three"),
        ],
    );
    let client = workshop.client();
    let files = client.converted_parquet(id).unwrap();
    let shown: Vec<_> = files
        .iter()
        .map(|file| {
            (
                file.config.as_str(),
                file.split.as_str(),
                file.path.as_str(),
                file.is_partial,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("default", "test", "default/partial-test/0000.parquet", true),
            ("default", "train", "default/train/0000.parquet", false),
            ("default", "train", "default/train/0001.parquet", false),
        ]
    );
    let places = client.download_converted(id, &files[1..]).unwrap();
    assert_eq!(std::fs::read(&places[1]).unwrap(), b"two");
    // The same offline, from the cache.
    let offline = workshop.offline();
    let again = offline.converted_parquet(id).unwrap();
    assert_eq!(offline.download_converted(id, &again[1..]).unwrap(), places);
    let error = offline.download_converted(id, &again[..1]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`default/partial-test/0000.parquet` is missing"),
        "{error}"
    );

    // The files of the data set itself.
    let repo = Repo::dataset(id).unwrap();
    let listing = client.listing(&repo).unwrap();
    assert_eq!(listing.files.len(), 1);
    let snapshot = client.download(&repo, &listing, &["data.csv"]).unwrap();
    assert_eq!(std::fs::read(&snapshot.files[0]).unwrap(), b"a,b\n");
}

#[test]
fn long_listings_have_pages() {
    let workshop = Workshop::new();
    let files: Vec<(String, String)> = (0..123)
        .map(|number| (format!("part-{number:03}.json"), number.to_string()))
        .collect();
    workshop.hub.add_dataset("org/many", files);
    let listing = workshop
        .client()
        .listing(&Repo::dataset("org/many").unwrap())
        .unwrap();
    assert_eq!(listing.files.len(), 123);
}

#[test]
fn several_processes_may_load_at_once() {
    let workshop = Workshop::with_model(100_000);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| workshop.client().model_directory("org/tiny").unwrap());
        }
    });
    let received: usize = workshop.hub.count("GET", "/cdn/");
    assert_eq!(received, 1, "one downloads, the others wait for it");
}

#[test]
fn a_client_works_inside_of_a_runtime() {
    let workshop = Workshop::with_model(10);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        assert!(workshop.client().model_directory("org/tiny").is_ok());
    });
}
