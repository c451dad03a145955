//! Writing results to standard output.
//!
//! Not with `println!`, which panics when whoever reads has gone (`nocturne list | head -1`). That is no failure: the
//! person has seen enough, and the command ends quietly.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use super::Fault;

/// Writes to standard output, whole and at once.
pub(super) fn write(text: Arguments<'_>) -> Result<(), Fault> {
    written(&mut std::io::stdout().lock(), text)
}

fn written(to: &mut impl Write, text: Arguments<'_>) -> Result<(), Fault> {
    to.write_fmt(text).and_then(|()| to.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Fault::nobody_reads(),
        _ => Fault::failed(format!("cannot write to standard output: {error}")),
    })
}

/// `print!` that returns its failure.
macro_rules! out {
    ($($argument:tt)*) => { $crate::cli::output::write(format_args!($($argument)*)) };
}

/// `println!` that returns its failure.
macro_rules! outln {
    ($($argument:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($argument)*))) };
}

pub(super) use {out, outln};

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Refuses(ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_has_gone_is_no_failure_and_a_full_disk_is_one() {
        let code = |kind| written(&mut Refuses(kind), format_args!("text")).unwrap_err().code;
        assert_eq!(code(ErrorKind::BrokenPipe), 0);
        assert_eq!(code(ErrorKind::StorageFull), 1);
    }
}
