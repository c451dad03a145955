//! A bystander outside: a process of the same user that holds secrets in memory, environment, descriptors and working
//! directory, and that leaves a file for every signal it gets and everything about itself that was changed.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::OnceLock;

use crate::{MARKER, sys};

/// The signals that it waits for; the first two are ignored by everybody else.
pub const SIGNALS: [i32; 6] = [sys::SIGURG, sys::SIGWINCH, 40, 41, 42, 43];

static NOTES: OnceLock<Vec<(i32, std::ffi::CString)>> = OnceLock::new();

extern "C" fn note(signal: i32) {
    let Some((_, path)) = NOTES.get().and_then(|notes| notes.iter().find(|(number, _)| *number == signal)) else {
        return;
    };
    // SAFETY: mknod may be called in a signal handler; the path lives as long as the program.
    unsafe { sys::mknod(path.as_ptr(), 0o100_600, 0) };
}

/// Prints what an attempt needs to know (`address=... segment=...`) and waits for the end of its input.
pub fn wait(folder: &str) -> ExitCode {
    let folder = Path::new(folder);
    let notes = SIGNALS.iter().map(|signal| (*signal, sys::c(folder.join(format!("signal-{signal}")))));
    let _first = NOTES.set(notes.collect());
    for signal in SIGNALS {
        // SAFETY: the handler only makes a file.
        unsafe { sys::signal(signal, note as *const () as usize) };
    }
    // Otherwise some systems let nobody but a parent trace it, confined or not.
    const PR_SET_PTRACER: i32 = 0x5961_6d61;
    // SAFETY: no memory is involved.
    unsafe { sys::prctl(PR_SET_PTRACER, -1_i64) };

    let memory: Vec<u8> = MARKER.as_bytes().to_vec();
    let segment = segment();
    let queue = sys::c(format!("/nocturne-{}", std::process::id()));
    const O_CREAT_RDWR: i32 = 0o102;
    // SAFETY: the name outlives the call; no attributes are given.
    unsafe { sys::mq_open(queue.as_ptr(), O_CREAT_RDWR, 0o600, 0_usize) };
    let before = condition();
    println!("address={} segment={segment} bytes={}", memory.as_ptr().addr(), memory.len());
    let _told = std::io::stdout().flush();

    let mut end = Vec::new();
    while std::io::stdin().read_to_end(&mut end).is_err() {}
    for ((name, was), (_, is)) in before.iter().zip(condition()) {
        if *was != is {
            let _best_effort = fs::write(folder.join(format!("changed-{name}")), format!("{was} {is}"));
        }
    }
    // SAFETY: 0 is IPC_RMID, which takes no buffer.
    unsafe { sys::shmctl(segment, 0, std::ptr::null_mut()) };
    // SAFETY: the name outlives the call.
    unsafe { sys::mq_unlink(queue.as_ptr()) };
    std::hint::black_box(&memory);
    ExitCode::SUCCESS
}

/// A segment of System V shared memory with the secret in it; -1 where there is none to be had.
fn segment() -> i32 {
    const IPC_CREAT: i32 = 0o1000;
    // SAFETY: the segment is at least as long as what is copied into it.
    unsafe {
        let id = sys::shmget(0, 4096, IPC_CREAT | 0o600);
        let at = if id < 0 { usize::MAX as *mut _ } else { sys::shmat(id, std::ptr::null(), 0) };
        if at.addr() != usize::MAX {
            std::ptr::copy_nonoverlapping(MARKER.as_ptr(), at.cast(), MARKER.len());
        }
        id
    }
}

/// What others can change about a process.
fn condition() -> Vec<(&'static str, String)> {
    let mut limit = sys::Limit { soft: 0, hard: 0 };
    let mut processors = [0_u64; 16];
    // SAFETY: both buffers outlive the calls and have the lengths given. 7 is RLIMIT_NOFILE.
    let priority = unsafe {
        sys::prlimit(0, 7, std::ptr::null(), &mut limit);
        sys::sched_getaffinity(0, size_of_val(&processors), processors.as_mut_ptr());
        sys::getpriority(0, 0)
    };
    vec![
        ("priority", priority.to_string()),
        ("limits", format!("{limit:?}")),
        ("processors", format!("{processors:?}")),
    ]
}
