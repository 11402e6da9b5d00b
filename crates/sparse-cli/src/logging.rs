//! Log lines on stderr that don't tear a progress bar.

use std::io::{self, IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use sparse_encoder::train::distributed::Launch;
use sparse_encoder::train::mask_secrets;

use crate::Global;

/// Starts logging as the command line asks.
pub(crate) fn start(global: &Global) {
    // One of several processes speaks for all; what fails is said by each.
    let quiet = global.quiet || Launch::detect().is_some_and(|launch| launch.rank > 0);
    let level = if quiet {
        Level::ERROR
    } else {
        global.log_level
    };
    // Our own crates at the level asked for, the libraries below them only when something is wrong.
    let filter = format!(
        "warn,{}",
        OWN.map(|name| format!("{name}={level}")).join(",")
    );
    let filter = if level > Level::INFO {
        level.to_string()
    } else {
        filter
    };
    let quiet_filter = if quiet { "error".to_owned() } else { filter };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(quiet_filter))
        .with_target(false)
        .without_time()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(BesideBars)
        .finish();
    // Fails only if a logger is there already, which is as good.
    let _ = tracing::subscriber::set_global_default(subscriber);
    crate::progress::enable(!quiet && io::stderr().is_terminal());
}

const OWN: [&str; 8] = [
    "sparse_encoder",
    "sparse_cli",
    "sparse_data",
    "sparse_eval",
    "sparse_index",
    "sparse_losses",
    "sparse_model",
    "sparse_train",
];

struct BesideBars;

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(Vec::new())
    }
}

/// Collects one message and writes it while the bars step aside.
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = mask_secrets(&String::from_utf8_lossy(&self.0));
        crate::output::to_stderr(text.trim_end_matches('\n'));
    }
}
