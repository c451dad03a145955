//! The kernels' own text, run on the CPU thread by thread, against plain float64 code.

use kernels_check::{COMPARISONS, Place, never_launched, run};

/// One test for all, because only then it is known which kernels none of them has started.
#[test]
fn every_kernel_computes_what_plain_code_does_in_whatever_order_its_threads_run() {
    let failures: Vec<String> = COMPARISONS
        .iter()
        .filter_map(|test| run(test, Place::Emulation).err().map(|problem| format!("{test}: {problem}")))
        .collect();
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(never_launched(), "", "kernels that no comparison has started");
}
