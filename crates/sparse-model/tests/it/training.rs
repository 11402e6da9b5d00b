//! Gradients, updates, dropout.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use sparse_kernels::RandomStream;
use sparse_model::{EncodeOptions, ForwardContext, PackedTokens, PreprocessOptions, SparseEncoder};

use crate::models::values;
use crate::support::{assert_close, copy_of, load};

fn tokens(encoder: &SparseEncoder) -> PackedTokens {
    let texts = ["a short text", "another one, a little longer", "three"];
    encoder
        .preprocess(&texts, &PreprocessOptions::default())
        .unwrap()
}

#[test]
fn every_parameter_keeps_its_identity_and_gets_a_gradient() {
    for name in ["models/bert", "models/distilbert", "models/bert-untied"] {
        let plain = load(name);
        let training = plain.clone().train();
        assert_eq!(plain.named_parameters(), training.named_parameters());
        assert!(training.device().is_autodiff() && !training.valid().device().is_autodiff());

        let output = training
            .forward(&tokens(&training), &ForwardContext::evaluation())
            .sentence_embedding;
        let mut gradients = output.square().sum().backward();
        let gradients = training.take_gradients(&mut gradients);
        for parameter in training.named_parameters() {
            // The only parameter without one: the bias that an untied head does not read.
            let unread =
                name == "models/bert-untied" && parameter.name == "0.model.cls.predictions.bias";
            let gradient = gradients.get(&parameter.id);
            assert_eq!(gradient.is_some(), !unread, "{name}: {}", parameter.name);
            if let Some(gradient) = gradient {
                assert_eq!(gradient.dims(), [parameter.shape.iter().product::<usize>()]);
                assert!(!gradient.is_autodiff());
            }
        }
    }
}

#[test]
fn the_tied_matrix_collects_the_gradient_of_both_its_uses() {
    let training = load("models/bert").train();
    let batch = tokens(&training);
    let loss = |encoder: &SparseEncoder| {
        encoder
            .forward(&batch, &ForwardContext::evaluation())
            .sentence_embedding
            .square()
            .sum()
    };
    let mut gradients = loss(&training).backward();
    let gradients = training.take_gradients(&mut gradients);
    let word = training
        .named_parameters()
        .into_iter()
        .find(|parameter| parameter.name.ends_with("word_embeddings.weight"))
        .unwrap();
    let gradient = values(gradients[&word.id].clone());

    // Central differences along the gradient's own direction: the slope is its norm.
    let norm = gradient
        .iter()
        .map(|g| f64::from(*g).powi(2))
        .sum::<f64>()
        .sqrt();
    let step = 1e-3;
    let shifted = |sign: f64| {
        let shifted = training.valid().map_parameters(|id, value| {
            if id != word.id {
                return value;
            }
            let direction: Vec<f32> = gradient
                .iter()
                .map(|g| (f64::from(*g) / norm * step * sign) as f32)
                .collect();
            value.clone() + Tensor::<1>::from_data(direction.as_slice(), &value.device())
        });
        f64::from(values(loss(&shifted))[0])
    };
    let slope = (shifted(1.0) - shifted(-1.0)) / (2.0 * step);
    assert!(
        (slope - norm).abs() < 0.02 * norm,
        "slope {slope}, norm of the gradient {norm}"
    );
}

#[test]
fn an_update_keeps_names_and_state() {
    let training = load("models/bert").train();
    let before = training.named_parameters();
    let halved = training.map_parameters(|_, value| {
        assert!(!value.is_autodiff());
        value * 0.5
    });
    assert_eq!(before, halved.named_parameters());
    assert!(halved.device().is_autodiff());
    let mut sums = BTreeMap::new();
    halved.visit_parameters(|id, value| {
        sums.insert(id, values(value.sum())[0]);
    });
    load("models/bert").visit_parameters(|id, value| {
        assert_close(
            "half",
            &[sums[&id] * 2.0],
            &[values(value.sum())[0]],
            1e-4,
            1e-4,
        )
    });
    let output = halved
        .forward(&tokens(&halved), &ForwardContext::evaluation())
        .sentence_embedding;
    let mut gradients = output.sum().backward();
    assert_eq!(halved.take_gradients(&mut gradients).len(), before.len());
}

#[test]
fn dropout_is_on_in_training_only_and_follows_its_stream() {
    // `bert-untied` has dropout 0.1 in its configuration.
    let encoder = load("models/bert-untied");
    let batch = tokens(&encoder);
    let run =
        |context: &ForwardContext| values(encoder.forward(&batch, context).sentence_embedding);
    let stream = |seed| ForwardContext::training(RandomStream::new(seed));
    assert_eq!(
        run(&ForwardContext::inference()),
        run(&ForwardContext::evaluation())
    );
    assert_ne!(run(&ForwardContext::inference()), run(&stream(1)));
    assert_eq!(run(&stream(1)), run(&stream(1)));
    assert_ne!(run(&stream(1)), run(&stream(2)));
}

#[test]
fn encoding_does_not_depend_on_state_batch_or_order() {
    let encoder = load("models/bert");
    let texts = [
        "a short text",
        "another one, a little longer",
        "three",
        "",
        "the fourth text of five",
    ];
    let plain = encoder.encode(&texts, &EncodeOptions::default()).unwrap();
    let training = encoder
        .clone()
        .train()
        .encode(&texts, &EncodeOptions::default())
        .unwrap();
    assert_eq!(plain.to_dense(), training.to_dense());
    let reversed: Vec<&str> = texts.iter().rev().copied().collect();
    let one_by_one = encoder
        .encode(&reversed, &EncodeOptions::default().with_batch_size(1))
        .unwrap();
    let order: Vec<usize> = (0..texts.len()).rev().collect();
    assert_close(
        "order",
        &one_by_one.select(&order).to_dense(),
        &plain.to_dense(),
        0.0,
        2e-6,
    );
}

#[test]
fn mini_batches_and_joined_batches_give_the_same_rows() {
    let encoder = load("models/distilbert");
    let batch = tokens(&encoder);
    let run = |tokens: &PackedTokens| {
        values(
            encoder
                .forward(tokens, &ForwardContext::inference())
                .sentence_embedding,
        )
    };
    let whole = run(&batch);
    let parts = [batch.select(&[0]), batch.select(&[1, 2])];
    let joined = PackedTokens::concat(&parts).unwrap();
    assert_eq!(joined.input_ids, batch.input_ids);
    assert_eq!(joined.rows, batch.rows);
    let separate: Vec<f32> = parts.iter().flat_map(&run).collect();
    assert_close("mini-batches", &separate, &whole, 0.0, 2e-6);
}

#[test]
fn an_adapter_trains_alone_and_is_saved_apart() {
    let directory = crate::support::copy_of("encoders/splade-max");
    let base =
        SparseEncoder::from_pretrained(directory.path().to_str().unwrap(), &Default::default())
            .unwrap();
    let options = sparse_model::LoraOptions {
        rank: 2,
        ..Default::default()
    };
    let texts = ["a text", "another text of more words"];
    let encode =
        |encoder: &SparseEncoder| encoder.encode(&texts, &EncodeOptions::default()).unwrap();
    let adapted = base.clone().add_adapter(&options).unwrap();
    assert_eq!(
        encode(&adapted),
        encode(&base),
        "a fresh adapter changes nothing"
    );

    // Only the factors are trainable, and only they get gradients.
    let training = adapted.train();
    let trainable: Vec<_> = training
        .named_parameters()
        .into_iter()
        .filter(|parameter| parameter.trainable)
        .collect();
    assert_eq!(trainable.len(), 2 * 2 * 2);
    assert_eq!(
        trainable[0].name,
        "0.model.bert.encoder.layer.0.attention.self.query.lora_A.default.weight"
    );
    assert_eq!(
        (&trainable[0].shape, &trainable[1].shape),
        (&vec![2, 32], &vec![32, 2])
    );
    let output = training
        .forward(&tokens(&training), &ForwardContext::evaluation())
        .sentence_embedding;
    let mut gradients = output.square().sum().backward();
    let gradients = training.take_gradients(&mut gradients);
    let ids: Vec<_> = gradients.keys().copied().collect();
    let mut wanted: Vec<_> = trainable.iter().map(|parameter| parameter.id).collect();
    wanted.sort();
    assert_eq!(ids, wanted);

    // A step, saved and loaded; merged, it is the same model again.
    let stepped = training.map_parameters(|id, value| match gradients.get(&id) {
        Some(gradient) => value - gradient.clone() * 0.01,
        None => value,
    });
    assert_ne!(encode(&stepped), encode(&base));
    let target = directory.path().join("adapter");
    stepped.save_pretrained(&target).unwrap();
    assert!(
        target.join("adapter_model.safetensors").exists()
            && !target.join("model.safetensors").exists()
    );
    let loaded =
        SparseEncoder::from_pretrained(target.to_str().unwrap(), &Default::default()).unwrap();
    assert!(loaded.has_adapter());
    assert_eq!(loaded.named_parameters(), stepped.named_parameters());
    assert_close(
        "loaded",
        &encode(&loaded).to_dense(),
        &encode(&stepped).to_dense(),
        0.0,
        1e-6,
    );
    let merged = loaded.merge_adapter();
    assert!(
        !merged.has_adapter()
            && merged
                .named_parameters()
                .iter()
                .all(|parameter| parameter.trainable)
    );
    assert_close(
        "merged",
        &encode(&merged).to_dense(),
        &encode(&stepped).to_dense(),
        0.0,
        2e-6,
    );
    let whole = directory.path().join("merged");
    merged.save_pretrained(&whole).unwrap();
    let copy =
        SparseEncoder::from_pretrained(whole.to_str().unwrap(), &Default::default()).unwrap();
    assert_eq!(encode(&copy), encode(&merged));

    // A directory with the two files of the adapter and nothing else, as PEFT writes it.
    let bare = directory.path().join("bare");
    std::fs::create_dir(&bare).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(target.join(file), bare.join(file)).unwrap();
    }
    let loaded =
        SparseEncoder::from_pretrained(bare.to_str().unwrap(), &Default::default()).unwrap();
    assert!(loaded.has_adapter());
    assert_close(
        "bare",
        &encode(&loaded).to_dense(),
        &encode(&stepped).to_dense(),
        0.0,
        1e-6,
    );
    let config = std::fs::read_to_string(bare.join("adapter_config.json")).unwrap();
    let elsewhere = config.replace(directory.path().to_str().unwrap(), "/no/such/directory");
    std::fs::write(bare.join("adapter_config.json"), elsewhere).unwrap();
    let problem = SparseEncoder::from_pretrained(bare.to_str().unwrap(), &Default::default())
        .unwrap_err()
        .to_string();
    for part in [
        "adapter_config.json",
        "`base_model_name_or_path` is `/no/such/directory",
    ] {
        assert!(problem.contains(part), "{problem}");
    }

    let wrong = sparse_model::LoraOptions {
        target_modules: vec!["querry".to_string()],
        ..options
    };
    let problem = base.add_adapter(&wrong).unwrap_err().to_string();
    assert!(problem.contains("did you mean `query`?"), "{problem}");
}

/// The configuration of a copy with dropout everywhere.
fn with_dropout(name: &str) -> SparseEncoder {
    let copy = copy_of(name);
    let path = copy.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in [
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "dropout",
        "attention_dropout",
        "embedding_dropout",
        "mlp_dropout",
    ] {
        config[key] = serde_json::json!(0.3);
    }
    std::fs::write(&path, config.to_string()).unwrap();
    SparseEncoder::from_pretrained(copy.path().to_str().unwrap(), &burn::tensor::Device::flex())
        .unwrap()
}

#[test]
fn a_mini_batch_meets_the_dropout_of_the_whole_batch() {
    for name in [
        "models/albert",
        "models/bert",
        "models/deberta-v2",
        "models/distilbert",
        "models/electra",
        "models/modernbert",
        "models/mpnet",
        "models/roberta",
    ] {
        let encoder = with_dropout(name);
        let batch = tokens(&encoder);
        let context = ForwardContext::training(RandomStream::new(3));
        let whole = encoder.forward_texts(&batch, &context);
        let plain = encoder.forward_texts(&batch, &ForwardContext::inference());
        let distance =
            |a: &Tensor<2>, b: Tensor<2>| -> f32 { (a.clone() - b).abs().max().into_scalar() };
        assert!(distance(&whole, plain) > 1e-2, "{name} has no dropout");
        let first = encoder.forward_texts(&batch.select(&[0]), &context);
        let offset = context.with_offset(1, batch.rows.range(0).len());
        let last = encoder.forward_texts(&batch.select(&[1, 2]), &offset);
        let parts = Tensor::cat(vec![first, last], 0);
        let away = distance(&whole, parts);
        assert!(away < 1e-4, "{name}: {away}");
    }
}
