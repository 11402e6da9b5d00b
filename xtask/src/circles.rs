//! Circles between the files of one crate: two that import from each other, by `use crate::…` at the level of the module.
//!
//! A file that is needed by one that it needs can't be read, tested or moved alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A module by the parts of its path; the root of the crate has none.
type Module = Vec<String>;

/// Fails on two files of a crate that import from each other.
pub(crate) fn check() -> Result<()> {
    let mut faults = Vec::new();
    for entry in fs::read_dir("crates").context("xtask runs in the root of the workspace")? {
        let src = entry?.path().join("src");
        if src.is_dir() {
            faults.extend(of_crate(&src)?);
        }
    }
    faults.sort();
    ensure!(
        faults.is_empty(),
        "files that import from each other (move what both need to a file of its own):\n{}",
        faults.join("\n")
    );
    Ok(())
}

/// The circles of a crate, one a line.
fn of_crate(src: &Path) -> Result<Vec<String>> {
    let mut files = BTreeMap::new();
    collect(src, &Vec::new(), &mut files)?;
    let mut imports: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (module, path) in &files {
        let text = fs::read_to_string(path)?;
        let found = paths(&text);
        let targets = found.iter().filter_map(|path| owner(path, &files));
        imports.insert(module, targets.filter(|target| target != &module).collect());
    }
    let mut circles = Vec::new();
    for (module, targets) in &imports {
        for target in targets.iter().filter(|target| module < target) {
            if imports[target].contains(module) {
                let (one, other) = (files[*module].display(), files[*target].display());
                circles.push(format!("  {one} and {other}"));
            }
        }
    }
    Ok(circles)
}

/// The files below a directory by the module that each is.
fn collect(directory: &Path, above: &Module, files: &mut BTreeMap<Module, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        let mut module = above.clone();
        if path.is_dir() {
            module.push(stem.to_owned());
            collect(&path, &module, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            if !["mod", "lib", "main"].contains(&stem) {
                module.push(stem.to_owned());
            }
            files.insert(module, path);
        }
    }
    Ok(())
}

/// What a file imports from its crate, outside of its tests.
fn paths(text: &str) -> Vec<Module> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    for (start, _) in text.match_indices("use crate::") {
        // At the level of the module: nothing but its visibility stands before it in the line.
        let line = text[..start].rsplit('\n').next().unwrap_or_default();
        if !(line.is_empty() || line.starts_with("pub")) {
            continue;
        }
        let rest = &text[start + "use crate::".len()..];
        let tree = rest.split(';').next().unwrap_or_default();
        expand(&Vec::new(), tree, &mut found);
    }
    found
}

/// The paths of `a::{b, c::d}`.
fn expand(prefix: &Module, tree: &str, found: &mut Vec<Module>) {
    let tree = tree.trim();
    let mut path = prefix.clone();
    match tree.split_once('{') {
        Some((head, rest)) => {
            path.extend(parts(head));
            let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
            let mut depth = 0;
            let items = inner.split(|character| {
                depth += i32::from(character == '{') - i32::from(character == '}');
                character == ',' && depth == 0
            });
            for item in items.filter(|item| !item.trim().is_empty()) {
                expand(&path, item, found);
            }
        }
        None => {
            path.extend(parts(tree));
            found.push(path);
        }
    }
}

fn parts(path: &str) -> impl Iterator<Item = String> {
    let named = path.split_whitespace().next().unwrap_or_default();
    named
        .split("::")
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
}

/// The file that a path leads into: that of the longest beginning which is a module.
fn owner<'a>(path: &Module, files: &'a BTreeMap<Module, PathBuf>) -> Option<&'a Module> {
    (1..=path.len())
        .rev()
        .find_map(|length| files.get_key_value(&path[..length]))
        .map(|(module, _)| module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = of_crate(folder.path()).unwrap();
        let root = format!("{}/", folder.path().display());
        found.iter().map(|line| line.replace(&root, "")).collect()
    }

    #[test]
    fn two_files_that_import_from_each_other_are_a_circle() {
        let found = circles(&[
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "use crate::b::B;\n"),
            (
                "b/mod.rs",
                "pub(crate) use crate::{\n    c::C,\n    a::{x::Y, A},\n};\n",
            ),
            ("c.rs", "use crate::a::A;\n"),
        ]);
        assert_eq!(found, ["  a.rs and b/mod.rs"]);
    }

    #[test]
    fn tests_functions_and_submodules_are_no_imports_of_a_file() {
        let found = circles(&[
            ("a.rs", "use crate::b::c::C;\n"),
            ("b/mod.rs", "fn f() {\n    use crate::a::A;\n}\n"),
            (
                "b/c.rs",
                "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            ),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }
}
