//! As much of an HTTP client as measuring a server on this machine takes: requests one after the other over one connection that is
//! kept, whole answers, and bodies that go on for ever. It trusts the server, which is ours.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for a server's next byte.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that is kept.
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
}

/// An answer.
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

struct Head {
    status: u16,
    chunked: bool,
    length: Option<usize>,
}

impl Connection {
    /// To `host:port`.
    pub fn open(address: &str) -> Result<Self, String> {
        let failed = |error| format!("cannot connect to {address}: {error}");
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream), address: address.to_owned() })
    }

    /// Asks for a path and reads all of the answer.
    pub fn get(&mut self, path: &str) -> Result<Response, String> {
        let head = self.ask(path, "")?;
        let failed = |error: std::io::Error| format!("the answer to GET {path} broke off: {error}");
        let mut body = Vec::new();
        match (head.chunked, head.length) {
            (true, _) => {
                Chunks::new(&mut self.stream).read_to_end(&mut body).map_err(failed)?;
            }
            (false, Some(length)) => {
                body.resize(length, 0);
                self.stream.read_exact(&mut body).map_err(failed)?;
            }
            (false, None) => return Err(format!("the answer to GET {path} does not say how long it is")),
        }
        Ok(Response { status: head.status, body })
    }

    /// Asks for a stream of server-sent events, which must be granted, and returns its lines as they come.
    pub fn events(mut self, path: &str) -> Result<impl BufRead + use<>, String> {
        let head = self.ask(path, "Accept: text/event-stream\r\n")?;
        if head.status != 200 || !head.chunked {
            return Err(format!("GET {path} is answered with status {}, not with a stream", head.status));
        }
        Ok(BufReader::new(Chunks::new(self.stream)))
    }

    /// By which the connection can be shut from elsewhere.
    pub fn handle(&self) -> Result<TcpStream, String> {
        self.stream.get_ref().try_clone().map_err(|error| format!("cannot share a connection: {error}"))
    }

    fn ask(&mut self, path: &str, more: &str) -> Result<Head, String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.address);
        let failed = |error: std::io::Error| format!("GET {path} was not answered: {error}");
        self.stream.get_mut().write_all(request.as_bytes()).map_err(failed)?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).map_err(failed)? == 0 {
                return Err(format!("GET {path} was not answered: the server closed the connection"));
            }
            if line.trim_end().is_empty() {
                return head(&lines).ok_or_else(|| format!("GET {path} was answered with {lines:?}"));
            }
            lines.push(line);
        }
    }
}

/// Status and length of an answer from the lines before its body.
fn head(lines: &[String]) -> Option<Head> {
    let status = lines.first()?.split_whitespace().nth(1)?.parse().ok()?;
    let value = |name: &str| {
        let mut fields = lines[1..].iter().filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let chunked = value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    Some(Head { status, chunked, length: value("content-length").and_then(|length| length.parse().ok()) })
}

/// A chunked body as the bytes that it stands for.
struct Chunks<R> {
    from: R,
    left: usize,
    done: bool,
}

impl<R: BufRead> Chunks<R> {
    fn new(from: R) -> Self {
        Self { from, left: 0, done: false }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.done || buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            self.left = usize::from_str_radix(size, 16).map_err(std::io::Error::other)?;
            if self.left == 0 {
                // No trailers are sent: an empty line ends the body.
                self.line()?;
                self.done = true;
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.left);
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read;
        if self.left == 0 {
            self.line()?;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        let mut body = String::new();
        let mut chunks = Chunks::new("5\r\nid: 1\r\n3;x=y\r\n2\n\n\r\n0\r\n\r\nHTTP/1.1".as_bytes());
        chunks.read_to_string(&mut body).unwrap();
        assert_eq!(body, "id: 12\n\n");
        assert_eq!(chunks.from, b"HTTP/1.1");
    }

    #[test]
    fn a_body_that_breaks_off_is_no_body() {
        for torn in ["", "5\r\nid", "5\r\nid: 1\r\n", "x\r\n"] {
            assert!(Chunks::new(torn.as_bytes()).read_to_end(&mut Vec::new()).is_err(), "{torn:?}");
        }
    }

    #[test]
    fn a_head_says_how_long_its_body_is() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let found = head(&lines("HTTP/1.1 200 OK\ncontent-length: 12\nX: y")).unwrap();
        assert_eq!((found.status, found.chunked, found.length), (200, false, Some(12)));
        let found = head(&lines("HTTP/1.1 404 Not Found\nTransfer-Encoding: chunked")).unwrap();
        assert_eq!((found.status, found.chunked, found.length), (404, true, None));
        assert!(head(&lines("nonsense")).is_none());
    }
}
