//! Texts far longer than a model reads.

use sparse_model::PreprocessOptions;
use tokenizers::{Tokenizer, TruncationParams};

use crate::support::{golden, load};

#[test]
fn the_tokens_of_a_long_text_are_the_first_of_all_its_tokens() {
    // Words, punctuation, a word without an end, blanks, and a sign that normalizers drop.
    let mixed = "The naïve café, at 3.5 km: don't\n\tstop! \u{200b}日本語 (étude) ";
    let texts = [
        mixed.to_owned(),
        mixed.repeat(4_000),
        format!("{} {}", "x".repeat(40_000), mixed.repeat(2_000)),
        " ".repeat(100_000) + mixed,
        "\u{200b} ".repeat(60_000) + &mixed.repeat(2_000),
    ];
    for name in [
        "albert",
        "bert",
        "deberta-v2",
        "modernbert",
        "mpnet",
        "roberta",
        "xlm-roberta",
    ] {
        let path = format!("models/{name}");
        let encoder = load(&path);
        let mut whole = Tokenizer::from_file(golden(&path).join("tokenizer.json")).unwrap();
        let truncation = TruncationParams {
            max_length: encoder.max_seq_length().unwrap(),
            ..TruncationParams::default()
        };
        whole.with_truncation(Some(truncation)).unwrap();
        whole.with_padding(None);
        for text in &texts {
            let expected = whole.encode_fast(text.as_str(), true).unwrap();
            let expected: Vec<i32> = expected.get_ids().iter().map(|&id| id as i32).collect();
            let tokens = encoder.preprocess(&[text], &PreprocessOptions::default());
            assert_eq!(tokens.unwrap().input_ids, expected, "{name} {}", text.len());
        }
    }
}
