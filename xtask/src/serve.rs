//! `nocturne serve`, started for as long as something is asked of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A server that runs. It ends with this.
pub struct Server {
    child: Child,
    /// Where it listens, `host:port`.
    pub address: String,
    /// Its address as a browser takes it, without a slash at the end.
    pub url: String,
}

impl Server {
    /// Serves the repository `folder` on a free port.
    pub fn start(agent: &Path, folder: &Path) -> Result<Self, String> {
        let mut command = Command::new(agent);
        command.args(["serve", "--listen", "127.0.0.1:0", "--json"]).current_dir(folder).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", agent.display()))?;
        let mut server = Self { child, address: String::new(), url: String::new() };
        let out = server.child.stdout.take().ok_or("the server has no output")?;
        let mut said = String::new();
        BufReader::new(out).read_line(&mut said).map_err(|error| format!("nocturne serve says nothing: {error}"))?;
        let listens =
            serde_json::from_str(&said).ok().and_then(|said: Value| Some(said["listen"].as_str()?.to_owned()));
        let address = listens.ok_or_else(|| format!("nocturne serve did not say where it listens, but: {said:?}"))?;
        server.url = format!("http://{address}");
        server.address = address;
        Ok(server)
    }

    /// The most memory that it has had resident so far, in bytes (`VmHWM`).
    pub fn peak_memory(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| format!("{path} has no VmHWM"))
    }

    /// Seconds of processor time that it has taken so far.
    pub fn processor_seconds(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        // After the name in brackets: state is field 3, user and system time are 14 and 15, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place - 3).and_then(|field| field.parse::<f64>().ok());
        ticks(14)
            .zip(ticks(15))
            .map(|(user, system)| (user + system) / 100.0)
            .ok_or_else(|| format!("{path} says no times"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Killed, not asked: nothing that it holds must outlive it, and a test that fails must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
