//! The SPLADE loss, by hand and by differences.

use super::*;
use crate::testing::{N1, P, Q, batch, device, scalar, values};
use crate::{BASE_LOSS, TripletLossConfig, WeightedLossConfig, WeightedSumLossConfig};

fn config() -> SpladeLossConfig {
    SpladeLossConfig {
        query_regularizer_weight: Some(0.1),
        ..SpladeLossConfig::new(MultipleNegativesRankingLossConfig::default(), 0.2)
    }
}

#[test]
fn terms_by_hand() {
    let output = config().init().unwrap().forward(&batch(&[Q, P, N1]));
    let term = |name| scalar(output.component(name).unwrap().clone());
    assert!((term(BASE_LOSS) - 1.575_57).abs() < 1e-5);
    // mean of the six document rows: 3/6, 3/6, 3/6, 3/6 -> Σ squares = 1
    assert!((term(DOCUMENT_REGULARIZER_LOSS) - 0.2 * 1.0).abs() < 1e-6);
    // FLOPS(Q) = 25/9
    assert!((term(QUERY_REGULARIZER_LOSS) - 0.1 * 25.0 / 9.0).abs() < 1e-6);
    let sum = term(BASE_LOSS) + term(DOCUMENT_REGULARIZER_LOSS) + term(QUERY_REGULARIZER_LOSS);
    assert!((scalar(output.total()) - sum).abs() < 1e-6);
}

#[test]
fn a_base_loss_of_several_terms_keeps_their_names() {
    let term = |weight, loss| WeightedLossConfig { weight, loss };
    let ranking = MultipleNegativesRankingLossConfig::default().into();
    let base = WeightedSumLossConfig {
        losses: vec![
            term(1.0, ranking),
            term(0.5, TripletLossConfig::default().into()),
        ],
    };
    let loss = SpladeLossConfig::new(base, 0.2).init().unwrap();
    let output = loss.forward(&batch(&[Q, P, N1]));
    let names: Vec<_> = output
        .components()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = [
        "multiple_negatives_ranking_loss",
        "triplet_loss",
        DOCUMENT_REGULARIZER_LOSS,
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_batch_s_weights_take_precedence() {
    let weights = RegularizerWeights {
        document: 0.4,
        query: None,
    };
    let output = config()
        .init()
        .unwrap()
        .forward(&batch(&[Q, P, N1]).with_regularizer_weights(weights));
    assert!(
        (scalar(output.component(DOCUMENT_REGULARIZER_LOSS).unwrap().clone()) - 0.4).abs() < 1e-6
    );
    assert!(output.component(QUERY_REGULARIZER_LOSS).is_none());
}

#[test]
fn a_query_weight_of_zero_gives_exactly_no_gradient() {
    // the base loss sees the two columns' sum, so that the query's gradient comes from the regularizer alone
    #[derive(Debug)]
    struct Documents;
    impl Loss for Documents {
        fn name(&self) -> &str {
            "documents"
        }
        fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
            batch.columns[1].clone().sum().into()
        }
        fn check(&self, _: &DataSummary) -> Result<()> {
            Ok(())
        }
        fn describe(&self) -> Description {
            Description::new("Documents")
        }
    }
    let gradient = |weight| {
        let flops = || Box::new(FlopsConfig::default().init().unwrap());
        let weights = RegularizerWeights {
            document: 0.1,
            query: Some(weight),
        };
        let loss = SpladeLoss::from_parts(Box::new(Documents), flops(), flops(), weights);
        let query = Tensor::<2>::from_floats(Q, &device()).require_grad();
        let document = Tensor::<2>::from_floats(P, &device()).require_grad();
        let output = loss.forward(&EmbeddedBatch::new(vec![query.clone(), document]));
        assert_eq!(output.components().len(), 3);
        let gradients = output.total().backward();
        query.grad(&gradients).map(values)
    };
    assert_eq!(gradient(0.0), None);
    assert!(gradient(0.5).unwrap().iter().any(|value| *value != 0.0));
}

#[test]
fn document_only_mode_regularizes_every_column_and_ignores_the_query_weight() {
    let loss = SpladeLossConfig {
        use_document_regularizer_only: true,
        ..config()
    }
    .init()
    .unwrap();
    let output = loss.forward(&batch(&[Q, P]));
    // column sums of Q and P: 6, 4, 3, 3 over 6 rows -> (36 + 16 + 9 + 9) / 36
    let expected = 0.2 * 70.0 / 36.0;
    assert!(
        (scalar(output.component(DOCUMENT_REGULARIZER_LOSS).unwrap().clone()) - expected).abs()
            < 1e-6
    );
    assert_eq!(output.components().len(), 2);
    assert_eq!(loss.regularizer_weights().unwrap().query, None);
    assert!(loss.warnings()[0].contains("is ignored"));
}

#[test]
fn contradictions_are_refused() {
    let both = SpladeLossConfig {
        document_regularizer: Some(RegularizerConfig::L1(crate::L1Config {})),
        document_regularizer_threshold: Some(3),
        ..config()
    };
    assert!(
        both.init()
            .unwrap_err()
            .to_string()
            .contains("`document_regularizer_threshold` belongs to")
    );
    let negative = SpladeLossConfig {
        query_regularizer_weight: Some(-1.0),
        ..config()
    };
    assert!(
        negative
            .init()
            .unwrap_err()
            .to_string()
            .contains("`query_regularizer_weight` of `splade`")
    );
    let df = RegularizerConfig::DfFlops(crate::DfFlopsConfig::default());
    let query = SpladeLossConfig {
        query_regularizer: Some(df),
        ..config()
    };
    assert!(
        query
            .init()
            .unwrap_err()
            .to_string()
            .contains("counts documents")
    );
}

#[test]
fn regularizers_over_several_batches_are_those_of_one_large_batch() {
    for regularizer in [
        r#"{"type": "flops"}"#,
        r#"{"type": "flops", "threshold": 1}"#,
        r#"{"type": "l1"}"#,
        r#"{"type": "l0_mask", "threshold": 1}"#,
    ] {
        let regularizer: RegularizerConfig = serde_json::from_str(regularizer).unwrap();
        let loss = SpladeLossConfig {
            document_regularizer: Some(regularizer.clone()),
            query_regularizer: Some(regularizer.clone()),
            loss: Box::new(TripletLossConfig::default().into()),
            ..config()
        }
        .init()
        .unwrap();
        // 3 rows as 1 + 2, so that a mean of the parts would weigh rows differently
        let leaves = [Q, P, N1].map(|rows| Tensor::<2>::from_floats(rows, &device()));
        let leaves = leaves.map(Tensor::require_grad);
        let part = |start: usize, n: usize| {
            let columns = leaves.iter().map(|leaf| leaf.clone().narrow(0, start, n));
            EmbeddedBatch::new(columns.collect())
        };
        let whole = loss.forward(&part(0, 3));
        let parts = [part(0, 1), part(1, 2)];
        let joint = loss.forward_jointly(&parts);
        let separate = LossOutput::mean(parts.iter().map(|part| loss.forward(part)));
        let sum = |output: &LossOutput| {
            let terms = [DOCUMENT_REGULARIZER_LOSS, QUERY_REGULARIZER_LOSS];
            let terms = terms.map(|name| output.component(name).unwrap().clone());
            terms.into_iter().reduce(|a, b| a + b).unwrap()
        };
        let gradients = |output: &LossOutput| {
            let gradients = sum(output).backward();
            let of = |leaf: &Tensor<2>| leaf.grad(&gradients).map(values).unwrap_or_default();
            let value = scalar(sum(output));
            [vec![value], of(&leaves[0]), of(&leaves[1]), of(&leaves[2])].concat()
        };
        let expected = gradients(&whole);
        crate::testing::assert_close(&gradients(&joint), &expected, 1e-6);
        if regularizer.init().unwrap().name() == "flops" {
            assert!((scalar(sum(&separate)) - expected[0]).abs() > 1e-2);
        }
        // the base term is the mean over the batches
        let base = |output: &LossOutput| scalar(output.component(BASE_LOSS).unwrap().clone());
        assert!((base(&joint) - base(&separate)).abs() < 1e-6);
    }
}

#[test]
fn a_target_takes_the_place_of_a_weight() {
    let config = SpladeLossConfig {
        document_regularizer_weight: None,
        query_regularizer_weight: None,
        document_target_active_dims: Some(200),
        query_target_active_dims: Some(30),
        ..config()
    };
    let loss = config.init().unwrap();
    assert_eq!(loss.regularizer_weights(), Some(DEFAULT_WEIGHTS));
    assert_eq!(loss.target_active_dims().document, Some(200));
    assert!(loss.warnings().is_empty());
    let description = loss.describe();
    assert_eq!(description.options["document_target_active_dims"], 200);

    let message = |config: SpladeLossConfig| config.init().unwrap_err().to_string();
    let neither = SpladeLossConfig {
        document_target_active_dims: None,
        ..config.clone()
    };
    assert_eq!(
        message(neither),
        "`document_regularizer_weight` of `splade` must be given, unless `document_target_active_dims` is; got neither"
    );
    let zero = SpladeLossConfig {
        query_target_active_dims: Some(0),
        ..config.clone()
    };
    assert!(message(zero).contains("`query_target_active_dims` of `splade` must be at least 1"));
    let only = SpladeLossConfig {
        use_document_regularizer_only: true,
        ..config
    };
    assert!(message(only).contains("has nothing to set"));
}

#[test]
fn a_single_column_needs_document_only_mode() {
    let loss = SpladeLossConfig::new(crate::MseLossConfig::default(), 0.1);
    let data =
        DataSummary::new(["text"]).with_labels("label", crate::LabelShape::List(4), vec![0.0; 4]);
    let error = loss.init().unwrap().check(&data).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("use_document_regularizer_only = true"),
        "{error}"
    );
    let loss = SpladeLossConfig {
        use_document_regularizer_only: true,
        ..loss
    };
    loss.init().unwrap().check(&data).unwrap();
}

#[test]
fn missing_query_regularization_is_mentioned() {
    let loss = SpladeLossConfig::new(MultipleNegativesRankingLossConfig::default(), 3e-5)
        .init()
        .unwrap();
    assert!(loss.warnings()[0].contains("queries are not regularized"));
    assert!(config().init().unwrap().warnings().is_empty());
}
