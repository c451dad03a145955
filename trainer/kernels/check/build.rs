//! Compiles the checks, and the kernels' own text as plain C++, against the headers of the libtorch that torch-sys links.

use std::env;
use std::error::Error;
use std::path::PathBuf;

/// The host's half of the kernels, once more: there it starts them on a device, here in the emulation.
const LAUNCHING: [&str; 2] = ["operations.cpp", "optimizer.cpp"];

const CHECKS: [&str; 6] = ["activations.cpp", "check.cpp", "host.cpp", "measure.cpp", "optimizers.cpp", "values.cpp"];

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "src/native", "../src/native"] {
        println!("cargo:rerun-if-changed={path}");
    }
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if is_clippy() {
        return Ok(());
    }
    let libraries = PathBuf::from(env::var_os("DEP_TCH_LIBTORCH_LIB").ok_or(
        "torch-sys does not say where libtorch lies (DEP_TCH_LIBTORCH_LIB); set LIBTORCH to its folder and build again",
    )?);
    let include = libraries.with_file_name("include");

    let mut checks = native(&include)?;
    checks.files(CHECKS.map(|file| format!("src/native/{file}"))).try_compile("nocturne_kernels_check")?;

    let mut emulation = native(&include)?;
    emulation.define("NOCTURNE_DEVICE_NAMESPACE", "emulated").flag("-Wno-unknown-pragmas");
    emulation.files(LAUNCHING.map(|file| format!("../src/native/cuda/{file}")));
    emulation.files(["src/native/emulation.cpp", "src/native/emulated_kernels.cpp"]);
    // All of it: the kernels make themselves known before main, and nothing refers to them by name.
    emulation.link_lib_modifier("+whole-archive").try_compile("nocturne_kernels_emulation")?;

    // Tests and program find libtorch where it really lies: a library finds those that it needs beside the path by which it was opened.
    let real = libraries.join("libtorch_cpu.so").canonicalize()?;
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", real.parent().unwrap_or(&libraries).display());
    Ok(())
}

/// Clippy links nothing: see the kernels' own build script.
fn is_clippy() -> bool {
    let wrapper = env::var_os("RUSTC_WORKSPACE_WRAPPER").map(PathBuf::from);
    wrapper.is_some_and(|wrapper| wrapper.file_stem().is_some_and(|name| name == "clippy-driver"))
}

/// Flags for all files. They are compiled for every run of the tests and run for seconds: little optimisation is best.
fn native(include: &std::path::Path) -> Result<cc::Build, Box<dyn Error>> {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").opt_level(1).debug(false).warnings(true).extra_warnings(true).include("../src/native");
    // libtorch's headers warn where ours do not.
    for folder in [include.to_owned(), include.join("torch/csrc/api/include")] {
        build.flag("-isystem").flag(folder.to_str().ok_or("the path of libtorch is not UTF-8; move it")?);
    }
    Ok(build)
}
