//! Requests in, with the open files that they carry; events out. Standard output is moved aside before candidate code runs; end of file on standard input ends
//! the process, so that no trainer outlives its agent.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{self, channel};
use std::thread;

use protocol::descriptors::{Message, Receiver};
use protocol::{Event, ReadError};
use serde::de::DeserializeOwned;

use crate::machine;
use crate::stop::Stop;

/// Whether standard input is a stream socket, which requests need.
pub fn is_socket() -> bool {
    rustix::net::sockopt::socket_type(io::stdin()).is_ok_and(|kind| kind == rustix::net::SocketType::STREAM)
}

/// The conversation with the agent.
pub struct Wire {
    events: File,
    requests: mpsc::Receiver<Result<Message, ReadError>>,
}

impl Wire {
    /// Keeps a private copy of standard output for events and points the public one at standard error. With `watched`, a
    /// thread reads standard input and ends the process at its end.
    ///
    /// # Errors
    /// When descriptors cannot be copied.
    pub fn open(watched: bool) -> io::Result<Wire> {
        let events = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
        rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
        let (sender, requests) = channel();
        if watched {
            thread::Builder::new().name("requests".to_owned()).spawn(move || {
                let mut input = Receiver::new(io::stdin());
                loop {
                    let message = input.receive();
                    let understood = match &message {
                        Err(ReadError::Closed | ReadError::Io(_)) => machine::end_now(),
                        other => other.is_ok(),
                    };
                    // The receiver is gone only while the process ends anyway.
                    drop(sender.send(message));
                    if !understood {
                        break;
                    }
                }
                // Nothing more can be understood; what is left is to notice the end.
                let mut rest = [0; 4096];
                while matches!(rustix::io::read(io::stdin(), &mut rest), Ok(1..) | Err(rustix::io::Errno::INTR)) {}
                machine::end_now();
            })?;
        }
        Ok(Wire { events, requests })
    }

    /// The next line.
    ///
    /// # Errors
    /// When it is none.
    pub fn message(&mut self) -> Result<Message, Stop> {
        let message = self.requests.recv().map_err(|_| Stop::harness("the thread that reads requests is gone"))?;
        message.map_err(|error| Stop::bad_request(error.to_string()))
    }

    /// The next request, which carries no open files.
    ///
    /// # Errors
    /// When the line is not the expected message.
    pub fn request<T: DeserializeOwned>(&mut self) -> Result<T, Stop> {
        Ok(self.request_with::<T, 0>()?.0)
    }

    /// The next request and the open files that it carries.
    ///
    /// # Errors
    /// When the line is not the expected message or carries another number of files.
    pub fn request_with<T: DeserializeOwned, const N: usize>(&mut self) -> Result<(T, [OwnedFd; N]), Stop> {
        let message = self.message()?;
        let request =
            message.parse().map_err(|error| Stop::bad_request(format!("not the expected request: {error}")))?;
        let files = message.take().map_err(|error| Stop::bad_request(error.to_string()))?;
        Ok((request, files))
    }

    /// Tells the agent.
    ///
    /// # Errors
    /// When it no longer listens.
    pub fn send(&mut self, event: &Event) -> Result<(), Stop> {
        protocol::write(&self.events, event)
            .map_err(|error| Stop::harness(format!("the agent no longer listens: {error}")))
    }
}
