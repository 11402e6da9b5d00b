//! Downloads that go on where they broke off.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::cache::{RepoCache, pointer_id};
use crate::client::{Client, block_on};
use crate::failure::{About, Failure, PATIENCE, timed_out};
use crate::git_object::blob_id;
use crate::options::Settings;
use crate::{Error, Repo, RepoFile, Result};

/// Files downloaded at the same time.
const WORKERS: usize = 4;

/// Time between two messages about a long download.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Downloads files of a commit into the cache, a few at a time.
pub(crate) fn download(
    settings: &Settings,
    repo: &Repo,
    cache: &RepoCache,
    commit: &str,
    files: &[&RepoFile],
) -> Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let megabytes = files.iter().map(|file| file.size).sum::<u64>() as f64 / 1e6;
    tracing::info!(
        "downloading {} files of the {repo}, {megabytes:.1} MB",
        files.len()
    );
    let queue = Mutex::new(files.iter());
    let next = || {
        let mut queue = queue
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        queue.next()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS.min(files.len()))
            .map(|_| {
                scope.spawn(|| {
                    block_on(|| async {
                        let client = Client::new(settings, repo)?;
                        while let Some(file) = next() {
                            let fetched = fetch(&client, repo, cache, commit, file).await;
                            if let Err(error) = fetched {
                                // The others finish what they have begun and begin nothing more.
                                while next().is_some() {}
                                return Err(error);
                            }
                        }
                        Ok(())
                    })
                })
            })
            .collect();
        let results = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        results.collect::<Vec<Result<()>>>().into_iter().collect()
    })
}

/// Gets one file into the snapshot: from a blob that is there, or from the hub.
async fn fetch(
    client: &Client<'_>,
    repo: &Repo,
    cache: &RepoCache,
    commit: &str,
    file: &RepoFile,
) -> Result<()> {
    let sha256 = file
        .large
        .as_ref()
        .and_then(|large| large.sha256.as_deref());
    let _lock = cache.lock(sha256.unwrap_or(&file.oid))?;
    if let Some(blob) = cache.find_blob(file) {
        return cache.link(commit, &file.path, &blob);
    }
    let incomplete = cache.blob(&format!("{}.incomplete", file.oid));
    let blobs = cache.blob("");
    fs::create_dir_all(&blobs).map_err(|source| Error::io(&blobs, source))?;
    // What a former attempt left may be bad; what comes in one go is not tried a second time for nothing.
    for from_scratch in [false, true] {
        if from_scratch {
            fs::remove_file(&incomplete).map_err(|source| Error::io(&incomplete, source))?;
        }
        complete(client, commit, file, &incomplete).await?;
        if let Some(blob) = checked_name(file, &incomplete)? {
            let place = cache.blob(&blob);
            fs::rename(&incomplete, &place).map_err(|source| Error::io(&place, source))?;
            return cache.link(commit, &file.path, &blob);
        }
        tracing::warn!("`{}` of the {repo} arrived damaged", file.path);
    }
    fs::remove_file(&incomplete).map_err(|source| Error::io(&incomplete, source))?;
    Err(Error::Damaged {
        kind: repo.kind(),
        id: repo.id().to_string(),
        file: file.path.clone(),
        expected: file.oid.clone(),
    })
}

/// Adds to an incomplete file what it lacks, over as many connections as it takes.
async fn complete(client: &Client<'_>, commit: &str, file: &RepoFile, path: &Path) -> Result<()> {
    let fail = |source| Error::io(path, source);
    let mut target = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(fail)?;
    let mut attempt = 0;
    loop {
        let mut have = target.seek(SeekFrom::End(0)).map_err(fail)?;
        if have > file.size {
            target.set_len(0).map_err(fail)?;
            have = target.seek(SeekFrom::Start(0)).map_err(fail)?;
        }
        if have == file.size {
            return target.sync_data().map_err(fail);
        }
        if have > 0 {
            tracing::info!(
                "resuming `{}` at {:.1} of {:.1} MB",
                file.path,
                have as f64 / 1e6,
                file.size as f64 / 1e6
            );
        }
        let failure = match append(client, commit, file, &mut target, path, have).await {
            Ok(()) => client.broken("the connection ended before the file did"),
            Err(failure) => failure,
        };
        let now = target.seek(SeekFrom::End(0)).map_err(fail)?;
        if now == file.size {
            continue;
        }
        // As long as something comes, nothing is lost.
        if now > have {
            attempt = 0;
        }
        client.pause(failure, &mut attempt).await?;
    }
}

/// One connection: appends what comes.
async fn append(
    client: &Client<'_>,
    commit: &str,
    file: &RepoFile,
    target: &mut File,
    path: &Path,
    have: u64,
) -> Result<(), Failure> {
    let range = (have > 0).then_some(have..file.size);
    let (length, mut stream) = client.stream(commit, &file.path, range).await?;
    let fail = |source| Failure::from(Error::io(path, source));
    let mut done = have;
    if have > 0 && length == Some(file.size) {
        // The server sends the whole file instead of the range.
        target.set_len(0).map_err(fail)?;
        done = target.seek(SeekFrom::Start(0)).map_err(fail)?;
    }
    let about = About {
        revision: Some(commit),
        file: Some(&file.path),
        ..About::default()
    };
    let mut reported = Instant::now();
    loop {
        let chunk = match tokio::time::timeout(PATIENCE, stream.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(chunk)) => chunk.map_err(|error| client.classify(error, about))?,
            Err(_) => return Err(client.broken(timed_out())),
        };
        target.write_all(&chunk).map_err(fail)?;
        done += chunk.len() as u64;
        if reported.elapsed() > REPORT_EVERY {
            reported = Instant::now();
            tracing::info!(
                "`{}`: {:.1} of {:.1} MB",
                file.path,
                done as f64 / 1e6,
                file.size as f64 / 1e6
            );
        }
    }
}

/// The blob's name, if the content is what the listing says.
fn checked_name(file: &RepoFile, path: &Path) -> Result<Option<String>> {
    let fail = |source| Error::io(path, source);
    let mut content = File::open(path).map_err(fail)?;
    if file.large.is_none() {
        let id = blob_id(file.size, content).map_err(fail)?;
        return Ok((id == file.oid).then_some(id));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer).map_err(fail)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    let sha256: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((pointer_id(&sha256, file.size) == file.oid).then_some(sha256))
}
