//! Whole files, from which mutated ones are made.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::files::{self, Files, below};

pub(crate) const CSV: &str = "query,document,label\nwhat is a cat,the cat is an animal,1\nwhat is a cow,the cow is an animal,0\nwhat is red,red is a colour,1\n";

pub(crate) const QUOTED_CSV: &str = "query,document,score\n\"what, is it\",\"a \"\"quoted\"\" cell\",0.5\n\"two\nlines\",plain,1.5\nlast,,\n";

pub(crate) const NUMBERS_CSV: &str = "id,text,negative,label\n1.10,2001,7,1\n9007199254740993,one,8,-2.5\n18446744073709551615,two,9,1e3\n";

pub(crate) const JSON_LINES: &str = r#"{"query": "what is a cat", "document": "the cat is an animal", "label": 1.0}
{"query": "what is a cow", "document": "the cow is an animal", "label": 0}
{"query": "what is red", "document": "red is a colour", "label": 0.5}
"#;

pub(crate) const NESTED_JSON_LINES: &str = r#"{"id": 9007199254740993, "query": "a", "documents": ["b", "c"], "labels": [1, 0.5], "more": {"x": null, "y": [true]}}
{"id": 2, "query": "d", "documents": ["e", "f"], "labels": [0, 1], "more": {"x": "z", "y": []}}
"#;

/// The rows of [`JSON_LINES`] as one array.
pub(crate) fn json_array() -> String {
    format!("[{}]\n", JSON_LINES.trim_end().replace('\n', ",\n "))
}

/// Three steps, each with a checkpoint.
pub(crate) const SHORT_TRAINING: &str = r#"
[model]
name_or_path = "model"

[[train_dataset]]
path = "pairs.tsv"

[loss]
type = "splade"
document_regularizer_weight = 3e-5
query_regularizer_weight = 5e-5
loss = { type = "multiple_negatives_ranking" }

[arguments]
output_dir = "out"
max_steps = 3
per_device_train_batch_size = 2
learning_rate = 1e-3
logging_steps = 1
save_steps = 1
"#;

/// Much of what a training file can say.
pub(crate) const TRAINING: &str = r#"
[model]
name_or_path = "model"
max_seq_length = 32
max_active_dims = 40
prompts = { query = "q: ", document = "d: " }

[[train_dataset]]
name = "pairs"
path = "pairs.tsv"
split = "train[:4]"
columns = ["query", "document"]

[[train_dataset]]
name = "folder"
retrieval = "data"
split = "test"

[[eval_dataset]]
name = "pairs"
path = ["pairs.tsv"]
format = "tsv"
sql = "select query, document from data limit 3"

[losses.pairs]
type = "splade"
document_regularizer_weight = 3e-5
query_regularizer_weight = 5e-5
loss = { type = "multiple_negatives_ranking", scale = 1.0 }

[losses.folder]
type = "splade"
document_regularizer_weight = 3e-5
loss = { type = "multiple_negatives_ranking" }

[regularizer_schedule]
warmup_ratio = 0.33

[arguments]
output_dir = "out"
num_train_epochs = 1
per_device_train_batch_size = 2
gradient_accumulation_steps = 2
learning_rate = 2e-5
lr_scheduler_type = "cosine"
warmup_steps = 2
optim = "adamw_torch"
weight_decay = 0.01
max_grad_norm = 1.0
seed = 7
batch_sampler = "no_duplicates"
multi_dataset_batch_sampler = "proportional"
learning_rate_mapping = { "bert" = 1e-4 }
logging_steps = 2
eval_strategy = "steps"
eval_steps = 2
save_strategy = "steps"
save_steps = 2
save_total_limit = 2
load_best_model_at_end = true
metric_for_best_model = "folder_dot_ndcg@10"

[[evaluator]]
type = "information_retrieval"
name = "folder"
retrieval = "data"
split = "test"
"#;

/// A model, data and a training file over them.
pub(crate) fn workshop(training: &str) -> Result<Files> {
    let mut files = below("model", encoder("splade-max")?);
    let pairs: String = ["cat", "cow", "hen", "fox", "owl", "bee"]
        .iter()
        .map(|animal| format!("what is a {animal}\tthe {animal} is an animal\n"))
        .collect();
    files.insert(
        "pairs.tsv".to_owned(),
        format!("query\tdocument\n{pairs}").into(),
    );
    files.insert("train.toml".to_owned(), training.into());
    files.extend(retrieval_folder());
    Ok(files)
}

/// A folder `data` with four documents, two queries and their judgements.
pub(crate) fn retrieval_folder() -> Files {
    let corpus = ["red fruit", "yellow fruit", "green fruit", "a grey stone"]
        .iter()
        .enumerate()
        .map(|(id, text)| {
            format!("{{\"_id\": \"d{id}\", \"title\": \"\", \"text\": \"{text}\"}}\n")
        })
        .collect::<String>();
    let queries = "{\"_id\": \"q0\", \"text\": \"red\"}\n{\"_id\": \"q1\", \"text\": \"stone\"}\n";
    let judgements = "query-id\tcorpus-id\tscore\nq0\td0\t1\nq0\td1\t0\nq1\td3\t2\n";
    [
        ("data/corpus.jsonl", corpus.as_str()),
        ("data/queries.jsonl", queries),
        ("data/qrels/test.tsv", judgements),
        ("data/qrels/train.tsv", judgements),
    ]
    .map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
    .into()
}

/// An encoder of random weights.
pub(crate) fn encoder(name: &str) -> Result<Files> {
    golden(&format!("encoders/{name}"))
}

/// A fill-mask model of random weights.
pub(crate) fn backbone(name: &str) -> Result<Files> {
    golden(&format!("models/{name}"))
}

fn golden(name: &str) -> Result<Files> {
    let folder = workspace()
        .join("crates/sparse-model/tests/golden")
        .join(name);
    let mut files = files::read(&folder)?;
    // What the model should give is no part of it.
    files.retain(|name, _| !name.starts_with("expected"));
    Ok(files)
}

/// Files of this workspace, each a seed of its own.
pub(crate) fn shipped(paths: &[&str]) -> Result<Vec<Files>> {
    paths
        .iter()
        .map(|path| {
            let bytes = std::fs::read(workspace().join(path))
                .map_err(|error| format!("failed to read `{path}`: {error}"))?;
            Ok([(files::base_name(path).to_owned(), bytes)].into())
        })
        .collect()
}

/// Root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A small model of random weights.
pub fn model_path() -> PathBuf {
    workspace().join("crates/sparse-model/tests/golden/encoders/splade-max")
}
