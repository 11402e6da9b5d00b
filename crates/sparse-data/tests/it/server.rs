//! A small server on the loopback address that speaks as much HTTP, S3 and WebDAV as reading needs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path without the leading slash, percent-decoded.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Bytes of the body after which the connection breaks.
    pub(crate) break_after: Option<usize>,
}

/// Answers requests until the test ends.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream.unwrap(), &seen, &*answer));
            }
        });
        Self { url, requests }
    }

    /// A server of one bucket.
    pub(crate) fn with_bucket(bucket: &'static str, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self::start(move |request| bucket_answer(bucket, &files, request))
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Response,
) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return;
    };
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |n| n.parse().unwrap());
    reader
        .by_ref()
        .take(length)
        .read_to_end(&mut Vec::new())
        .unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: method.to_owned(),
        path: decoded(path.trim_start_matches('/')),
        query: query
            .split('&')
            .filter_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                Some((key.to_owned(), decoded(value)))
            })
            .collect(),
        headers,
    };
    seen.lock().unwrap().push(request.clone());
    let Response {
        status,
        headers,
        body,
        break_after,
    } = answer(&request);
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Length: {}\r\nConnection: close\r\n",
        reason(status),
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let sent = break_after.unwrap_or(body.len());
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes());
    if request.method != "HEAD" {
        let _ = stream.write_all(&body[..sent]);
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        207 => "Multi-Status",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Internal Server Error",
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let code = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(code, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A file, or the part that a `Range` asks for.
pub(crate) fn file(request: &Request, content: &[u8]) -> Response {
    let mut headers = vec![
        ("ETag", "\"1\"".to_owned()),
        ("Last-Modified", "Wed, 25 Nov 2026 00:00:00 GMT".to_owned()),
    ];
    let Some(range) = request.headers.get("range") else {
        return Response {
            status: 200,
            headers,
            body: content.to_vec(),
            ..Response::default()
        };
    };
    let (from, to) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let from: usize = from.parse().unwrap();
    let to = to
        .parse::<usize>()
        .map_or(content.len() - 1, |to| to.min(content.len() - 1));
    headers.push((
        "Content-Range",
        format!("bytes {from}-{to}/{}", content.len()),
    ));
    Response {
        status: 206,
        headers,
        body: content[from..=to].to_vec(),
        ..Response::default()
    }
}

pub(crate) fn error(status: u16, body: &str) -> Response {
    Response {
        status,
        body: body.as_bytes().to_vec(),
        ..Response::default()
    }
}

fn bucket_answer(bucket: &str, files: &BTreeMap<String, Vec<u8>>, request: &Request) -> Response {
    let (name, key) = request.path.split_once('/').unwrap_or((&request.path, ""));
    if name != bucket {
        return error(404, "<Error><Code>NoSuchBucket</Code></Error>");
    }
    if !key.is_empty() {
        return match files.get(key) {
            Some(content) => file(request, content),
            None => error(404, "<Error><Code>NoSuchKey</Code></Error>"),
        };
    }
    assert_eq!(request.query["list-type"], "2");
    let prefix = request.query.get("prefix").map_or("", String::as_str);
    let delimiter = request.query.get("delimiter");
    let mut listed = String::new();
    // Two keys a page, so that going on is tested too.
    let after = request
        .query
        .get("continuation-token")
        .cloned()
        .unwrap_or_default();
    let mut keys = files
        .keys()
        .filter(|key| key.starts_with(prefix) && **key > after);
    for key in keys.by_ref().take(2) {
        if delimiter.is_some_and(|delimiter| key[prefix.len()..].contains(delimiter.as_str())) {
            continue;
        }
        listed.push_str(&format!(
            "<Contents><Key>{key}</Key><Size>{}</Size><LastModified>2026-11-25T00:00:00.000Z</LastModified></Contents>",
            files[key].len()
        ));
    }
    if keys.next().is_some() {
        let last = files
            .keys()
            .filter(|key| key.starts_with(prefix) && **key > after)
            .nth(1);
        listed.push_str(&format!(
            "<NextContinuationToken>{}</NextContinuationToken>",
            last.unwrap()
        ));
    }
    Response {
        status: 200,
        body: format!("<ListBucketResult>{listed}</ListBucketResult>").into_bytes(),
        ..Response::default()
    }
}

/// The answer of a WebDAV server to the question what is there.
pub(crate) fn multi_status(files: &BTreeMap<String, Vec<u8>>) -> Response {
    let listed: String = files
        .iter()
        .map(|(path, content)| {
            format!(
                "<D:response><D:href>/{path}</D:href><D:propstat><D:prop>\
                 <D:getlastmodified>Wed, 25 Nov 2026 00:00:00 GMT</D:getlastmodified>\
                 <D:getcontentlength>{}</D:getcontentlength><D:resourcetype></D:resourcetype></D:prop>\
                 <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>",
                content.len()
            )
        })
        .collect();
    Response {
        status: 207,
        body: format!("<D:multistatus xmlns:D=\"DAV:\">{listed}</D:multistatus>").into_bytes(),
        ..Response::default()
    }
}
