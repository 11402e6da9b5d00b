//! Wrong input: one clear message, exit code 2, nothing written.

use std::fs;

use serde_json::Value;

use crate::support::Workshop;

/// Runs `train`, which must refuse with all of `parts` in one line and leave nothing behind.
fn refuses(workshop: &Workshop, arguments: &[&str], parts: &[&str]) {
    let output = workshop.train(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(output.stdout.is_empty());
    let error = message
        .lines()
        .find(|line| line.starts_with("error: "))
        .unwrap_or_default();
    for part in parts {
        assert!(error.contains(part), "`{part}` isn't in: {message}");
    }
    assert!(!workshop.path("out").exists(), "something was written");
}

#[test]
fn files_that_are_missing_or_broken() {
    let workshop = Workshop::new();
    refuses(
        &workshop,
        &["--set", "train_dataset.0.path=pears.tsv"],
        &["pears.tsv", "pairs.tsv"],
    );
    refuses(
        &workshop,
        &["--set", "model.name_or_path=no/such/model/here"],
        &["no/such/model/here"],
    );
    workshop.write("empty.tsv", b"");
    refuses(
        &workshop,
        &["--set", "train_dataset.0.path=empty.tsv"],
        &["empty.tsv", "empty"],
    );
    workshop.write("header.tsv", b"query\tdocument\n");
    refuses(
        &workshop,
        &["--set", "train_dataset.0.path=header.tsv"],
        &["header.tsv", "empty"],
    );
    workshop.write("latin.tsv", b"query\tdocument\nwhat\tis \xe9t\xe9\n");
    refuses(
        &workshop,
        &["--set", "train_dataset.0.path=latin.tsv"],
        &["latin.tsv", "UTF-8"],
    );
    fs::remove_file(workshop.path("train.toml")).unwrap();
    refuses(&workshop, &[], &["train.toml", "no such file"]);
}

#[test]
fn columns_that_are_missing() {
    let workshop = Workshop::new();
    refuses(
        &workshop,
        &["--set", "train_dataset.0.columns=[\"query\", \"documnet\"]"],
        &["documnet", "`document`"],
    );
    workshop.write("one.tsv", b"query\nwhat is a cat\n");
    refuses(
        &workshop,
        &["--set", "train_dataset.0.path=one.tsv"],
        &["column"],
    );
}

#[test]
fn keys_and_values() {
    let workshop = Workshop::new();
    refuses(
        &workshop,
        &["--set", "arguments.lerning_rate=1"],
        &["lerning_rate", "`learning_rate`"],
    );
    refuses(
        &workshop,
        &["--set", "arguments.learning_rate=-1"],
        &["arguments.learning_rate", "-1"],
    );
    refuses(&workshop, &["--set", "evaluator.0.typ=1"], &["typ"]);
    refuses(
        &workshop,
        &["--set", "train_dataset.0.colums=[]"],
        &["colums", "`columns`"],
    );
    refuses(
        &workshop,
        &["--set", "loss.type=spade"],
        &["spade", "splade"],
    );
    refuses(
        &workshop,
        &[
            "--set",
            "loss.type=splade",
            "--set",
            "loss.document_regularizer_wieght=1",
        ],
        &["document_regularizer_wieght"],
    );
    refuses(&workshop, &["--device", "tpu"], &["tpu", "cpu"]);
}

#[test]
fn names_that_no_file_can_have() {
    let workshop = Workshop::new();
    for command in ["train", "evaluate"] {
        // Said before the model is looked for.
        let output = crate::support::binary()
            .current_dir(workshop.folder.path())
            .args([command, "train.toml", "--set", "evaluator.0.name=beir/mini"])
            .args(["--set", "model.name_or_path=no/such/model/here"])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(
            message.contains("`evaluator.0.name` = \"beir/mini\""),
            "{message}"
        );
        assert!(message.contains("try \"beir-mini\""), "{message}");
    }
    refuses(
        &workshop,
        &["--set", "arguments.output_dir="],
        &["`arguments.output_dir` must name a directory; got an empty text"],
    );
}

#[test]
fn no_message_shows_a_secret() {
    let workshop = Workshop::new();
    let files = [
        "hub_token = \"hf_s3cretvalue1\nx = 1",
        "[[eval_dataset]]\ndatabase = \"postgres://me:s3cret@h/db\ntable = \"x\"",
        "[[eval_dataset]]\nstorage_options = { aws_secret_access_key = s3cret }",
    ];
    for more in files {
        workshop.write_config(more);
        let output = workshop.train(&[]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
        assert!(message.contains("is not valid TOML at line "), "{message}");
    }
    workshop.write_config("");
    for set in [
        "arguments.hub_token:hf_s3cretvalue1",
        "arguments.learning_rate=hf_s3cretvalue1",
        "train_dataset.0.path=postgres://me:s3cret@h/db",
        "evaluator.0.name=https://me:s3cret@h/x",
    ] {
        let output = workshop.train(&["--set", set]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0));
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[test]
fn an_output_directory_that_is_a_file() {
    let workshop = Workshop::new();
    workshop.write("taken", b"");
    refuses(
        &workshop,
        &["--set", "arguments.output_dir=taken"],
        &["arguments.output_dir", "taken", "is a file"],
    );
    refuses(
        &workshop,
        &["--set", "arguments.output_dir=taken/below"],
        &["taken", "is a file"],
    );
}

#[test]
fn judgements_of_unknown_ids() {
    let workshop = Workshop::new();
    workshop.write(
        "data/qrels/test.tsv",
        b"query-id\tcorpus-id\tscore\n0\t0\t1\n1\t99\t1\n",
    );
    refuses(&workshop, &[], &["test.tsv", "99"]);
    workshop.write(
        "data/qrels/test.tsv",
        b"query-id\tcorpus-id\tscore\n0\t0\t1\n",
    );
    workshop.write(
        "data/qrels/train.tsv",
        b"query-id\tcorpus-id\tscore\n0\t0\t1\n77\t1\t1\n",
    );
    let text = fs::read_to_string(workshop.path("train.toml")).unwrap();
    workshop.write(
        "train.toml",
        text.replacen("path = \"pairs.tsv\"", "retrieval = \"data\"", 1)
            .as_bytes(),
    );
    refuses(&workshop, &[], &["train.tsv", "77"]);
}

#[test]
fn weights_that_are_broken() {
    let workshop = Workshop::new();
    let model = workshop.copy_model();
    let set = format!("model.name_or_path={}", model.display());
    let path = model.join("model.safetensors");
    let whole = fs::read(&path).unwrap();

    fs::write(&path, &whole[..whole.len() - 1000]).unwrap();
    refuses(&workshop, &["--set", &set], &["model.safetensors"]);

    fs::write(
        &path,
        rename(
            &whole,
            "bert.encoder.layer.1.output.dense.weight",
            "bert.encoder.layer.1.output.dense.wieght",
        ),
    )
    .unwrap();
    refuses(
        &workshop,
        &["--set", &set],
        &[
            "model.safetensors",
            "bert.encoder.layer.1.output.dense.weight",
        ],
    );

    fs::write(&path, &whole).unwrap();
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(
        model.join("config.json"),
        config.replace("\"intermediate_size\": 64", "\"intermediate_size\": 48"),
    )
    .unwrap();
    refuses(
        &workshop,
        &["--set", &set],
        &["model.safetensors", "intermediate.dense.weight"],
    );

    fs::write(
        model.join("config.json"),
        config.replace("\"vocab_size\": 1200", "\"vocab_size\": 1100"),
    )
    .unwrap();
    refuses(
        &workshop,
        &["--set", &set],
        &["tokenizer.json", "up to 1199", "is 1100"],
    );
}

#[test]
fn a_tokenizer_larger_than_the_embedding_table() {
    let workshop = Workshop::new();
    let model = workshop.copy_model();
    let path = model.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    tokenizer["model"]["vocab"]["newtoken"] = 1200.into();
    fs::write(&path, tokenizer.to_string()).unwrap();
    let set = format!("model.name_or_path={}", model.display());
    refuses(
        &workshop,
        &["--set", &set],
        &["tokenizer.json", "up to 1200", "`vocab_size`", "is 1200"],
    );
}

/// Renames a key of a safetensors header to one of the same length.
fn rename(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let place = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    let mut bytes = bytes.to_vec();
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    bytes
}
