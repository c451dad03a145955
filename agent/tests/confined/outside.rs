//! The world outside of a sandbox: secrets, sockets that listen, a bystander; and what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Policy, Stage, Surroundings};

/// Stands in everything that is secret; the hostile program knows it.
pub const MARKER: &str = "SECRET-THAT-MUST-NOT-BE-READ";

/// A program that runs as another user, if the system lets it.
pub const SETUID: &str = "setuid-program";

/// Where something is secret: the word that the hostile program has for it, and the file.
const SECRETS: [(&str, &str); 5] = [
    ("home", "home/.ssh/id_ed25519"),
    ("held-out", "repository/.nocturne/data/0abc/search.tokens"),
    ("database", "repository/.nocturne/nocturne.db"),
    ("repository", "repository/.git/config"),
    ("other-run", "repository/.nocturne/nights/n/1/trial-1/output/checkpoint.safetensors"),
];

/// Files beside each secret, one for each thing that is done to one.
const BESIDE: [&str; 9] = [
    "write-me",
    "truncate-me",
    "delete-me",
    "link-write-me",
    "mode-me",
    "new-mode-me",
    "owner-me",
    "time-me",
    "attribute-me",
];

/// What tells whether a file was touched in any way but by reading: size, mode, links, time of change.
type Facts = (u64, u32, u64, i64, i64);

pub struct Outside {
    folder: tempfile::TempDir,
    leaked: [fs::File; 2],
    victim: Child,
    told: Vec<String>,
    tcp: TcpListener,
    udp: [UdpSocket; 2],
    unix: [UnixListener; 3],
    datagrams: [UnixDatagram; 2],
    left_name: String,
    before: BTreeMap<PathBuf, Facts>,
}

impl Outside {
    /// Sets everything up; `program` is the hostile program.
    pub fn new(program: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (_, file) in SECRETS {
            let file = root.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, format!("{MARKER}\n{}\n", file.display())).unwrap();
            for name in BESIDE {
                fs::write(file.with_file_name(name), "as it was").unwrap();
            }
        }
        for new in ["library", "notes", "night/output", "night/source", "night/target"] {
            fs::create_dir_all(root.join(new)).unwrap();
        }
        for name in ["library/libtorch.so", "library/libc10.so", "night/train.tokens"] {
            fs::write(root.join(name), "as it was").unwrap();
        }
        fs::copy(program, root.join("night/trainer")).unwrap();
        let other = root.join("library").join(SETUID);
        fs::copy(program, &other).unwrap();
        if super::is_root() {
            chown(&other, Some(54_322), Some(54_322)).unwrap();
        }
        fs::set_permissions(&other, fs::Permissions::from_mode(0o6755)).unwrap();

        // A descriptor that somebody forgot to close: everything that this process starts has it.
        let leaked = [SECRETS[0].1, "night/train.tokens"].map(|file| {
            let file = fs::File::open(root.join(file)).unwrap();
            rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
            file
        });
        let mut victim = Command::new(program)
            .arg("victim")
            .arg(root.join("notes"))
            .arg(MARKER)
            .env("AGENT_KEY", MARKER)
            .current_dir(root.join("home/.ssh"))
            // A group of its own, or the signals of other tests would reach it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(victim.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let handle = Command::new(program).arg("handle").arg(root.join(SECRETS[0].1)).output().unwrap();

        let address = |name: &str| SocketAddr::from_abstract_name(name).unwrap();
        let name = format!("nocturne-{}", root.file_name().unwrap().to_str().unwrap());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let paths = ["home/agent.sock", "library/agent.sock", "home/datagrams.sock", "library/datagrams.sock"]
            .map(|path| root.join(path));
        let unix = [
            UnixListener::bind(&paths[0]).unwrap(),
            UnixListener::bind(&paths[1]).unwrap(),
            UnixListener::bind_addr(&address(&name)).unwrap(),
        ];
        let datagrams = [2, 3].map(|at: usize| UnixDatagram::bind(&paths[at]).unwrap());
        tcp.set_nonblocking(true).unwrap();
        datagrams.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        udp.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());
        unix.iter().for_each(|socket| socket.set_nonblocking(true).unwrap());

        let mut told: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        told.extend(SECRETS.iter().map(|(key, file)| format!("{key}={}", root.join(file).display())));
        let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display().to_string();
        let setuid = std::env::var_os(super::FILES).map_or(other, |folder| Path::new(&folder).join(SETUID));
        for (key, value) in [
            ("library", root.join("library/libtorch.so").display().to_string()),
            ("readable", root.join("library/libc10.so").display().to_string()),
            ("given", root.join("night/train.tokens").display().to_string()),
            ("executable", root.join("night/trainer").display().to_string()),
            ("notes", root.join("notes").display().to_string()),
            ("setuid", setuid.display().to_string()),
            ("handle", String::from_utf8(handle.stdout).unwrap().trim().to_owned()),
            ("victim", victim.id().to_string()),
            ("victim-fd", leaked[0].as_raw_fd().to_string()),
            ("leftover", format!("/proc/self/fd/{}", leaked[0].as_raw_fd())),
            ("agent", std::process::id().to_string()),
            ("group", victim.id().to_string()),
            ("session", session()),
            ("net", link("net")),
            ("ipc", link("ipc")),
            ("tcp", tcp.local_addr().unwrap().port().to_string()),
            ("udp", udp[0].local_addr().unwrap().port().to_string()),
            ("dns", udp[1].local_addr().unwrap().port().to_string()),
            ("unix", paths[0].display().to_string()),
            ("unix-readable", paths[1].display().to_string()),
            ("unix-datagram", paths[2].display().to_string()),
            ("unix-readable-datagram", paths[3].display().to_string()),
            ("abstract", name.clone()),
            ("outlive", format!("outlive-{name}")),
            ("left-name", format!("left-{name}")),
        ] {
            told.push(format!("{key}={value}"));
        }
        let mut outside = Self {
            left_name: format!("left-{name}"),
            before: BTreeMap::new(),
            folder,
            leaked,
            victim,
            told,
            tcp,
            udp,
            unix,
            datagrams,
        };
        outside.before = outside.facts();
        outside
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// A file to read that the agent hands over.
    pub fn given(&self) -> &fs::File {
        &self.leaked[1]
    }

    /// What the hostile program is told under this key.
    pub fn told(&self, key: &str) -> &str {
        let pair = self.told.iter().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        pair.unwrap_or_else(|| panic!("nothing is told under {key}"))
    }

    /// Remembers how everything is now; what is changed later is an escape.
    pub fn remember(&mut self) {
        self.before = self.facts();
    }

    /// Where the agent keeps what a process says.
    pub fn log(&self) -> PathBuf {
        self.root().join("log.txt")
    }

    /// What a stage may do here.
    pub fn policy(&self, stage: Stage, limits: impl FnOnce(&mut sandbox::Limits)) -> Policy {
        let night = self.root().join("night");
        let mut libraries = vec![self.root().join("library")];
        libraries.extend(std::env::var_os(super::FILES).map(|folder| Path::new(&folder).join(SETUID)));
        let surroundings =
            Surroundings { libraries: libraries.clone(), memory_bytes: Some(1 << 30), ..Surroundings::default() };
        let mut policy = match stage {
            Stage::Build => Policy::build(
                &Surroundings { toolchain: vec![night.join("trainer")], ..surroundings },
                &night.join("source"),
                &night.join("target"),
            ),
            Stage::Train => Policy::train(&surroundings, &night.join("trainer"), &night.join("output")),
            Stage::Serve => Policy::serve(&surroundings, &night.join("trainer")),
        };
        limits(&mut policy.limits);
        policy
    }

    /// The hostile program's command line.
    pub fn arguments(&self, output: Option<&Path>) -> Vec<String> {
        let mut arguments = vec!["attempts".to_owned()];
        arguments.extend(self.told.iter().cloned());
        arguments.extend(output.map(|folder| format!("output={}", folder.display())));
        arguments
    }

    /// Ends the bystander, who then has heard every signal, and returns the attempts that succeeded, of the lines that the
    /// hostile program printed, with what shows it.
    pub fn judge<'a>(&mut self, lines: &'a [String]) -> Vec<(&'a str, &'a str)> {
        drop(self.victim.stdin.take());
        self.victim.wait().unwrap();
        let arrived = self.arrived();
        let words = lines.iter().filter_map(|line| line.split_once(' '));
        let succeeded = words.filter_map(|(name, rest)| {
            let (word, detail) = rest.trim_start_matches("must ").split_once(' ').unwrap_or((rest, ""));
            let succeeded = match (word, detail.split_once(' ')) {
                ("held" | "skipped", _) => false,
                ("done", Some(("arrived", what))) => arrived.contains(what),
                ("done", _) if detail == "outlives" => self.end_outliving(),
                ("done", _) => facts(Path::new(detail)) != self.before.get(Path::new(detail)).copied(),
                _ => true,
            };
            succeeded.then_some((name, detail))
        });
        let mut succeeded: Vec<(&str, &str)> = succeeded.collect();
        // Whatever happened without an attempt that says so; in the control much has.
        if succeeded.is_empty() && !self.noticed().is_empty() {
            eprintln!("noticed outside: {:#?}", self.noticed());
            succeeded.push(("unnoticed", "something outside has changed"));
        }
        succeeded
    }

    /// Files outside that were changed since, and what was said to sockets.
    pub fn noticed(&self) -> Vec<String> {
        let now = self.facts();
        let files = self.before.keys().chain(now.keys()).filter(|path| self.before.get(*path) != now.get(*path));
        files.map(|path| path.display().to_string()).chain(self.arrived()).collect()
    }

    /// All files but those that may be written.
    fn facts(&self) -> BTreeMap<PathBuf, Facts> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.root().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    if !["output", "target"].map(|name| self.root().join("night").join(name)).contains(&path) {
                        folders.push(path);
                    }
                } else if path != self.log()
                    && let Some(facts) = facts(&path)
                {
                    found.insert(path, facts);
                }
            }
        }
        found
    }

    /// What was said to the sockets.
    fn arrived(&self) -> BTreeSet<String> {
        let mut arrived = BTreeSet::new();
        let mut buffer = [0; 256];
        let mut take = |got: &[u8]| {
            arrived.insert(String::from_utf8_lossy(got).into_owned());
        };
        for socket in &self.udp {
            while let Ok(got) = socket.recv(&mut buffer) {
                take(&buffer[..got]);
            }
        }
        for socket in &self.datagrams {
            while let Ok(got) = socket.recv(&mut buffer) {
                take(&buffer[..got]);
            }
        }
        // Whoever connected and said something did so before it ended, so it is there already.
        let mut hear = |stream: &mut dyn std::io::Read| {
            let got = stream.read(&mut buffer).unwrap_or(0);
            arrived.insert(String::from_utf8_lossy(&buffer[..got]).into_owned());
        };
        while let Ok((mut stream, _)) = self.tcp.accept() {
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            hear(&mut stream);
        }
        for listener in &self.unix {
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                hear(&mut stream);
            }
        }
        arrived
    }

    /// Whether the process that was to outlive its helper is there. Ends it.
    fn end_outliving(&self) -> bool {
        let mark = format!("outlive-nocturne-{}", self.root().file_name().unwrap().to_str().unwrap());
        let give_up = Instant::now() + Duration::from_millis(500);
        let mut there = processes_with(&mark);
        // In the control it may not have been started yet; when confined, nothing may come later either.
        while there.is_empty() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(20));
            there = processes_with(&mark);
        }
        for pid in &there {
            let _gone = rustix::process::kill_process(*pid, rustix::process::Signal::KILL);
        }
        !there.is_empty()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _gone = self.victim.kill();
        let _reaped = self.victim.wait();
        for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run"] {
            let _not_there = fs::remove_file(Path::new(folder).join(&self.left_name));
        }
        let _still_open = &self.leaked;
    }
}

/// Processes with this text in their command line or environment.
pub fn processes_with(mark: &str) -> Vec<rustix::process::Pid> {
    let holds = |path: PathBuf| {
        let mut bytes = Vec::new();
        let _gone = fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
        bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        (holds(entry.path().join("cmdline")) || holds(entry.path().join("environ"))).then_some(pid)
    });
    pids.filter_map(rustix::process::Pid::from_raw).collect()
}

/// This process's session, the sixth field of its `stat`; 0 where the session's leader is outside of this process namespace, as in
/// a container that was entered, which rustix's `getsid` takes for impossible.
fn session() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned()
}

fn facts(path: &Path) -> Option<Facts> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.len(), metadata.mode(), metadata.nlink(), metadata.ctime(), metadata.ctime_nsec()))
}
