//! The model card: its metadata are YAML with what the hub wants, its sections are filled from the run.

use std::fs;

use serde_json::{Map, Value, json};
use sparse_eval::{TripletConfig, TripletEvaluator};
use sparse_train::{IntervalStrategy, ModelCardConfig, SaveStrategy, TrainingArguments};

use crate::support::{arguments, splade_run, table};

/// The YAML of cards: maps, lists and scalars in block style. Fails on anything else.
fn parse(
    lines: &mut std::iter::Peekable<std::vec::IntoIter<(usize, String)>>,
    indent: usize,
) -> Value {
    let Some((_, first)) = lines.peek().cloned() else {
        panic!("nothing at indent {indent}");
    };
    if first.starts_with("- ") {
        let mut items = Vec::new();
        while let Some((_, line)) =
            lines.next_if(|(at, line)| *at == indent && line.starts_with("- "))
        {
            let rest = line[2..].to_owned();
            if !rest.starts_with('"') && (rest.ends_with(':') || rest.contains(": ")) {
                // A map: its first key stands after the dash.
                let mut inner = vec![(indent + 2, rest)];
                while let Some(line) = lines.next_if(|(at, _)| *at >= indent + 2) {
                    inner.push(line);
                }
                items.push(parse(&mut inner.into_iter().peekable(), indent + 2));
            } else {
                items.push(scalar(&rest));
            }
        }
        return Value::Array(items);
    }
    let mut map = Map::new();
    while let Some((_, line)) = lines.next_if(|(at, line)| *at == indent && !line.starts_with("- "))
    {
        let (key, rest) = match line.strip_suffix(':') {
            Some(key) => (key.to_owned(), None),
            None => {
                let (key, rest) = line
                    .split_once(": ")
                    .unwrap_or_else(|| panic!("no map: {line}"));
                (key.to_owned(), Some(rest.to_owned()))
            }
        };
        let value = match rest {
            Some(text) => scalar(&text),
            None => {
                let next = lines.peek().map_or(0, |(at, _)| *at);
                assert!(next >= indent, "{key} is empty");
                parse(lines, next)
            }
        };
        assert!(map.insert(key.clone(), value).is_none(), "{key} twice");
    }
    Value::Object(map)
}

fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => {
            assert!(
                !text.starts_with(['"', '[', '{', '*', '&', '!', '|', '>', '%', '@', '`', '#']),
                "{text}"
            );
            assert!(!text.contains(": ") && !text.contains(" #"), "{text}");
            Value::from(text)
        }
    }
}

fn metadata(card: &str) -> Value {
    let yaml = card
        .strip_prefix("---\n")
        .unwrap()
        .split_once("\n---\n")
        .unwrap()
        .0;
    let lines: Vec<(usize, String)> = yaml
        .lines()
        .map(|line| {
            let text = line.trim_start();
            (line.len() - text.len(), text.to_owned())
        })
        .collect();
    let mut lines = lines.into_iter().peekable();
    let value = parse(&mut lines, 0);
    assert_eq!(lines.next(), None);
    value
}

fn triplets() -> Box<dyn sparse_eval::Evaluator> {
    let texts = |prefix: &str| vec![format!("{prefix} dog runs"), format!("{prefix} man sleeps")];
    let config = TripletConfig {
        name: "snli-dev".into(),
        ..TripletConfig::default()
    };
    Box::new(TripletEvaluator::new(texts("a"), texts("the"), texts("no"), config).unwrap())
}

#[test]
fn it_tells_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = TrainingArguments {
        max_steps: 4,
        logging_steps: 2.0,
        eval_strategy: IntervalStrategy::Steps,
        save_strategy: SaveStrategy::Steps,
        save_steps: 2.0,
        load_best_model_at_end: true,
        report_to: vec![sparse_train::Tracker::Codecarbon],
        ..arguments(folder.path())
    };
    let config = ModelCardConfig {
        language: vec!["en".into()],
        license: Some("mit".into()),
        base_model: Some("someone/a-model".into()),
        datasets: vec!["stanfordnlp/snli".into()],
        tags: vec!["a tag: with a colon".into()],
        ..ModelCardConfig::default()
    };
    let mut trainer = splade_run(arguments)
        .eval_dataset(
            sparse_data::Dataset::from(table("a_splade_mnrl"))
                .head(8)
                .unwrap(),
        )
        .evaluator(triplets())
        .model_card(config)
        .build()
        .unwrap();
    trainer.train().unwrap();
    trainer
        .encoder()
        .save_pretrained(folder.path().join("final"))
        .unwrap();
    let card = fs::read_to_string(folder.path().join("final/README.md")).unwrap();
    if let Ok(copy) = std::env::var("MODEL_CARD") {
        fs::write(copy, &card).unwrap();
    }

    let metadata = metadata(&card);
    assert_eq!(metadata["language"], json!(["en"]));
    assert_eq!(metadata["license"], "mit");
    assert_eq!(metadata["datasets"], json!(["stanfordnlp/snli"]));
    assert_eq!(metadata["base_model"], "someone/a-model");
    assert_eq!(metadata["pipeline_tag"], "feature-extraction");
    assert_eq!(metadata["library_name"], "sentence-transformers");
    let tags = json!([
        "sentence-transformers",
        "sparse-encoder",
        "sparse",
        "splade",
        "generated_from_trainer",
        "dataset_size:100",
        "loss:SpladeLoss",
        "loss:SparseMultipleNegativesRankingLoss",
        "loss:FlopsLoss",
        "a tag: with a colon"
    ]);
    assert_eq!(metadata["tags"], tags);
    assert_eq!(metadata["widget"].as_array().unwrap().len(), 5);
    assert!(
        metadata["metrics"]
            .as_array()
            .unwrap()
            .contains(&json!("dot_accuracy"))
    );
    assert!(metadata["co2_eq_emissions"]["emissions"].as_f64().unwrap() > 0.0);
    let result = &metadata["model-index"][0]["results"][0];
    assert_eq!(
        result["task"],
        json!({ "type": "sparse-triplet", "name": "Sparse Triplet" })
    );
    assert_eq!(
        result["dataset"],
        json!({ "name": "snli dev", "type": "snli-dev" })
    );
    assert_eq!(result["metrics"][0]["type"], "dot_accuracy");
    assert_eq!(result["metrics"][0]["name"], "Dot Accuracy");
    assert_eq!(result["metrics"].as_array().unwrap().len(), 7);

    let mut rest = card.as_str();
    for text in [
        "# SPLADE Sparse Encoder based on someone/a-model\n",
        "### Model Description\n",
        "- **License:** mit\n",
        "### Full Model Architecture\n",
        "## Usage\n",
        "model.encode_query(queries)",
        "# [[",
        "## Evaluation\n",
        "* Dataset: `snli-dev`\n* Evaluated with <code>SparseTripletEvaluator</code>",
        "| **dot_accuracy**        | **",
        "### Training Dataset\n\n#### Unnamed Dataset\n\n* Size: 100 training samples\n* Columns: <code>anchor</code>, ",
        "| type    | string",
        "<ul><li>min: ",
        "* Samples:\n  | anchor ",
        "* Loss: <code>SpladeLoss</code> with these parameters:\n  ```json\n",
        "### Evaluation Dataset\n",
        "* Size: 8 evaluation samples",
        "### Regularizer Schedule\n",
        "#### Non-Default Hyperparameters\n",
        "- `load_best_model_at_end`: true\n",
        "#### All Hyperparameters\n",
        "| Epoch      | Step  | Training Loss | Validation Loss | snli-dev_dot_accuracy |\n",
        "* The bold row is that of the saved model.\n",
        "### Training Time\n",
        "### Environmental Impact\n",
        "### Framework Versions\n\n- sparse-encoder (Rust): ",
        "## Citation\n\n### BibTeX\n\n#### SpladeLoss\n```bibtex\n",
    ] {
        let at = rest
            .find(text)
            .unwrap_or_else(|| panic!("no {text} after the others in\n{card}"));
        rest = &rest[at + text.len()..];
    }
}

#[test]
fn it_can_be_left_out_and_can_keep_the_data_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let card = |config: ModelCardConfig| {
        let arguments = TrainingArguments {
            max_steps: 1,
            ..arguments(folder.path())
        };
        let mut trainer = splade_run(arguments).model_card(config).build().unwrap();
        trainer.train().unwrap();
        trainer.model_card()
    };
    let silent = ModelCardConfig {
        generate: false,
        ..ModelCardConfig::default()
    };
    assert_eq!(card(silent), None);
    let discreet = ModelCardConfig {
        generate_widget_examples: false,
        ..ModelCardConfig::default()
    };
    let text = card(discreet).unwrap();
    let first = sparse_data::Dataset::from(table("a_splade_mnrl"))
        .head(1)
        .unwrap();
    let first = first.text("anchor", 0).unwrap().unwrap().to_owned();
    assert!(!text.contains(&first) && !text.contains("widget:"));
    assert!(card(ModelCardConfig::default()).unwrap().contains(&first));
}
