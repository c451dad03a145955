//! Asks the system how it is doing. Thin: all parsing is elsewhere. What cannot be read is left out of a [`Reading`].

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cpu::{self, MOST_PROC_BYTES, Process};
use super::gpu::{self, Gpu};
use super::xid::Xid;
use super::{Cpu, Reading, memory};
use crate::setup::Surroundings;

/// Patience with `nvidia-smi`: on a machine of many GPUs without the driver's persistence it takes seconds.
const GPU_PATIENCE: Duration = Duration::from_secs(20);

/// Records of the kernel's log that one reading takes at most.
const MOST_LOG_RECORDS: usize = 4_096;

/// More errors than this are not remembered: the machine is broken.
const MOST_XIDS: usize = 1_000;

/// The longest record of the kernel's log, by its own definition.
const LOG_RECORD_BYTES: usize = 8_192;

/// Asks about one machine, and one of its GPUs where the night uses one.
#[derive(Debug)]
pub struct Reader {
    origin: Instant,
    gpu: Option<AskGpu>,
    log: Arc<Mutex<Log>>,
}

/// The kernel's log, where it may be read, and what it has told so far.
#[derive(Debug, Default)]
struct Log {
    kernel: Option<KernelLog>,
    told: Vec<Xid>,
}

#[derive(Debug)]
struct AskGpu {
    surroundings: Surroundings,
    program: PathBuf,
    which: String,
}

impl Reader {
    /// For the GPU with this number or UUID, as `CUDA_VISIBLE_DEVICES` names it to trainers; `None` on the CPU.
    pub fn new(surroundings: Surroundings, gpu: Option<String>) -> Self {
        let gpu = gpu.and_then(|which| {
            let program = surroundings.find("nvidia-smi")?;
            Some(AskGpu { surroundings, program, which })
        });
        let kernel = gpu.as_ref().and_then(|_| KernelLog::open().ok());
        Self { origin: Instant::now(), gpu, log: Arc::new(Mutex::new(Log { kernel, told: Vec::new() })) }
    }

    /// Whether errors of the GPU can be read from the kernel's log.
    pub fn sees_kernel_log(&self) -> bool {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).kernel.is_some()
    }

    /// Seconds since it was made.
    pub fn now(&self) -> f64 {
        self.origin.elapsed().as_secs_f64()
    }

    /// A reading. `running` says that a trial is under way, so that one of the processes on the GPU may be ours.
    pub async fn read(&self, running: bool) -> Reading {
        let log = Arc::clone(&self.log);
        let host = tokio::task::spawn_blocking(move || (host(), xids(&log))).await;
        // It does not panic; should it, nothing is known.
        let ((mut reading, own), xids) = host.unwrap_or_default();
        reading.at = self.now();
        reading.xids = xids;
        if let Some(ask) = &self.gpu {
            let gpu = ask.ask().await;
            if let Ok(gpu) = &gpu {
                reading.foreign = gpu.foreign(&own, running);
            }
            reading.gpu = Some(gpu);
        }
        reading
    }
}

impl AskGpu {
    async fn ask(&self) -> Result<Gpu, String> {
        let gpus = self.answer(gpu::GPU_FIELDS).await?;
        let processes = self.answer(gpu::PROCESS_FIELDS).await?;
        Gpu::read(&self.which, &gpus, &processes)
    }

    async fn answer(&self, fields: &str) -> Result<String, String> {
        let arguments = [fields, "--format=csv,noheader,nounits"].map(std::ffi::OsStr::new);
        let answer = self.surroundings.ask(&self.program, &arguments, Path::new("/"), "", GPU_PATIENCE).await;
        let answer = answer.map_err(|error| format!("nvidia-smi: {error}"))?;
        if answer.ok {
            return Ok(answer.stdout);
        }
        // It speaks on either pipe, depending on what is wrong.
        Err(format!("nvidia-smi: {}", crate::setup::last_words(&format!("{}\n{}", answer.stderr, answer.stdout), 2)))
    }
}

/// What /proc and /sys say, and which processes are ours.
fn host() -> (Reading, std::collections::HashSet<u32>) {
    let allowed = rustix::thread::sched_getaffinity(None).ok();
    let cores = || cpu::cores(&text("/proc/stat")?, |core| allowed.as_ref().is_none_or(|set| set.is_set(core)));
    let own = std::process::id();
    // Twice: a process that ends while the list is read is missing from it, or counted with its parent as well.
    let (first, second) = (cpu::tree(own, &processes()), cpu::tree(own, &processes()));
    let page = rustix::param::page_size() as u64;
    let cpu = cores().map(|cores| Cpu {
        cores,
        own: (first.jiffies.min(second.jiffies), first.jiffies.max(second.jiffies)),
        own_bytes: second.pages.saturating_mul(page),
    });
    let reading = Reading {
        cpu,
        stalled_micros: text("/proc/pressure/memory").as_deref().and_then(memory::stalled_micros),
        swapped_pages: text("/proc/vmstat").as_deref().and_then(memory::swapped_pages),
        throttled_millis: throttled(),
        ..Reading::default()
    };
    (reading, first.pids.union(&second.pids).copied().collect())
}

fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter(|entry| entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit));
    ids.filter_map(|entry| cpu::process(&text(entry.path().join("stat"))?)).collect()
}

/// All counters of all processors, in the order of their numbers: there is the same list at every reading.
fn throttled() -> Vec<u64> {
    let mut counters = Vec::new();
    for core in 0.. {
        let folder = PathBuf::from(format!("/sys/devices/system/cpu/cpu{core}"));
        if !folder.exists() {
            break;
        }
        for name in ["core_throttle_total_time_ms", "package_throttle_total_time_ms"] {
            let counter = text(folder.join("thermal_throttle").join(name));
            counters.extend(counter.as_deref().and_then(memory::throttled_millis));
        }
    }
    counters
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST_PROC_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The kernel's log from the moment on at which it was opened. Many systems let only an administrator read it.
#[derive(Debug)]
struct KernelLog(File);

impl KernelLog {
    fn open() -> io::Result<Self> {
        let flags = rustix::fs::OFlags::NONBLOCK.bits();
        let mut file = File::options().read(true).custom_flags(flags.cast_signed()).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// One record a call to the system; what was overwritten before it was read is passed over.
    fn new_records(&mut self, mut each: impl FnMut(&str)) {
        let mut record = [0; LOG_RECORD_BYTES];
        for _ in 0..MOST_LOG_RECORDS {
            match self.0.read(&mut record) {
                Ok(0) => return,
                Ok(length) => each(&String::from_utf8_lossy(record.get(..length).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(_) => return,
            }
        }
    }
}

/// All that the log has told so far: what one reading takes from it and is not awaited must not be lost to the next.
fn xids(log: &Mutex<Log>) -> Vec<Xid> {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let Log { kernel, told } = &mut *log;
    if let Some(kernel) = kernel {
        let most = MOST_XIDS.saturating_sub(told.len());
        let mut new = Vec::new();
        kernel.new_records(|record| new.extend(record.lines().filter_map(Xid::read)));
        told.extend(new.into_iter().take(most));
    }
    told.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::judge;
    use crate::setup::testing::program;

    #[tokio::test]
    async fn this_machine_can_be_read() {
        let reader = Reader::new(Surroundings::default(), None);
        let (before, after) = (reader.read(false).await, reader.read(false).await);
        let cpu = before.cpu.unwrap();
        assert!(cpu.cores.count >= 1 && cpu.own.0 <= cpu.own.1 && cpu.own_bytes > 0, "{cpu:?}");
        assert_eq!(before.throttled_millis.len(), after.throttled_millis.len());
        assert!(after.at >= before.at && after.gpu.is_none() && after.foreign.is_empty());
        // Too short a time to say anything.
        assert_eq!(judge::foreign_load(&before, &Reading { at: before.at + 0.1, ..after }, 1.0, false), None);
    }

    #[tokio::test]
    async fn what_nvidia_smi_says_is_read_or_told() {
        let folder = tempfile::tempdir().unwrap();
        let reader = |script: &str| {
            program(folder.path(), "nvidia-smi", script);
            let surroundings = Surroundings { path: folder.path().as_os_str().to_owned(), ..Surroundings::default() };
            Reader::new(surroundings, Some("0".to_owned()))
        };
        let script = "case $1 in --query-gpu=*) echo '0, GPU-1, 00000000:01:00.0, Disabled, 0x4, 2';; \
                      *) echo 'GPU-1, 4000000, 10, python';; esac";
        let found = reader(script).read(false).await;
        assert_eq!(found.gpu.as_ref().and_then(|gpu| gpu.as_ref().ok()).and_then(|gpu| gpu.uncorrected), Some(2));
        assert_eq!(found.foreign.len(), 1);
        assert!(
            reader(script).read(true).await.foreign.is_empty(),
            "the only process may be ours, under another number"
        );
        let lost =
            reader("echo 'Unable to determine the device handle for GPU0: GPU is lost.'; exit 15").read(true).await;
        assert!(matches!(&lost.gpu, Some(Err(why)) if why.contains("GPU is lost")), "{lost:?}");
    }
}
