//! How this process was started.

use crate::error::Error;

/// Place of a process among those that were started together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// Number of this process, from 0.
    pub rank: usize,
    /// Number of processes.
    pub size: usize,
    /// Number of this process among those of the same machine, from 0: which device is its own.
    pub local_rank: usize,
}

/// Variables for size, rank and local rank: of Open MPI, and of launchers that speak PMI (MPICH, Intel MPI, Slurm).
const VARIABLES: [[&str; 3]; 2] = [
    [
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_LOCAL_RANK",
    ],
    ["PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"],
];

impl Launch {
    /// What the launcher left in the environment; `None` where there was none.
    pub fn detect() -> Option<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        VARIABLES.into_iter().find_map(|[size, rank, local_rank]| {
            let number = |name: &str| get(name)?.trim().parse::<usize>().ok();
            let rank_number = number(rank).unwrap_or(0);
            Some(Self {
                size: number(size)?,
                rank: rank_number,
                local_rank: number(local_rank).unwrap_or(rank_number),
            })
        })
    }
}

/// Two processes that know nothing of each other would write the same output directory.
#[cfg_attr(feature = "mpi", allow(dead_code, reason = "said by builds without"))]
pub(crate) fn without_mpi(launch: Launch) -> Error {
    Error::WithoutMpi {
        rank: launch.rank,
        size: launch.size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(variables: &[(&str, &str)]) -> Option<Launch> {
        Launch::from_variables(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn launchers_say_the_place_in_the_environment() {
        assert_eq!(launch(&[]), None);
        let open_mpi = [
            ("OMPI_COMM_WORLD_SIZE", "8"),
            ("OMPI_COMM_WORLD_RANK", "5"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
        ];
        let place = Launch {
            rank: 5,
            size: 8,
            local_rank: 1,
        };
        assert_eq!(launch(&open_mpi), Some(place));
        let place = Launch {
            rank: 1,
            size: 2,
            local_rank: 1,
        };
        assert_eq!(launch(&[("PMI_SIZE", "2"), ("PMI_RANK", "1")]), Some(place));
    }

    #[test]
    fn a_build_without_mpi_says_how_to_get_it() {
        let launch = Launch {
            rank: 1,
            size: 4,
            local_rank: 1,
        };
        let error = without_mpi(launch);
        assert!(error.is_user_error());
        let message = error.to_string();
        assert!(
            message.contains("process 1 of 4") && message.contains("--features mpi"),
            "{message}"
        );
    }
}
