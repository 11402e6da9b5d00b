//! TOML text and overrides to a typed configuration, with errors that name the key.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::suggest::explain;
use crate::arguments::foreign;
use crate::error::{Error, Result};
use crate::optimizer::ELSEWHERE;
use crate::secret::{is_secret, mask_secrets};

pub(super) fn unreadable(path: &Path, source: &std::io::Error) -> Error {
    let message = match source.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::InvalidData => "is not valid UTF-8".to_owned(),
        _ => format!("can't be read: {source}"),
    };
    Error::File {
        path: path.to_path_buf(),
        message,
    }
}

/// What the text and the overrides say, and warnings about arguments that have no effect.
pub(super) fn parse<T: DeserializeOwned>(
    text: &str,
    overrides: &[String],
) -> Result<(T, Vec<String>)> {
    let mut table: Table = text.parse().map_err(|error| not_toml(text, &error))?;
    for entry in overrides {
        apply(&mut table, entry)?;
    }
    let warnings = take_foreign(&mut table)?;
    read_json(&mut table)?;
    let read = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let message = explain(&without_secrets(
            &path,
            error.inner().to_string().lines().next().unwrap_or_default(),
        ));
        // serde's path of an unknown key ends in that key, which the message names already.
        let key = match path.rsplit_once('.') {
            _ if path == "." => return Error::Incomplete(message),
            _ if message.starts_with("missing field") => path,
            Some((parent, last)) if message.contains(&format!("`{last}`")) => parent.to_owned(),
            None if message.contains(&format!("`{path}`")) => return Error::Incomplete(message),
            _ => path,
        };
        Error::argument(key, format!("has an error: {message}"))
    })?;
    Ok((read, warnings))
}

/// Where a text stops to be TOML, by line, column and key. The line itself isn't shown: there may be a token or a password in it.
fn not_toml(text: &str, error: &toml::de::Error) -> Error {
    let place = error.span().map_or_else(String::new, |span| {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line = before.matches('\n').count();
        let first = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = text[first..start].chars().count() + 1;
        let whole = text.lines().nth(line).unwrap_or_default();
        let is_key = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let key = whole
            .split_once('=')
            .map(|(key, _)| key.trim())
            .filter(|key| !key.is_empty() && key.chars().all(is_key))
            .map_or_else(String::new, |key| format!(", `{key}`"));
        format!(" at line {}, column {column}{key}", line + 1)
    });
    let message = error.message().lines().next().unwrap_or_default();
    Error::Incomplete(mask_secrets(&format!(
        "is not valid TOML{place}: {message}"
    )))
}

/// A message of serde's, which quotes the value that it refuses, without the value where that may be a secret.
fn without_secrets(path: &str, message: &str) -> String {
    let quotes_value = ["invalid type", "invalid value"]
        .iter()
        .any(|start| message.starts_with(start));
    match message.split_once(", expected") {
        Some((_, expected)) if quotes_value && is_secret(path) => {
            format!("invalid value, which isn't shown, expected{expected}")
        }
        _ => mask_secrets(message),
    }
}

/// Sets `a.b.c=value`; a value that is no TOML is taken as a string.
fn apply(table: &mut Table, entry: &str) -> Result<()> {
    let Some((key, text)) = entry.split_once('=') else {
        return Err(Error::argument(
            mask_secrets(entry),
            "must have the form key=value",
        ));
    };
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut parts = key.trim().split('.').peekable();
    let mut place = table;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            place.insert(part.to_owned(), value);
            return Ok(());
        }
        let next = place
            .entry(part.to_owned())
            .or_insert_with(|| Value::Table(Table::new()));
        // `evaluator.0.name` reaches into a list of tables.
        place = match next {
            Value::Table(inner) => inner,
            Value::Array(list) => {
                let index = parts.next().and_then(|part| part.parse::<usize>().ok());
                let length = list.len();
                let item = index
                    .and_then(|index| list.get_mut(index))
                    .and_then(Value::as_table_mut);
                let Some(inner) = item.filter(|_| parts.peek().is_some()) else {
                    return Err(Error::argument(
                        key,
                        format!("must go on with an index below {length} and a key"),
                    ));
                };
                inner
            }
            _ => {
                return Err(Error::argument(
                    key,
                    format!("can't be set: `{part}` is a value"),
                ));
            }
        };
    }
    Ok(())
}

/// Arguments that the reference also takes as JSON, which is how a command line sets them.
const JSON: [&str; 4] = [
    PROMPTS,
    "router_mapping",
    "learning_rate_mapping",
    "lr_scheduler_kwargs",
];

/// Of these, the one that may be a text.
const PROMPTS: &str = "prompts";

/// Puts what the JSON of an argument says in its place.
fn read_json(table: &mut Table) -> Result<()> {
    let Some(arguments) = table.get_mut("arguments").and_then(Value::as_table_mut) else {
        return Ok(());
    };
    for name in JSON {
        let Some(value) = arguments.get_mut(name) else {
            continue;
        };
        let Some(text) = value.as_str() else { continue };
        let parsed: serde_json::Result<toml::Table> = serde_json::from_str(text);
        *value = match parsed {
            Ok(table) => Value::Table(table),
            // As in the reference.
            Err(_) if name == PROMPTS => continue,
            Err(error) => {
                return Err(Error::argument(
                    format!("arguments.{name}"),
                    format!("must be a table, or a JSON object as a string: {error}"),
                ));
            }
        };
    }
    Ok(())
}

/// Takes the arguments of the reference out that have no field here: warns of those without effect and fails at the others,
/// unless the value is the reference's default.
fn take_foreign(table: &mut Table) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let Some(arguments) = table.get_mut("arguments").and_then(Value::as_table_mut) else {
        return Ok(warnings);
    };
    for (name, default, reason) in foreign::WITHOUT_EFFECT {
        if let Some(value) = arguments.remove(*name)
            && !is_default(&value, default)
        {
            warnings.push(format!("`arguments.{name}` has no effect: {reason}"));
        }
    }
    for (name, default, reason) in foreign::REFUSED {
        if let Some(value) = arguments.remove(*name)
            && !is_default(&value, default)
        {
            return Err(Error::argument(format!("arguments.{name}"), *reason));
        }
    }
    let optim = arguments.get("optim").and_then(Value::as_str);
    if let Some((name, instead)) = ELSEWHERE.iter().find(|(name, _)| Some(*name) == optim) {
        return Err(Error::argument(
            "arguments.optim",
            format!("= \"{name}\" needs a package of the reference's; set \"{instead}\" instead"),
        ));
    }
    Ok(warnings)
}

/// Whether a value is the default, which is written in TOML; 0 and 0.0 are the same.
fn is_default(value: &Value, default: &str) -> bool {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|n| n as f64));
    let Ok(parsed) = format!("value = {default}").parse::<Table>() else {
        return false;
    };
    parsed.get("value").is_some_and(|default| {
        default == value || (number(default).is_some() && number(default) == number(value))
    })
}

#[cfg(test)]
mod tests {
    use crate::{Prompts, TrainingFile};

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
        assert!(message.starts_with("`arguments` has an error: unknown key `lerning_rate`; did you mean `learning_rate`?"), "{message}");
        let message = error("[argument]\nseed = 1\n", &[]);
        assert!(
            message.starts_with("unknown key `argument`; did you mean `arguments`?"),
            "{message}"
        );
    }

    #[test]
    fn every_table_refuses_what_it_does_not_know() {
        let loss = "[loss]\ntype = \"splade\"\ndocument_regularizer_weight = 1e-3\n";
        for (text, key, unknown, near) in [
            (
                "[arguments]\nlerning_rate = 1\n",
                "arguments",
                "lerning_rate",
                "learning_rate",
            ),
            (
                "[arguments]\nlr_scheduler_type = \"cosine\"\nlr_scheduler_kwargs = { num_cycle = 1 }\n",
                "arguments.lr_scheduler_kwargs",
                "num_cycle",
                "num_cycles",
            ),
            (
                "[model_card]\nlicens = \"mit\"\n",
                "model_card",
                "licens",
                "license",
            ),
            (
                "[guards]\ndense = false\n",
                "guards",
                "dense",
                "dense_model",
            ),
            (
                "[regularizer_schedule]\nwarmup_rato = 0.5\n",
                "regularizer_schedule",
                "warmup_rato",
                "warmup_ratio",
            ),
            (
                "[top_k_schedule]\ninitial_k = 9\nfinal_k = 3\nramp_rato = 0.5\n",
                "top_k_schedule",
                "ramp_rato",
                "ramp_ratio",
            ),
            (
                "[[eval_dataset]]\npaht = \"x\"\n",
                "eval_dataset[0]",
                "paht",
                "path",
            ),
            (
                "[[eval_dataset]]\npath = \"x\"\nlookups = { a = { pth = \"x\" } }\n",
                "eval_dataset[0].lookups.a",
                "pth",
                "path",
            ),
            (
                &format!("{loss}query_regularizer_wieght = 1\n"),
                "loss",
                "query_regularizer_wieght",
                "query_regularizer_weight",
            ),
            (
                &format!("{loss}loss = {{ type = \"multiple_negatives_ranking\", scal = 2 }}\n"),
                "loss",
                "scal",
                "scale",
            ),
            (
                &format!("{loss}document_regularizer = {{ type = \"df_flops\", alph = 2 }}\n"),
                "loss",
                "alph",
                "alpha",
            ),
            (
                "[losses.a]\ntype = \"splade\"\nlos = 1\n",
                "losses.a",
                "los",
                "loss",
            ),
            (
                "[[evaluator]]\ntype = \"information_retrieval\"\nretreival = \"x\"\n",
                "evaluator[0]",
                "retreival",
                "retrieval",
            ),
            (
                "[[evaluator]]\ntype = \"sequential\"\nevaluators = [{ type = \"triplet\", nam = \"x\" }]\n",
                "evaluator[0]",
                "nam",
                "name",
            ),
            (
                "[[evaluator]]\ntype = \"tripet\"\n",
                "evaluator[0]",
                "tripet",
                "triplet",
            ),
            (
                "[[evaluator]]\ntype = \"triplet\"\nmargin = { cosin = 0.1 }\n",
                "evaluator[0]",
                "cosin",
                "cosine",
            ),
        ] {
            let message = error(text, &[]);
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
        let prompts = [("query".to_owned(), Prompts::All("query: ".to_owned()))];
        assert_eq!(arguments.prompts, Some(Prompts::Named(prompts.into())));
        assert_eq!(arguments.router_mapping["b"], "document".into());
        assert_eq!(arguments.lr_scheduler_kwargs.num_cycles, Some(2.0));
        assert_eq!(arguments.learning_rate_mapping[r"zeta\.x"], 1e-3);

        // A text that is no JSON is a prompt, and an error elsewhere.
        let overrides = ["arguments.prompts={query".to_owned()];
        let arguments = TrainingFile::parse(FILE, &overrides).unwrap().arguments;
        assert_eq!(arguments.prompts, Some(Prompts::All("{query".to_owned())));
        let message = error("", &["arguments.router_mapping={query"]);
        assert!(
            message.starts_with("`arguments.router_mapping` must be a table, or a JSON object as a string: key must be"),
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
}
