//! Running the binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sparse-encoder"))
}

pub(crate) fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A small model of random weights.
pub(crate) fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sparse-model/tests/golden/encoders/splade-max")
}

/// A folder with a training file, sixteen pairs and a small collection.
pub(crate) struct Workshop {
    pub(crate) folder: tempfile::TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let this = Self { folder };
        let animals = [
            "cat", "dog", "cow", "hen", "fox", "owl", "bee", "ant", "bat", "elk", "emu", "gnu",
            "hog", "jay", "koi", "yak",
        ];
        let pairs: String = animals
            .iter()
            .map(|animal| format!("what is a {animal}\tthe {animal} is an animal\n"))
            .collect();
        this.write("pairs.tsv", format!("query\tdocument\n{pairs}").as_bytes());
        let line = |id: usize, text: String| {
            format!("{{\"_id\": \"{id}\", \"title\": \"\", \"text\": \"{text}\"}}\n")
        };
        let corpus: String = animals
            .iter()
            .enumerate()
            .map(|(id, animal)| line(id, format!("the {animal} is an animal")))
            .collect();
        this.write("data/corpus.jsonl", corpus.as_bytes());
        let queries: String = animals
            .iter()
            .enumerate()
            .map(|(id, animal)| line(id, format!("what is a {animal}")))
            .collect();
        this.write("data/queries.jsonl", queries.as_bytes());
        let judgements: String = (0..animals.len())
            .map(|id| format!("{id}\t{id}\t1\n"))
            .collect();
        for split in ["train", "test"] {
            this.write(
                &format!("data/qrels/{split}.tsv"),
                format!("query-id\tcorpus-id\tscore\n{judgements}").as_bytes(),
            );
        }
        this.write_config("");
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A training file over the pairs; `more` goes to its end.
    pub(crate) fn write_config(&self, more: &str) {
        let text = format!(
            r#"
[model]
name_or_path = "{}"

[[train_dataset]]
path = "pairs.tsv"

[arguments]
output_dir = "out"
max_steps = 6
per_device_train_batch_size = 4
logging_steps = 2
save_strategy = "no"

[[evaluator]]
type = "information_retrieval"
name = "animals"
retrieval = "data"
split = "test"
{more}"#,
            model().display()
        );
        self.write("train.toml", text.as_bytes());
    }

    /// Runs `train` in the folder.
    pub(crate) fn train(&self, arguments: &[&str]) -> Output {
        binary()
            .current_dir(self.folder.path())
            .args(["train", "train.toml"])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// A copy of the model in the folder, to be broken.
    pub(crate) fn copy_model(&self) -> PathBuf {
        let target = self.path("model");
        copy(&model(), &target);
        target
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}
