//! Text to token ids.

mod beginning;
mod special;

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::{Map, Value, json};
use tokenizers::{
    EncodeInput, Encoding, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

use self::beginning::beginnings;
use crate::guard::guarded;
use crate::pretrained::{
    DirectoryWriter, entry, read_limited, read_object_or_empty, shortened, to_pretty,
};
use crate::{Error, PackedTokens, Result};

/// The tokenizer of a module, with its files.
///
/// `tokenizer.json` and `tokenizer_config.json` are kept as they were read; only the length limit is written anew.
#[derive(Clone)]
pub(crate) struct TextTokenizer {
    tokenizer: Arc<Tokenizer>,
    /// `tokenizer.json`, for messages.
    path: Arc<Path>,
    /// Rows of the table that ids are looked up in.
    n_embeddings: usize,
    /// `tokenizer.json` as it was read.
    raw: Arc<Vec<u8>>,
    config: Map<String, Value>,
    max_length: Option<usize>,
    changed: bool,
    /// Whether lower-casing was added to what the file says.
    lower_cased: bool,
}

impl std::fmt::Debug for TextTokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TextTokenizer")
            .field("path", &self.path)
            .field("vocab_size", &self.vocab_size())
            .field("max_length", &self.max_length)
            .finish_non_exhaustive()
    }
}

/// Longest `tokenizer.json` that is read; those of a quarter of a million tokens have 20 MB.
const LONGEST_FILE: u64 = 256 << 20;

/// More ids than any vocabulary has: a limit against damaged files, since tables have a row for each.
const MOST_IDS: usize = 1 << 24;

/// What a directory says about text length and case besides its tokenizer files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TokenizerSettings {
    /// Positions that the backbone has, where they are limited.
    pub(crate) max_positions: Option<usize>,
    /// `max_seq_length` of an old directory.
    pub(crate) max_seq_length: Option<usize>,
    /// `do_lower_case` of an old directory.
    pub(crate) lower_case: bool,
    /// Rows of the embedding table, where there is one.
    pub(crate) n_embeddings: Option<usize>,
}

impl TextTokenizer {
    /// Reads a directory's `tokenizer.json` and `tokenizer_config.json`.
    pub(crate) fn load(directory: &Path, settings: TokenizerSettings) -> Result<Self> {
        let path = directory.join("tokenizer.json");
        let raw = read_limited(&path, LONGEST_FILE, "it holds the tokenizer")?;
        let mut tokenizer = parse(&raw, &path)?;
        tokenizer.with_padding(None);
        let config_path = directory.join("tokenizer_config.json");
        let config = read_object_or_empty(&config_path)?;
        if config.get("tokenizer_class").and_then(Value::as_str) == Some("XLMRobertaTokenizer") {
            keep_character_map(&mut tokenizer, &path)?;
        }
        if settings.lower_case {
            lower_case(&mut tokenizer, &path)?;
        }

        let declared = declared_length(&config, &config_path)?;
        check_side(&config, &config_path)?;
        let limit = settings.max_seq_length.or(declared);
        let max_length = match (limit, settings.max_positions) {
            (Some(limit), Some(positions)) => Some(limit.min(positions)),
            (limit, positions) => limit.or(positions),
        };
        let changed = max_length != declared || settings.lower_case;
        let mut this = Self {
            tokenizer: Arc::new(tokenizer),
            path: Arc::from(path.as_path()),
            n_embeddings: settings.n_embeddings.unwrap_or(MOST_IDS),
            raw: Arc::new(raw),
            config,
            max_length: None,
            changed: false,
            lower_cased: settings.lower_case,
        };
        let n_ids = this.n_ids();
        if n_ids > this.n_embeddings {
            let problem = format!(
                "has token ids up to {}, but {}",
                n_ids - 1,
                match settings.n_embeddings {
                    Some(rows) => format!("the `vocab_size` of `config.json` is {rows}"),
                    None => format!("no vocabulary is larger than {MOST_IDS}"),
                }
            );
            return Err(Error::tokenizer(&path, problem));
        }
        special::check(&this.raw, &this.tokenizer)
            .map_err(|problem| Error::tokenizer(&path, problem))?;
        this.limit(max_length)
            .map_err(|problem| Error::tokenizer(&path, problem))?;
        // What every text begins and ends with.
        this.encode_one("".into(), true)
            .map_err(|problem| Error::tokenizer(&path, problem))?;
        this.changed = changed;
        Ok(this)
    }

    /// Longest text in tokens, special ones included.
    pub(crate) fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Changes the longest length.
    pub(crate) fn set_max_length(&mut self, max_length: usize) -> Result<()> {
        self.limit(Some(max_length))
            .map_err(|problem| Error::Option {
                name: "max_seq_length",
                problem,
            })?;
        self.changed = true;
        Ok(())
    }

    fn limit(&mut self, max_length: Option<usize>) -> Result<(), String> {
        let special = self.special_tokens_added(true);
        if let Some(length) = max_length
            && length <= special
        {
            return Err(format!(
                "of {length} tokens leaves no room beside {special} special tokens"
            ));
        }
        let truncation = max_length.map(|max_length| TruncationParams {
            direction: match self.config.get("truncation_side").and_then(Value::as_str) {
                Some("left") => TruncationDirection::Left,
                _ => TruncationDirection::Right,
            },
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        Arc::make_mut(&mut self.tokenizer)
            .with_truncation(truncation)
            .map_err(|error| error.to_string())?;
        self.max_length = max_length;
        Ok(())
    }

    /// Tokens that the post-processor adds to a pair of texts, or to one.
    pub(crate) fn special_tokens_added(&self, pair: bool) -> usize {
        use tokenizers::PostProcessor;
        self.tokenizer
            .get_post_processor()
            .map_or(0, |processor| processor.added_tokens(pair))
    }

    /// Number of tokens, added ones included.
    pub(crate) fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// One more than the largest token id: what an embedding table must have rows for.
    pub(crate) fn n_ids(&self) -> usize {
        self.tokenizer
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1)
    }

    /// The vocabulary's own string for an id, such as `##ing`.
    pub(crate) fn token(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The id of a token string.
    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The string of a special token, such as `unk_token`, as the configuration names it.
    pub(crate) fn special_token(&self, name: &str) -> Option<&str> {
        match self.config.get(name)? {
            Value::String(token) => Some(token),
            Value::Object(token) => token.get("content")?.as_str(),
            _ => None,
        }
    }

    /// A value of `tokenizer_config.json`.
    pub(crate) fn setting(&self, name: &str) -> Option<&Value> {
        self.config.get(name)
    }

    /// What decides about the tokens of a text: a hash of the tokenizer, and where it cuts.
    pub(crate) fn fingerprint(&self) -> String {
        let mut whole = (*self.tokenizer).clone();
        // The length is told apart: a file may have it or not.
        let uncut = whole.with_truncation(None).is_ok();
        let text = serde_json::to_vec(&whole).unwrap_or_else(|_| self.raw.to_vec());
        let side = self
            .tokenizer
            .get_truncation()
            .map(|cut| cut.direction.as_ref().to_string());
        let cut = (uncut, self.max_length, side);
        format!("{:016x} {cut:?}", xxhash_rust::xxh3::xxh3_64(&text))
    }

    /// Tokenizes texts, in parallel, with a prompt before each.
    pub(crate) fn pack<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        prompt: Option<&str>,
        special_tokens: bool,
    ) -> Result<PackedTokens> {
        let prompt = prompt.unwrap_or_default();
        let encode = |(index, text): (usize, &S)| {
            let text = text.as_ref();
            let encoding = if prompt.is_empty() {
                self.encode_text(text, special_tokens)
            } else {
                self.encode_text(&format!("{prompt}{text}"), special_tokens)
            };
            self.ids(index, encoding)
        };
        // Handing one text to another thread would take longer than a short query does.
        let rows: Vec<_> = match texts {
            [single] => vec![encode((0, single))?],
            _ => texts
                .par_iter()
                .enumerate()
                .map(encode)
                .collect::<Result<_>>()?,
        };
        let prompt_length = if prompt.is_empty() {
            0
        } else {
            self.prompt_length(prompt, special_tokens)?
        };
        Ok(PackedTokens::from_rows(&rows, None, prompt_length))
    }

    /// Tokenizes pairs of texts, the prompt before the first of each.
    pub(crate) fn pack_pairs(
        &self,
        pairs: &[(&str, &str)],
        prompt: Option<&str>,
        special_tokens: bool,
    ) -> Result<PackedTokens> {
        let prompt = prompt.unwrap_or_default();
        let rows: Vec<_> = pairs
            .par_iter()
            .enumerate()
            .map(|(index, (first, second))| {
                let pair = (format!("{prompt}{first}"), (*second).to_string());
                self.ids(index, self.encode_one(pair.into(), special_tokens))
            })
            .collect::<Result<_>>()?;
        let prompt_length = if prompt.is_empty() {
            0
        } else {
            self.prompt_length(prompt, special_tokens)?
        };
        Ok(PackedTokens::from_rows(&rows, None, prompt_length))
    }

    /// Token ids and types of the input number `index`.
    fn ids(
        &self,
        index: usize,
        encoding: Result<Encoding, String>,
    ) -> Result<(Vec<i32>, Vec<i32>)> {
        let encoding = encoding.map_err(|problem| Error::Tokenize {
            index,
            path: self.path.to_path_buf(),
            problem,
        })?;
        let as_i32 = |ids: &[u32]| {
            let narrow = |&id: &u32| i32::try_from(id).unwrap_or(i32::MAX);
            ids.iter().map(narrow).collect()
        };
        Ok((as_i32(encoding.get_ids()), as_i32(encoding.get_type_ids())))
    }

    /// Tokens of a text. Of one that is far longer than the model reads, only as much is looked at as the result depends on:
    /// normalizing and splitting take a hundred times the memory of the text.
    fn encode_text(&self, text: &str, special_tokens: bool) -> Result<Encoding, String> {
        let cut = self.tokenizer.get_truncation();
        let Some(cut) = cut.filter(|cut| cut.direction == TruncationDirection::Right) else {
            return self.encode_one(text.into(), special_tokens);
        };
        for part in beginnings(text, cut.max_length) {
            let encoding = self.encode_one(part.into(), special_tokens)?;
            if part.len() == text.len() || encoding.len() >= cut.max_length {
                return Ok(encoding);
            }
        }
        self.encode_one(text.into(), special_tokens)
    }

    /// Tokens of one input, each of which the model has an embedding for.
    fn encode_one(&self, input: EncodeInput<'_>, special_tokens: bool) -> Result<Encoding, String> {
        let encoding = guarded(|| self.tokenizer.encode_fast(input, special_tokens))?
            .map_err(|error| error.to_string())?;
        let ids = encoding.get_ids();
        match ids.iter().find(|id| **id as usize >= self.n_embeddings) {
            None => Ok(encoding),
            Some(id) => Err(format!(
                "it gives the token id {id}, but the model has embeddings for {} tokens",
                self.n_embeddings
            )),
        }
    }

    /// Tokens of the prompt alone, less a special token at its end.
    fn prompt_length(&self, prompt: &str, special_tokens: bool) -> Result<usize> {
        let encoding = self
            .encode_one(prompt.into(), special_tokens)
            .map_err(|problem| {
                Error::tokenizer(&self.path, format!("the prompt `{prompt}`: {problem}"))
            })?;
        let ends_special = encoding.get_special_tokens_mask().last() == Some(&1);
        Ok(encoding.len() - usize::from(ends_special))
    }

    /// Writes the two files into `directory` below the writer's.
    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        let at = |name: &str| {
            if directory.is_empty() {
                name.to_string()
            } else {
                format!("{directory}/{name}")
            }
        };
        if !self.changed {
            writer.write(&at("tokenizer.json"), &self.raw)?;
        } else {
            let mut document: Map<String, Value> =
                serde_json::from_slice(&self.raw).map_err(|source| Error::Json {
                    path: self.path.to_path_buf(),
                    source,
                })?;
            if let Some(max_length) = self.max_length
                && let Some(Value::Object(truncation)) = document.get_mut("truncation")
            {
                truncation.insert("max_length".to_string(), json!(max_length));
            }
            if self.lower_cased
                && let Some(normalizer) = self.tokenizer.get_normalizer()
            {
                document.insert("normalizer".to_string(), json!(normalizer));
            }
            writer.write(&at("tokenizer.json"), &to_pretty(&document, 2))?;
        }
        let mut config = self.config.clone();
        if let Some(max_length) = self.max_length {
            for key in ["max_length", "model_max_length"] {
                if key == "model_max_length" || config.contains_key(key) {
                    config.insert(key.to_string(), json!(max_length));
                }
            }
        }
        let mut text = to_pretty(&config, 2);
        text.push(b'\n');
        writer.write(&at("tokenizer_config.json"), &text)
    }
}

/// Reads `tokenizer.json`.
fn parse(text: &[u8], path: &Path) -> Result<Tokenizer> {
    // It is parsed twice, so that a plain JSON error names its line.
    let plain: serde_json::Result<serde::de::IgnoredAny> = serde_json::from_slice(text);
    plain.map_err(|source| Error::Json {
        path: path.to_path_buf(),
        source,
    })?;
    guarded(|| Tokenizer::from_bytes(text))
        .and_then(|parsed| parsed.map_err(|error| error.to_string()))
        .map_err(|problem| Error::tokenizer(path, problem))
}

/// The longest text that `tokenizer_config.json` names, if it names any: a model without a limit writes 1e30.
fn declared_length(config: &Map<String, Value>, path: &Path) -> Result<Option<usize>> {
    let key = "model_max_length";
    let Some(length) = entry::<f64>(config, key, path)? else {
        return Ok(None);
    };
    if length < 1.0 || (length < 1e9 && length.fract() != 0.0) {
        let problem = format!("is {length}; expected a whole number of tokens, at least 1");
        return Err(Error::config(path, key, problem));
    }
    Ok((length < 1e9).then_some(length as usize))
}

/// Checks where texts are said to be cut.
fn check_side(config: &Map<String, Value>, path: &Path) -> Result<()> {
    match config.get("truncation_side") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(side)) if side == "left" || side == "right" => Ok(()),
        Some(other) => {
            let problem = format!("is {}; expected `left` or `right`", shortened(other));
            Err(Error::config(path, "truncation_side", problem))
        }
    }
}

/// What transformers 5 does for this class: it builds the normalizer anew from sentencepiece's character map, if the file has
/// one, and the collapse of spaces. Other normalizers of the file do not count.
fn keep_character_map(tokenizer: &mut Tokenizer, path: &Path) -> Result<()> {
    use tokenizers::NormalizerWrapper;
    use tokenizers::normalizers::Sequence;
    let parts: Vec<NormalizerWrapper> = match tokenizer.get_normalizer() {
        Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref().to_vec(),
        Some(single) => vec![single.clone()],
        None => return Ok(()),
    };
    let kept = parts.into_iter().filter(|part| {
        matches!(
            part,
            NormalizerWrapper::Precompiled(_) | NormalizerWrapper::Replace(_)
        )
    });
    let sequence = Sequence::new(kept.collect());
    tokenizer
        .with_normalizer(Some(sequence))
        .map_err(|error| Error::tokenizer(path, error))?;
    Ok(())
}

fn lower_case(tokenizer: &mut Tokenizer, path: &Path) -> Result<()> {
    use tokenizers::NormalizerWrapper;
    use tokenizers::normalizers::{Lowercase, Sequence};
    let lower = NormalizerWrapper::from(Lowercase);
    let normalizer = match tokenizer.get_normalizer().cloned() {
        Some(NormalizerWrapper::BertNormalizer(normalizer)) if normalizer.lowercase => {
            return Ok(());
        }
        Some(other) => Sequence::new(vec![lower, other]).into(),
        None => lower,
    };
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|error| Error::tokenizer(path, error))?;
    Ok(())
}
