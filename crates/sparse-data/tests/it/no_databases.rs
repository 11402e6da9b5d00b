//! A build without databases says how to get one that has them.

use crate::failure;

#[test]
fn a_build_without_databases_says_so() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(
        failure(
            directory.path(),
            "database = 'sqlite:a.db'\ntable = 'pairs'"
        ),
        "`database` needs a build that can open databases: build with `--features databases`"
    );
}
