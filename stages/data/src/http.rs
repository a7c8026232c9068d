//! Downloads over HTTP(S) that go on where they stopped: ranges, retries with growing pauses, a watch
//! over connections that hang.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, header};

use crate::child::Child;
use crate::error::StageError;
use crate::fs;

/// How patient a download is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Attempts in a row that brought no byte before it gives up.
    pub attempts: u32,
    /// Pause after the first of them; it doubles from then on, up to a minute.
    pub pause: Duration,
    /// How long a connection may bring nothing.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts: 6,
            pause: Duration::from_secs(1),
            stall: Duration::from_secs(60),
        }
    }
}

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Attempts in all, for a server that cuts every connection after a few bytes.
const ALL_ATTEMPTS: u32 = 200;
/// How often the order to stop is looked for.
const TICK: Duration = Duration::from_millis(100);

/// What is known of the file that a partial download belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    address: String,
    etag: Option<String>,
    modified: Option<String>,
    total: Option<u64>,
}

/// Why one attempt ended.
enum Ended {
    /// The file is complete.
    Complete,
    /// What is there does not belong to what the server has now.
    Changed,
    /// Worth another attempt, after the pause that the server asked for.
    Again(String, Option<Duration>),
    /// The server will never give it.
    Never(String),
}

/// What the thread of a connection tells.
enum Message {
    /// Status and headers.
    Response(u16, HeaderMap),
    Bytes(Vec<u8>),
    End,
    Failed(String),
}

/// Downloads `address` to `path`, telling `child` how far it is. The partial file lies beside it as
/// `….part` and is gone on from, by this process or a later one.
///
/// # Errors
/// `Failed` where the server says that there is no such file, `TryAgain` where the network fails
/// again and again, `Interrupted`.
pub fn download(
    child: &Child,
    address: &str,
    path: &Path,
    patience: Patience,
) -> Result<(), StageError> {
    let part = with_ending(path, ".part");
    let (mut idle, mut all) = (0, 0);
    loop {
        child.check()?;
        let before = fs::len(&part).unwrap_or(0);
        let (why, asked) = match attempt(child, address, &part, patience)? {
            Ended::Complete => {
                fs::rename(&part, path)?;
                return fs::remove_file(&with_ending(&part, ".json")).map_err(Into::into);
            }
            Ended::Changed => {
                fs::remove_file(&part)?;
                ("the file on the server changed".to_owned(), None)
            }
            Ended::Again(why, asked) => (why, asked),
            Ended::Never(why) => {
                let help = "check the address; or give the archive as `file`, or another `mirror`";
                return Err(
                    StageError::failed(format!("cannot download {address}: {why}")).help(help),
                );
            }
        };
        all += 1;
        idle = if fs::len(&part).unwrap_or(0) > before {
            0
        } else {
            idle + 1
        };
        if idle >= patience.attempts || all >= ALL_ATTEMPTS {
            let message = format!("cannot download {address}: {why} (after {all} attempts)");
            let help = "check the network and run again, it goes on where it stopped; or give the archive as `file`, or another `mirror`";
            return Err(StageError::try_again(message).help(help));
        }
        let pause = asked
            .unwrap_or(patience.pause * 2u32.pow(idle.saturating_sub(1).min(16)))
            .min(LONGEST_PAUSE);
        child.note(format!(
            "download interrupted: {why}; next attempt in {pause:.0?}"
        ));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            child.check()?;
            thread::sleep(TICK.min(pause));
        }
    }
}

fn attempt(
    child: &Child,
    address: &str,
    part: &Path,
    patience: Patience,
) -> Result<Ended, StageError> {
    let notes = with_ending(part, ".json");
    let known: Option<Source> = std::fs::read(&notes)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let known = known.filter(|k| k.address == address);
    let there = if known.is_some() {
        fs::len(part).unwrap_or(0)
    } else {
        0
    };
    if there > 0 && known.as_ref().and_then(|k| k.total) == Some(there) {
        return Ok(Ended::Complete);
    }

    let messages = connect(address, there, known.as_ref(), patience);
    let (status, headers) = match next(child, &messages, patience)? {
        Ok(Message::Response(status, headers)) => (status, headers),
        Ok(Message::Failed(why)) | Err(why) => return Ok(Ended::Again(why, None)),
        Ok(_) => return Ok(Ended::Again("no answer".into(), None)),
    };
    let text = |name| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned)
    };
    let length: Option<u64> = text(header::CONTENT_LENGTH).and_then(|l| l.parse().ok());
    let range = text(header::CONTENT_RANGE);
    let (start, total) = match status {
        200 => (0, length),
        206 => match range.as_deref().and_then(content_range) {
            Some((start, total)) => (start, total.or_else(|| Some(start + length?))),
            None => return Ok(Ended::Again("an answer without Content-Range".into(), None)),
        },
        416 => return Ok(Ended::Changed),
        408 | 425 | 429 | 500..=599 => {
            let asked = text(header::RETRY_AFTER)
                .and_then(|s| s.parse().ok())
                .map(Duration::from_secs);
            return Ok(Ended::Again(format!("the server answers {status}"), asked));
        }
        other => return Ok(Ended::Never(format!("the server answers {other}"))),
    };
    let source = Source {
        address: address.to_owned(),
        etag: text(header::ETAG),
        modified: text(header::LAST_MODIFIED),
        total,
    };
    if start > 0 && (start != there || known.as_ref() != Some(&source)) {
        return Ok(Ended::Changed);
    }
    let json = serde_json::to_vec(&source).map_err(|e| StageError::failed(e.to_string()))?;
    fs::write_atomically(&notes, json)?;

    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(part);
    let mut file = file.map_err(fs::at("create", part))?;
    file.set_len(start)
        .and_then(|()| file.seek(SeekFrom::Start(start)))
        .map_err(fs::at("write", part))?;
    let mut done = start;
    loop {
        match next(child, &messages, patience)? {
            Ok(Message::Bytes(bytes)) => {
                file.write_all(&bytes).map_err(fs::at("write", part))?;
                done += bytes.len() as u64;
                if total.is_some_and(|total| done > total) {
                    return Ok(Ended::Changed);
                }
                child.progress(done, total.unwrap_or(0), "bytes");
            }
            Ok(Message::End) if total.is_none_or(|total| done == total) => {
                file.sync_all().map_err(fs::at("write", part))?;
                return Ok(Ended::Complete);
            }
            end @ (Ok(Message::End | Message::Failed(_)) | Err(_)) => {
                let total = total.map_or("unknown".into(), |t| t.to_string());
                let why = match end {
                    Ok(Message::Failed(why)) | Err(why) => format!(": {why}"),
                    _ => String::new(),
                };
                let why = format!("the connection ended at byte {done} of {total}{why}");
                return Ok(Ended::Again(why, None));
            }
            Ok(Message::Response(..)) => {
                return Ok(Ended::Again("two answers at once".into(), None));
            }
        }
    }
}

/// The next message; the inner error is a connection that hangs.
fn next(
    child: &Child,
    messages: &Receiver<Message>,
    patience: Patience,
) -> Result<Result<Message, String>, StageError> {
    let until = Instant::now() + patience.stall;
    loop {
        child.check()?;
        match messages.recv_timeout(TICK) {
            Ok(message) => return Ok(Ok(message)),
            Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
            Err(RecvTimeoutError::Timeout) => {
                return Ok(Err(format!("nothing came for {:.0?}", patience.stall)));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Err("the connection broke".into())),
        }
    }
}

/// Asks for `address` from byte `there` on, in a thread of its own: reading from the network cannot
/// be interrupted, but waiting for a thread can. The thread ends when nobody listens to it.
fn connect(
    address: &str,
    there: u64,
    known: Option<&Source>,
    patience: Patience,
) -> Receiver<Message> {
    let (sender, receiver) = mpsc::sync_channel(16);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .user_agent(concat!("rematch/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    // A compressed answer would have other ranges than the file.
    let mut request = agent
        .get(address)
        .header(header::ACCEPT_ENCODING, "identity");
    if there > 0 {
        request = request.header(header::RANGE, format!("bytes={there}-"));
        // Servers may ignore this; the answer's own ETag is compared as well.
        if let Some(etag) = known
            .and_then(|k| k.etag.as_ref())
            .filter(|e| !e.starts_with("W/"))
        {
            request = request.header(header::IF_RANGE, etag);
        }
    }
    thread::spawn(move || {
        let told = match request.call() {
            Ok(response) => forward(response, &sender),
            Err(error) => sender.send(Message::Failed(error.to_string())),
        };
        // Nobody listens any more: the download gave up on this connection.
        drop(told);
    });
    receiver
}

fn forward(
    response: ureq::http::Response<ureq::Body>,
    sender: &SyncSender<Message>,
) -> Result<(), mpsc::SendError<Message>> {
    let (head, body) = response.into_parts();
    sender.send(Message::Response(head.status.as_u16(), head.headers))?;
    let mut reader = body.into_reader();
    loop {
        let mut buffer = vec![0; 1 << 16];
        match reader.read(&mut buffer) {
            Ok(0) => return sender.send(Message::End),
            Ok(count) => {
                buffer.truncate(count);
                sender.send(Message::Bytes(buffer))?;
            }
            Err(error) => return sender.send(Message::Failed(error.to_string())),
        }
    }
}

/// Start and total of `bytes 10-99/100`; the total may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests;
