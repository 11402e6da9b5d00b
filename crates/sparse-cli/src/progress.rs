//! Progress bars on stderr, and what a run says where stderr is no terminal.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use sparse_encoder::train::{Callback, CallbackContext, StepReport, TrainerControl};

use crate::output::to_stderr;

static BARS: OnceLock<Option<MultiProgress>> = OnceLock::new();

/// Shows bars or doesn't, for the rest of the process.
pub(crate) fn enable(show: bool) {
    // Set once at the start; a second call changes nothing.
    let _ = BARS.set(show.then(MultiProgress::new));
}

fn bars() -> Option<&'static MultiProgress> {
    BARS.get().and_then(Option::as_ref)
}

/// Runs `action` while the bars step aside.
pub(crate) fn suspend<T>(action: impl FnOnce() -> T) -> T {
    match bars() {
        Some(bars) => bars.suspend(action),
        None => action(),
    }
}

/// A bar over `total` things called `what`; invisible where bars are off.
pub(crate) fn bar(total: usize, what: &str) -> ProgressBar {
    let Some(bars) = bars() else {
        return ProgressBar::hidden();
    };
    let bar = bars.add(ProgressBar::new(total as u64));
    let template = "{prefix:>10} {bar:30} {pos}/{len} {per_sec} {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// Follows a training run.
#[derive(Debug)]
pub(crate) struct TrainingProgress {
    bar: Option<ProgressBar>,
    show_lines: bool,
    last_line: Instant,
}

/// Between lines where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl TrainingProgress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            bar: None,
            show_lines: !quiet,
            last_line: Instant::now(),
        }
    }

    fn describe(report: &StepReport) -> String {
        let weights = match report.weights {
            Some(weights) => {
                let query = weights
                    .query
                    .map_or_else(|| "-".to_owned(), |weight| format!("{weight:.1e}"));
                format!(" λq {query} λd {:.1e}", weights.document)
            }
            None => String::new(),
        };
        let skipped = match report.loss_scale {
            Some((_, skipped)) if skipped > 0 => format!(" skipped {skipped}"),
            _ => String::new(),
        };
        format!(
            "loss {:.4} lr {:.2e}{weights} active {:.0}/{:.0} {:.0} texts/s{skipped}",
            report.loss,
            report.learning_rate,
            report.query_active_dims,
            report.document_active_dims,
            report.texts_per_second,
        )
    }
}

impl Callback for TrainingProgress {
    fn on_train_begin(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        if bars().is_some() {
            let bar = bar(context.state.max_steps, "training");
            if let Ok(style) =
                ProgressStyle::with_template("{prefix:>10} {bar:24} {pos}/{len} {msg}")
            {
                bar.set_style(style);
            }
            bar.set_position(context.state.global_step as u64);
            self.bar = Some(bar);
        }
    }

    fn on_step_end(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        // A run without an end takes longer than a duration holds.
        let left = Duration::try_from_secs_f64(context.step.seconds_left).unwrap_or(Duration::MAX);
        let left = HumanDuration(left);
        let text = format!("{}, {left:#} left", Self::describe(context.step));
        let step = context.state.global_step;
        if let Some(bar) = &self.bar {
            bar.set_position(step as u64);
            bar.set_message(text);
        } else if self.show_lines && (self.last_line.elapsed() >= LINE_EVERY || step == 1) {
            to_stderr(&format!("step {step}/{} {text}", context.state.max_steps));
            self.last_line = Instant::now();
        }
    }

    fn on_evaluation_begin(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        if self.show_lines {
            to_stderr("evaluating ...");
        }
    }

    fn on_train_end(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}
