//! Files in object stores: `s3://`, `gs://`, `http://`, `https://`. They are fetched whole before they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path as Location;
use object_store::{ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};

use super::engine::block_on;
use super::{io_error, masked};
use crate::error::{Error, Result, nearest};

/// Settings of a store by name, such as `aws_endpoint`: stronger than the environment.
pub(crate) type StorageOptions = BTreeMap<String, String>;

/// A file in a store.
#[derive(Clone)]
pub(crate) struct RemoteFile {
    store: Arc<dyn ObjectStore>,
    location: Location,
    /// Address without a query or a password.
    url: String,
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteFile").field(&self.url).finish()
    }
}

/// The scheme of an address, if the path is one.
pub(crate) fn scheme(path: &str) -> Option<&str> {
    let (scheme, _) = path.split_once("://")?;
    let is_word = !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric());
    is_word.then_some(scheme)
}

/// A store, and how addresses in it begin.
struct Root {
    store: Arc<dyn ObjectStore>,
    /// Address of the root, with a slash at the end.
    url: String,
}

impl Root {
    fn file(&self, location: Location) -> RemoteFile {
        RemoteFile {
            store: Arc::clone(&self.store),
            url: format!("{}{location}", self.url),
            location,
        }
    }

    /// All files below a folder, sorted.
    fn list(&self, folder: &Location) -> Result<Vec<RemoteFile>> {
        let url = format!("{}{folder}", self.url);
        let listed = block_on(async {
            let prefix = (!folder.as_ref().is_empty()).then_some(folder);
            let objects = self.store.list(prefix);
            objects
                .map_ok(|object| object.location)
                .try_collect::<Vec<_>>()
                .await
        })?;
        let mut locations = listed.map_err(|error| failure(&url, &error))?;
        locations.sort();
        Ok(locations
            .into_iter()
            .map(|location| self.file(location))
            .collect())
    }
}

/// What an address stands for.
#[derive(Debug)]
pub(crate) enum Remote {
    /// One file.
    File(RemoteFile),
    /// The files that match a pattern.
    Matches(Vec<RemoteFile>),
    /// All files below a folder, each with its path from there.
    Folder(Vec<(RemoteFile, String)>),
}

/// Finds the files of an address: a file, a pattern, or in a store that has folders a folder.
pub(crate) fn find(address: &str, options: &StorageOptions) -> Result<Remote> {
    if matches!(scheme(address), Some("http" | "https")) {
        return find_http(address, options);
    }
    let (root, key) = bucket(address, options)?;
    if key.contains(['*', '?', '[']) {
        return matching(&root, address, key).map(Remote::Matches);
    }
    let location = parse(address, key)?;
    // A name with the ending of a data file is taken at its word, and costs no listing.
    let named = !key.is_empty() && !key.ends_with('/');
    if named && super::Format::from_path(Path::new(key)).is_some() {
        return Ok(Remote::File(root.file(location)));
    }
    let files = root.list(&location)?;
    if files.is_empty() && named {
        return Ok(Remote::File(root.file(location)));
    }
    let within = |file: RemoteFile| {
        let path = file.location.as_ref();
        let path = path.strip_prefix(location.as_ref()).unwrap_or(path);
        let path = path.trim_start_matches('/').to_owned();
        (file, path)
    };
    Ok(Remote::Folder(files.into_iter().map(within).collect()))
}

/// A file of a web server, or the matches of a pattern where the server can list (WebDAV).
fn find_http(address: &str, options: &StorageOptions) -> Result<Remote> {
    let url = url::Url::parse(address).map_err(|error| bad_address(address, &error.to_string()))?;
    let shown = masked(url.as_str()).into_owned();
    let mut root = url.clone();
    root.set_path("/");
    root.set_query(None);
    let path = percent_decoded(url.path());
    if path.contains('*') {
        let root = Root {
            store: http_store(root.as_str(), options)?,
            url: masked(root.as_str()).into_owned(),
        };
        return matching(&root, &shown, path.trim_start_matches('/')).map(Remote::Matches);
    }
    // The whole address is the root of its store, so that a query (a signature) stays with it.
    Ok(Remote::File(RemoteFile {
        store: http_store(url.as_str(), options)?,
        location: Location::default(),
        url: shown,
    }))
}

fn percent_decoded(path: &str) -> String {
    Location::from_url_path(path).map_or_else(|_| path.to_owned(), |path| path.to_string())
}

fn matching(root: &Root, address: &str, pattern: &str) -> Result<Vec<RemoteFile>> {
    let compiled = glob::Pattern::new(pattern).map_err(|error| bad_address(address, error.msg))?;
    let options = glob::MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let literal = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let folder = pattern[..literal].rfind('/').unwrap_or(0);
    let files = root.list(&parse(address, &pattern[..folder])?)?;
    Ok(files
        .into_iter()
        .filter(|file| compiled.matches_with(file.location.as_ref(), options))
        .collect())
}

fn parse(address: &str, key: &str) -> Result<Location> {
    Location::parse(key).map_err(|error| bad_address(address, &error.to_string()))
}

fn bad_address(address: &str, problem: &str) -> Error {
    Error::Setting {
        key: "path",
        problem: format!("= \"{}\" is no address: {problem}", masked(address)),
    }
}

/// The store of a bucket, and the rest of the address.
fn bucket<'a>(address: &'a str, options: &StorageOptions) -> Result<(Root, &'a str)> {
    let scheme = scheme(address).unwrap_or_default();
    let rest = &address[(scheme.len() + 3).min(address.len())..];
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(bad_address(address, "it names no bucket"));
    }
    let store: Arc<dyn ObjectStore> = match scheme {
        "s3" | "s3a" => {
            let mut builder = AmazonS3Builder::new()
                .with_client_options(client_options())
                .with_retry(retries());
            for (key, value) in environment("AWS_") {
                if let Ok(key) = key.parse::<AmazonS3ConfigKey>() {
                    builder = builder.with_config(key, value);
                }
            }
            for (name, value) in options {
                builder = builder.with_config(option_key::<AmazonS3ConfigKey>(name)?, value);
            }
            let store = builder.with_bucket_name(bucket).build();
            Arc::new(store.map_err(|error| failure(address, &error))?)
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::new()
                .with_client_options(client_options())
                .with_retry(retries());
            for (key, value) in environment("GOOGLE_") {
                if let Ok(key) = key.parse::<GoogleConfigKey>() {
                    builder = builder.with_config(key, value);
                }
            }
            for (name, value) in options {
                builder = builder.with_config(option_key::<GoogleConfigKey>(name)?, value);
            }
            let store = builder.with_bucket_name(bucket).build();
            Arc::new(store.map_err(|error| failure(address, &error))?)
        }
        other => {
            return Err(bad_address(
                address,
                &format!("`{other}` is none of s3, gs, http, https"),
            ));
        }
    };
    let url = masked(&format!("{scheme}://{bucket}/")).into_owned();
    Ok((Root { store, url }, key))
}

fn http_store(url: &str, options: &StorageOptions) -> Result<Arc<dyn ObjectStore>> {
    let plain = url.starts_with("http://");
    let mut client = client_options().with_allow_http(plain);
    for (name, value) in options {
        client = client.with_config(option_key::<ClientConfigKey>(name)?, value);
    }
    let store = HttpBuilder::new()
        .with_url(url)
        .with_client_options(client)
        .with_retry(retries())
        .build();
    Ok(Arc::new(store.map_err(|error| failure(url, &error))?))
}

/// Variables of the environment that begin so, in lower case.
fn environment(start: &'static str) -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(move |(key, value)| {
        let key = key.to_str().filter(|key| key.starts_with(start))?;
        Some((key.to_ascii_lowercase(), value.into_string().ok()?))
    })
}

fn option_key<K: std::str::FromStr>(name: &str) -> Result<K> {
    name.parse().map_err(|_| Error::Setting {
        key: "storage_options",
        problem: format!(
            "has no setting `{name}` for this store; the names are those of the environment in lower case, such as \
             aws_endpoint, aws_region, aws_allow_http, google_application_credentials"
        ),
    })
}

fn client_options() -> ClientOptions {
    // The limit counts for a whole file, and a large one takes longer than the usual 30 seconds.
    ClientOptions::new().with_timeout(Duration::from_secs(600))
}

fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(60),
        ..RetryConfig::default()
    }
}

impl RemoteFile {
    /// Address without a query or a password.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The file's own name, with its ending.
    pub(crate) fn name(&self) -> &str {
        let path = self.url.split_once("://").map_or("", |(_, rest)| rest);
        match path.rsplit_once('/') {
            Some((_, name)) if !name.is_empty() => name,
            _ => "data",
        }
    }

    /// Copies the file to `target`.
    pub(crate) fn fetch(&self, target: &Path) -> Result<()> {
        tracing::info!("fetching `{}`", self.url);
        let fetched = block_on(async {
            let mut file = std::fs::File::create(target).map_err(Fault::Disk)?;
            let object = self.store.get(&self.location).await.map_err(Fault::Store)?;
            let size = object.meta.size;
            let mut written = 0;
            let mut stream = object.into_stream();
            while let Some(bytes) = stream.next().await {
                let bytes = bytes.map_err(Fault::Store)?;
                file.write_all(&bytes).map_err(Fault::Disk)?;
                written += bytes.len() as u64;
            }
            Ok((written, size))
        })?;
        match fetched {
            Ok((written, size)) if written == size => Ok(()),
            Ok((written, size)) => Err(Error::Remote {
                url: self.url.clone(),
                problem: format!("only {written} of {size} bytes came"),
                user: false,
            }),
            Err(Fault::Disk(source)) => Err(io_error(target, source)),
            Err(Fault::Store(error)) => Err(self.with_neighbour(failure(&self.url, &error))),
        }
    }

    /// Adds the most similar name of the same folder to the error of a file that is not there, where the store can list.
    fn with_neighbour(&self, error: Error) -> Error {
        let Error::Remote { url, problem, user } = error else {
            return error;
        };
        let mut parts: Vec<_> = self.location.parts().collect();
        if problem != NOT_THERE || parts.pop().is_none() {
            return Error::Remote { url, problem, user };
        }
        let folder: Location = parts.into_iter().collect();
        let listed = block_on(async {
            let folder = (!folder.as_ref().is_empty()).then_some(&folder);
            self.store.list_with_delimiter(folder).await
        });
        let names: Vec<String> = match listed {
            Ok(Ok(listed)) => {
                let objects = listed.objects.into_iter().map(|object| object.location);
                let locations = objects.chain(listed.common_prefixes);
                locations
                    .filter_map(|location| Some(location.filename()?.to_owned()))
                    .collect()
            }
            // It is only a suggestion.
            _ => Vec::new(),
        };
        let problem = match nearest(self.name(), names.iter().map(String::as_str)) {
            Some(name) => format!("{problem}; did you mean `{name}`?"),
            None => problem,
        };
        Error::Remote { url, problem, user }
    }
}

enum Fault {
    Disk(std::io::Error),
    Store(object_store::Error),
}

const NOT_THERE: &str = "does not exist";

/// What a store said, in our words.
fn failure(url: &str, error: &object_store::Error) -> Error {
    let scheme = scheme(url).unwrap_or_default();
    let remote = |problem: String, user: bool| Error::Remote {
        url: masked(url).into_owned(),
        // What a client says may hold the address that it asked, with its signature.
        problem: masked(&problem).into_owned(),
        user,
    };
    let said = deepest(error);
    let whole = format!("{error} {said}");
    if whole.contains("NoSuchBucket") || whole.contains("specified bucket does not exist") {
        return remote("there is no such bucket".to_owned(), true);
    }
    let credentials = match scheme {
        "gs" => {
            "they come from GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT; \
             GOOGLE_SKIP_SIGNATURE=true reads a public bucket without any"
        }
        "http" | "https" => "write an address that carries them, such as a signed one",
        _ => {
            "they come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_SKIP_SIGNATURE=true reads a public bucket \
             without any, AWS_REGION and AWS_ENDPOINT say where it is"
        }
    };
    let denied = || {
        remote(
            format!("access is denied with these credentials: {credentials}"),
            true,
        )
    };
    match error {
        object_store::Error::NotFound { .. } => return remote(NOT_THERE.to_owned(), true),
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => return denied(),
        _ if whole.contains("401 Unauthorized") || whole.contains("403 Forbidden") => {
            return denied();
        }
        _ if whole.contains("instance credentials")
            || whole.contains("169.254.169.254")
            || whole.contains("metadata.google") =>
        {
            return remote(format!("no credentials were found: {credentials}"), true);
        }
        _ if whole.contains("URL scheme is not allowed") => {
            return remote(
                "plain http is not allowed; allow it with AWS_ALLOW_HTTP=true, or use https"
                    .to_owned(),
                true,
            );
        }
        _ => {}
    }
    if whole.contains("405 Method Not Allowed") || whole.contains("501 Not Implemented") {
        return remote(
            "this server can't list its files; name each file instead of a pattern".to_owned(),
            true,
        );
    }
    match http_kind(error) {
        Some(HttpErrorKind::Connect) => {
            remote(format!("the server can't be reached: {said}"), false)
        }
        Some(HttpErrorKind::Timeout) => {
            remote(format!("the server did not answer in time: {said}"), false)
        }
        _ => remote(said, false),
    }
}

/// The cause below all causes.
fn deepest(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn http_kind(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = cause {
        if let Some(http) = current.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        cause = current.source();
    }
    None
}
