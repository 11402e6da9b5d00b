//! Damaged files: an error, never a panic, and no allocation beyond the file's own size.

use std::path::Path;

use proptest::prelude::*;
use sparse_model::{EncodeOptions, SparseEncoder};

use crate::support::copy_of;

fn open_and_use(directory: &Path) {
    if let Ok(encoder) =
        SparseEncoder::from_pretrained(directory.to_str().unwrap(), &Default::default())
    {
        // What still loads must work, or say why not.
        let _ = encoder.encode_query(&["a text"], &EncodeOptions::default());
        let _ = encoder.encode_document(&["a text"], &EncodeOptions::default());
    }
}

/// Overwrites, cuts or doubles a piece of a file.
fn damage(path: &Path, place: f64, kind: u8, bytes: &[u8]) {
    let mut content = std::fs::read(path).unwrap();
    let at = ((content.len() as f64 * place) as usize).min(content.len() - 1);
    match kind % 3 {
        0 => {
            let end = (at + bytes.len()).min(content.len());
            content[at..end].copy_from_slice(&bytes[..end - at]);
        }
        1 => content.truncate(at),
        _ => {
            let piece = content[at..(at + 20).min(content.len())].to_vec();
            content.splice(at..at, piece);
        }
    }
    std::fs::write(path, content).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn damaged_splade_directories_never_panic(
        file in prop::sample::select(vec![
            "config.json", "modules.json", "tokenizer_config.json", "sentence_bert_config.json",
            "config_sentence_transformers.json", "1_SpladePooling/config.json", "model.safetensors",
        ]),
        place in 0.0..1.0_f64,
        kind in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let directory = copy_of("encoders/splade-max");
        damage(&directory.path().join(file), if file == "model.safetensors" { place * 0.02 } else { place }, kind, &bytes);
        open_and_use(directory.path());
    }

    #[test]
    fn damaged_routers_and_tokenizers_never_panic(
        file in prop::sample::select(vec![
            "router_config.json", "query_0_SparseStaticEmbedding/config.json", "query_0_SparseStaticEmbedding/model.safetensors",
            "query_0_SparseStaticEmbedding/tokenizer.json", "document_0_Transformer/tokenizer.json",
        ]),
        place in 0.0..1.0_f64,
        kind in any::<u8>(),
        bytes in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let directory = copy_of("encoders/inference-free");
        damage(&directory.path().join(file), place, kind, &bytes);
        open_and_use(directory.path());
    }

    #[test]
    fn damaged_pickles_never_panic(place in 0.0..1.0_f64, kind in any::<u8>(), bytes in prop::collection::vec(any::<u8>(), 1..6)) {
        let directory = copy_of("models/bert-legacy");
        // The pickle lies at the front, the list of members at the end.
        let place = if place < 0.7 { place * 0.02 } else { 0.99 + (place - 0.7) / 30.0 };
        damage(&directory.path().join("pytorch_model.bin"), place, kind, &bytes);
        open_and_use(directory.path());
    }
}
