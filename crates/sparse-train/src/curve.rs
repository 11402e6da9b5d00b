//! A picture of a run: loss, learning rate, active dimensions and metrics over the steps.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

const PANEL: (u32, u32) = (560, 360);
const MARGIN: u32 = 14;

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008).
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const INK: RGBColor = RGBColor(60, 60, 60);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// Above so many points a line is drawn smoothed, over its own pale self.
const SMOOTHED_FROM: usize = 60;

/// A figure over the steps.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Panel {
    title: &'static str,
    lines: Vec<Line>,
    /// On a logarithmic scale where the values span more than a factor of 20.
    may_be_logarithmic: bool,
    /// The axis begins at 0.
    from_zero: bool,
    /// The figures hold chance: many of them are smoothed. A schedule is drawn as it is.
    is_noisy: bool,
    legend: SeriesLabelPosition,
}

/// Values and steps beyond these have no axis: its marks are too close to each other to be told apart as f64.
const LARGEST: (f64, f64) = (1e36, 9e15);

/// The values of a key in the history, by step; those that are no finite number, or too large to be drawn, are left out.
fn line(history: &[Map<String, Value>], key: &str, name: &str) -> Option<Line> {
    let within = |value: &f64, largest: f64| value.abs() <= largest;
    let point = |log: &Map<String, Value>| {
        let value = log.get(key)?.as_f64()?;
        let step = log.get("step")?.as_f64()?;
        (within(&value, LARGEST.0) && within(&step, LARGEST.1)).then_some((step, value))
    };
    let points: Vec<_> = history.iter().filter_map(point).collect();
    (!points.is_empty()).then(|| Line {
        name: name.to_owned(),
        points,
    })
}

/// Keys of the history that begin with `eval_` and end in one of `ends`.
fn evaluated<'a>(history: &'a [Map<String, Value>], ends: &[&str]) -> Vec<&'a str> {
    let mut keys: Vec<&str> = Vec::new();
    for key in history.iter().flat_map(Map::keys) {
        let matches = key.starts_with("eval_") && ends.iter().any(|end| key.ends_with(end));
        if matches && !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys
}

/// The panels that there are figures for.
fn panels(history: &[Map<String, Value>], metrics: &[String]) -> Vec<Panel> {
    let title = |key: &str| key.trim_start_matches("eval_").replace('_', " ");
    let mut losses: Vec<Line> = line(history, "loss", "training").into_iter().collect();
    // Parts of the loss and losses of data sets end alike: the former would fill the picture.
    let parts = ["base_loss", "regularizer_loss", "reconstruction_loss"];
    for key in evaluated(history, &["loss"]) {
        if !parts.iter().any(|part| key.ends_with(part)) {
            let name = match title(key).as_str() {
                "loss" => "evaluation".to_owned(),
                other => format!("evaluation, {}", other.trim_end_matches(" loss")),
            };
            losses.extend(line(history, key, &name));
        }
    }
    let rates = line(history, "learning_rate", "learning rate");
    let mut dims: Vec<Line> = line(history, "query_active_dims", "queries")
        .into_iter()
        .chain(line(history, "document_active_dims", "documents"))
        .collect();
    for key in evaluated(history, &["query_active_dims", "corpus_active_dims"]) {
        let name = title(key).replace(" active dims", "");
        dims.extend(line(history, key, &format!("evaluation, {name}")));
    }
    let figures = metrics.iter().filter(|key| !key.ends_with("loss"));
    let figures = figures.filter_map(|key| line(history, key, &title(key)));
    let panel = |title, lines: Vec<Line>, may_be_logarithmic, from_zero, legend| Panel {
        title,
        lines: lines.into_iter().take(COLORS.len()).collect(),
        may_be_logarithmic,
        from_zero,
        is_noisy: !from_zero,
        legend,
    };
    use SeriesLabelPosition::{LowerRight, UpperRight};
    let panels = [
        panel("Loss", losses, true, false, UpperRight),
        panel(
            "Learning rate",
            rates.into_iter().collect(),
            false,
            true,
            UpperRight,
        ),
        panel("Active dimensions", dims, true, false, UpperRight),
        panel("Metrics", figures.collect(), false, false, LowerRight),
    ];
    panels
        .into_iter()
        .filter(|panel| !panel.lines.is_empty())
        .collect()
}

/// Draws the history of a run as SVG. `metrics` are keys of the history, those that stand for their evaluators.
///
/// Nothing is drawn, and `false` returned, where fewer than two steps were logged.
pub(crate) fn draw(
    path: &Path,
    history: &[Map<String, Value>],
    metrics: &[String],
) -> Result<bool> {
    let panels = panels(history, metrics);
    if !panels
        .iter()
        .any(|panel| panel.lines.iter().any(|line| line.points.len() > 1))
    {
        return Ok(false);
    }
    let mut svg = String::new();
    let drawn = render(&mut svg, &panels);
    drawn.map_err(|message| Error::io("draw", path, io::Error::other(message)))?;
    let staged = path.with_extension(format!("svg.{}", std::process::id()));
    fs::write(&staged, svg)
        .and_then(|()| fs::rename(&staged, path))
        .map_err(|source| Error::io("write", path, source))?;
    Ok(true)
}

fn render(svg: &mut String, panels: &[Panel]) -> Result<(), String> {
    let columns = panels.len().min(2);
    let rows = panels.len().div_ceil(2);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32);
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    root.fill(&WHITE).map_err(|error| error.to_string())?;
    let steps = step_range(panels);
    for (panel, area) in panels.iter().zip(root.split_evenly((rows, columns))) {
        let area = area.margin(MARGIN, MARGIN, MARGIN, 2 * MARGIN);
        draw_panel(panel, &area, steps.clone()).map_err(|error| error.to_string())?;
    }
    root.present().map_err(|error| error.to_string())
}

/// The steps of all panels, so that what stands below each other happened at the same time.
fn step_range(panels: &[Panel]) -> Range<f64> {
    let lines = panels.iter().flat_map(|panel| &panel.lines);
    let steps = lines.flat_map(|line| &line.points).map(|point| point.0);
    let (first, last) = steps.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), step| {
        (low.min(step), high.max(step))
    });
    first..last
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

fn draw_panel<DB: DrawingBackend>(
    panel: &Panel,
    area: &DrawingArea<DB, Shift>,
    steps: Range<f64>,
) -> Drawn<DB> {
    let values = panel.lines.iter().flat_map(|line| &line.points);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| {
        (low.min(point.1), high.max(point.1))
    });
    let logarithmic = panel.may_be_logarithmic && low > 0.0 && high > 20.0 * low;
    if logarithmic {
        let values = (low / 1.3..high * 1.3).log_scale();
        return draw_lines(panel, area, steps, values);
    }
    let margin = match (high - low) * 0.06 {
        flat if flat <= 0.0 => high.abs().max(1e-9) * 0.1,
        margin => margin,
    };
    let bottom = if panel.from_zero {
        0.0_f64.min(low)
    } else {
        low - margin
    };
    draw_lines(panel, area, steps, bottom..high + margin)
}

fn draw_lines<DB, Y>(
    panel: &Panel,
    area: &DrawingArea<DB, Shift>,
    steps: Range<f64>,
    values: Y,
) -> Drawn<DB>
where
    DB: DrawingBackend,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .caption(panel.title, ("sans-serif", 19).into_font().color(&INK))
        .x_label_area_size(38)
        .y_label_area_size(66)
        .build_cartesian_2d(steps, values)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_desc("step")
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|value| short(*value))
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    for (line, color) in panel.lines.iter().zip(COLORS) {
        let dense = panel.is_noisy && line.points.len() > SMOOTHED_FROM;
        if dense {
            let pale = color.mix(0.3).stroke_width(1);
            chart.draw_series(LineSeries::new(line.points.iter().copied(), pale))?;
        }
        let points = if dense {
            smooth(&line.points)
        } else {
            line.points.clone()
        };
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                color.stroke_width(2),
            ))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        if points.len() <= 30 {
            let dots = points
                .iter()
                .map(|&point| Circle::new(point, 3, color.filled()));
            chart.draw_series(dots)?;
        }
    }
    if panel.lines.len() > 1 || panel.title == "Metrics" {
        chart
            .configure_series_labels()
            .position(panel.legend.clone())
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font(("sans-serif", 13).into_font().color(&INK))
            .draw()?;
    }
    Ok(())
}

/// The mean over about a twentieth of the run around each point, over as many points before it as after it: a straight line
/// stays where it is, and nothing comes late.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 40;
    let mean = |index: usize| {
        let reach = reach.min(index).min(points.len() - 1 - index);
        let around = &points[index - reach..=index + reach];
        let sum: f64 = around.iter().map(|point| point.1).sum();
        (points[index].0, sum / around.len() as f64)
    };
    (0..points.len()).map(mean).collect()
}

/// A number in few characters.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 1e-3 => format!("{value:.1e}"),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn history() -> Vec<Map<String, Value>> {
        let log = |value: Value| value.as_object().unwrap().clone();
        let mut history = Vec::new();
        for step in 1..=200 {
            let x = f64::from(step) / 200.0;
            let noise = f64::from(step * 7919 % 101) / 101.0 - 0.5;
            history.push(log(json!({
                "step": step, "loss": 6.0 * (-4.0 * x).exp() + 0.6 + 0.5 * noise, "learning_rate": 2e-5 * (1.0 - x).min(10.0 * x),
                "query_active_dims": 20.0 + 3000.0 * (-6.0 * x).exp(), "document_active_dims": 180.0 + 9000.0 * (-5.0 * x).exp(),
                "base_loss": 1.0,
            })));
            if step % 40 == 0 {
                history.push(log(json!({
                    "step": step, "eval_loss": 5.0 * (-4.0 * x).exp() + 0.9, "eval_base_loss": 3.0, "eval_runtime": 1.0,
                    "eval_dev_query_active_dims": 20.0, "eval_dev_dot_ndcg@10": 0.4 + 0.2 * x, "eval_nan": "NaN",
                })));
            }
        }
        history
    }

    #[test]
    fn what_no_axis_holds_is_left_out() {
        let log = |step: f64, loss: f64| {
            let log = json!({ "step": step, "loss": loss });
            log.as_object().unwrap().clone()
        };
        let history = [
            log(1.0, 2.0),
            log(2.0, 1e300),
            log(1e18, 1.0),
            log(3.0, -1e36),
        ];
        let line = line(&history, "loss", "training").unwrap();
        assert_eq!(line.points, [(1.0, 2.0), (3.0, -1e36)]);
    }

    #[test]
    fn every_figure_has_its_panel() {
        let panels = panels(
            &history(),
            &["eval_dev_dot_ndcg@10".to_owned(), "eval_nan".into()],
        );
        let shown: Vec<(&str, Vec<(&str, usize)>)> = panels
            .iter()
            .map(|panel| {
                let lines = panel.lines.iter();
                let lines = lines.map(|line| (line.name.as_str(), line.points.len()));
                (panel.title, lines.collect())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("Loss", vec![("training", 200), ("evaluation", 5)]),
                ("Learning rate", vec![("learning rate", 200)]),
                (
                    "Active dimensions",
                    vec![
                        ("queries", 200),
                        ("documents", 200),
                        ("evaluation, dev query", 5)
                    ]
                ),
                ("Metrics", vec![("dev dot ndcg@10", 5)]),
            ]
        );
    }

    #[test]
    fn the_picture_is_svg_with_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("training_curve.svg");
        assert!(draw(&path, &history(), &["eval_dev_dot_ndcg@10".to_owned()]).unwrap());
        let svg = fs::read_to_string(&path).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        for text in [
            "Loss",
            "Learning rate",
            "Active dimensions",
            "Metrics",
            "documents",
            "ndcg@10",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        if let Ok(copy) = std::env::var("TRAINING_CURVE") {
            fs::copy(&path, copy).unwrap();
        }
    }

    #[test]
    fn smoothing_takes_noise_away_and_shifts_nothing() {
        let line: Vec<(f64, f64)> = (0..200)
            .map(|i| (f64::from(i), 3.0 - f64::from(i)))
            .collect();
        for (smoothed, point) in smooth(&line).iter().zip(&line) {
            assert_eq!(smoothed.0, point.0);
            assert!((smoothed.1 - point.1).abs() < 1e-9);
        }
        let noise: Vec<(f64, f64)> = (0..200).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        for (_, value) in &smooth(&noise)[5..195] {
            assert!((value - 0.5).abs() < 0.06, "{value}");
        }
    }

    #[test]
    fn panels_share_their_steps_and_a_schedule_is_drawn_as_it_is() {
        let panels = panels(&history(), &["eval_dev_dot_ndcg@10".to_owned()]);
        assert_eq!(step_range(&panels), 1.0..200.0);
        let noisy: Vec<bool> = panels.iter().map(|panel| panel.is_noisy).collect();
        assert_eq!(noisy, [true, false, true, true]);
    }

    #[test]
    fn a_run_without_logs_has_no_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("training_curve.svg");
        assert!(!draw(&path, &[], &[]).unwrap());
        assert!(!draw(&path, &history()[..1], &[]).unwrap());
        assert!(!path.exists());
    }
}
