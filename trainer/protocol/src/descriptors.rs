//! Lines that carry open files. The trainer's standard input is a unix stream socket, so that the agent can hand over data,
//! checkpoints and memory for answers without naming a path that the trainer would have to see.
//!
//! All descriptors of a line travel with its first byte (`SCM_RIGHTS`, see unix(7)). A read returns no byte from behind a
//! part that carried descriptors, so whatever arrives with a read belongs to the last line that the read touched.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{MAX_LINE_BYTES, ReadError, parse};

/// So many descriptors a line carries at most.
pub const MAX_DESCRIPTORS: usize = 8;

/// Bytes asked for in one read.
const CHUNK_BYTES: usize = 64 << 10;

/// A line and what came with it. Descriptors that nobody takes are closed with it.
#[derive(Debug)]
pub struct Message {
    /// The line, its newline included.
    pub line: Vec<u8>,
    /// In the order in which they were sent; closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

impl Message {
    /// What the line says.
    ///
    /// # Errors
    /// [`ReadError::Malformed`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        parse(&self.line)
    }

    /// The descriptors, exactly so many.
    ///
    /// # Errors
    /// [`ReadError::Descriptors`]; those that came are closed.
    pub fn take<const N: usize>(self) -> Result<[OwnedFd; N], ReadError> {
        self.descriptors
            .try_into()
            .map_err(|came: Vec<OwnedFd>| ReadError::Descriptors { expected: N, came: came.len() })
    }
}

/// One message as a line, its newline included.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn line<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Sends one message over a socket that blocks.
///
/// # Errors
/// When there are more than [`MAX_DESCRIPTORS`], or the other side is gone.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let line = line(message)?;
    let mut sent = 0;
    while let Some(rest) = line.get(sent..).filter(|rest| !rest.is_empty()) {
        let carried = if sent == 0 { descriptors } else { &[] };
        match send_part(socket.as_fd(), rest, carried) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            part => sent += part?,
        }
    }
    Ok(())
}

/// Sends the beginning of `bytes` with `descriptors` in one call and returns how many bytes went. When any went, all
/// descriptors went with the first of them: the rest is sent without.
///
/// # Errors
/// When there are more than [`MAX_DESCRIPTORS`], or the system refuses; `WouldBlock` on a socket that does not block.
pub fn send_part(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if descriptors.len() > MAX_DESCRIPTORS {
        let words = format!("a line cannot carry {} descriptors, only {MAX_DESCRIPTORS}", descriptors.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("the descriptors do not fit into their message"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives lines from a socket that blocks.
#[derive(Debug)]
pub struct Receiver<S> {
    socket: S,
    ready: VecDeque<Message>,
    line: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    chunk: Vec<u8>,
}

impl<S: AsFd> Receiver<S> {
    /// Receives from one end of a pair of unix stream sockets.
    pub fn new(socket: S) -> Receiver<S> {
        let (ready, line, descriptors) = (VecDeque::new(), Vec::new(), Vec::new());
        Receiver { socket, ready, line, descriptors, chunk: vec![0; CHUNK_BYTES] }
    }

    /// The next line. After an error other than [`ReadError::Closed`] the stream is of no more use.
    ///
    /// # Errors
    /// See [`ReadError`]. An unfinished line at the end of the stream is [`ReadError::Closed`].
    pub fn receive(&mut self) -> Result<Message, ReadError> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(message);
            }
            if self.line.len() > MAX_LINE_BYTES {
                return Err(ReadError::TooLong);
            }
            self.read_some()?;
        }
    }

    fn read_some(&mut self) -> Result<(), ReadError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let parts = &mut [IoSliceMut::new(&mut self.chunk)];
            match recvmsg(&self.socket, parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.map_err(io::Error::from)?,
            }
        };
        let mut came = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                came.extend(rights);
            }
        }
        if got.bytes == 0 {
            return Err(ReadError::Closed);
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Err(ReadError::TooManyDescriptors);
        }
        let bytes = self.chunk.get(..got.bytes).unwrap_or_default();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_LINE_BYTES {
                return Err(ReadError::TooLong);
            }
            if piece.ends_with(b"\n") {
                let (line, descriptors) = (std::mem::take(&mut self.line), std::mem::take(&mut self.descriptors));
                self.ready.push_back(Message { line, descriptors });
            }
        }
        let last = match self.ready.back_mut() {
            Some(message) if self.line.is_empty() => &mut message.descriptors,
            _ => &mut self.descriptors,
        };
        last.extend(came);
        if last.len() > MAX_DESCRIPTORS { Err(ReadError::TooManyDescriptors) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    /// A file without a name that holds some text and is read from its beginning.
    fn file(text: &str) -> File {
        let memory = rustix::fs::memfd_create("text", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(memory);
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    fn text(descriptor: OwnedFd) -> String {
        let mut text = String::new();
        File::from(descriptor).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn descriptors_come_with_their_own_line() {
        let (to, from) = UnixStream::pair().unwrap();
        let (a, b, c) = (file("a"), file("b"), file("c"));
        // All of it waits in the socket before anything is read.
        send(&to, &1, &[]).unwrap();
        send(&to, &2, &[a.as_fd(), b.as_fd()]).unwrap();
        send(&to, &3, &[]).unwrap();
        send(&to, &4, &[c.as_fd()]).unwrap();
        drop(to);
        let mut receiver = Receiver::new(from);
        let mut seen = Vec::new();
        while let Ok(message) = receiver.receive() {
            let number: u32 = message.parse().unwrap();
            seen.push((number, message.descriptors.into_iter().map(text).collect::<String>()));
        }
        assert_eq!(seen, [(1, String::new()), (2, "ab".into()), (3, String::new()), (4, "c".into())]);
        assert!(matches!(receiver.receive(), Err(ReadError::Closed)));
    }

    #[test]
    fn a_line_longer_than_the_socket_arrives_whole_and_one_longer_than_allowed_does_not() {
        let (to, from) = UnixStream::pair().unwrap();
        let long = "x".repeat(MAX_LINE_BYTES - 3);
        let sender = thread::spawn(move || {
            let a = file("a");
            send(&to, &long, &[a.as_fd()]).unwrap();
            send(&to, &"short", &[]).unwrap();
            // The other side stops listening half-way.
            send(&to, &"x".repeat(2 * MAX_LINE_BYTES), &[]).unwrap_err();
        });
        let mut receiver = Receiver::new(from);
        let message = receiver.receive().unwrap();
        assert_eq!(message.parse::<String>().unwrap().len(), MAX_LINE_BYTES - 3);
        let [a] = message.take().unwrap();
        assert_eq!(text(a), "a");
        assert_eq!(receiver.receive().unwrap().parse::<String>().unwrap(), "short");
        for _ in 0..2 {
            assert!(matches!(receiver.receive(), Err(ReadError::TooLong)));
        }
        drop(receiver);
        sender.join().unwrap();
    }

    #[test]
    fn parts_go_on_where_a_full_socket_stopped() {
        let (to, from) = UnixStream::pair().unwrap();
        to.set_nonblocking(true).unwrap();
        let line = line(&"y".repeat(MAX_LINE_BYTES - 3)).unwrap();
        let reader = thread::spawn(move || Receiver::new(from).receive().unwrap());
        let a = file("a");
        let (mut sent, mut parts) = (0, 0);
        while sent < line.len() {
            let carried: &[BorrowedFd<'_>] = if sent == 0 { &[a.as_fd()] } else { &[] };
            match send_part(&to, &line[sent..], carried) {
                Ok(went) => (sent, parts) = (sent + went, parts + 1),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(parts > 1);
        let message = reader.join().unwrap();
        assert_eq!((message.line.len(), message.descriptors.len()), (line.len(), 1));
    }

    #[test]
    fn too_many_and_too_few_descriptors_are_errors_and_none_stays_open() {
        let (to, from) = UnixStream::pair().unwrap();
        let a = file("a");
        let nine = vec![a.as_fd(); MAX_DESCRIPTORS + 1];
        assert_eq!(send(&to, &1, &nine).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        // Two parts of one line with descriptors each, as no agent sends them.
        send_part(&to, b"[1", &nine[..5]).unwrap();
        send_part(&to, b"]\n", &nine[..5]).unwrap();
        let mut receiver = Receiver::new(from);
        assert!(matches!(receiver.receive(), Err(ReadError::TooManyDescriptors)));

        let (to, from) = UnixStream::pair().unwrap();
        let (alive, watch) = UnixStream::pair().unwrap();
        send(&to, &1, &[alive.as_fd(), alive.as_fd()]).unwrap();
        drop(alive);
        let error = Receiver::new(from).receive().unwrap().take::<1>().unwrap_err();
        assert!(matches!(error, ReadError::Descriptors { expected: 1, came: 2 }));
        // Every copy is closed: the other end sees the end of the file.
        assert_eq!((&watch).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn an_unfinished_line_at_the_end_is_no_message() {
        let (to, from) = UnixStream::pair().unwrap();
        send_part(&to, b"{\"half\":", &[]).unwrap();
        drop(to);
        assert!(matches!(Receiver::new(from).receive(), Err(ReadError::Closed)));
    }
}
