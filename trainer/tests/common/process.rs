//! A trainer's process, spoken to as the agent does.

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use protocol::{Event, ReadError, ServeRequest, Setting};

/// A running trainer; killed when the test fails half-way.
pub struct Trainer {
    child: Child,
    /// Dropped, it is the end of the trainer's standard input.
    pub requests: Option<UnixStream>,
    events: BufReader<ChildStdout>,
}

impl Drop for Trainer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Trainer {
    /// Starts the real trainer.
    pub fn start(command: &str) -> Trainer {
        Trainer::start_as(env!("CARGO_BIN_EXE_trainer"), command)
    }

    /// Starts an executable that speaks the trainer's protocol.
    pub fn start_as(executable: &str, command: &str) -> Trainer {
        Trainer::start_with(executable, &[command])
    }

    /// The same with any arguments.
    pub fn start_with(executable: &str, arguments: &[&str]) -> Trainer {
        let (requests, theirs) = UnixStream::pair().unwrap();
        let mut child = Command::new(executable)
            .args(arguments)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Trainer { child, requests: Some(requests), events }
    }

    /// Starts `serve` on a checkpoint and waits until it is loaded.
    pub fn serve(executable: &str, setting: &Setting, checkpoint: &Path, batch_rows: usize) -> Trainer {
        Trainer::serve_from(executable, setting, checkpoint, batch_rows, 5)
    }

    /// The same, with the model built from this seed before the checkpoint replaces its weights.
    pub fn serve_from(executable: &str, setting: &Setting, checkpoint: &Path, batch_rows: usize, seed: u64) -> Trainer {
        let mut trainer = Trainer::start_as(executable, "serve");
        let checkpoint = File::open(checkpoint).unwrap();
        trainer.ask_with(&ServeRequest { setting: setting.clone(), batch_rows, seed }, &[checkpoint.as_fd()]);
        match trainer.event() {
            Event::Ready { version: protocol::VERSION, .. } => trainer,
            other => panic!("{other:?}"),
        }
    }

    /// Sends a request.
    pub fn ask(&mut self, request: &impl serde::Serialize) {
        self.ask_with(request, &[]);
    }

    /// Sends a request that carries open files.
    pub fn ask_with(&mut self, request: &impl serde::Serialize, files: &[BorrowedFd<'_>]) {
        protocol::descriptors::send(self.requests.as_ref().unwrap(), request, files).unwrap();
    }

    /// Says go, with the training data of a folder.
    pub fn go(&mut self, data: &Path, go: &protocol::Go) {
        let files = super::training_files(data);
        self.ask_with(go, &[files[0].as_fd(), files[1].as_fd()]);
    }

    /// The next event.
    pub fn event(&mut self) -> Event {
        protocol::read(&mut self.events).unwrap()
    }

    /// All events to the end, and whether the process was content.
    pub fn rest(mut self) -> (Vec<Event>, bool) {
        let mut events = Vec::new();
        loop {
            match protocol::read(&mut self.events) {
                Ok(event) => events.push(event),
                Err(ReadError::Closed) => return (events, self.child.wait().unwrap().success()),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Asks for the nats of every target of rows of context + 1 tokens.
    pub fn score(&mut self, rows: &[u16], context: usize) -> Vec<f32> {
        let count = rows.len() / (context + 1);
        self.answered(&protocol::Ask::Score { rows: count }, rows, count * context)
    }

    /// Asks for the logits at one position of each row of context tokens.
    pub fn logits(&mut self, rows: &[u16], positions: &[u32], vocabulary: usize) -> Vec<f32> {
        self.answered(&protocol::Ask::Logits { positions: positions.to_vec() }, rows, positions.len() * vocabulary)
    }

    fn answered(&mut self, ask: &protocol::Ask, tokens: &[u16], numbers: usize) -> Vec<f32> {
        let (question, answer) = (tokens_in_memory(tokens), memory(numbers * 4));
        self.ask_with(ask, &[question.as_fd(), answer.as_fd()]);
        loop {
            match self.event() {
                Event::Answered => break,
                Event::Scored { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let mut bytes = vec![0; numbers * 4];
        answer.read_exact_at(&mut bytes, 0).unwrap();
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
    }
}

/// A file without a name that holds token ids.
pub fn tokens_in_memory(tokens: &[u16]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    file
}

/// A file without a name of so many zero bytes.
pub fn memory(bytes: usize) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes as u64).unwrap();
    file
}
