//! The machine underneath: allocator, threads, device libraries, memory figures. All of this crate's unsafe code is here.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use protocol::{Event, Failure, Setting};
use tch::{Device, Kind, Tensor};

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
    // Now and not in the first step: what it takes to start the device, and to read or compile its kernels, is no part of a budget.
    if device != Device::Cpu {
        start(device)?;
        // Where they cannot be used, standard error says why, and plain operations are.
        guarded("getting the device's kernels ready", || kernels::get_ready(device))?;
    }
    Ok(device)
}

/// Has a device work: memory of its own, memory that it copies from, a sum.
fn start(device: Device) -> Result<(), Stop> {
    let started = guarded("starting the device", || {
        let copied = Tensor::ones([1], (Kind::Float, Device::Cpu)).internal_pin_memory(device);
        copied.to_device_(device, Kind::Float, true, false).sum(Kind::Float).double_value(&[])
    });
    match started {
        Ok(1.0) => Ok(()),
        Ok(sum) => Err(Stop::harness(format!("device {device:?} adds up 1 to {sum}; have the hardware looked at"))),
        // No edited code has run yet.
        Err(stop) if stop.kind == Failure::Candidate => Err(Stop::harness(stop.message)),
        Err(stop) => Err(stop),
    }
}

/// Answers `trainer probe`.
pub fn probe(wire: &mut Wire) -> Result<(), Stop> {
    // The wheel brings libtorch_cuda even where the CUDA libraries that it needs are not installed: no devices then.
    if let Err(stop) = load(&cuda_library()?) {
        eprintln!("trainer: no CUDA devices: {stop}");
    }
    let cuda_devices = guarded("counting devices", tch::Cuda::device_count)?;
    // To be counted says little: a sandbox may hide what a device takes to start.
    for index in 0..usize::try_from(cuda_devices).unwrap_or(0) {
        start(Device::Cuda(index))?;
    }
    wire.send(&Event::Probed {
        version: protocol::VERSION,
        threads: threads()?,
        cuda_devices: u64::try_from(cuda_devices).unwrap_or(0),
    })
}

/// Serves `trainer kernels`: compiles the CUDA kernels for the one device that this process sees, into a folder that exists. No code of the
/// candidate runs, and the images are made from the text that this program carries.
///
/// # Errors
/// When there is no device, no compiler for it, or the folder cannot be written to.
pub fn compile_kernels(folder: &Path) -> Result<(), Stop> {
    load(&cuda_library()?)?;
    kernels::prepare_cache(folder, 0).map_err(|error| Stop::harness(format!("cannot compile the kernels: {error}")))
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
fn load(library: &Path) -> Result<(), Stop> {
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

/// Threads of libtorch's CPU operations.
///
/// # Errors
/// When libtorch does not answer.
pub fn threads() -> Result<usize, Stop> {
    let threads = guarded("counting threads", tch::get_num_threads)?;
    Ok(usize::try_from(threads).unwrap_or(0))
}

/// The most bytes that tensors have had of a CUDA device's memory at once; `None` on the CPU.
pub fn peak_device_memory_bytes(device: Device) -> Option<u64> {
    match device {
        Device::Cuda(index) => kernels::peak_device_memory(u16::try_from(index).ok()?),
        _ => None,
    }
}

/// Resident set of this process now, bytes; `None` where the system does not tell it.
pub fn resident_bytes() -> Option<u64> {
    // size resident shared ..., in pages
    let pages: u64 = fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

/// Seconds since this process was made (not since `main`: loading libtorch comes before that), to a hundredth; `None` where the system does
/// not tell it.
pub fn seconds_since_start() -> Option<f64> {
    let ticks = start_ticks(&fs::read_to_string("/proc/self/stat").ok()?)?;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec, which `now` is.
    if unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) } != 0 {
        return None;
    }
    let now = now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9;
    Some((now - ticks as f64 / rustix::param::clock_ticks_per_second() as f64).max(0.0))
}

/// When a process began, in clock ticks since the machine did, out of its `/proc/PID/stat`: field 22. The second one is the program's name in
/// parentheses, which may hold anything.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(19)?.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_when_it_began_whatever_its_name() {
        let stat = "4242 (a) b (c 1 2) R 1 4242 4242 0 -1 4194304 113 0 0 0 7 8 9 10 20 0 1 0 98765 2703360 160 18446744073709551615";
        assert_eq!(start_ticks(stat), Some(98_765));
        assert_eq!(start_ticks("4242 (a) R 1"), None);
        let since = seconds_since_start().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let later = seconds_since_start().unwrap();
        assert!(since < 3_600.0 && later >= since + 0.03, "{since} {later}");
    }

    #[test]
    fn what_is_resident_is_between_nothing_and_the_peak() {
        let held = vec![1u8; 32 << 20];
        let (now, peak) = (resident_bytes().unwrap(), peak_memory_bytes());
        assert!(now > held.len() as u64 && now <= peak + (1 << 20), "{now} {peak}");
    }
}
