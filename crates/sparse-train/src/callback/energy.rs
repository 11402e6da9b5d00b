//! What a run took in energy, and the carbon that stands for.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Callback, CallbackContext, TrainerControl};

/// Watts of a busy processor core where there are no counters: its share of package and memory in a server under load.
const WATTS_PER_CORE: f64 = 10.0;

/// Ticks of a second in `/proc/self/stat`; Linux has had no other number since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

const JOULES_PER_KWH: f64 = 3.6e6;

/// A sum of energy from the processors of one machine.
#[derive(Debug)]
enum Source {
    /// Intel's and AMD's counters (RAPL): all that the machine did, whoever asked for it. Memory is counted where it has a
    /// counter.
    Counters(Vec<Zone>),
    /// Processor time of this process times [`WATTS_PER_CORE`].
    ProcessorTime { begin: Option<f64> },
}

/// A counter of microjoules that starts again at 0 after `range`.
#[derive(Debug)]
struct Zone {
    path: PathBuf,
    last: u64,
    range: u64,
    total: u64,
}

impl Zone {
    fn open(folder: &Path) -> Option<Self> {
        let path = folder.join("energy_uj");
        Some(Self {
            last: read_number(&path)?,
            range: read_number(&folder.join("max_energy_range_uj"))?,
            path,
            total: 0,
        })
    }

    fn read(&mut self) {
        let Some(now) = read_number(&self.path) else {
            return;
        };
        self.total += if now >= self.last {
            now - self.last
        } else {
            now + self.range.saturating_sub(self.last)
        };
        self.last = now;
    }
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The counters of whole packages, and of memory, which is no part of its package.
fn zones(root: &Path) -> Vec<Zone> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    folders.sort();
    let counted = |folder: &PathBuf| {
        let name = fs::read_to_string(folder.join("name")).unwrap_or_default();
        name.starts_with("package") || name.trim() == "dram"
    };
    // The same counters have a second entry that goes another way.
    let ours = |folder: &PathBuf| {
        let name = folder.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("intel-rapl:"))
    };
    folders.retain(|folder| ours(folder) && counted(folder));
    folders
        .iter()
        .filter_map(|folder| Zone::open(folder))
        .collect()
}

/// Seconds that this process has had on all cores; `None` where the system doesn't say.
fn processor_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses, which may hold spaces.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

impl Source {
    fn new(root: &Path) -> Self {
        let zones = zones(root);
        if zones.is_empty() {
            Self::ProcessorTime {
                begin: processor_seconds(),
            }
        } else {
            Self::Counters(zones)
        }
    }

    /// Joules since the beginning.
    fn joules(&mut self) -> f64 {
        match self {
            Self::Counters(zones) => {
                zones.iter_mut().for_each(Zone::read);
                zones.iter().map(|zone| zone.total as f64).sum::<f64>() / 1e6
            }
            Self::ProcessorTime { begin } => {
                let seconds = processor_seconds().zip(*begin);
                seconds.map_or(0.0, |(now, begin)| (now - begin) * WATTS_PER_CORE)
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Counters(zones) => {
                format!("{} energy counters of the processor (RAPL)", zones.len())
            }
            Self::ProcessorTime { .. } => {
                format!("an estimate of {WATTS_PER_CORE} W per busy processor core")
            }
        }
    }
}

/// What a run took, as the model card tells it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Emissions {
    /// Grams of CO2 equivalent.
    pub(crate) grams: f64,
    /// Energy in kWh.
    pub(crate) kwh: f64,
    /// How the energy is known, in words.
    pub(crate) source: String,
    pub(crate) hours: f64,
    pub(crate) cpu_model: String,
    /// Memory of the machine in GB (10⁹ bytes).
    pub(crate) ram_gb: f64,
}

#[derive(Debug)]
struct Running {
    source: Source,
    started: Instant,
}

#[derive(Debug)]
struct Meter {
    /// Grams of CO2 equivalent for each kWh.
    intensity: f64,
    running: Option<Running>,
    measured: Option<Emissions>,
}

/// Estimates energy and carbon of a run, as codecarbon does for the reference.
///
/// Energy is what the processor's counters (RAPL, `/sys/class/powercap`) say where they can be read, else 10 W for each second
/// of a core; graphics processors are not counted. Carbon is the energy times `carbon_intensity`. The figures stand in
/// `emissions.csv` of the output directory, in the log, and in the model card. They cover this call of the trainer, not what
/// came before a checkpoint. Copies share one meter.
#[derive(Debug, Clone)]
pub struct EnergyMeter(Arc<Mutex<Meter>>);

impl EnergyMeter {
    /// A meter for electricity of so many grams of CO2 equivalent for each kWh.
    pub fn new(intensity: f64) -> Self {
        Self(Arc::new(Mutex::new(Meter {
            intensity,
            running: None,
            measured: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was taken so far; `None` before the first step.
    pub(crate) fn measured(&self) -> Option<Emissions> {
        self.lock().measured.clone()
    }

    fn start(&self, root: &Path) {
        let source = Source::new(root);
        tracing::info!(
            "energy is measured by {}; graphics processors are not counted",
            source.describe()
        );
        let mut meter = self.lock();
        meter.running = Some(Running {
            source,
            started: Instant::now(),
        });
        meter.measured = None;
    }

    fn measure(&self) {
        let mut meter = self.lock();
        let intensity = meter.intensity;
        let Some(running) = &mut meter.running else {
            return;
        };
        let kwh = running.source.joules() / JOULES_PER_KWH;
        let emissions = Emissions {
            grams: kwh * intensity,
            kwh,
            source: running.source.describe(),
            hours: running.started.elapsed().as_secs_f64() / 3600.0,
            cpu_model: String::new(),
            ram_gb: 0.0,
        };
        let known = meter.measured.take();
        let (cpu_model, ram_gb) =
            known.map_or_else(machine, |known| (known.cpu_model, known.ram_gb));
        meter.measured = Some(Emissions {
            cpu_model,
            ram_gb,
            ..emissions
        });
    }
}

/// Model of the processor and memory in GB.
fn machine() -> (String, f64) {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let memory = field("/proc/meminfo", "MemTotal");
    let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    (field("/proc/cpuinfo", "model name"), kib * 1024.0 / 1e9)
}

/// Appends a line, under a heading where the file is new.
fn append(path: &Path, emissions: &Emissions, intensity: f64) -> sparse_files::Result<()> {
    let mut text = fs::read_to_string(path).unwrap_or_default();
    if text.is_empty() {
        text.push_str("duration_s,energy_kwh,carbon_intensity_g_per_kwh,emissions_g,source,cpu_model,ram_gb\n");
    }
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    // Writing to a string can't fail.
    let _ = writeln!(
        text,
        "{:.1},{:e},{intensity},{:e},{},{},{:.1}",
        emissions.hours * 3600.0,
        emissions.kwh,
        emissions.grams,
        quoted(&emissions.source),
        quoted(&emissions.cpu_model),
        emissions.ram_gb
    );
    sparse_files::write(path, text)
}

impl Callback for EnergyMeter {
    fn on_train_begin(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.start(Path::new("/sys/class/powercap"));
    }

    fn on_step_end(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        // Often enough that no counter goes round twice unseen.
        self.measure();
    }

    fn on_train_end(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.measure();
        let intensity = self.lock().intensity;
        let Some(emissions) = self.measured() else {
            return;
        };
        tracing::info!(
            "the run took {:.6} kWh by {}, which stand for {:.4} g of CO2 at {intensity} g for each kWh",
            emissions.kwh,
            emissions.source,
            emissions.grams
        );
        let path = context.arguments.output_dir.join("emissions.csv");
        let written = sparse_files::create_dir_all(&context.arguments.output_dir)
            .and_then(|()| append(&path, &emissions, intensity));
        if let Err(error) = written {
            tracing::warn!("{error}: {}", error.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(root: &Path, folder: &str, name: &str, energy: u64) {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("energy_uj"), format!("{energy}\n")).unwrap();
        fs::write(folder.join("max_energy_range_uj"), "1000000000\n").unwrap();
    }

    #[test]
    fn counters_are_added_up_and_go_round() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        zone(path, "intel-rapl:0", "package-0", 900_000_000);
        zone(path, "intel-rapl:0:0", "core", 5);
        zone(path, "intel-rapl:0:1", "dram", 0);
        zone(path, "intel-rapl-mmio:0", "package-0", 7);
        let meter = EnergyMeter::new(500.0);
        meter.start(path);
        zone(path, "intel-rapl:0", "package-0", 400_000_000);
        zone(path, "intel-rapl:0:0", "core", 900_000_000);
        zone(path, "intel-rapl:0:1", "dram", 220_000_000);
        meter.measure();
        let emissions = meter.measured().unwrap();
        // 500 J of the package, whose counter went round, and 220 J of memory.
        assert!(
            (emissions.kwh - 720.0 / 3.6e6).abs() < 1e-15,
            "{emissions:?}"
        );
        assert!((emissions.grams - 0.1).abs() < 1e-12);
        assert!(emissions.source.starts_with("2 energy counters"));
    }

    #[test]
    fn without_counters_processor_time_is_an_estimate_that_says_so() {
        let meter = EnergyMeter::new(475.0);
        meter.start(Path::new("/nonexistent"));
        let before = processor_seconds().unwrap();
        let mut sum = 0_u64;
        while processor_seconds().unwrap() < before + 0.05 {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        meter.measure();
        let emissions = meter.measured().unwrap();
        assert!(
            emissions.kwh >= 0.05 * WATTS_PER_CORE / JOULES_PER_KWH,
            "{sum}"
        );
        assert!(emissions.source.contains("10 W per busy processor core"));
    }

    #[test]
    fn the_file_has_one_heading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("emissions.csv");
        let emissions = Emissions {
            grams: 0.1,
            kwh: 0.0002,
            source: "2 counters".into(),
            hours: 0.5,
            cpu_model: "A, \"B\"".into(),
            ram_gb: 16.0,
        };
        append(&path, &emissions, 500.0).unwrap();
        append(&path, &emissions, 500.0).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[2],
            "1800.0,2e-4,500,1e-1,\"2 counters\",\"A, \"\"B\"\"\",16.0"
        );
    }
}
