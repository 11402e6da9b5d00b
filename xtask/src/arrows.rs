//! The arrows between crates: which may use which. ARCHITECTURE.md draws them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::tools::cargo;

/// Crates and what each of ours may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("sparse-files", &[]),
    ("sparse-kernels", &[]),
    ("sparse-index", &["sparse-files"]),
    ("sparse-hub", &["sparse-files"]),
    ("sparse-data", &["sparse-files", "sparse-hub"]),
    (
        "sparse-model",
        &[
            "sparse-files",
            "sparse-kernels",
            "sparse-index",
            "sparse-hub",
        ],
    ),
    ("sparse-losses", &[]),
    ("sparse-export", &["sparse-files", "sparse-index"]),
    (
        "sparse-eval",
        &[
            "sparse-files",
            "sparse-model",
            "sparse-index",
            "sparse-data",
            "sparse-hub",
        ],
    ),
    (
        "sparse-train",
        &[
            "sparse-files",
            "sparse-losses",
            "sparse-eval",
            "sparse-data",
            "sparse-hub",
            "sparse-model",
            "sparse-kernels",
            "sparse-index",
        ],
    ),
    (
        "sparse-encoder",
        &[
            "sparse-files",
            "sparse-train",
            "sparse-losses",
            "sparse-export",
            "sparse-eval",
            "sparse-data",
            "sparse-hub",
            "sparse-model",
            "sparse-kernels",
            "sparse-index",
        ],
    ),
    ("sparse-cli", &["sparse-allocator", "sparse-encoder"]),
    ("sparse-examples", &["sparse-encoder"]),
    ("sparse-benches", &["sparse-allocator", "sparse-encoder"]),
    ("sparse-fuzz", &["sparse-encoder"]),
    ("loopback-hub", &[]),
    ("sparse-allocator", &[]),
    ("xtask", &[]),
];

/// Dependencies that one crate alone may have: `(dependency, crate)`.
const OWNED: &[(&str, &str)] = &[
    ("datafusion", "sparse-data"),
    ("tokenizers", "sparse-model"),
    ("hf-hub", "sparse-hub"),
    ("burn-flex", "sparse-kernels"),
    ("clap", "sparse-cli"),
    ("indicatif", "sparse-cli"),
];

/// Fails on a dependency that isn't drawn.
pub(crate) fn check() -> Result<()> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .context("failed to start cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().context("no packages")? {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            faults.push(format!(
                "{name} isn't drawn: add it to xtask/src/arrows.rs and ARCHITECTURE.md"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            let ours = ARROWS.iter().any(|(known, _)| *known == target);
            if ours && !for_tests && !allowed.contains(&target) {
                faults.push(format!("{name} -> {target} isn't drawn"));
            }
            let owner = OWNED.iter().find(|(owned, _)| *owned == target);
            if let Some((_, owner)) = owner
                .filter(|(_, owner)| !for_tests && name.starts_with("sparse-") && *owner != name)
            {
                faults.push(format!("{name} uses {target}, which only {owner} may"));
            }
        }
    }
    ensure!(
        faults.is_empty(),
        "crate arrows:\n  {}",
        faults.join("\n  ")
    );
    Ok(())
}
