//! The host's half of the kernels, without a device.

use kernels_check::{Place, compile, no_compiler, run};

#[test]
fn each_device_gets_code_that_it_can_run() {
    assert_eq!(run("targets", Place::Emulation), Ok(()));
}

#[test]
fn compiled_kernels_are_kept_whole_or_compiled_again() {
    assert_eq!(run("cache", Place::Emulation), Ok(()));
}

#[test]
fn without_a_device_the_reason_is_told() {
    assert_eq!(run("without_a_device", Place::Emulation), Ok(()));
}

/// A100, H100 and B200. The packages of a libtorch without CUDA do not bring the compiler; then this is skipped by name.
#[test]
fn the_compiler_takes_the_kernels_without_a_warning() {
    if let Some(reason) = no_compiler() {
        eprintln!("skipped: the_compiler_takes_the_kernels_without_a_warning: {reason}");
        return;
    }
    for target in ["sm_80", "sm_90", "sm_100"] {
        assert_eq!(compile(target), Ok(()), "{target}");
    }
    assert_eq!(run("errors_are_told", Place::Emulation), Ok(()));
}

/// What a night on an H100 has compiled is what its trainers look for.
#[test]
fn a_filled_folder_has_what_trainers_look_for() {
    if let Some(reason) = no_compiler() {
        eprintln!("skipped: a_filled_folder_has_what_trainers_look_for: {reason}");
        return;
    }
    assert_eq!(run("filled_cache", Place::Emulation), Ok(()));
}
