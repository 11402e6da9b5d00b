//! Logs for TensorBoard.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::event_file::{Content, EventFile};
use super::{Callback, CallbackContext, TrainerControl};

/// Writes each figure of each log as a scalar into an event file of `logging_dir`, and the arguments as the text `args/text_summary`.
///
/// `eval_X` becomes `eval/X`, `test_X` `test/X`, and everything else `train/X`, as in the reference. A run that goes on from a
/// checkpoint tells TensorBoard that figures of later steps in older files don't count. A file that can't be written is warned
/// of once and doesn't end the run.
#[derive(Debug, Default)]
pub struct TensorBoard {
    file: Option<EventFile>,
}

/// The name under which TensorBoard shows a figure.
fn tag(name: &str) -> String {
    for prefix in ["eval", "test"] {
        if let Some(rest) = name.strip_prefix(prefix)
            && let Some(rest) = rest.strip_prefix('_')
        {
            return format!("{prefix}/{rest}");
        }
    }
    format!("train/{name}")
}

fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_owned();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

/// `Nov25_13-05-59`, in UTC.
fn date(since_epoch: Duration) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = since_epoch.as_secs();
    // Days since 1 March of the year 0 of the Gregorian calendar, whose years end with their leap day.
    let days = seconds / 86400 + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    format!(
        "{}{day:02}_{:02}-{:02}-{:02}",
        MONTHS[((month + 2) % 12) as usize],
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn open(context: &CallbackContext<'_>) -> io::Result<EventFile> {
    let time = now();
    let folder = context
        .arguments
        .event_dir(&format!("{}_{}", date(time), host()));
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(named)?;
    let name = |n: usize| {
        let (seconds, process) = (time.as_secs(), std::process::id());
        folder.join(format!(
            "events.out.tfevents.{seconds}.{}.{process}.{n}",
            host()
        ))
    };
    // Two runs of a process may begin within a second.
    let free = (0..).map(name).find(|path: &_| !Path::exists(path));
    let path = free.unwrap_or_else(|| name(0));
    let mut file = EventFile::create(&path, time.as_secs_f64()).map_err(named)?;
    let arguments = serde_json::to_string_pretty(context.arguments)?;
    // Indented by four, Markdown shows it as it is.
    let text: Vec<String> = arguments
        .lines()
        .map(|line| format!("    {line}"))
        .collect();
    let text = text.join("\n");
    let mut contents = vec![Content::Text {
        tag: "args/text_summary",
        text: &text,
    }];
    let step = context.state.global_step;
    if step > 0 {
        contents.insert(0, Content::Restart);
    }
    // What counts no more are the steps from this one on, and this one was logged before the checkpoint.
    file.write(
        time.as_secs_f64(),
        if step > 0 { step + 1 } else { 0 },
        &contents,
    )?;
    Ok(file)
}

impl Callback for TensorBoard {
    fn on_train_begin(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        match open(context) {
            Ok(file) => self.file = Some(file),
            Err(error) => tracing::warn!("there will be no event file for TensorBoard: {error}"),
        }
    }

    fn on_log(
        &mut self,
        context: &CallbackContext<'_>,
        _: &mut TrainerControl,
        logs: &[(String, f64)],
    ) {
        let Some(file) = &mut self.file else {
            return;
        };
        let epoch = ("epoch".to_owned(), context.state.epoch);
        let tags: Vec<(String, f64)> = logs
            .iter()
            .chain([&epoch])
            .map(|(name, value)| (tag(name), *value))
            .collect();
        let scalars: Vec<Content<'_>> = tags
            .iter()
            .map(|(tag, value)| Content::Scalar {
                tag,
                value: *value as f32,
            })
            .collect();
        let written = file.write(now().as_secs_f64(), context.state.global_step, &scalars);
        if let Err(error) = written {
            tracing::warn!(
                "the event file for TensorBoard ends at step {}: {error}",
                context.state.global_step
            );
            self.file = None;
        }
    }

    fn on_train_end(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_named_as_the_reference_names_them() {
        assert_eq!(tag("eval_dev_dot_ndcg@10"), "eval/dev_dot_ndcg@10");
        assert_eq!(tag("test_loss"), "test/loss");
        assert_eq!(tag("train_loss"), "train/train_loss");
        assert_eq!(tag("evaluations"), "train/evaluations");
    }

    #[test]
    fn dates_know_of_leap_years() {
        let at = |seconds| date(Duration::from_secs(seconds));
        assert_eq!(at(0), "Jan01_00-00-00");
        assert_eq!(at(951_782_400), "Feb29_00-00-00"); // 2000
        assert_eq!(at(1_764_075_959), "Nov25_13-05-59"); // 2025
        assert_eq!(at(4_107_542_400), "Mar01_00-00-00"); // 2100, no leap year
    }
}
