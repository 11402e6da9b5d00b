//! What a training file may say, and what is said of one that doesn't.

use crate::{ColumnPrompts, TrainingFile};

const FILE: &str = "[model]\nname_or_path = \"m\"\n[[train_dataset]]\npath = \"a.tsv\"\n";

fn error(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    TrainingFile::parse(&format!("{FILE}{text}"), &overrides)
        .unwrap_err()
        .to_string()
}

#[test]
fn unknown_keys_come_with_the_nearest_name() {
    let message = error("[arguments]\nlerning_rate = 1e-5\n", &[]);
    assert!(
        message.starts_with(
            "`arguments` has an error: unknown key `lerning_rate`; did you mean `learning_rate`?"
        ),
        "{message}"
    );
    let message = error("[argument]\nseed = 1\n", &[]);
    assert!(
        message.starts_with("unknown key `argument`; did you mean `arguments`?"),
        "{message}"
    );
}

/// The table at fault, the unknown key, the nearest one, and the text; `;` stands for the end of a line.
const UNKNOWN: &str = r#"
arguments | lerning_rate | learning_rate | [arguments]; lerning_rate = 1
arguments.lr_scheduler_kwargs | num_cycle | num_cycles | [arguments]; lr_scheduler_type = "cosine"; lr_scheduler_kwargs = { num_cycle = 1 }
model_card | licens | license | [model_card]; licens = "mit"
guards | dense | dense_model | [guards]; dense = false
regularizer_schedule | warmup_rato | warmup_ratio | [regularizer_schedule]; warmup_rato = 0.5
top_k_schedule | ramp_rato | ramp_ratio | [top_k_schedule]; initial_k = 9; final_k = 3; ramp_rato = 0.5
eval_dataset[0] | paht | path | [[eval_dataset]]; paht = "x"
eval_dataset[0].lookups.a | pth | path | [[eval_dataset]]; path = "x"; lookups = { a = { pth = "x" } }
loss | query_regularizer_wieght | query_regularizer_weight | LOSS; query_regularizer_wieght = 1
loss | scal | scale | LOSS; loss = { type = "multiple_negatives_ranking", scal = 2 }
loss | alph | alpha | LOSS; document_regularizer = { type = "df_flops", alph = 2 }
losses.a | los | loss | [losses.a]; type = "splade"; los = 1
evaluator[0] | retreival | retrieval | [[evaluator]]; type = "information_retrieval"; retreival = "x"
evaluator[0] | nam | name | [[evaluator]]; type = "sequential"; evaluators = [{ type = "triplet", nam = "x" }]
evaluator[0] | tripet | triplet | [[evaluator]]; type = "tripet"
evaluator[0] | cosin | cosine | [[evaluator]]; type = "triplet"; margin = { cosin = 0.1 }
"#;

#[test]
fn every_table_refuses_what_it_does_not_know() {
    const LOSS: &str = "[loss]\ntype = \"splade\"\ndocument_regularizer_weight = 1e-3";
    for line in UNKNOWN.trim().lines() {
        let [key, unknown, near, text] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let message = error(&text.replace("; ", "\n").replace("LOSS", LOSS), &[]);
        assert!(
            message.starts_with(&format!("`{key}")),
            "{message}\n  isn't about `{key}`"
        );
        let says = format!("`{unknown}`; did you mean `{near}`?");
        assert!(message.contains(&says), "{message}\n  lacks {says}");
    }
    let message = error("", &["model.revison=main"]);
    assert!(
        message.contains("unknown key `revison`; did you mean `revision`?"),
        "{message}"
    );
}

#[test]
fn a_value_of_several_kinds_says_which() {
    for (text, expected) in [
        (
            "[[eval_dataset]]\npath = 3\n",
            "`eval_dataset[0].path` has an error: expected a path or a list of paths",
        ),
        (
            "[[eval_dataset]]\npath = \"x\"\nlookups = { a = 3 }\n",
            "`eval_dataset[0].lookups.a` has an error: invalid type: integer `3`, expected a path, or a table with `path`, `id` and \
             `text`",
        ),
        (
            "[arguments]\nprompts = 3\n",
            "`arguments.prompts` has an error: expected a text, or a table of texts by column or by data set",
        ),
    ] {
        assert_eq!(error(text, &[]), expected);
    }
}

#[test]
fn wrong_types_and_values_name_their_key() {
    let message = error("[arguments]\nseed = \"x\"\n", &[]);
    assert!(
        message.starts_with("`arguments.seed` has an error: invalid type"),
        "{message}"
    );
    let message = error("", &["arguments.learning_rate=-1"]);
    assert_eq!(
        message,
        "`arguments.learning_rate` must be 0 or above; got -1"
    );
    let message = error("[arguments]\nlr_scheduler_type = \"liner\"\n", &[]);
    assert!(message.contains("did you mean `linear`?"), "{message}");
    let message = error("[arguments]\nfsdp = \"full_shard\"\n", &[]);
    assert!(
        message.starts_with("`arguments.fsdp` isn't supported"),
        "{message}"
    );
    let message = error("[arguments]\noptim = \"paged_lion_32bit\"\n", &[]);
    assert_eq!(
        message,
        "`arguments.optim` = \"paged_lion_32bit\" needs a package of the reference's; set \"lion_32bit\" instead"
    );
    let message = error("[arguments]\noptim = \"adagard\"\n", &[]);
    assert!(message.contains("did you mean `adagrad`?"), "{message}");
    let message = error("[arguments\n", &[]);
    assert!(
        message.starts_with("is not valid TOML at line 5, column 11: "),
        "{message}"
    );
}

#[test]
fn no_message_shows_a_secret() {
    let overrides: [(&str, &str); 3] = [
        ("", "arguments.hub_token:s3cret-value"),
        ("", "arguments.hub_token=[\"s3cret-value\"]"),
        ("", "arguments.push_to_hub=hf_s3cretvalue1"),
    ];
    let files = [
        "[arguments]\nhub_token = \"s3cret-value\nseed = 1\n",
        "[arguments]\nhub_token = s3cret-value\n",
        "[arguments]\nhub_token = { x = \"s3cret-value\" }\n",
        "[arguments]\nhub_token = \"s3cret-value\" oops\n",
        "[arguments]\nhub_tokn = \"s3cret-value\"\n",
        "[[eval_dataset]]\ndatabase = { url = \"postgres://me:s3cret-value@h/db\", tabel = \"x\" }\n",
        "[[eval_dataset]]\ndatabase = { url = 3, table = \"s3cret-value@\"\n",
        "[[eval_dataset]]\npath = \"postgres://me:s3cret-value@h/db\n",
        "[arguments]\nseed = \"postgres://me:s3cret-value@h/db\"\n",
        "[arguments]\nlr_scheduler_type = \"hf_s3cretvalue1\"\n",
    ];
    for (text, set) in files.map(|text| (text, "")).into_iter().chain(overrides) {
        let set: &[&str] = if set.is_empty() { &[] } else { &[set] };
        let message = error(text, set);
        assert!(!message.contains("s3cret"), "{message}");
        assert!(message.len() > 20, "{message}");
    }
    let message = error(files[0], &[]);
    assert!(
        message.starts_with("is not valid TOML at line 6, column")
            && message.contains("`hub_token`"),
        "{message}"
    );
}

#[test]
fn older_names_of_the_reference_are_read_where_they_may_stand() {
    let read = |text: &str| TrainingFile::parse(&format!("{FILE}{text}"), &[]).unwrap();
    for table in ["[loss]", "[losses.a]"] {
        for kind in ["splade", "cached_splade"] {
            let older = format!(
                "{table}\ntype = \"{kind}\"\nlambda_corpus = 3e-5\nlambda_query = 5e-5\n\
                 loss = {{ type = \"multiple_negatives_ranking\" }}\n"
            );
            let newer = older
                .replace("lambda_corpus", "document_regularizer_weight")
                .replace("lambda_query", "query_regularizer_weight");
            let (older, newer) = (read(&older), read(&newer));
            assert!(older.loss.is_some() != older.losses.contains_key("a"));
            assert_eq!((older.loss, older.losses), (newer.loss, newer.losses));
        }
    }
    let both = "[loss]\ntype = \"splade\"\nlambda_corpus = 1\ndocument_regularizer_weight = 1\n";
    let message = error(both, &[]);
    assert!(
        message.contains("duplicate field `document_regularizer_weight`"),
        "{message}"
    );
    let file = read("[[evaluator]]\ntype = \"triplet\"\nmain_distance_function = \"dot\"\n");
    let written = serde_json::to_value(&file.evaluator[0]).unwrap();
    assert_eq!(written["main_similarity_function"], "dot");
    for name in ["lambda_query", "lambda_corpus"] {
        let message = error(&format!("[arguments]\n{name} = 1e-5\n"), &[]);
        assert!(
            message.contains("_regularizer_weight`, in `[loss]`"),
            "{message}"
        );
    }
}

#[test]
fn a_file_without_an_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.toml");
    std::fs::write(&path, "#".repeat(super::LARGEST as usize + 1)).unwrap();
    let message = TrainingFile::load(&path, &[]).unwrap_err().to_string();
    assert!(
        message.ends_with("is longer than 16777216 bytes: is it a training file?"),
        "{message}"
    );
    std::fs::write(&path, FILE).unwrap();
    TrainingFile::load(&path, &[]).unwrap();
}

#[test]
fn json_may_stand_for_a_table() {
    let overrides = [
        r#"arguments.prompts={"query": "query: "}"#,
        r#"arguments.router_mapping={"a": "query", "b": "document"}"#,
        r#"arguments.learning_rate_mapping={"zeta\\.x": 1e-3, "alpha": 2e-3}"#,
        r#"arguments.lr_scheduler_kwargs={"num_cycles": 2}"#,
        "arguments.lr_scheduler_type=cosine",
    ];
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let arguments = TrainingFile::parse(FILE, &overrides).unwrap().arguments;
    let prompts = [("query".to_owned(), ColumnPrompts::All("query: ".to_owned()))];
    assert_eq!(
        arguments.prompts,
        Some(ColumnPrompts::Named(prompts.into()))
    );
    assert_eq!(arguments.router_mapping["b"], "document".into());
    assert_eq!(arguments.lr_scheduler_kwargs.num_cycles, Some(2.0));
    assert_eq!(arguments.learning_rate_mapping[r"zeta\.x"], 1e-3);

    // A text that is no JSON is a prompt, and an error elsewhere.
    let overrides = ["arguments.prompts={query".to_owned()];
    let arguments = TrainingFile::parse(FILE, &overrides).unwrap().arguments;
    assert_eq!(
        arguments.prompts,
        Some(ColumnPrompts::All("{query".to_owned()))
    );
    let message = error("", &["arguments.router_mapping={query"]);
    assert!(
        message.starts_with(
            "`arguments.router_mapping` must be a table, or a JSON object as a string: key must be"
        ),
        "{message}"
    );
}

#[test]
fn overrides_reach_everywhere() {
    let overrides = [
        "arguments.output_dir=runs/x",
        "train_dataset.0.path=b.tsv",
        "model.max_seq_length=16",
    ];
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let file = TrainingFile::parse(FILE, &overrides).unwrap();
    assert_eq!(file.arguments.output_dir.to_str(), Some("runs/x"));
    assert_eq!(file.model.max_seq_length, Some(16));
    let message = error("", &["train_dataset.7.path=b.tsv"]);
    assert_eq!(
        message,
        "`train_dataset.7.path` must go on with an index below 1 and a key"
    );
    assert_eq!(error("", &["seed"]), "`seed` must have the form key=value");
}
