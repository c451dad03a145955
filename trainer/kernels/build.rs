//! Compiles `src/native` against the headers of the libtorch that torch-sys links.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/native");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if is_clippy() {
        return Ok(());
    }
    let libraries = PathBuf::from(env::var_os("DEP_TCH_LIBTORCH_LIB").ok_or(
        "torch-sys does not say where libtorch lies (DEP_TCH_LIBTORCH_LIB); set LIBTORCH to its folder and build again",
    )?);
    let include = libraries.with_file_name("include");
    let x86 = env::var("CARGO_CFG_TARGET_ARCH")? == "x86_64";

    // Loops over rows: once for each instruction set.
    let bf16 = x86 && BF16.iter().all(|flag| native().is_flag_supported(flag).unwrap_or(false));
    let mut sets: Vec<(&str, &[&str])> = vec![("portable", &[])];
    if x86 {
        sets.extend([("avx2", &["-march=x86-64-v3"][..]), ("avx512", &["-march=x86-64-v4"])]);
    }
    if bf16 {
        sets.push(("avx512_bf16", &BF16));
    }
    for (name, flags) in sets {
        let mut rows = native();
        // No function takes vectors from another file, so that it need not be told how they are handed over.
        rows.file("src/native/cpu/rows.cpp").define("NOCTURNE_ROWS", name).flag_if_supported("-Wno-psabi");
        flags.iter().for_each(|flag| {
            rows.flag(flag);
        });
        rows.flag_if_supported("-Wno-uninitialized").try_compile(&format!("nocturne_rows_{name}"))?;
    }

    let mut products = native();
    // GCC 12 takes its own vector intrinsics for uses of uninitialised variables (its bug 105593).
    products
        .file("src/native/cpu/attention.cpp")
        .file("src/native/cpu/linear.cpp")
        .file("src/native/cpu/polar.cpp")
        .flag_if_supported("-Wno-maybe-uninitialized");
    if bf16 {
        products.define("NOCTURNE_AVX512_BF16", None);
        BF16.iter().for_each(|flag| {
            products.flag(flag);
        });
    }
    products.try_compile("nocturne_bf16_products")?;

    let mut shim = native();
    shim.file("src/native/operations.cpp");
    shim.files(["cpu", "instruction_set", "layers"].map(|file| format!("src/native/cpu/{file}.cpp")));
    shim.files(CUDA.map(|file| format!("src/native/cuda/{file}.cpp"))).include(write_cuda_source()?);
    if x86 {
        shim.define("NOCTURNE_ROWS_X86", None);
    }
    if bf16 {
        shim.define("NOCTURNE_AVX512_BF16", None);
    }
    // libtorch's headers warn where ours do not.
    for folder in [include.clone(), include.join("torch/csrc/api/include")] {
        shim.flag("-isystem").flag(folder.to_str().ok_or("the path of libtorch is not UTF-8; move it")?);
    }
    shim.flag("-fopenmp");
    shim.try_compile("nocturne_kernels")?;
    link_openmp(&libraries)?;
    Ok(())
}

/// For processors with products of bfloat16 in vector code.
const BF16: [&str; 2] = ["-march=x86-64-v4", "-mavx512bf16"];

/// Clippy links nothing, and cargo runs the build scripts of a workspace's own packages anew for it: no C++ is compiled then, which takes
/// a minute.
fn is_clippy() -> bool {
    let wrapper = env::var_os("RUSTC_WORKSPACE_WRAPPER").map(PathBuf::from);
    wrapper.is_some_and(|wrapper| wrapper.file_stem().is_some_and(|name| name == "clippy-driver"))
}

/// The host's half of the CUDA kernels.
const CUDA: [&str; 9] =
    ["cache", "compiler", "device", "driver", "host", "library", "operations", "optimizer", "windowed"];

/// The kernels' text, which the device's compiler gets when the program runs: parts that are compiled apart, each behind what all of them
/// need.
const CUDA_SHARED: [&str; 3] = ["arguments.h", "device/prelude.cuh", "device/common.cuh"];
const CUDA_PARTS: [&str; 5] = ["norms", "heads", "pointwise", "loss", "optimizer"];

/// Writes that text into a header and returns its folder.
fn write_cuda_source() -> Result<PathBuf, Box<dyn Error>> {
    let mut header = "static const nocturne::cuda::Part kernels_source[] = {\n".to_owned();
    for part in CUDA_PARTS {
        header += &format!("{{\"{part}\",\n");
        for file in CUDA_SHARED.map(str::to_owned).into_iter().chain([format!("device/{part}.cuh")]) {
            let text = fs::read_to_string(format!("src/native/cuda/{file}"))?.replace("#pragma once\n", "\n");
            // Mistakes are then told at their places in these files. A string of each, since a compiler need not take longer ones.
            header += &format!("R\"NOCTURNE(#line 1 \"{file}\"\n{text})NOCTURNE\"\n");
        }
        header += "},\n";
    }
    header += "};\n";
    let folder = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo does not say where to write (OUT_DIR)")?);
    fs::write(folder.join("kernels_source.h"), header)?;
    Ok(folder)
}

/// Flags for all files.
fn native() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").opt_level(3).warnings(true).extra_warnings(true);
    // Errors of mathematics are told by values, never by errno or traps: without these, loops over square roots are no vector code.
    build.flag("-fno-math-errno").flag("-fno-trapping-math").flag("-ffp-contract=fast");
    build
}

/// libtorch's threads are those of the OpenMP library that it brings with it. Ours must be the same, not a second pool beside them.
fn link_openmp(libraries: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let mut found = None;
    for entry in fs::read_dir(libraries)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("libgomp") && name.contains(".so") {
            found = Some(name);
        }
    }
    let name = found.ok_or_else(|| {
        format!("no libgomp*.so* beside libtorch in {}: its threads cannot be shared; use the libtorch that nocturne fetches", libraries.display())
    })?;
    println!("cargo:rustc-link-search=native={}", libraries.display());
    println!("cargo:rustc-link-lib=dylib:+verbatim={name}");
    // The tests find libtorch where it really lies: a library finds those that it needs beside the path by which it was opened.
    let real = libraries.join("libtorch_cpu.so").canonicalize()?;
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", real.parent().unwrap_or(libraries).display());
    Ok(())
}
