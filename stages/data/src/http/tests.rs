//! Downloads from a small server on this machine that misbehaves on demand.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::child::tests::{Lines, job};

/// What the server does with the n-th request.
#[derive(Clone, Copy)]
enum Answer {
    /// Gives what was asked for.
    Fine,
    /// Gives that many bytes of it, then closes.
    Cut(usize),
    /// Answers this status.
    Status(u16),
    /// Ignores the range.
    Whole,
    /// Sends the headers and then nothing.
    Hang,
}

/// Serves `content`, one answer per request (the last one for all that follow); returns its address
/// and the ranges that were asked for.
fn serve(
    content: Vec<u8>,
    etags: &'static [&'static str],
    answers: &'static [Answer],
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/file", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let answer = answers[n.min(answers.len() - 1)];
            let etag = etags[n.min(etags.len() - 1)];
            let (content, log) = (content.clone(), log.clone());
            thread::spawn(move || reply(stream.unwrap(), &content, etag, answer, &log));
        }
    });
    (address, asked)
}

fn reply(
    stream: TcpStream,
    content: &[u8],
    etag: &str,
    answer: Answer,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut range = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if let Some(value) = line.strip_prefix("range: ") {
            range = value.to_owned();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(range.clone());
    let start = range
        .strip_prefix("bytes=")
        .and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
    let mut stream = stream;
    if let Answer::Status(status) = answer {
        return write!(
            stream,
            "HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let start = if matches!(answer, Answer::Whole) {
        None
    } else {
        start
    };
    let body = &content[start.unwrap_or(0)..];
    let status = match start {
        Some(start) => format!(
            "206 Partial\r\nContent-Range: bytes {start}-{}/{}",
            content.len() - 1,
            content.len()
        ),
        None => "200 OK".into(),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    match answer {
        Answer::Cut(count) => stream.write_all(&body[..count.min(body.len())]),
        Answer::Hang => {
            thread::sleep(Duration::from_secs(2));
            Ok(())
        }
        _ => stream.write_all(body),
    }
}

const PATIENCE: Patience = Patience {
    attempts: 3,
    pause: Duration::from_millis(1),
    stall: Duration::from_millis(300),
};

fn content() -> Vec<u8> {
    (0..300_000u32).map(|i| (i % 251) as u8).collect()
}

fn fetch(work: &Path, address: &str) -> (Result<Vec<u8>, StageError>, Lines) {
    let lines = Lines::default();
    let child = Child::new(job(work, "download", json!({}), &[]), lines.clone());
    let path = work.join("file");
    let result = download(&child, address, &path, PATIENCE);
    (result.map(|()| fs::read(&path).unwrap()), lines)
}

#[test]
fn a_file_arrives_whole_and_leaves_no_partial_one() {
    let work = tempfile::tempdir().unwrap();
    let (address, _) = serve(content(), &["\"a\""], &[Answer::Fine]);
    assert_eq!(fetch(work.path(), &address).0.unwrap(), content());
    assert!(
        !work.path().join("file.part").exists() && !work.path().join("file.part.json").exists()
    );
}

#[test]
fn a_cut_connection_is_gone_on_from() {
    let work = tempfile::tempdir().unwrap();
    let (address, asked) = serve(
        content(),
        &["\"a\""],
        &[Answer::Cut(1000), Answer::Cut(2000), Answer::Fine],
    );
    let (result, lines) = fetch(work.path(), &address);
    assert_eq!(result.unwrap(), content());
    assert_eq!(*asked.lock().unwrap(), ["", "bytes=1000-", "bytes=3000-"]);
    assert!(lines.events().iter().any(
        |e| matches!(e, rematch_spec::job::Event::Note { text } if text.contains("1000 of 300000"))
    ));
}

#[test]
fn a_later_process_goes_on_as_well() {
    let work = tempfile::tempdir().unwrap();
    let (address, asked) = serve(
        content(),
        &["\"a\""],
        &[
            Answer::Cut(5000),
            Answer::Status(503),
            Answer::Status(503),
            Answer::Status(503),
            Answer::Fine,
        ],
    );
    let error = fetch(work.path(), &address).0.unwrap_err();
    assert!(matches!(error, StageError::TryAgain { .. }), "{error}");
    assert_eq!(fetch(work.path(), &address).0.unwrap(), content());
    assert_eq!(asked.lock().unwrap().last().unwrap(), "bytes=5000-");
}

#[test]
fn a_file_that_changed_meanwhile_starts_again() {
    let work = tempfile::tempdir().unwrap();
    let (address, asked) = serve(
        content(),
        &["\"a\"", "\"b\""],
        &[Answer::Cut(1000), Answer::Fine],
    );
    assert_eq!(fetch(work.path(), &address).0.unwrap(), content());
    assert_eq!(*asked.lock().unwrap(), ["", "bytes=1000-", ""]);
}

#[test]
fn a_server_without_ranges_starts_again() {
    let work = tempfile::tempdir().unwrap();
    let (address, _) = serve(content(), &["\"a\""], &[Answer::Cut(1000), Answer::Whole]);
    assert_eq!(fetch(work.path(), &address).0.unwrap(), content());
}

#[test]
fn a_missing_file_fails_at_once_and_a_busy_server_is_tried_again() {
    let work = tempfile::tempdir().unwrap();
    let (address, asked) = serve(content(), &[""], &[Answer::Status(404)]);
    let error = fetch(work.path(), &address).0.unwrap_err();
    assert!(
        matches!(&error, StageError::Failed { message, .. } if message.ends_with("the server answers 404")),
        "{error}"
    );
    assert_eq!(asked.lock().unwrap().len(), 1);

    let (address, asked) = serve(content(), &[""], &[Answer::Status(500)]);
    let error = fetch(work.path(), &address).0.unwrap_err();
    assert!(
        matches!(&error, StageError::TryAgain { message, .. } if message.ends_with("answers 500 (after 3 attempts)")),
        "{error}"
    );
    assert_eq!(asked.lock().unwrap().len(), 3);
}

#[test]
fn a_connection_that_hangs_is_given_up() {
    let work = tempfile::tempdir().unwrap();
    let (address, _) = serve(content(), &["\"a\""], &[Answer::Hang, Answer::Fine]);
    assert_eq!(fetch(work.path(), &address).0.unwrap(), content());
}

#[test]
fn no_server_at_all_is_worth_another_try() {
    let work = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = fetch(work.path(), &format!("http://127.0.0.1:{port}/x"))
        .0
        .unwrap_err();
    assert!(matches!(error, StageError::TryAgain { .. }), "{error}");
}

#[test]
fn an_order_to_stop_is_followed() {
    let work = tempfile::tempdir().unwrap();
    let (address, _) = serve(content(), &["\"a\""], &[Answer::Hang]);
    let child = Child::new(
        job(work.path(), "download", json!({}), &[]),
        Lines::default(),
    );
    child.interrupt();
    let result = download(&child, &address, &work.path().join("file"), PATIENCE);
    assert_eq!(result, Err(StageError::Interrupted));
}
