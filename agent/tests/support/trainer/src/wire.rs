//! Lines and the open files that they carry, from standard input, with nothing but the standard library and libc's recvmsg.

use std::ffi::c_void;
use std::fs::File;
use std::os::fd::FromRawFd;

/// The next line without its newline and the files that came with it; `None` at the end. Reads byte after byte: descriptors
/// travel with the first byte of a line, so that they cannot be taken for another's.
pub fn line() -> Option<(String, Vec<File>)> {
    let (mut line, mut files) = (Vec::new(), Vec::new());
    loop {
        match byte(&mut files)? {
            b'\n' => return Some((String::from_utf8_lossy(&line).into_owned(), files)),
            other => line.push(other),
        }
    }
}

#[repr(C)]
struct Part {
    base: *mut c_void,
    length: usize,
}

#[repr(C)]
struct Header {
    name: *mut c_void,
    name_length: u32,
    parts: *mut Part,
    part_count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: i32,
}

#[repr(C, align(8))]
struct Control([u8; 128]);

unsafe extern "C" {
    fn recvmsg(socket: i32, header: *mut Header, flags: i32) -> isize;
}

fn byte(files: &mut Vec<File>) -> Option<u8> {
    const CLOSE_ON_EXEC: i32 = 0x4000_0000;
    const HEADER_BYTES: usize = 16;
    let (mut byte, mut control) = (0_u8, Control([0; 128]));
    let mut part = Part { base: (&raw mut byte).cast(), length: 1 };
    let mut header = Header {
        name: std::ptr::null_mut(),
        name_length: 0,
        parts: &raw mut part,
        part_count: 1,
        control: (&raw mut control).cast(),
        control_length: 128,
        flags: 0,
    };
    // SAFETY: every pointer is to a local that lives on, with its size beside it.
    let got = unsafe { recvmsg(0, &raw mut header, CLOSE_ON_EXEC) };
    if got != 1 {
        return None;
    }
    // One message of the kind SCM_RIGHTS: its length (of 8 bytes), level and type (of 4), then descriptors of 4 bytes.
    if header.control_length > HEADER_BYTES {
        let length = u64::from_ne_bytes(control.0[..8].try_into().unwrap()) as usize;
        for descriptor in control.0[HEADER_BYTES..length].chunks_exact(4) {
            let descriptor = i32::from_ne_bytes(descriptor.try_into().unwrap());
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
            files.push(unsafe { File::from_raw_fd(descriptor) });
        }
    }
    Some(byte)
}
