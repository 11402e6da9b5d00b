//! Learning rate and weight decay of each parameter.

use std::collections::BTreeMap;

use burn::module::ParamId;
use regex::Regex;
use sparse_model::{NamedParameter, SparseEncoder};

use crate::arguments::TrainingArguments;
use crate::error::{Error, Result};

/// Least rate of the weights of inference-free queries, unless `learning_rate_mapping` says otherwise: that of the reference's
/// examples. One weight for each token, which only its own queries move, learns little at the rate of a transformer.
const STATIC_EMBEDDING_RATE: f64 = 1e-3;
/// The class of those weights.
const STATIC_EMBEDDING: &str = "SparseStaticEmbedding.weight";

/// Settings of one parameter.
#[derive(Debug, Clone)]
pub(crate) struct ParameterOptions {
    pub(crate) name: String,
    pub(crate) id: ParamId,
    pub(crate) shape: Vec<usize>,
    pub(crate) learning_rate: f64,
    pub(crate) weight_decay: f64,
}

/// The trainable parameters, as the reference groups them: biases and norms without decay, and the rate of the
/// `learning_rate_mapping` pattern found in the name, of several that match the last in alphabetical order.
///
/// A name is the reference's, `model.0.sub_modules.query.0.weight`; a pattern may as well be found in the class of its module
/// and its name there, `SparseStaticEmbedding.weight`.
///
/// # Errors
///
/// If a pattern is no regular expression or matches nothing.
pub(crate) fn group(
    encoder: &SparseEncoder,
    arguments: &TrainingArguments,
) -> Result<Vec<ParameterOptions>> {
    let parameters: Vec<NamedParameter> = encoder
        .named_parameters()
        .into_iter()
        .filter(|parameter| parameter.trainable)
        .collect();
    let rates = rates(&parameters, arguments)?;
    let groups = parameters.into_iter().zip(rates);
    Ok(groups
        .map(|(parameter, learning_rate)| ParameterOptions {
            id: parameter.id,
            learning_rate,
            weight_decay: if parameter.is_norm || is_exempt(&parameter.name) {
                0.0
            } else {
                arguments.weight_decay
            },
            shape: parameter.shape,
            name: parameter.name,
        })
        .collect())
}

/// What the mapping, or else the default for inference-free queries, makes of the rate; `None` where all have the same.
pub(crate) fn describe(
    parameters: &[ParameterOptions],
    arguments: &TrainingArguments,
) -> Option<String> {
    let mut by_rate: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for parameter in parameters {
        if parameter.learning_rate != arguments.learning_rate {
            let rate = format!("{:e}", parameter.learning_rate);
            by_rate.entry(rate).or_default().push(&parameter.name);
        }
    }
    let described: Vec<String> = by_rate
        .into_iter()
        .map(|(rate, names)| match names.as_slice() {
            [first, _, _, rest @ ..] => format!("{rate} for `{first}` and {} more", rest.len() + 2),
            few => format!("{rate} for `{}`", few.join("`, `")),
        })
        .collect();
    if described.is_empty() {
        return None;
    }
    let why = if arguments.learning_rate_mapping.is_empty() {
        " (queries without inference learn faster; `learning_rate_mapping` sets another)"
    } else {
        ""
    };
    Some(format!("learning rate {}{why}", described.join("; ")))
}

fn rates(parameters: &[NamedParameter], arguments: &TrainingArguments) -> Result<Vec<f64>> {
    let mut rates: Vec<Option<f64>> = vec![None; parameters.len()];
    for (pattern, rate) in &arguments.learning_rate_mapping {
        let key = format!("arguments.learning_rate_mapping.\"{pattern}\"");
        let regex = Regex::new(pattern).map_err(|source| Error::Pattern {
            key: key.clone(),
            source,
        })?;
        let mut matched = false;
        for (parameter, own) in parameters.iter().zip(&mut rates) {
            if regex.is_match(&format!("model.{}", parameter.name))
                || regex.is_match(&parameter.name)
                || regex.is_match(&parameter.class_name)
            {
                *own = Some(*rate);
                matched = true;
            }
        }
        if !matched {
            let names: Vec<&str> = parameters
                .iter()
                .map(|parameter| parameter.name.as_str())
                .collect();
            return Err(Error::argument(
                key,
                format!("matches no parameter; they are {}", names.join(", ")),
            ));
        }
    }
    let default = |parameter: &NamedParameter| {
        if parameter.class_name == STATIC_EMBEDDING {
            arguments.learning_rate.max(STATIC_EMBEDDING_RATE)
        } else {
            arguments.learning_rate
        }
    };
    let own = parameters.iter().zip(rates);
    Ok(own
        .map(|(parameter, rate)| rate.unwrap_or_else(|| default(parameter)))
        .collect())
}

/// Whether the reference leaves a parameter of this name out of weight decay.
fn is_exempt(name: &str) -> bool {
    let name = name.to_lowercase();
    ["bias", "layernorm", "rmsnorm"]
        .iter()
        .any(|part| name.contains(part))
        || name
            .split('.')
            .any(|part| part == "norm" || part.ends_with("_norm"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn biases_and_norms_are_exempt_from_decay() {
        for name in [
            "0.model.bert.embeddings.LayerNorm.weight",
            "0.model.cls.predictions.bias",
            "0.model.distilbert.transformer.layer.0.sa_layer_norm.weight",
            "0.model.vocab_layer_norm.weight",
            "0.model.head.norm.weight",
            "0.model.layers.0.input_RMSNorm.weight",
            "2.latent_bias",
            "2.pre_bias",
        ] {
            assert!(is_exempt(name), "{name}");
        }
        for name in [
            "0.model.bert.embeddings.word_embeddings.weight",
            "0.model.cls.predictions.decoder.weight",
            "0.model.normal.weight",
            "0.model.norms.weight",
        ] {
            assert!(!is_exempt(name), "{name}");
        }
    }

    fn encoder(name: &str) -> SparseEncoder {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../sparse-model/tests/golden/encoders")
            .join(name);
        SparseEncoder::from_pretrained(directory.to_str().unwrap(), &Device::flex()).unwrap()
    }

    fn groups(encoder: &SparseEncoder, mapping: &[(&str, f64)]) -> Vec<ParameterOptions> {
        let arguments = TrainingArguments {
            learning_rate: 2e-5,
            weight_decay: 0.01,
            learning_rate_mapping: mapping
                .iter()
                .map(|&(pattern, rate)| (pattern.to_owned(), rate))
                .collect(),
            ..TrainingArguments::default()
        };
        group(encoder, &arguments).unwrap()
    }

    #[test]
    fn inference_free_queries_learn_faster_and_the_log_says_so() {
        let encoder = encoder("inference-free");
        let arguments = TrainingArguments {
            learning_rate: 2e-5,
            ..TrainingArguments::default()
        };
        let rate = |groups: &[ParameterOptions], part: &str| -> f64 {
            let mut found = groups.iter().filter(|group| group.name.contains(part));
            found.next().unwrap().learning_rate
        };
        let query = "sub_modules.query.0.weight";
        let by_default = groups(&encoder, &[]);
        assert_eq!(rate(&by_default, query), 1e-3);
        assert_eq!(rate(&by_default, "word_embeddings"), 2e-5);
        assert_eq!(
            describe(&by_default, &arguments).unwrap(),
            "learning rate 1e-3 for `0.sub_modules.query.0.weight` (queries without inference learn faster; \
             `learning_rate_mapping` sets another)"
        );
        // By the name, with the reference's prefix, and by the class, as its documentation has it.
        for pattern in [
            r"sub_modules\.query\.0\.weight",
            r"^model\.0\.sub_modules\.query\.0\.weight$",
            r"SparseStaticEmbedding\.weight",
        ] {
            let mapped = groups(&encoder, &[(pattern, 5e-3)]);
            assert_eq!(rate(&mapped, query), 5e-3, "{pattern}");
            assert_eq!(rate(&mapped, "word_embeddings"), 2e-5, "{pattern}");
        }
        // A mapping of others leaves the default; one of all wins over it, also downwards.
        assert_eq!(
            rate(&groups(&encoder, &[("word_embeddings", 1e-4)]), query),
            1e-3
        );
        assert_eq!(rate(&groups(&encoder, &[(".", 1e-4)]), query), 1e-4);
        // The last pattern that matches wins.
        let both = groups(&encoder, &[("a.*weight", 1.0), ("weight", 2.0)]);
        assert_eq!(rate(&both, query), 2.0);
    }

    #[test]
    fn a_model_without_static_queries_has_one_rate() {
        let encoder = encoder("splade-max");
        let groups = groups(&encoder, &[]);
        assert!(groups.iter().all(|group| group.learning_rate == 2e-5));
        let arguments = TrainingArguments {
            learning_rate: 2e-5,
            ..TrainingArguments::default()
        };
        assert_eq!(describe(&groups, &arguments), None);
        for group in groups {
            let exempt = group.name.contains("LayerNorm") || group.name.ends_with("bias");
            assert_eq!(group.weight_decay == 0.0, exempt, "{}", group.name);
        }
    }
}
