//! Threads in the place of processes, for tests.

use std::sync::{Arc, Barrier, Mutex};

use super::Communicator;

/// What the threads of a run share.
#[derive(Debug)]
struct Board {
    barrier: Barrier,
    /// What each thread has to say, as bytes.
    said: Mutex<Vec<Vec<u8>>>,
}

/// One thread of several.
#[derive(Debug)]
pub(crate) struct Threads {
    rank: usize,
    size: usize,
    board: Arc<Board>,
}

impl Threads {
    /// As many communicators as asked for, one for each thread.
    pub(crate) fn of(size: usize) -> Vec<Self> {
        let board = Arc::new(Board {
            barrier: Barrier::new(size),
            said: Mutex::new(vec![Vec::new(); size]),
        });
        (0..size)
            .map(|rank| Self {
                rank,
                size,
                board: board.clone(),
            })
            .collect()
    }
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.board.said.lock().unwrap()[self.rank] = bytes.to_vec();
        self.board.barrier.wait();
        let said = self.board.said.lock().unwrap().clone();
        // Nobody speaks again before all have read.
        self.board.barrier.wait();
        said
    }

    fn all_gather_values(&self, values: &[f32]) -> Vec<Vec<f32>> {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let gathered = self.all_gather(&bytes).into_iter();
        gathered
            .map(|bytes| {
                let values = bytes.chunks_exact(4);
                values
                    .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
                    .collect()
            })
            .collect()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) {
        let all = self.all_gather_values(values);
        for (place, value) in values.iter_mut().enumerate() {
            *value = all.iter().map(|other| f64::from(other[place])).sum::<f64>() as f32;
        }
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        *bytes = self.all_gather(bytes).swap_remove(0);
    }

    fn wait_for_all(&self) {
        self.board.barrier.wait();
    }

    fn fail(&self) {}

    fn abort(&self, code: i32) -> ! {
        panic!("thread {} of {} ends with {code}", self.rank, self.size)
    }
}
