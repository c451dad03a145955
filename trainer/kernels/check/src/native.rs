//! The C interface of `src/native/check.cpp`. All of this crate's unsafe code is here.

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Place;

// The crates that the C++ code takes its other halves from.
use kernels as _;
use tch as _;

unsafe extern "C" {
    fn nocturne_check_run(name: *const c_char, device: c_int) -> *const c_char;
    fn nocturne_check_compile(target: *const c_char) -> *const c_char;
    fn nocturne_check_no_compiler() -> *const c_char;
    fn nocturne_check_never_launched() -> *const c_char;
    fn nocturne_check_load_cuda() -> *const c_char;
    fn nocturne_check_prepare(folder: *const c_char, device: c_int) -> *const c_char;
    fn nocturne_check_measure(device: c_int) -> *const c_char;
}

/// The emulation is one device, which does one thing at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies a text; null is none.
///
/// # Safety
/// `text` is null or a C string that lives until this thread's next call.
unsafe fn copied(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

fn named(name: &str) -> Result<CString, String> {
    CString::new(name).map_err(|_| format!("{name:?} has a zero byte in it"))
}

pub fn run(test: &str, place: Place) -> Result<(), String> {
    let _alone = alone();
    let name = named(test)?;
    let device = match place {
        Place::Emulation => -1,
        Place::Device(number) => c_int::from(number),
    };
    // SAFETY: the name is a C string; the text lies in this thread's own storage; C++ exceptions are caught on the other side.
    unsafe { copied(nocturne_check_run(name.as_ptr(), device)) }.map_or(Ok(()), Err)
}

pub fn compile(target: &str) -> Result<(), String> {
    let name = named(target)?;
    // SAFETY: as above.
    unsafe { copied(nocturne_check_compile(name.as_ptr())) }.map_or(Ok(()), Err)
}

/// Why NVIDIA's compiler (NVRTC) cannot be used here, and how to get it; nothing where it can.
pub fn no_compiler() -> Option<String> {
    // SAFETY: as above.
    unsafe { copied(nocturne_check_no_compiler()) }
}

/// The kernels that no comparison on the emulation has started in this process, by name; empty if there are none.
pub fn never_launched() -> String {
    let _alone = alone();
    // SAFETY: as above.
    unsafe { copied(nocturne_check_never_launched()) }.unwrap_or_default()
}

/// Loads libtorch's CUDA half, which lies beside the libtorch that this process runs with.
///
/// # Errors
/// The loader's.
pub fn load_cuda() -> Result<(), String> {
    // SAFETY: as above.
    unsafe { copied(nocturne_check_load_cuda()) }.map_or(Ok(()), Err)
}

/// Compiles the kernels for a device and writes them to `folder`, which exists: processes whose variable `NOCTURNE_KERNEL_CACHE` names it
/// need not compile them. What is in it runs on devices, so nobody who runs edited code may ever write to it.
///
/// # Errors
/// When there is no such device, no compiler, or the folder cannot be written to.
pub fn prepare(folder: &str, device: u16) -> Result<(), String> {
    let folder = named(folder)?;
    // SAFETY: as above.
    unsafe { copied(nocturne_check_prepare(folder.as_ptr(), c_int::from(device))) }.map_or(Ok(()), Err)
}

/// Prints a table of how long each kernel takes on a device, at the sizes of the scale `h100`, and how much memory it moves meanwhile.
///
/// # Errors
/// When the kernels cannot be used there.
pub fn measure(device: u16) -> Result<(), String> {
    // SAFETY: as above.
    unsafe { copied(nocturne_check_measure(c_int::from(device))) }.map_or(Ok(()), Err)
}
