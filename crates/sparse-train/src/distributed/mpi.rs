//! Processes that talk over MPI.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator as _, CommunicatorCollectives, Equivalence};

use super::{Communicator, Launch};
use crate::error::{Error, Result};

/// Elements of a message at most: MPI counts in 32 bits, and a message has its copy in memory.
const PIECE: usize = 1 << 24;

/// Between two looks whether the others have come.
const NAP: Duration = Duration::from_millis(5);

/// The processes that `mpirun` started together.
///
/// One thread at a time talks, whichever it is. When the last handle goes, the process leaves the others in peace, or, if
/// it failed or panics, ends them: it never leaves them waiting.
pub(crate) struct Mpi {
    universe: Mutex<Universe>,
    rank: usize,
    size: usize,
    failed: AtomicBool,
}

/// A process can join once in its life.
static JOINED: Mutex<Weak<Mpi>> = Mutex::new(Weak::new());

impl std::fmt::Debug for Mpi {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rank, size, .. } = self;
        write!(formatter, "Mpi(process {rank} of {size})")
    }
}

impl Mpi {
    pub(super) fn start(launch: Launch) -> Result<Arc<dyn Communicator>> {
        let mut joined = JOINED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mpi) = joined.upgrade() {
            return Ok(mpi);
        }
        let unusable = |why: &str| Error::Mpi {
            rank: launch.rank,
            size: launch.size,
            reason: why.to_owned(),
        };
        let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)
            .ok_or_else(|| {
                unusable(
                    "it was started and ended in this process before; keep its communicator for all runs",
                )
            })?;
        let world = universe.world();
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        if threading < Threading::Serialized {
            return Err(unusable("this MPI was built without support for threads"));
        }
        if size != launch.size {
            return Err(unusable(&format!(
                "it was started by the launcher of another MPI than the one it was built with, which sees {size}"
            )));
        }
        let mpi = Arc::new(Self {
            universe: Mutex::new(universe),
            rank,
            size,
            failed: AtomicBool::new(false),
        });
        *joined = Arc::downgrade(&mpi);
        Ok(mpi)
    }

    /// Runs one exchange while no other thread does.
    fn talk<T>(&self, exchange: impl FnOnce(&SimpleCommunicator) -> T) -> T {
        let universe = self.universe.lock().unwrap_or_else(PoisonError::into_inner);
        exchange(&universe.world())
    }

    fn gather<T: Equivalence + Default + Copy>(&self, own: &[T]) -> Vec<Vec<T>> {
        self.talk(|world| {
            let mut lengths = vec![0_u64; self.size];
            world.all_gather_into(&(own.len() as u64), &mut lengths[..]);
            let lengths: Vec<usize> = lengths.into_iter().map(|length| length as usize).collect();
            let mut gathered: Vec<Vec<T>> = lengths
                .iter()
                .map(|&length| Vec::with_capacity(length))
                .collect();
            let piece = (PIECE / self.size).max(1);
            let longest = lengths.iter().max().copied().unwrap_or(0);
            for start in (0..longest).step_by(piece) {
                let within = |length: usize| start.min(length)..(start + piece).min(length);
                let parts = laid_out(lengths.iter().map(|&length| within(length).len()));
                let mut received = vec![T::default(); parts.last().map_or(0, |part| part.end)];
                let (counts, places) = to_counts(&parts);
                world.all_gather_varcount_into(
                    &own[within(own.len())],
                    &mut PartitionMut::new(&mut received[..], counts, places),
                );
                for (values, part) in gathered.iter_mut().zip(parts) {
                    values.extend_from_slice(&received[part]);
                }
            }
            gathered
        })
    }
}

/// Ranges of these lengths, one behind the other.
fn laid_out(lengths: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    lengths
        .scan(0, |end, length| {
            let start = *end;
            *end += length;
            Some(start..*end)
        })
        .collect()
}

/// Counts and places as MPI has them; `PIECE` keeps both within 32 bits.
fn to_counts(parts: &[Range<usize>]) -> (Vec<i32>, Vec<i32>) {
    parts
        .iter()
        .map(|part| (part.len() as i32, part.start as i32))
        .unzip()
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.gather(bytes)
    }

    fn all_gather_values(&self, values: &[f32]) -> Vec<Vec<f32>> {
        self.gather(values)
    }

    /// Each process adds up one part of the values and sends the sum to all: twice the values pass each wire, whatever the
    /// number of processes.
    fn all_reduce_sum(&self, values: &mut [f32]) {
        self.talk(|world| {
            for piece in values.chunks_mut(PIECE) {
                let n = piece.len();
                let share = |rank: usize| n * rank / self.size..n * (rank + 1) / self.size;
                let shares: Vec<_> = (0..self.size).map(share).collect();
                let own = shares[self.rank].len();
                let mut terms = vec![0.0_f32; own * self.size];
                let (counts, places) = to_counts(&shares);
                let (own_counts, own_places) =
                    to_counts(&laid_out(std::iter::repeat_n(own, self.size)));
                world.all_to_all_varcount_into(
                    &Partition::new(&*piece, &counts[..], &places[..]),
                    &mut PartitionMut::new(&mut terms[..], own_counts, own_places),
                );
                let sums: Vec<f32> = (0..own)
                    .map(|place| {
                        let terms = (0..self.size).map(|rank| f64::from(terms[rank * own + place]));
                        terms.sum::<f64>() as f32
                    })
                    .collect();
                world.all_gather_varcount_into(
                    &sums[..],
                    &mut PartitionMut::new(&mut *piece, counts, places),
                );
            }
        });
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let own: &[u8] = if self.rank == 0 { bytes } else { &[] };
        let first = self.gather(own).into_iter().next();
        *bytes = first.unwrap_or_default();
    }

    fn wait_for_all(&self) {
        self.talk(|world| {
            let mut arrival = world.immediate_barrier();
            while let Err(waiting) = arrival.test() {
                arrival = waiting;
                std::thread::sleep(NAP);
            }
        });
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    fn abort(&self, code: i32) -> ! {
        self.talk(|world| world.abort(code))
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        if self.failed.load(Ordering::SeqCst) || std::thread::panicking() {
            tracing::error!(
                "process {} of {} failed and ends the others",
                self.rank,
                self.size
            );
            self.abort(1);
        }
        // MPI waits too, but not asleep.
        self.wait_for_all();
    }
}
