//! Writes libtorch's folder into the run path of the trainer and its tests, so that they start without LD_LIBRARY_PATH.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Some(folder) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", behind_links(Path::new(&folder)).display());
    }
}

/// Where the libraries really lie. `LIBTORCH` may be a folder of links (set-up makes such a view), but a library finds those
/// that it needs beside the path by which it was opened, links not followed.
fn behind_links(folder: &Path) -> PathBuf {
    let library = folder.join("libtorch_cpu.so").canonicalize().ok();
    library.as_deref().and_then(Path::parent).unwrap_or(folder).to_owned()
}
