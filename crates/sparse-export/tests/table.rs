//! The table of formats in the docs is the one that the code gives.

use sparse_export::{Engine, Keys, Weights};

fn row(engine: Engine) -> String {
    let profile = engine.profile();
    let keys = match profile.keys {
        Keys::Index { first } => format!("number, from {first}"),
        Keys::Token { refused: [], .. } => "token".to_owned(),
        Keys::Token { refused: ['.'], .. } => "token without `.`".to_owned(),
        Keys::Token { .. } => "token without blanks".to_owned(),
    };
    let weights = match profile.weights {
        Weights::Float => "32 bits".to_owned(),
        Weights::NineBits => "9 significant bits".to_owned(),
        Weights::Byte => "8 bits, up to 3 (query: 16), modulo 32,768".to_owned(),
        Weights::Impacts { max } => format!("whole numbers up to {max}"),
    };
    let sign = if profile.is_positive { "> 0" } else { "any" };
    let sign = match profile.largest_query_weight {
        Some(limit) => format!("{sign}, query up to {limit}"),
        None => sign.to_owned(),
    };
    let limit =
        |limit: Option<usize>| limit.map_or_else(|| "–".to_owned(), |limit| limit.to_string());
    let empty = if profile.takes_empty {
        "stored"
    } else {
        "left out, with a warning"
    };
    format!(
        "| `{engine}` | {} | {keys} | {weights} | {sign} | {} | {empty} | {} |",
        profile.title,
        limit(profile.most_active),
        limit(profile.longest_id),
    )
}

#[test]
fn the_docs_have_the_table_of_the_code() {
    let docs = include_str!("../../../docs/engines.md");
    let rows: Vec<String> = Engine::ALL.iter().map(|engine| row(*engine)).collect();
    let table = rows.join("\n");
    assert!(
        docs.contains(&table),
        "docs/engines.md should hold:\n{table}"
    );
}
