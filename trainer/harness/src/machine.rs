//! The machine underneath: allocator, threads, device libraries, memory figures. All of this crate's unsafe code is here.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use protocol::{Event, Setting};
use tch::Device;

use crate::candidate;
use crate::stop::{Stop, guarded};
use crate::wire::Wire;

/// Tells glibc to keep freed memory instead of giving each big tensor back to the system (page faults otherwise cost a third of a step on
/// the CPU), to take it all from one heap, and asks the system for huge pages there. Rust's global allocator does not reach libtorch's
/// allocations, so this must be glibc's own.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    {
        const GIB: libc::c_int = 1 << 30;
        /// Of address space; memory is taken as it is touched.
        const HEAP: libc::c_int = GIB;
        // SAFETY: mallopt only sets fields of the allocator, and no other thread runs yet. What malloc gives is freed at once. madvise
        // changes nothing but the size of the pages of what lies below the heap's end, which is the allocator's.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_ARENA_MAX, 1);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_TOP_PAD, HEAP);
            // The heap is empty but for what started the process: this makes it as large as it will mostly be.
            let first = libc::malloc(1 << 20);
            libc::free(first);
            libc::mallopt(libc::M_TOP_PAD, GIB / 16);
            let end = libc::sbrk(0) as usize;
            let start = (end.saturating_sub(HEAP as usize)).next_multiple_of(HUGE_PAGE);
            // Refused where the system has none: then pages are small, and that is all.
            if !first.is_null() && start < end {
                libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE);
            }
        }
    }
}

/// Bytes of a huge page on x86-64 and on most arm64.
#[cfg(target_env = "gnu")]
const HUGE_PAGE: usize = 2 << 20;

/// Ends the process at once, whatever its other threads are doing.
pub fn end_now() -> ! {
    // SAFETY: _exit runs no destructors and touches no memory of ours.
    unsafe { libc::_exit(1) }
}

/// Loads the device's libraries and sets the number of threads. Must come before any other use of torch.
///
/// # Errors
/// When the setting's device cannot be used.
pub fn prepare(setting: &Setting) -> Result<Device, Stop> {
    let device = candidate::device(setting).map_err(|error| Stop::bad_request(error.to_string()))?;
    if let Device::Cuda(index) = device {
        load(&cuda_library()?).map_err(|stop| Stop::bad_request(format!("no device {}: {stop}", setting.device)))?;
        let devices = tch::Cuda::device_count();
        if index as i64 >= devices {
            return Err(Stop::bad_request(format!(
                "device {} was asked for, but libtorch sees {devices} CUDA devices",
                setting.device
            )));
        }
    }
    if setting.threads > 0 {
        let threads = i32::try_from(setting.threads)
            .map_err(|_| Stop::bad_request(format!("{} threads are too many", setting.threads)))?;
        guarded("setting the number of threads", || tch::set_num_threads(threads))?;
    }
    Ok(device)
}

/// Answers `trainer probe`.
pub fn probe(wire: &mut Wire) -> Result<(), Stop> {
    // The wheel brings libtorch_cuda even where the CUDA libraries that it needs are not installed: no devices then.
    if let Err(stop) = load(&cuda_library()?) {
        eprintln!("trainer: no CUDA devices: {stop}");
    }
    let cuda_devices = guarded("counting devices", tch::Cuda::device_count)?;
    let threads = guarded("counting threads", tch::get_num_threads)?;
    wire.send(&Event::Probed {
        version: protocol::VERSION,
        threads: usize::try_from(threads).unwrap_or(0),
        cuda_devices: u64::try_from(cuda_devices).unwrap_or(0),
    })
}

/// Where libtorch's CUDA half lies: beside the libtorch_cpu that this process runs with, links followed.
fn cuda_library() -> Result<PathBuf, Stop> {
    let maps = fs::read_to_string("/proc/self/maps")
        .map_err(|error| Stop::harness(format!("cannot read /proc/self/maps to find libtorch: {error}")))?;
    maps.lines()
        .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
        .find(|path| path.file_name().is_some_and(|name| name == "libtorch_cpu.so"))
        .map(|path| path.with_file_name("libtorch_cuda.so"))
        .ok_or_else(|| Stop::harness("this process runs without libtorch_cpu.so"))
}

/// Loads a shared library for good, its symbols visible to all: libtorch's CUDA half registers itself on loading.
fn load(library: &std::path::Path) -> Result<(), Stop> {
    let path = CString::new(library.as_os_str().as_bytes())
        .map_err(|error| Stop::harness(format!("{}: {error}", library.display())))?;
    // SAFETY: the path is a valid C string; the library's initializers are libtorch's own, and dlerror's text is copied
    // before any other call could replace it.
    let failure = unsafe {
        if !libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL).is_null() {
            return Ok(());
        }
        let text = libc::dlerror();
        if text.is_null() {
            "no reason given".to_owned()
        } else {
            std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    };
    Err(Stop::harness(format!("cannot load {}: {failure}", library.display())))
}

/// Largest resident set of this process so far, bytes.
pub fn peak_memory_bytes() -> u64 {
    // SAFETY: rusage is plain data for which zero is valid; getrusage fills it and cannot fail with these arguments.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024
}
