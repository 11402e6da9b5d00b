//! The special tokens that a tokenizer adds: checked when it is loaded, since the library believes its file.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer;

/// The part of `tokenizer.json` that is checked.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    post_processor: Value,
}

/// Says what is wrong with the special tokens of a `tokenizer.json`: the library would panic at the first text, or add
/// tokens that the model doesn't know.
pub(super) fn check(text: &[u8], tokenizer: &Tokenizer) -> Result<(), String> {
    let Document { post_processor } =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    check_processor(&post_processor, tokenizer)
}

fn check_processor(processor: &Value, tokenizer: &Tokenizer) -> Result<(), String> {
    match processor.get("type").and_then(Value::as_str) {
        Some("Sequence") => items(processor, "processors")
            .iter()
            .try_for_each(|inner| check_processor(inner, tokenizer)),
        Some("TemplateProcessing") => check_template(processor, tokenizer),
        Some("BertProcessing" | "RobertaProcessing") => {
            ["cls", "sep"].iter().try_for_each(|name| {
                let pair = items(processor, name);
                match (
                    pair.first().and_then(Value::as_str),
                    pair.get(1).and_then(Value::as_u64),
                ) {
                    (Some(token), Some(id)) => check_id(token, id, tokenizer),
                    _ => Ok(()),
                }
            })
        }
        _ => Ok(()),
    }
}

/// The pieces of a template: the text, or both texts, and special tokens by name, whose ids are listed beside.
fn check_template(template: &Value, tokenizer: &Tokenizer) -> Result<(), String> {
    let listed = template.get("special_tokens");
    for name in ["single", "pair"] {
        for piece in items(template, name) {
            let id = |kind: &str| piece.get(kind)?.get("id")?.as_str();
            if name == "single" && id("Sequence") == Some("B") {
                return Err(
                    "the post-processor's template `single` asks for a second text".to_string(),
                );
            }
            let Some(token) = id("SpecialToken") else {
                continue;
            };
            let Some(entry) = listed.and_then(|listed| listed.get(token)) else {
                let known: Vec<&str> = listed
                    .and_then(Value::as_object)
                    .map_or_else(Vec::new, |listed| {
                        listed.keys().map(String::as_str).collect()
                    });
                return Err(format!(
                    "the post-processor's template `{name}` adds the special token `{token}`, which `special_tokens` does not \
                     list; it lists {}{}",
                    known.join(", "),
                    crate::error::nearest(token, &known)
                ));
            };
            let names = items(entry, "tokens");
            for (at, id) in items(entry, "ids").iter().enumerate() {
                let spelt = names.get(at).and_then(Value::as_str).unwrap_or(token);
                if let Some(id) = id.as_u64() {
                    check_id(spelt, id, tokenizer)?;
                }
            }
        }
    }
    Ok(())
}

/// Checks that a special token's id is one of the vocabulary, and warns if it is that of another token.
fn check_id(token: &str, id: u64, tokenizer: &Tokenizer) -> Result<(), String> {
    let found = u32::try_from(id)
        .ok()
        .and_then(|id| tokenizer.id_to_token(id));
    match found {
        None => Err(format!(
            "the post-processor adds the special token `{token}` with the id {id}, which is not in the vocabulary"
        )),
        Some(other) if other != token => {
            tracing::warn!(
                "the tokenizer's post-processor adds the special token `{token}` with the id {id}, which is `{other}` in the vocabulary"
            );
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
