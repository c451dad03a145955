//! Memory that crosses to a process that runs edited code, as descriptors: what it is asked, and where it answers.
//!
//! Nothing here is ever mapped into the agent: whoever holds an answer's descriptor can write to it at any time, and a copy
//! that was read once cannot change any more. Sizes are sealed, so that neither side can be made to read or to write behind
//! the end.
//!
//! Make new ones for each process, the same checkpoint included: whoever holds a descriptor shares its offset, its locks, its
//! times and its attributes with every other holder, so two processes could leave each other notes there.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// Bytes that nobody can change any more.
#[derive(Debug)]
pub struct Question {
    memory: File,
}

/// Memory of a fixed size for the other side to write into. Zeros until it does.
#[derive(Debug)]
pub struct Answer {
    memory: File,
    bytes: u64,
}

fn memory(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

impl Question {
    /// Shares `bytes`.
    ///
    /// # Errors
    /// When the machine has no memory left for them.
    pub fn new(bytes: &[u8]) -> io::Result<Question> {
        let mut memory = memory("nocturne-question")?;
        memory.write_all(bytes)?;
        Question::sealed(memory)
    }

    /// Shares token ids: little-endian u16, one after the other.
    ///
    /// # Errors
    /// When the machine has no memory left for them.
    pub fn of_tokens(tokens: &[u16]) -> io::Result<Question> {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        Question::new(&bytes)
    }

    /// Shares a copy of what can be read from `from`, up to `most` bytes. A descriptor of a file itself would let its holder
    /// try to open the file again, for writing; nothing can be done with a sealed copy.
    ///
    /// # Errors
    /// When there is more to read than that, reading fails, or the machine has no memory left for it.
    pub fn copy_of(from: impl Read, most: u64) -> io::Result<Question> {
        let mut memory = memory("nocturne-question")?;
        let copied = io::copy(&mut from.take(most.saturating_add(1)), &mut memory)?;
        if copied > most {
            let words = format!("it holds more than the {most} bytes that are allowed");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, words));
        }
        Question::sealed(memory)
    }

    fn sealed(memory: File) -> io::Result<Question> {
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        Ok(Question { memory })
    }
}

impl AsFd for Question {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

impl Answer {
    /// Room for so many float32.
    ///
    /// # Errors
    /// When the machine has no memory for them.
    pub fn for_f32(count: usize) -> io::Result<Answer> {
        let bytes = (count as u64).saturating_mul(4);
        let memory = memory("nocturne-answer")?;
        memory.set_len(bytes)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Answer { memory, bytes })
    }

    /// A copy of all that stands there now, as little-endian float32.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read_f32(&self) -> io::Result<Vec<f32>> {
        let mut bytes = vec![0; usize::try_from(self.bytes).map_err(io::Error::other)?];
        self.memory.read_exact_at(&mut bytes, 0)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect())
    }
}

impl AsFd for Answer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens the same memory again for reading and writing, as a process that was handed it could.
    fn again(shared: &impl AsFd) -> io::Result<File> {
        use std::os::fd::AsRawFd;
        let path = format!("/proc/self/fd/{}", shared.as_fd().as_raw_fd());
        File::options().read(true).write(true).open(path)
    }

    #[test]
    fn a_question_cannot_be_changed_by_whoever_holds_it() {
        for question in
            [Question::of_tokens(&[1, 0x0203]).unwrap(), Question::copy_of(&[1_u8, 0, 3, 2][..], 4).unwrap()]
        {
            let file = again(&question).unwrap();
            assert!(file.write_at(&[9], 0).is_err());
            assert!(file.write_at(&[9], 4).is_err());
            assert!(file.set_len(0).is_err() && file.set_len(8).is_err());
            let mut bytes = [0; 4];
            file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes, [1, 0, 3, 2]);
        }
        let error = Question::copy_of(&[0_u8; 5][..], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn an_answer_keeps_its_size() {
        let answer = Answer::for_f32(2).unwrap();
        assert_eq!(answer.read_f32().unwrap(), [0.0, 0.0]);
        let file = again(&answer).unwrap();
        file.write_all_at(&1.5_f32.to_le_bytes(), 4).unwrap();
        assert!(file.set_len(4).is_err() && file.set_len(12).is_err());
        assert!(file.write_at(&[1], 8).is_err());
        assert_eq!(answer.read_f32().unwrap(), [0.0, 1.5]);
    }
}
