//! What stands under a name, whatever happens on the way there.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::io::Write;
use std::path::Path;

use sparse_files::{StagedDirectory, StagedFile, write};

/// Paths below a directory with their contents, directories with an empty one.
fn tree(directory: &Path) -> Vec<(String, String)> {
    fn walk(root: &Path, directory: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                found.push((name + "/", String::new()));
                walk(root, &path, found);
            } else {
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, directory, &mut found);
    found.sort();
    found
}

fn names(directory: &Path) -> Vec<String> {
    tree(directory).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_file_is_whole_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let mut file = StagedFile::create(&path).unwrap();
    file.write_all(b"one").unwrap();
    assert!(!path.exists());
    assert_eq!(names(folder.path()).len(), 1);
    drop(file);
    assert_eq!(names(folder.path()).len(), 0);
    write(&path, "two").unwrap();
    write(&path, "three").unwrap();
    assert_eq!(
        tree(folder.path()),
        [("out.jsonl".to_owned(), "three".to_owned())]
    );
}

#[test]
fn what_cannot_be_a_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| {
        let error = write(path, "x").unwrap_err();
        assert!(error.is_user_error(), "{error}");
        format!("{error}: {}", error.source)
    };
    let absent = folder.path().join("absent/out.jsonl");
    assert_eq!(
        message(&absent),
        format!(
            "failed to create `{}`: its directory doesn't exist",
            absent.display()
        )
    );
    assert!(message(folder.path()).contains("is a directory"));
    assert!(write("", "x").is_err());
    assert_eq!(names(folder.path()).len(), 0);
}

#[test]
fn what_a_killed_process_left_goes_with_the_next_try() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".out.jsonl.partial-1-0"), "half").unwrap();
    fs::write(folder.path().join(".other.partial-1-0"), "half").unwrap();
    write(folder.path().join("out.jsonl"), "whole").unwrap();
    assert_eq!(names(folder.path()), [".other.partial-1-0", "out.jsonl"]);
}

#[cfg(unix)]
mod unix {
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_link_stays_a_link_and_its_target_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("data")).unwrap();
        fs::write(at("data/real"), "old").unwrap();
        symlink("data/real", at("link")).unwrap();
        symlink("link", at("chain")).unwrap();
        symlink("data/new", at("dangling")).unwrap();
        write(at("chain"), "new").unwrap();
        write(at("dangling"), "first").unwrap();
        assert_eq!(fs::read_to_string(at("data/real")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("data/new")).unwrap(), "first");
        for name in ["link", "chain", "dangling"] {
            assert!(fs::symlink_metadata(at(name)).unwrap().is_symlink());
        }
        symlink("loop", at("loop")).unwrap();
        assert!(write(at("loop"), "x").is_err());
    }

    #[test]
    fn devices_and_pipes_are_written_to_and_stay() {
        write("/dev/null", "x").unwrap();
        let kind = fs::symlink_metadata("/dev/null").unwrap().file_type();
        assert!(kind.is_char_device());

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut text = String::new();
                fs::File::open(path)
                    .unwrap()
                    .read_to_string(&mut text)
                    .unwrap();
                text
            }
        });
        let long = "line\n".repeat(200_000);
        write(&path, &long).unwrap();
        assert_eq!(reader.join().unwrap(), long);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
    }

    #[test]
    fn permissions_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        write(&path, "new").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_link_to_a_directory_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        symlink("real", at("link")).unwrap();
        save(&at("link"), &[("a", "1")]);
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(at("real/a")).unwrap(), "1");
    }
}

fn save(target: &Path, files: &[(&str, &str)]) {
    let staged = StagedDirectory::create(target).unwrap();
    for (name, content) in files {
        staged.write(name, content).unwrap();
    }
    staged.replace(is_ours).unwrap();
}

/// Every file called `a`, `b` or `manifest` is ours.
fn is_ours(path: &Path) -> bool {
    ["a", "b", "manifest"]
        .iter()
        .any(|name| path.file_name().is_some_and(|found| found == *name))
}

/// A directory with files of ours and of others.
fn mixed(target: &Path) {
    for (name, content) in [
        ("a", "old"),
        ("b", "old"),
        ("notes.txt", "mine"),
        ("gone/b", "old"),
        ("kept/b", "old"),
        ("kept/deep/notes.txt", "mine"),
        ("sub/a", "old"),
        ("sub/notes.txt", "mine"),
    ] {
        let path = target.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir(target.join("empty")).unwrap();
}

const AFTER: &[(&str, &str)] = &[
    ("a", "new"),
    ("empty/", ""),
    ("kept/", ""),
    ("kept/deep/", ""),
    ("kept/deep/notes.txt", "mine"),
    ("manifest", "new"),
    ("notes.txt", "mine"),
    ("sub/", ""),
    ("sub/a", "new"),
    ("sub/notes.txt", "mine"),
];

fn expected() -> Vec<(String, String)> {
    let owned = |(name, content): &(&str, &str)| ((*name).to_owned(), (*content).to_owned());
    AFTER.iter().map(owned).collect()
}

const FILES: &[(&str, &str)] = &[("a", "new"), ("sub/a", "new"), ("manifest", "new")];

#[test]
fn only_our_files_of_a_directory_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model");
    mixed(&target);
    save(&target, FILES);
    assert_eq!(tree(&target), expected());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The directory that a process runs in can't be exchanged for another: its shell would be left in one that is gone.
#[test]
fn files_are_replaced_one_by_one_in_the_current_directory() {
    let child = std::env::var_os("SPARSE_FILES_CHILD");
    if let Some(target) = child {
        std::env::set_current_dir(&target).unwrap();
        let staged = StagedDirectory::create(".").unwrap();
        for (name, content) in FILES {
            staged.write(name, content).unwrap();
        }
        staged.with_manifest("manifest").replace(is_ours).unwrap();
        assert!(Path::new("a").exists(), "the directory is another one");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("model");
    mixed(&target);
    // The current directory belongs to the whole process: a process of its own changes it.
    let name = "files_are_replaced_one_by_one_in_the_current_directory";
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("SPARSE_FILES_CHILD", &target)
        .status();
    assert!(status.unwrap().success());
    assert_eq!(tree(&target), expected());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_is_made_with_those_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("deep/er/model");
    save(&target, FILES);
    assert_eq!(names(&target), ["a", "manifest", "sub/", "sub/a"]);
    drop(StagedDirectory::create(folder.path().join("other")).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(StagedDirectory::create(folder.path().join("file")).is_err());
    assert!(StagedDirectory::create("").is_err());
}
