//! The table of all attempts, and how one is made: in a process of its own, so that whatever it breaks is broken there only.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::process::ExitCode;

use crate::world::World;
use crate::{files, kernel, network, privileges, processes, sys};

/// What came of an attempt.
pub enum Found {
    Held(String),
    Escaped(String),
    /// The call succeeded; see the module's head for what the text means.
    Done(String),
}

/// Whether the attempt is made without confinement too, as a control.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It succeeds on any Linux, whoever makes it.
    Must,
    /// It may need root or a kernel that allows it.
    May,
    /// It would reach beyond the test, or cannot succeed at all.
    Never,
}

pub struct Attempt {
    pub name: String,
    pub control: Control,
    pub make: Box<dyn Fn(&World) -> Found>,
}

pub fn attempt(name: &str, control: Control, make: impl Fn(&World) -> Found + 'static) -> Attempt {
    Attempt { name: name.to_owned(), control, make: Box::new(make) }
}

impl Found {
    /// From a call that succeeded or not: success is an escape.
    pub fn of<T>(result: std::io::Result<T>) -> Found {
        match result {
            Ok(_) => Found::Escaped("it worked".to_owned()),
            Err(error) => Found::Held(error.to_string()),
        }
    }

    /// From a call whose effect shows outside.
    pub fn done<T>(result: std::io::Result<T>, evidence: impl Into<String>) -> Found {
        match result {
            Ok(_) => Found::Done(evidence.into()),
            Err(error) => Found::Held(error.to_string()),
        }
    }

    /// From a check.
    pub fn when(escaped: bool, detail: impl Into<String>) -> Found {
        if escaped { Found::Escaped(detail.into()) } else { Found::Held(detail.into()) }
    }
}

pub fn run_all(world: &World) -> ExitCode {
    let mut all = files::attempts();
    all.extend(network::attempts());
    all.extend(processes::attempts());
    all.extend(privileges::attempts());
    all.extend(kernel::attempts());
    // What is sent to everybody reaches this process too.
    sys::ignore(sys::SIGURG);
    sys::ignore(sys::SIGWINCH);
    let only = world.find("only");
    for attempt in all.iter().filter(|attempt| only.is_none_or(|only| only == attempt.name)) {
        if world.is_control() && attempt.control == Control::Never {
            println!("{} skipped", attempt.name);
            continue;
        }
        let must = if world.is_control() && attempt.control == Control::Must { "must " } else { "" };
        let (word, detail) = match apart(attempt, world) {
            Found::Held(detail) => ("held", detail),
            Found::Escaped(detail) => ("ESCAPED", detail),
            Found::Done(detail) => ("done", detail),
        };
        println!("{} {must}{word} {}", attempt.name, detail.replace('\n', " "));
    }
    println!("end of attempts");
    ExitCode::SUCCESS
}

/// Seconds that an attempt may take.
const MOST_SECONDS: u32 = 5;

/// Makes the attempt in a child and hears what came of it through a pipe. A child that is ended by a signal was held.
fn apart(attempt: &Attempt, world: &World) -> Found {
    let Ok((mut from, to)) = std::io::pipe() else { return Found::Escaped("cannot try: no pipe".to_owned()) };
    let child = sys::fork();
    if child < 0 {
        return Found::Escaped("cannot try: no process".to_owned());
    }
    if child == 0 {
        drop(from);
        sys::alarm(MOST_SECONDS);
        // SAFETY: the descriptor is ours, and this process ends below without using `to` again.
        let mut answer = unsafe { std::fs::File::from_raw_fd(to.as_raw_fd()) };
        let text = match (attempt.make)(world) {
            Found::Held(detail) => format!("h{detail}"),
            Found::Escaped(detail) => format!("e{detail}"),
            Found::Done(detail) => format!("d{detail}"),
        };
        let _lost = answer.write_all(text.as_bytes());
        sys::exit_now(0);
    }
    drop(to);
    let mut text = String::new();
    // A grandchild may keep the pipe open; the child's own words have arrived before it ends.
    let status = sys::wait(child);
    sys::unblock(from.as_raw_fd());
    let _would_block = from.read_to_string(&mut text);
    match (text.get(..1), text.get(1..)) {
        (Some("h"), Some(detail)) => Found::Held(detail.to_owned()),
        (Some("e"), Some(detail)) => Found::Escaped(detail.to_owned()),
        (Some("d"), Some(detail)) => Found::Done(detail.to_owned()),
        _ => match status & 0x7f {
            0 => Found::Escaped(format!("cannot try: it ended with code {}", status >> 8)),
            sys::SIGALRM => Found::Held("nothing came of it in time".to_owned()),
            signal => Found::Held(format!("ended by signal {signal}")),
        },
    }
}
