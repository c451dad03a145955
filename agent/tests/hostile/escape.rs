//! A hostile program: tries to get out of wherever it runs, one attempt after the other, and says how each went.
//!
//! Compiled by the tests with rustc alone. Nothing that it does harms a machine on which an attempt succeeds: signals are such
//! as everybody ignores, files are its own test's, and what cannot be tried without harm is only opened or asked for with
//! arguments that are wrong in their second half.
//!
//! `escape attempts KEY=VALUE...` prints a line `NAME held|ESCAPED|done|skipped DETAIL` for every attempt. `done` means that the
//! call succeeded and that only somebody outside can tell whether it had an effect there: the detail is the path of a file that
//! has then changed, or `arrived NAME` where the word NAME has then arrived at a socket.

mod attempts;
mod files;
mod kernel;
mod network;
mod privileges;
mod processes;
mod sys;
mod victim;
mod world;

use std::process::ExitCode;

/// Stands in everything that is secret.
pub const MARKER: &str = "SECRET-THAT-MUST-NOT-BE-READ";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.get(1..).unwrap_or_default() {
        ["attempts", rest @ ..] => {
            let mut world = world::World::new(rest);
            if world.find("given-fd").is_none() {
                match sys::receive() {
                    Ok(fd) => world.add("given-fd", fd.to_string()),
                    Err(error) => panic!("no descriptor was handed over: {error}"),
                }
            }
            attempts::run_all(&world)
        }
        ["victim", folder, ..] => victim::wait(folder),
        // What programs are that an attempt has executed: tells by its exit code whether it could read the secret.
        ["read", path] => ExitCode::from(u8::from(!files::can_read(path))),
        ["user"] => ExitCode::from(u8::from(!privileges::is_another_user())),
        ["idle", ..] => {
            std::thread::sleep(std::time::Duration::from_secs(1000));
            ExitCode::SUCCESS
        }
        ["handle", path] => {
            println!("{}", files::handle_of(path).unwrap_or_default());
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("escape: what is {other:?}?");
            ExitCode::from(2)
        }
    }
}
