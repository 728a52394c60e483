//! Questions to servers: redirects, refusals, patience, and who gets to see the token.

use crate::{Address, DownloadError, Settings};
use descry_retry::{Again, Retries, RetryPolicy};
use std::io::{self, Read as _};
use std::sync::mpsc;
use std::time::Duration;
use ureq::http::{HeaderMap, HeaderValue, Response, header};
use ureq::{Agent, Body};

const REDIRECTS: usize = 8;
const CHUNK_BYTES: usize = 256 << 10;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A reply, and what the host that was asked said on the way there: a hub says of a file what its content is called, in the
/// redirect to where that lies or, for small files, where a redirect within the hub leads to.
pub(crate) struct Reply {
    pub(crate) said: HeaderMap,
    pub(crate) last: Response<Body>,
}

/// Who asks.
pub(crate) struct Client<'a> {
    pub(crate) settings: &'a Settings,
    agent: Agent,
}

impl<'a> Client<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        // Redirects are followed here, where it is looked at where they lead.
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(settings.stall_timeout))
            .user_agent("descry")
            .build();
        Self { settings, agent: agent.into() }
    }

    /// Asks, and follows redirects: never to an open connection, and with the token for the hub's own host alone.
    pub(crate) fn ask(&self, url: &Address, headers: &[(&str, String)]) -> Result<Reply, DownloadError> {
        let asked = url.origin();
        let mut url = url.clone();
        let mut said = HeaderMap::new();
        for _ in 0..=REDIRECTS {
            let reply = self.ask_once(&url, headers)?;
            if url.origin() == asked {
                for (name, value) in reply.headers() {
                    said.insert(name, value.clone());
                }
            }
            if !matches!(reply.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Reply { said, last: reply });
            }
            url = next(&url, header_of(&reply, "location").as_deref())?;
        }
        Err(wrong(&url, "redirects without an end"))
    }

    fn ask_once(&self, url: &Address, headers: &[(&str, String)]) -> Result<Response<Body>, DownloadError> {
        if !url.is_private() {
            return Err(wrong(url, "http:// is for this machine alone, anything else needs https://"));
        }
        let mut request = self.agent.get(url.with_secrets());
        if url.scheme() == "http" {
            // No proxy knows what is on this machine.
            request = request.config().proxy(None).build();
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let is_the_hub = self.settings.endpoint.origin() == url.origin();
        if let Some(token) = self.settings.token.as_ref().filter(|_| is_the_hub) {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.with_secrets()))
                .map_err(|_| wrong(url, "HF_TOKEN, or the hub's file with a token, has what is no token"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        request.call().map_err(|error| failed(url, &error))
    }

    /// Repeats what fails for reasons that pass.
    pub(crate) fn patiently<Answer>(
        &self,
        mut attempt: impl FnMut() -> Result<Answer, DownloadError>,
    ) -> Result<Answer, DownloadError> {
        let mut retries = self.retries();
        loop {
            match attempt() {
                Ok(answer) => return Ok(answer),
                Err(failure) => pause(&mut retries, failure)?,
            }
        }
    }

    /// The pauses between attempts.
    pub(crate) fn retries(&self) -> Retries {
        let retry_for = self.settings.patience;
        RetryPolicy { retry_for, first_pause: FIRST_PAUSE, longest_pause: LONGEST_PAUSE, remaining_time: || None }
            .begin()
    }

    /// All of a body of at most so many bytes.
    pub(crate) fn read(&self, url: &Address, reply: Reply, limit_bytes: u64) -> Result<Vec<u8>, DownloadError> {
        let (mut chunks, mut content) = (Chunks::of(url, reply.last.into_body(), self.settings), Vec::new());
        while let Some(chunk) = chunks.next()? {
            content.extend_from_slice(&chunk);
            if content.len() as u64 > limit_bytes {
                return Err(DownloadError::TooLarge { url: url.to_string(), limit_bytes });
            }
        }
        Ok(content)
    }
}

/// Waits before the next attempt, or ends with the failure where none makes sense.
pub(crate) fn pause(retries: &mut Retries, failure: DownloadError) -> Result<(), DownloadError> {
    let again = if let DownloadError::Broken { retry_after, .. } = &failure {
        retry_after.map_or(Again::Later, Again::After)
    } else {
        Again::Never
    };
    let Some(pause) = retries.next_pause(again) else { return Err(failure) };
    tracing::warn!(reason = %failure, pause_ms = pause.as_millis() as u64, "trying again");
    std::thread::sleep(pause);
    Ok(())
}

/// A body, piece by piece. A thread reads it, because a read that hangs can't be taken back.
pub(crate) struct Chunks {
    url: Address,
    stall_timeout: Duration,
    receiver: mpsc::Receiver<io::Result<Vec<u8>>>,
}

impl Chunks {
    pub(crate) fn of(url: &Address, body: Body, settings: &Settings) -> Self {
        let (sender, receiver) = mpsc::sync_channel(4);
        std::thread::spawn(move || {
            let mut reader = body.into_reader();
            loop {
                let mut buffer = vec![0; CHUNK_BYTES];
                let chunk = reader.read(&mut buffer).map(|length| {
                    buffer.truncate(length);
                    buffer
                });
                let is_last = chunk.as_ref().map_or(true, Vec::is_empty);
                if sender.send(chunk).is_err() || is_last {
                    return;
                }
            }
        });
        Self { url: url.clone(), stall_timeout: settings.stall_timeout, receiver }
    }

    /// The next piece, `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, DownloadError> {
        match self.receiver.recv_timeout(self.stall_timeout) {
            Ok(Ok(chunk)) => Ok(Some(chunk).filter(|chunk| !chunk.is_empty())),
            Ok(Err(error)) => Err(broken(&self.url, error.to_string())),
            Err(_) => Err(broken(&self.url, "nothing arrives any more")),
        }
    }
}

pub(crate) fn header_of<B>(reply: &Response<B>, name: &str) -> Option<String> {
    text_of(reply.headers(), name)
}

pub(crate) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// What a status says, and what can be done.
pub(crate) fn refused<B>(url: &Address, reply: &Response<B>) -> DownloadError {
    let status = reply.status().as_u16();
    let advice = match status {
        401 => "it wants a token (HF_TOKEN), or there is no such repository",
        403 => "the repository is gated: accept its terms on its page, and set HF_TOKEN to a token of that account",
        404 => "there is no such repository, revision or file",
        408 | 429 | 500..=599 => {
            let seconds = header_of(reply, "retry-after").and_then(|seconds| seconds.trim().parse().ok());
            let reason = format!("the server answers {status}");
            return DownloadError::Broken {
                url: url.to_string(),
                reason,
                retry_after: seconds.map(Duration::from_secs),
            };
        }
        _ => "that is no file",
    };
    DownloadError::Refused { url: url.to_string(), status, advice }
}

/// A question that got no answer.
fn failed(url: &Address, error: &ureq::Error) -> DownloadError {
    use ureq::Error::{ConnectionFailed, HostNotFound, Io, Protocol, Timeout};
    // A certificate that is wrong stays wrong; its failure comes as invalid data.
    let passes = matches!(error, Io(error) if error.kind() != io::ErrorKind::InvalidData)
        || matches!(error, Timeout(_) | Protocol(_) | HostNotFound | ConnectionFailed);
    if matches!(error, ureq::Error::BadUri(_)) {
        // Its message has all of the address in it.
        wrong(url, "is no address that can be asked")
    } else if passes {
        broken(url, error.to_string())
    } else {
        wrong(url, &error.to_string())
    }
}

pub(crate) fn broken(url: &Address, reason: impl Into<String>) -> DownloadError {
    DownloadError::Broken { url: url.to_string(), reason: reason.into(), retry_after: None }
}

pub(crate) fn wrong(url: &Address, reason: &str) -> DownloadError {
    DownloadError::Wrong { url: url.to_string(), reason: reason.to_owned() }
}

/// Where a redirect leads to, if it may be followed.
fn next(url: &Address, location: Option<&str>) -> Result<Address, DownloadError> {
    let next = location.and_then(|location| url.redirected(location));
    let next = next.ok_or_else(|| wrong(url, "redirects without saying where to"))?;
    if url.scheme() == "https" && next.scheme() != "https" {
        return Err(wrong(url, "redirects from https:// to an open connection, which is not followed"));
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_encrypted_and_take_no_password_elsewhere() {
        let from = Address::parse("https://user:secret@example.org/a/b?signature=secret").unwrap();
        for open in ["http://example.org/a/b", "http://127.0.0.1:8080/b", "ftp://example.org/b", "file:///b"] {
            let error = next(&from, Some(open)).unwrap_err().to_string();
            assert!(error.contains("https://example.org/a/b") && !error.contains("secret"), "{error}");
        }
        assert!(next(&from, None).is_err() && next(&from, Some("https://[")).is_err());
        for (location, wanted) in [
            ("https://other.example/c?d=e", "https://other.example/c?d=e"),
            ("//other.example/c", "https://other.example/c"),
            ("/c", "https://user:secret@example.org/c"),
        ] {
            assert_eq!(next(&from, Some(location)).unwrap().with_secrets(), wanted);
        }
    }
}
