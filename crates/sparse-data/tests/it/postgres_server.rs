//! A PostgreSQL server of a test's own: its files in a temporary directory, at a port of the loopback address and a socket.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Set where a test without a server must fail: in CI, which installs one.
const REQUIRED: &str = "SPARSE_ENCODER_REQUIRE_POSTGRES";
const PASSWORD: &str = "s3cret/@:";

pub(crate) struct PostgresServer {
    programs: PathBuf,
    account: Option<(u32, u32)>,
    folder: TempDir,
    port: u16,
    server: Child,
}

impl PostgresServer {
    /// Starts a server whose only user is `owner`. Nothing where PostgreSQL is not installed, which is said.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{REQUIRED} is set, and PostgreSQL is not installed"
            );
            eprintln!("skipped: PostgreSQL is not installed");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // The server refuses to run as root.
        let account = (std::fs::metadata("/proc/self").map_or(1, |me| me.uid()) == 0).then(account);
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let data = folder.path().join("data");
        let command = |program: &str| command(&programs, account, program);
        let initialized = command("initdb")
            .arg("--pgdata")
            .arg(&data)
            .arg("--pwfile")
            .arg(&password)
            .args(["--username=owner", "--auth=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C"])
            .output()
            .unwrap();
        assert!(initialized.status.success(), "{initialized:?}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let server = command("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args([
                "-c",
                "fsync=off",
                "-c",
                "shared_buffers=16MB",
                "-c",
                "max_connections=20",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            programs,
            account,
            folder,
            port,
            server,
        };
        let begun = Instant::now();
        while !server
            .ask("postgres", "select 1")
            .is_ok_and(|answer| answer.trim() == "1")
        {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "the server does not start"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server.run("create database shop", "postgres");
        Some(server)
    }

    /// Address of the database `shop`, with the password.
    pub(crate) fn url(&self) -> String {
        self.url_of("owner:s3cret%2F%40%3A", "shop")
    }

    pub(crate) fn url_of(&self, account: &str, database: &str) -> String {
        format!("postgres://{account}@127.0.0.1:{}/{database}", self.port)
    }

    /// Address of `shop` through the socket.
    pub(crate) fn socket_url(&self) -> String {
        format!(
            "postgres://owner:s3cret%2F%40%3A@localhost:{}/shop?host={}",
            self.port,
            self.folder.path().display()
        )
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements in `shop`.
    pub(crate) fn execute(&self, sql: &str) {
        self.run(sql, "shop");
    }

    fn run(&self, sql: &str, database: &str) {
        if let Err(problem) = self.ask(database, sql) {
            panic!("{problem}");
        }
    }

    fn ask(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = command(&self.programs, self.account, "psql")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "owner", "-d", database, "-v", "ON_ERROR_STOP=1"])
            .args(["-X", "-q", "-t", "-A", "-c", sql])
            .env("PGPASSWORD", PASSWORD)
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let stopped = command(&self.programs, self.account, "pg_ctl")
            .args(["stop", "--mode=immediate", "--wait", "--silent", "--pgdata"])
            .arg(data)
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.server.kill();
        }
        let _ = self.server.wait();
    }
}

/// A port of the loopback address at which nobody listens.
pub(crate) fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    port
}

fn command(programs: &Path, account: Option<(u32, u32)>, program: &str) -> Command {
    let mut command = Command::new(programs.join(program));
    // A directory that the other account may enter.
    command.current_dir("/").env("LC_ALL", "C");
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}

/// The directory of the newest installed server.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let newest_first = folders.into_iter().rev().map(|(_, folder)| folder);
    newest_first
        .chain(std::env::split_paths(&path))
        .find(|folder| {
            ["initdb", "postgres", "pg_ctl", "psql"]
                .iter()
                .all(|program| folder.join(program).is_file())
        })
}

/// User and group of `postgres`, or of `nobody`.
fn account() -> (u32, u32) {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    ["postgres", "nobody"]
        .iter()
        .find_map(|wanted| {
            let line = accounts
                .lines()
                .find(|line| line.split(':').next() == Some(wanted))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .unwrap()
}
