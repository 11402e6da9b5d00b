//! The reference's losses on given embeddings: values, gradients, configuration dictionaries, errors.

use burn::tensor::Tensor;
use serde_json::{Value, json};
use sparse_losses::{
    DataSummary, Description, EmbeddedBatch, FlopsConfig, LabelShape, Labels, LossConfig,
    LossOutput, RegularizerConfig, RegularizerInput,
};

use crate::reader::{Tensors, assert_gradient, assert_value, device, json, values};

/// The registry's name of a reference class, or of the short word that `SpladeLoss` cases use.
fn registry_name(class: &str) -> Option<&'static str> {
    Some(match class {
        "SparseMultipleNegativesRankingLoss" | "mnrl" | "mnrl2" | "mnrl5" => {
            "multiple_negatives_ranking"
        }
        "SparseMarginMSELoss" | "margin_mse" => "margin_mse",
        "SparseDistillKLDivLoss" | "kl" => "distill_kl_div",
        "SparseTripletLoss" | "triplet" => "triplet",
        "SparseCoSENTLoss" | "cosent" => "co_sent",
        "SparseAnglELoss" | "angle" => "angle",
        "SparseCosineSimilarityLoss" | "cosine_similarity" => "cosine_similarity",
        "SparseMSELoss" | "mse" => "mse",
        "SpladeLoss" => "splade",
        _ => return None,
    })
}

/// The reference's constructor options as this crate's table.
fn config(class: &str, options: &Value) -> LossConfig {
    let mut table = options.clone();
    let name = registry_name(class).unwrap();
    table["type"] = json!(name);
    match name {
        "splade" => {
            table["loss"] =
                json!({ "type": registry_name(options["loss"].as_str().unwrap()).unwrap() })
        }
        "cosine_similarity" => {
            table["loss_fct"] = json!(match options["loss_fct"].as_str().unwrap() {
                "MSELoss" => "mse",
                "L1Loss" => "l1",
                other => panic!("{other}"),
            });
            let transformation = options["cos_score_transformation"]
                .as_str()
                .unwrap()
                .to_lowercase();
            table["cos_score_transformation"] = json!(transformation);
        }
        _ => {}
    }
    serde_json::from_value(table).unwrap_or_else(|error| panic!("{class} {options}: {error}"))
}

/// Value, components and configuration dictionary of a case.
fn run(case: &Value, columns: &[Tensor<2>], labels: Option<Labels>) -> (LossOutput, Description) {
    let class = case["loss"].as_str().unwrap();
    if class == "FlopsLoss" {
        let config: FlopsConfig = serde_json::from_value(case["config"].clone()).unwrap();
        let regularizer = RegularizerConfig::Flops(config).init().unwrap();
        return (
            regularizer.forward(&RegularizerInput::new(columns)).into(),
            regularizer.describe(),
        );
    }
    let loss = config(class, &case["config"]).init().unwrap();
    let mut batch = EmbeddedBatch::new(columns.to_vec());
    batch.labels = labels;
    (loss.forward(&batch), loss.describe())
}

fn labels(tensors: &Tensors, name: &str) -> Labels {
    let device = device();
    match tensors.get(name).0.len() {
        1 => tensors.tensor::<1>(name, &device).into(),
        2 => tensors.tensor::<2>(name, &device).into(),
        3 => tensors.tensor::<3>(name, &device).into(),
        rank => panic!("{name} has rank {rank}"),
    }
}

fn names(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect()
}

#[test]
fn every_case_agrees_with_the_reference() {
    let tensors = Tensors::open("cases.safetensors");
    let device = device();
    let file = json("cases.json");
    let mut seen = 0;
    for case in file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["error"].is_null())
    {
        let name = case["name"].as_str().unwrap();
        let inputs = names(&case["inputs"]);
        let columns: Vec<Tensor<2>> = inputs
            .iter()
            .map(|input| tensors.tensor(input, &device).require_grad())
            .collect();
        let labels = case["labels"].as_str().map(|name| labels(&tensors, name));
        let (output, description) = run(case, &columns, labels);

        let components = case["components"].as_object().unwrap();
        assert_eq!(output.components().len(), components.len(), "{name}");
        for (component, expected) in components {
            let ours = if component == "loss" {
                "base_loss"
            } else {
                component
            };
            let value = output
                .component(ours)
                .unwrap_or_else(|| panic!("{name}: no {ours}"));
            assert_value(
                &format!("{name} {component}"),
                values(value.clone())[0],
                expected.as_f64().unwrap(),
            );
        }
        let total = output.total();
        assert_value(
            name,
            values(total.clone())[0],
            case["value"].as_f64().unwrap(),
        );

        let gradients = total.backward();
        for (column, expected) in columns.iter().zip(names(&case["gradients"])) {
            let expected = tensors.get(expected).1;
            let found = column
                .grad(&gradients)
                .map_or_else(|| vec![0.0; expected.len()], values);
            assert_gradient(&format!("{name} {:?}", column.dims()), &found, &expected);
        }
        assert_description(name, &description, &case["config_dict"]);
        seen += 1;
    }
    assert_eq!(seen, 211);
}

/// The model card's dictionary: same keys, same values, same order; a loss inside by its class name.
fn assert_description(name: &str, description: &Description, expected: &Value) {
    let mut found = description.options.clone();
    if let Some(Value::String(call)) = found.get_mut("loss") {
        *call = call.split('(').next().unwrap().to_owned();
    }
    assert_eq!(json!(found).to_string(), expected.to_string(), "{name}");
}

#[test]
fn labels_get_no_gradient_in_any_loss() {
    let tensors = Tensors::open("cases.safetensors");
    let device = device();
    let file = json("cases.json");
    for case in file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["labels"].is_string())
    {
        let columns = names(&case["inputs"])
            .iter()
            .map(|input| tensors.tensor(input, &device).require_grad())
            .collect();
        let labels = match labels(&tensors, case["labels"].as_str().unwrap()) {
            Labels::Scalars(labels) => Labels::Scalars(labels.require_grad()),
            Labels::Lists(labels) => Labels::Lists(labels.require_grad()),
            Labels::Matrices(labels) => Labels::Matrices(labels.require_grad()),
        };
        let loss = config(case["loss"].as_str().unwrap(), &case["config"])
            .init()
            .unwrap();
        let gradients = loss
            .forward(&EmbeddedBatch::new(columns).with_labels(labels.clone()))
            .total()
            .backward();
        let untouched = match labels {
            Labels::Scalars(labels) => labels.grad(&gradients).is_none(),
            Labels::Lists(labels) => labels.grad(&gradients).is_none(),
            Labels::Matrices(labels) => labels.grad(&gradients).is_none(),
        };
        assert!(untouched, "{}", case["name"]);
    }
}

/// A case's name, what provokes our error, and a part of its message.
type ErrorCase = (&'static str, fn() -> String, &'static str);

/// What the reference raises, and what is said here instead.
const ERRORS: &[ErrorCase] = &[
    (
        "error.mnrl.one_column",
        || unfit("multiple_negatives_ranking", json!({}), 1, None),
        "needs at least 2 input columns",
    ),
    (
        "error.mnrl.scale_zero",
        || invalid("multiple_negatives_ranking", json!({"scale": 0})),
        "`scale`",
    ),
    (
        "error.mnrl.no_direction",
        || invalid("multiple_negatives_ranking", json!({"directions": []})),
        "query_to_doc",
    ),
    (
        "error.mnrl.without_query_to_doc",
        || {
            invalid(
                "multiple_negatives_ranking",
                json!({"directions": ["doc_to_query"]}),
            )
        },
        "which holds the positive pair",
    ),
    (
        "error.mnrl.per_direction_doc_to_doc",
        || {
            let options = json!({"directions": ["query_to_doc", "doc_to_doc"], "partition_mode": "per_direction"});
            invalid("multiple_negatives_ranking", options)
        },
        "needs the positive pair in every direction",
    ),
    (
        "error.mnrl.negative_strength",
        || {
            invalid(
                "multiple_negatives_ranking",
                json!({"hardness_strength": -1}),
            )
        },
        "`hardness_strength`",
    ),
    (
        "error.mnrl.alone",
        || alone("multiple_negatives_ranking"),
        "put it inside `splade`",
    ),
    (
        "error.margin_mse.shape",
        || unfit("margin_mse", json!({}), 3, Some(LabelShape::List(5))),
        "lists of 2 scores, or one difference per row",
    ),
    (
        "error.kl.two_columns",
        || unfit("distill_kl_div", json!({}), 2, Some(LabelShape::List(1))),
        "is constant",
    ),
    (
        "error.kl.shape",
        || unfit("distill_kl_div", json!({}), 3, Some(LabelShape::List(3))),
        "lists of 2 teacher scores",
    ),
    (
        "error.kl.temperature",
        || invalid("distill_kl_div", json!({"temperature": 0})),
        "positive finite number; got 0",
    ),
    (
        "error.cosent.labels",
        || unfit("co_sent", json!({}), 2, Some(LabelShape::List(3))),
        "one similarity per row",
    ),
    (
        "error.mse.rank",
        || unfit("mse", json!({}), 1, Some(LabelShape::Scalar)),
        "found one number per row",
    ),
    (
        // FLOPS is a regularizer here, so it cannot even be named as a loss
        "error.splade.flops_alone",
        || {
            serde_json::from_value::<LossConfig>(json!({"type": "flops"}))
                .unwrap_err()
                .to_string()
        },
        "unknown variant `flops`",
    ),
    (
        "error.splade.nested",
        || {
            let inner = json!({"type": "splade", "document_regularizer_weight": 1, "loss": {"type": "triplet"}});
            invalid(
                "splade",
                json!({"document_regularizer_weight": 1, "loss": inner}),
            )
        },
        "cannot contain `splade`",
    ),
];

fn read(name: &str, mut options: Value) -> LossConfig {
    options["type"] = json!(name);
    serde_json::from_value(options).unwrap()
}

fn invalid(name: &str, options: Value) -> String {
    read(name, options).init().unwrap_err().to_string()
}

fn alone(name: &str) -> String {
    read(name, json!({}))
        .check_stands_alone()
        .unwrap_err()
        .to_string()
}

fn unfit(name: &str, options: Value, n_columns: usize, labels: Option<LabelShape>) -> String {
    let mut data = DataSummary::new((0..n_columns).map(|column| format!("text{column}")));
    if let Some(shape) = labels {
        data = data.with_labels("score", shape, vec![0.5; 15]);
    }
    read(name, options)
        .init()
        .unwrap()
        .check(&data)
        .unwrap_err()
        .to_string()
}

#[test]
fn what_the_reference_refuses_is_refused_with_a_reason() {
    let file = json("cases.json");
    let cases = file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| !case["error"].is_null());
    let cases: Vec<_> = cases.map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(
        cases,
        ERRORS.iter().map(|(name, ..)| *name).collect::<Vec<_>>()
    );
    for (name, message, part) in ERRORS {
        let message = message();
        assert!(message.contains(part), "{name}: {message}");
    }
}

/// Losses that the reference lacks, with values derived by hand. [`Q`] and [`P`] are the columns.
const HAND_DERIVED: &[(&str, &str, f64)] = &[
    // similarities [[1, 0, 3], [1, 3, 0], [3, 1, 3]]; own pairs −ln σ(1) − 2 ln σ(3) = 0.313262 + 2 · 0.048587; the
    // others −2 ln σ(0) − 2 ln σ(−1) − 2 ln σ(−3) = 2 · (0.693147 + 1.313262 + 3.048587); over 3 rows
    ("sigmoid", "{}", 3.506_810),
    // the ranking loss is 1.032772 (its check value in the reference), so (2 + ½) · 1.032772
    (
        "weighted_sum",
        r#"{"losses": [{"weight": 2, "loss": {"type": "multiple_negatives_ranking"}},
            {"weight": 0.5, "loss": {"type": "multiple_negatives_ranking"}}]}"#,
        2.581_930,
    ),
    // the ranking loss again, FLOPS of P: means 2/3, 1, 1/3, 1/3 -> 15/9, times 0.3
    (
        "cached_splade",
        r#"{"document_regularizer_weight": 0.3, "loss": {"type": "multiple_negatives_ranking"}}"#,
        1.532_772,
    ),
];
const Q: [[f32; 4]; 3] = [[1., 0., 2., 0.], [0., 1., 0., 1.], [3., 0., 0., 1.]];
const P: [[f32; 4]; 3] = [[1., 1., 0., 0.], [0., 2., 0., 1.], [1., 0., 1., 0.]];

#[test]
fn every_loss_of_the_registry_has_reference_values() {
    let file = json("cases.json");
    let cases = file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["error"].is_null());
    let mut covered: Vec<_> = cases
        .filter_map(|case| registry_name(case["loss"].as_str().unwrap()))
        .collect();
    covered.extend(["csr", "csr_reconstruction"]); // golden_csr.rs
    covered.extend(HAND_DERIVED.iter().map(|(name, ..)| *name));
    for name in LossConfig::NAMES {
        assert!(
            covered.contains(name),
            "`{name}` has no reference values: add a case or a value derived by hand"
        );
    }
    for (name, options, expected) in HAND_DERIVED {
        let loss = read(name, serde_json::from_str(options).unwrap())
            .init()
            .unwrap();
        let columns = [Q, P].map(|rows| Tensor::<2>::from_floats(rows, &device()));
        let total = loss.forward(&EmbeddedBatch::new(columns.to_vec())).total();
        assert_value(name, values(total)[0], *expected);
    }
}
