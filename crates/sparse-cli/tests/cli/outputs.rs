//! Where results go: nothing of others is touched, nothing half-written stays.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Workshop, binary, model, stdout};

fn run(workshop: &Workshop, arguments: &[&str]) -> Output {
    binary()
        .current_dir(workshop.folder.path())
        .args(arguments)
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn encode<'a>(model: &'a str, output: &'a str) -> [&'a str; 7] {
    let input = "data/corpus.jsonl";
    [
        "encode", "--model", model, "--input", input, "--output", output,
    ]
}

fn idf(workshop: &Workshop, model: &str, output: &str) -> Output {
    let input = "data/corpus.jsonl";
    run(
        workshop,
        &[
            "idf", "--model", model, "--input", input, "--output", output,
        ],
    )
}

#[test]
fn a_directory_with_other_files_is_no_place_for_a_model() {
    let workshop = Workshop::new();
    workshop.write("thesis/chapter.tex", b"years of work");
    // The model isn't even looked for.
    let refused = idf(&workshop, "absent", "thesis");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains(
            "`thesis` holds other files, such as `chapter.tex`, and no model; expected a new or empty directory"
        ),
        "{}",
        stderr(&refused)
    );
    assert_eq!(names(&workshop.path("thesis")), ["chapter.tex"]);

    workshop.write("out/final/chapter.tex", b"years of work");
    let refused = workshop.train(&[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("`out/final` holds other files"));
    assert_eq!(names(&workshop.path("out/final")), ["chapter.tex"]);
}

#[test]
fn other_files_stay_where_a_model_is_replaced() {
    let workshop = Workshop::new();
    let target = workshop.copy_model();
    workshop.write("model/notes.txt", b"mine");
    workshop.write("model/onnx/model.onnx", b"mine");
    workshop.write("model/1_SpladePooling/notes.txt", b"mine");
    let source = model();
    stdout(&idf(&workshop, &source.display().to_string(), "model"));
    let read = |name: &str| fs::read_to_string(target.join(name)).unwrap();
    assert_eq!(read("notes.txt"), "mine");
    assert_eq!(read("onnx/model.onnx"), "mine");
    assert_eq!(read("1_SpladePooling/notes.txt"), "mine");
    assert!(!target.join("1_SpladePooling/config.json").exists());
    assert!(read("modules.json").contains("Router"));
    assert!(
        names(workshop.folder.path())
            .iter()
            .all(|name| !name.starts_with('.'))
    );
    // The source itself, and the directory that one stands in.
    stdout(&idf(&workshop, &source.display().to_string(), "./model"));
    let here = binary()
        .current_dir(&target)
        .args(["idf", "--model"])
        .arg(&source)
        .args(["--input", "../data/corpus.jsonl", "--output", "."])
        .output()
        .unwrap();
    stdout(&here);
    assert_eq!(read("notes.txt"), "mine");
    assert!(names(&target).iter().all(|name| !name.starts_with('.')));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_devices_written_to() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let workshop = Workshop::new();
    let model = model().display().to_string();
    workshop.write("real.jsonl", b"old");
    symlink("real.jsonl", workshop.path("link.jsonl")).unwrap();
    stdout(&run(&workshop, &encode(&model, "link.jsonl")));
    assert!(
        fs::symlink_metadata(workshop.path("link.jsonl"))
            .unwrap()
            .is_symlink()
    );
    let written = fs::read_to_string(workshop.path("real.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 16);

    stdout(&run(&workshop, &encode(&model, "/dev/null")));
    let kind = fs::symlink_metadata("/dev/null").unwrap().file_type();
    assert!(kind.is_char_device());
    assert_eq!(
        stdout(&run(&workshop, &encode(&model, "/dev/stdout"))),
        written
    );

    let pipe = workshop.path("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    stdout(&run(&workshop, &encode(&model, "pipe")));
    assert_eq!(reader.join().unwrap(), written);
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

/// A workshop whose corpus takes long to encode.
fn long() -> Workshop {
    let workshop = Workshop::new();
    let lines: String = (0..200_000)
        .map(|id| {
            format!("{{\"_id\": \"{id}\", \"text\": \"what is text {id} about, and why\"}}\n")
        })
        .collect();
    workshop.write("data/corpus.jsonl", lines.as_bytes());
    fs::create_dir(workshop.path("results")).unwrap();
    workshop
}

#[cfg(unix)]
#[test]
fn a_signal_leaves_nothing_half_written() {
    let workshop = long();
    let model = model().display().to_string();
    let results = workshop.path("results");
    for (signal, output) in [
        ("INT", "results/vectors.jsonl"),
        ("TERM", "results/vectors.parquet"),
        ("HUP", "results/vectors.jsonl"),
    ] {
        let mut child = binary()
            .current_dir(workshop.folder.path())
            .args(encode(&model, output))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while names(&results).is_empty() {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before it wrote"
            );
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it doesn't begin"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert_eq!(names(&results), Vec::<String>::new(), "{signal}");
    }
}

/// `ulimit -f` lets a write fail as a full disk does, once the signal that would come with it is ignored.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_by_the_files_name_and_leaves_nothing() {
    let workshop = long();
    let model = model().display().to_string();
    for output in ["results/vectors.jsonl", "results/vectors.parquet"] {
        let script = format!(
            "trap '' XFSZ; ulimit -f 1024; exec \"$0\" {}",
            encode(&model, output).join(" ")
        );
        let failed = std::process::Command::new("sh")
            .current_dir(workshop.folder.path())
            .args(["-c", &script, env!("CARGO_BIN_EXE_sparse-encoder")])
            .output()
            .unwrap();
        assert_eq!(failed.status.code(), Some(1));
        let expected = format!("error: failed to write `{output}`: File too large");
        assert!(stderr(&failed).contains(&expected), "{}", stderr(&failed));
        assert_eq!(names(&workshop.path("results")), Vec::<String>::new());
    }
}

#[test]
fn two_runs_do_not_share_an_output_directory() {
    let workshop = Workshop::new();
    let mut first = binary()
        .current_dir(workshop.folder.path())
        .args(["train", "train.toml", "--set", "arguments.max_steps=100000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !workshop.path("out/logs.jsonl").exists() && !workshop.path("out").exists() {
        assert!(first.try_wait().unwrap().is_none());
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "it doesn't begin"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = workshop.train(&[]);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(
        stderr(&second).contains("`output_dir` is `out`, where another run is writing"),
        "{}",
        stderr(&second)
    );
    // A killed run holds nothing.
    stdout(&workshop.train(&[]));
}
