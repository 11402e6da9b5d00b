//! Random numbers: our own streams, and the two generators of the reference.

mod mt19937;
mod pcg64;
mod stream;

pub(crate) use mt19937::Mt19937;
pub(crate) use pcg64::Pcg64;
pub(crate) use stream::RandomStream;
