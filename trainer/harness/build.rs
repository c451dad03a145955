//! Writes libtorch's folder into the run path of the harness's own tests, so that they start without LD_LIBRARY_PATH. The trainer's build
//! script does the same for the trainer and is not shared: cargo remembers a build script that lies outside of its package by its absolute
//! path, does not find it from a copied slot, and compiles the harness again for every candidate.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Some(named) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    // `LIBTORCH` may be a folder of links; a library finds those that it needs beside its own file.
    let library = named.join("libtorch_cpu.so").canonicalize();
    let folder = library.ok().and_then(|library| library.parent().map(Path::to_owned)).unwrap_or(named);
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
}
