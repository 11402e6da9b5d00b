//! Commits, branches, pull requests.

use loopback_hub::{Fault, READER, WRITER};
use sparse_hub::{Hub, Repo, UploadOptions};

use crate::support::{Workshop, bytes};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("1_Pooling")).unwrap();
    std::fs::create_dir_all(folder.path().join(".git")).unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    std::fs::write(folder.path().join("1_Pooling/config.json"), "{\"a\": 1}").unwrap();
    std::fs::write(folder.path().join("model.safetensors"), bytes(5000)).unwrap();
    std::fs::write(folder.path().join(".git/HEAD"), "x").unwrap();
    folder
}

fn options() -> UploadOptions {
    UploadOptions {
        commit_message: "Add model".to_string(),
        ..UploadOptions::default()
    }
}

#[test]
fn a_folder_becomes_a_private_repository() {
    let workshop = Workshop::new();
    let client = Hub::new(workshop.options().with_token(WRITER)).unwrap();
    let repo = Repo::model("me/new").unwrap();
    let first = UploadOptions {
        private: Some(true),
        ..options()
    };
    let pushed = client
        .upload_folder(&repo, folder().path(), &first)
        .unwrap();
    assert_eq!(
        pushed.url,
        format!(
            "{}/me/new/commit/{}",
            workshop.hub.endpoint(),
            pushed.commit
        )
    );
    assert_eq!(workshop.hub.is_private("me/new"), Some(true));
    let files = workshop.hub.model_files("me/new", "main").unwrap();
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            ".gitattributes",
            "1_Pooling/config.json",
            "config.json",
            "model.safetensors"
        ]
    );
    assert_eq!(files["model.safetensors"], bytes(5000));
    assert_eq!(
        workshop.hub.last_commit("me/new", "main").unwrap().0,
        "Add model"
    );

    // A second time only on request.
    let error = client
        .upload_folder(&repo, folder().path(), &options())
        .unwrap_err();
    assert!(
        error.is_user_error() && error.to_string().contains("exist_ok"),
        "{error}"
    );
    let again = UploadOptions {
        exist_ok: true,
        ..options()
    };
    assert!(client.upload_folder(&repo, folder().path(), &again).is_ok());
}

#[test]
fn branches_and_pull_requests_leave_main_alone() {
    let workshop = Workshop::with_model(10);
    let client = Hub::new(workshop.options().with_token(WRITER)).unwrap();
    let repo = Repo::model("org/tiny").unwrap();
    let before = workshop.hub.model_files("org/tiny", "main");
    let branch = UploadOptions {
        revision: Some("v2".to_string()),
        exist_ok: true,
        ..options()
    };
    client
        .upload_folder(&repo, folder().path(), &branch)
        .unwrap();
    client
        .upload_folder(&repo, folder().path(), &branch)
        .unwrap();
    assert!(
        workshop
            .hub
            .model_files("org/tiny", "v2")
            .unwrap()
            .contains_key("1_Pooling/config.json")
    );

    let request = UploadOptions {
        create_pr: true,
        commit_description: Some("what it is".to_string()),
        ..options()
    };
    let pushed = client
        .upload_folder(&repo, folder().path(), &request)
        .unwrap();
    assert_eq!(pushed.pull_request.as_deref(), Some("1"));
    assert_eq!(
        pushed.url,
        format!("{}/org/tiny/discussions/1", workshop.hub.endpoint())
    );
    let requests = workshop.hub.pull_requests("org/tiny");
    assert_eq!(
        (requests[0].title.as_str(), requests[0].description.as_str()),
        ("Add model", "what it is")
    );
    assert_eq!(workshop.hub.model_files("org/tiny", "main"), before);
}

#[test]
fn a_busy_hub_gets_the_upload_in_the_end() {
    let workshop = Workshop::new();
    for part in ["/repos/create", "/preupload/", "/commit/"] {
        workshop.hub.fail(part, Fault::status(503), 1);
    }
    let client = Hub::new(workshop.options().with_token(WRITER)).unwrap();
    let repo = Repo::model("me/new").unwrap();
    client
        .upload_folder(&repo, folder().path(), &options())
        .unwrap();
    assert!(
        workshop
            .hub
            .model_files("me/new", "main")
            .unwrap()
            .contains_key("config.json")
    );
}

#[test]
fn uploads_without_the_right_are_refused() {
    let workshop = Workshop::with_model(10);
    let repo = Repo::model("org/new").unwrap();
    let try_with = |options: sparse_hub::HubOptions| {
        let client = Hub::new(options).unwrap();
        let error = client
            .upload_folder(&repo, folder().path(), &self::options())
            .unwrap_err();
        assert!(error.is_user_error(), "{error}");
        error.to_string()
    };
    let reader = try_with(workshop.options().with_token(READER));
    assert!(reader.contains("permission to write"), "{reader}");
    let wrong = try_with(workshop.options().with_token("hf_wrong"));
    assert!(wrong.contains("the token is not valid"), "{wrong}");
    let offline = try_with(
        workshop
            .options()
            .with_token(WRITER)
            .with_local_files_only(true),
    );
    assert!(offline.contains("forbids uploads"), "{offline}");
}
