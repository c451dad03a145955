//! Made-up machines for the tests of this module.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::surroundings::Surroundings;

/// A machine whose PATH is one empty folder and whose home and cache are empty.
pub struct Machine {
    /// Everything lies in here.
    pub folder: tempfile::TempDir,
    /// The only folder on PATH.
    pub bin: PathBuf,
    /// Where downloads go; not made yet.
    pub cache: PathBuf,
    /// The variables.
    pub surroundings: Surroundings,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        let cache = folder.path().join("cache");
        std::fs::create_dir(&bin).unwrap();
        let surroundings = Surroundings {
            path: bin.clone().into(),
            home: Some(folder.path().to_owned()),
            nocturne_cache: Some(cache.clone()),
            ..Surroundings::default()
        };
        Self { bin, cache, surroundings, folder }
    }
}

/// Puts a shell script onto a made-up PATH. It is written by another process: a file that this one has open for writing while
/// another test's thread forks could not be executed ("text file busy").
pub fn program(bin: &Path, name: &str, script: &str) {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(bin.join(name))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write!(child.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// A folder in the shape of an unpacked torch.
pub fn fake_torch(folder: &Path, version: &str, cuda: bool) -> PathBuf {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for name in ["libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libtorch.so"] {
        file(&format!("lib/{name}"), name);
    }
    if cuda {
        file("lib/libtorch_cuda.so", "cuda");
    }
    file("include/ATen/ATen.h", "");
    file("include/torch/csrc/api/include/torch/torch.h", "");
    file("nn/modules/module.py", "class Module: pass\n");
    file("version.py", &format!("from typing import Optional\n\n__version__ = '{version}'\ndebug = False\n"));
    folder.to_owned()
}
