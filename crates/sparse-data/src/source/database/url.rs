//! The address of a database.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Result};

/// The address of a database: `sqlite:data/pairs.db` or `postgres://user@host:5432/database`.
///
/// A password may stand in the address, or in the environment as `PGPASSWORD`. It is neither printed nor written: what
/// is shown and what is serialized has none.
///
/// ```
/// use sparse_data::DatabaseUrl;
///
/// let url = DatabaseUrl::from("postgres://me:secret@localhost/shop");
/// assert_eq!(url.to_string(), "postgres://me@localhost/shop");
/// assert_eq!(format!("{url:?}"), "DatabaseUrl(\"postgres://me@localhost/shop\")");
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// What an address stands for.
#[cfg_attr(
    not(feature = "databases"),
    expect(dead_code, reason = "the address is checked, and nothing can open it")
)]
pub(super) enum Location {
    Sqlite(PathBuf),
    Postgres(Server),
}

/// A database of a PostgreSQL server.
#[derive(Default)]
#[cfg_attr(
    not(feature = "databases"),
    expect(dead_code, reason = "the address is checked, and nothing can open it")
)]
pub(super) struct Server {
    /// Name, address, or the directory of a socket.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    /// As in libpq, `prefer` if missing.
    pub(super) sslmode: Option<String>,
    pub(super) sslrootcert: Option<String>,
}

const NO_HOST: &str = "it names no host; for a socket write `postgres://user@localhost/database?host=/run/postgresql`";

impl DatabaseUrl {
    /// Whether the address can be read.
    pub(crate) fn validate(&self) -> Result<()> {
        self.location().map(|_| ())
    }

    pub(super) fn location(&self) -> Result<Location> {
        if let Some(path) = self.0.strip_prefix("sqlite:") {
            if path.is_empty() || path.starts_with("//") {
                return Err(self.error("write `sqlite:` and the path, such as `sqlite:data/pairs.db` or `sqlite:/data/pairs.db`"));
            }
            return Ok(Location::Sqlite(Path::new(path).to_owned()));
        }
        if !self.0.starts_with("postgres://") && !self.0.starts_with("postgresql://") {
            return Err(self.error(
                "an address begins with `sqlite:` and goes on with a path, or is `postgres://user@host:5432/database`",
            ));
        }
        self.server().map(Location::Postgres)
    }

    fn server(&self) -> Result<Server> {
        let url = match ::url::Url::parse(&self.0) {
            Ok(url) => url,
            Err(::url::ParseError::EmptyHost) => return Err(self.error(NO_HOST)),
            Err(error) => {
                return Err(self.error(&format!(
                    "{error}; in a user, a password or a name write special characters as %40 (`@`), %2F (`/`), %3A (`:`)"
                )));
            }
        };
        let decode = |text: &str| {
            percent_decoded(text)
                .ok_or_else(|| self.error("it holds a %-sequence that stands for no UTF-8"))
        };
        let given = |text: &str| (!text.is_empty()).then(|| decode(text)).transpose();
        let mut server = Server {
            host: decode(url.host_str().unwrap_or_default())?,
            port: url.port(),
            user: given(url.username())?,
            password: url.password().map(decode).transpose()?,
            database: given(url.path().trim_start_matches('/'))?,
            ..Server::default()
        };
        for (key, value) in url.query_pairs() {
            let value = value.into_owned();
            match &*key {
                "host" => server.host = value,
                "sslmode"
                    if matches!(
                        &*value,
                        "disable" | "prefer" | "require" | "verify-ca" | "verify-full"
                    ) =>
                {
                    server.sslmode = Some(value);
                }
                "sslmode" => {
                    return Err(self.error(
                        "`sslmode` is one of `disable`, `prefer`, `require`, `verify-ca`, `verify-full`",
                    ));
                }
                "sslrootcert" => server.sslrootcert = Some(value),
                _ => {
                    return Err(self.error(&format!(
                        "`{key}` is not known after the `?`; known are `host`, `sslmode` and `sslrootcert`"
                    )));
                }
            }
        }
        if server.host.is_empty() {
            return Err(self.error(NO_HOST));
        }
        Ok(server)
    }

    fn error(&self, problem: &str) -> Error {
        Error::Setting {
            key: "database",
            problem: format!("= \"{self}\" can't be read: {problem}"),
        }
    }

    /// The address without its password. Whatever stands before the last `@` may belong to one; what is no address, such as
    /// `host=… password=…`, is not shown at all.
    fn without_password(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            let is_path = self.0.starts_with("sqlite:") || !self.0.contains(['=', '@']);
            return if is_path {
                self.0.clone()
            } else {
                "***".to_owned()
            };
        };
        let Some((account, address)) = rest.rsplit_once('@') else {
            return self.0.clone();
        };
        let user = account.split_once(':').map_or(account, |(user, _)| user);
        format!("{scheme}://{user}@{address}")
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.without_password();
        if shown.starts_with("sqlite:") {
            return f.write_str(&shown);
        }
        f.write_str(shown.split('?').next().unwrap_or_default())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseUrl")
            .field(&self.to_string())
            .finish()
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.without_password();
        // The other keys after the `?` are part of where the database is.
        let shown = match shown.split_once('?') {
            Some((address, query))
                if query.contains("password") && !shown.starts_with("sqlite:") =>
            {
                address
            }
            _ => &shown,
        };
        serializer.serialize_str(shown)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        match DatabaseUrl::from(url).location() {
            Ok(Location::Postgres(server)) => server,
            Ok(Location::Sqlite(path)) => panic!("{}", path.display()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_address_is_taken_apart() {
        let found = server("postgresql://m%40e:p%2Fw%3A@db.example:5433/my%20shop?sslmode=require");
        assert_eq!(found.host, "db.example");
        assert_eq!(found.port, Some(5433));
        assert_eq!(found.user.as_deref(), Some("m@e"));
        assert_eq!(found.password.as_deref(), Some("p/w:"));
        assert_eq!(found.database.as_deref(), Some("my shop"));
        assert_eq!(found.sslmode.as_deref(), Some("require"));
        let found = server("postgres:///shop?host=/run/postgresql");
        assert_eq!(
            (&*found.host, found.port, found.user),
            ("/run/postgresql", None, None)
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://me:secret@host/shop", "postgres://me@host/shop"),
            (
                "postgres://me:se@cr/et@host/shop?sslmode=require",
                "postgres://me@host/shop",
            ),
            // A number and a slash may be a port and a path, but not before an `@`.
            (
                "postgres://me:123/secret@host/shop",
                "postgres://me@host/shop",
            ),
            (
                "postgres://me:5432/7@host:5432/shop",
                "postgres://me@host:5432/shop",
            ),
            ("postgres://:secret@host/shop", "postgres://@host/shop"),
            ("postgres://me@host/shop", "postgres://me@host/shop"),
            ("sqlite:data/a@b.db", "sqlite:data/a@b.db"),
            ("host=db user=me password=secret", "***"),
            ("me:secret@host/shop", "***"),
            (
                "postgres://host/shop?password=secret",
                "postgres://host/shop",
            ),
        ] {
            let url = DatabaseUrl::from(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown:?})"));
            assert!(!serde_json::to_string(&url).unwrap().contains("secret"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (url, words) in [
            ("mysql://me:secret@host/shop", "begins with `sqlite:`"),
            ("data/pairs.db", "begins with `sqlite:`"),
            ("sqlite:///pairs.db", "`sqlite:data/pairs.db`"),
            ("sqlite:", "`sqlite:data/pairs.db`"),
            ("postgres:///shop", "names no host"),
            ("postgres://me:secret@/shop", "names no host"),
            (
                "postgres://me:secret@host:70000/shop",
                "invalid port number",
            ),
            ("postgres://host/shop?sslmode=always", "`verify-full`"),
            ("postgres://host/shop?user=me", "`user` is not known"),
            ("postgres://host/%ff", "stands for no UTF-8"),
        ] {
            let error = DatabaseUrl::from(url).validate().unwrap_err();
            assert!(error.is_user_error());
            let text = error.to_string();
            assert!(text.starts_with("`database` = "), "{text}");
            assert!(text.contains(words) && !text.contains("secret"), "{text}");
        }
    }
}
