//! The features that need something of the system.

use std::process::{Command, Stdio};

use crate::tools::has_program;

/// A feature of the command line, and what has to be installed for it.
struct Feature {
    name: &'static str,
    needs: &'static str,
    is_possible: fn() -> bool,
}

const FEATURES: [Feature; 2] = [
    Feature {
        name: "sparse-cli/databases",
        needs: "OpenSSL's headers and pkg-config (Debian: libssl-dev pkg-config; and postgresql for its tests)",
        is_possible: has_openssl,
    },
    Feature {
        name: "sparse-cli/mpi",
        needs: "an MPI and libclang (Debian: libopenmpi-dev openmpi-bin libclang-dev)",
        is_possible: || has_program("mpicc") && has_libclang(),
    },
];

/// The arguments of cargo that switch on what can be built here. What is left out is said.
pub(crate) fn optional() -> Vec<String> {
    let (possible, left_out): (Vec<&Feature>, Vec<&Feature>) =
        FEATURES.iter().partition(|feature| (feature.is_possible)());
    for feature in left_out {
        eprintln!(
            "LEFT OUT: the feature `{}`, neither built nor tested: it needs {}",
            feature.name, feature.needs
        );
    }
    if possible.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = possible.iter().map(|feature| feature.name).collect();
    vec!["--features".to_owned(), names.join(",")]
}

/// Other systems have TLS of their own.
fn has_openssl() -> bool {
    !cfg!(target_os = "linux") || succeeds("pkg-config", &["--exists", "openssl"])
}

fn has_libclang() -> bool {
    let listed = Command::new("ldconfig").arg("-p").output();
    std::env::var_os("LIBCLANG_PATH").is_some()
        || has_program("llvm-config")
        || has_program("clang")
        || listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).contains("libclang"))
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
