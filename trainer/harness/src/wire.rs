//! Requests in, events out. Standard output is moved aside before candidate code runs; end of file on standard input ends
//! the process, so that no trainer outlives its agent.

use std::fs::File;
use std::io::{self, BufReader};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use protocol::{Event, ReadError};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::machine;
use crate::stop::Stop;

/// The conversation with the agent.
pub struct Wire {
    events: File,
    requests: Receiver<Result<Value, ReadError>>,
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
                let mut input = BufReader::new(io::stdin());
                loop {
                    match protocol::read::<Value>(&mut input) {
                        Err(ReadError::Closed | ReadError::Io(_)) => machine::end_now(),
                        // The receiver is gone only while the process ends anyway.
                        message => drop(sender.send(message)),
                    }
                }
            })?;
        }
        Ok(Wire { events, requests })
    }

    /// The next request.
    ///
    /// # Errors
    /// When the line is not the expected message.
    pub fn request<T: DeserializeOwned>(&mut self) -> Result<T, Stop> {
        let message = self.requests.recv().map_err(|_| Stop::harness("the thread that reads requests is gone"))?;
        let value = message.map_err(|error| Stop::bad_request(error.to_string()))?;
        serde_json::from_value(value).map_err(|error| Stop::bad_request(format!("not the expected request: {error}")))
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
