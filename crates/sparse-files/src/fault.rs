//! Faults on demand, for tests: the n-th operation on the disk fails, is cut short or ends the process.

#[cfg(debug_assertions)]
pub(crate) use armed::{before, before_write};

/// Release builds do what they are asked.
#[cfg(not(debug_assertions))]
pub(crate) fn before(_action: &'static str, _path: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}

/// Release builds write all bytes.
#[cfg(not(debug_assertions))]
pub(crate) fn before_write(_path: &std::path::Path, length: usize) -> std::io::Result<usize> {
    Ok(length)
}

#[cfg(debug_assertions)]
mod armed {
    use std::io;
    use std::path::Path;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Kind {
        /// The operation fails, later ones don't.
        Fail,
        /// A write puts down half of its bytes and fails at the next try; other operations fail.
        Short,
        /// The operation fails, and so does every later one that needs space: a full disk.
        Full,
        /// The process ends before the operation, a write after half of its bytes.
        Kill,
    }

    static FAULT: LazyLock<Option<(Kind, u64)>> = LazyLock::new(|| {
        let text = std::env::var("SPARSE_ENCODER_FAULT").ok()?;
        let parsed = parse(&text);
        assert!(parsed.is_some(), "SPARSE_ENCODER_FAULT={text}");
        parsed
    });

    static COUNT: AtomicU64 = AtomicU64::new(0);

    /// Set once half a write has been done: the rest of it fails or never comes.
    static HALF_DONE: AtomicBool = AtomicBool::new(false);

    fn parse(text: &str) -> Option<(Kind, u64)> {
        let (kind, number) = text.split_once('@')?;
        let kind = match kind {
            "fail" => Kind::Fail,
            "short" => Kind::Short,
            "full" => Kind::Full,
            "kill" => Kind::Kill,
            _ => return None,
        };
        Some((kind, number.parse().ok()?))
    }

    /// The fault of this operation, if it is the one.
    fn next(action: &str, path: &Path) -> Option<Kind> {
        let (kind, number) = (*FAULT)?;
        let count = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
        let needs_space = ["create", "write", "sync"].contains(&action);
        let is_due = count == number || (kind == Kind::Full && count > number && needs_space);
        if is_due {
            eprintln!(
                "fault injected at operation {count}: {action} `{}`",
                path.display()
            );
        }
        is_due.then_some(kind)
    }

    fn full() -> io::Error {
        io::Error::new(io::ErrorKind::StorageFull, "injected fault")
    }

    pub(crate) fn before(action: &'static str, path: &Path) -> io::Result<()> {
        match next(action, path) {
            None => Ok(()),
            Some(Kind::Kill) => std::process::abort(),
            Some(Kind::Fail | Kind::Short | Kind::Full) => Err(full()),
        }
    }

    /// How many of `length` bytes to write.
    pub(crate) fn before_write(path: &Path, length: usize) -> io::Result<usize> {
        if HALF_DONE.swap(false, Ordering::SeqCst) {
            if FAULT.is_some_and(|(kind, _)| kind == Kind::Kill) {
                std::process::abort();
            }
            return Err(full());
        }
        match next("write", path) {
            None => Ok(length),
            Some(Kind::Fail | Kind::Full) => Err(full()),
            Some(Kind::Short | Kind::Kill) => {
                HALF_DONE.store(true, Ordering::SeqCst);
                Ok(length.div_ceil(2))
            }
        }
    }
}
