//! The page of the documentation that the registry writes.

use std::fs;
use std::path::Path;

#[test]
fn the_page_in_the_documentation_is_the_registry_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/losses.md");
    let page = sparse_losses::overview_markdown();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/losses.md is out of date: run UPDATE_GENERATED=1 cargo nextest run -p sparse-losses overview"
    );
}
