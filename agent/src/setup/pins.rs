//! The wheels that libtorch is made of, pinned by version and SHA-256. The lists are pip's own requirement files
//! (`pins/*.txt`), so that pip checks the hashes.

use super::disk::Bytes;

/// The libtorch that the trainer's tch works with.
pub const TORCH_VERSION: &str = "2.11.0";

/// The torch-sys (tch's lower half) that works with [`TORCH_VERSION`].
pub const TORCH_SYS_VERSION: &str = "0.24.0";

/// The oldest NVIDIA driver (its major version) that runs CUDA 13, which the wheels are built with.
pub const OLDEST_DRIVER: u32 = 580;

/// One line of a requirement file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The package's name on the index.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// SHA-256 of the wheel, hexadecimal.
    pub sha256: String,
    /// Size of the wheel.
    pub download: Bytes,
    /// Size of the files in it.
    pub unpacked: Bytes,
}

/// All pinned wheels of one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pins {
    /// The processor, as wheels name it.
    pub architecture: &'static str,
    /// Whether the CUDA libraries are among them.
    pub cuda: bool,
    /// The wheels.
    pub wheels: Vec<Pin>,
}

/// A line that is no pin: where, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadPin {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl Pins {
    /// The pins for a processor (in [`std::env::consts::ARCH`]'s words), with or without the CUDA libraries. `None` where
    /// there are no wheels.
    pub fn of(architecture: &str, cuda: bool) -> Option<Self> {
        let (architecture, base, more) = match architecture {
            "x86_64" => ("x86_64", include_str!("pins/x86_64-cpu.txt"), include_str!("pins/x86_64-cuda.txt")),
            "aarch64" => ("aarch64", include_str!("pins/aarch64-cpu.txt"), include_str!("pins/aarch64-cuda.txt")),
            _ => return None,
        };
        // The embedded files are checked by a test, so this never gives `None` for them.
        let mut wheels = parse(base).ok()?;
        if cuda {
            wheels.extend(parse(more).ok()?);
        }
        Some(Self { architecture, cuda, wheels })
    }

    /// The requirement file for pip.
    pub fn requirements(&self) -> String {
        self.wheels.iter().map(|pin| format!("{}=={} --hash=sha256:{}\n", pin.name, pin.version, pin.sha256)).collect()
    }

    /// pip's options that fetch the same wheels whatever the Python at hand is.
    pub fn platform_options(&self) -> Vec<String> {
        let mut options: Vec<String> =
            ["--only-binary=:all:", "--no-deps", "--implementation=cp", "--python-version=3.12", "--abi=cp312"]
                .map(str::to_owned)
                .into();
        // Every wheel names the oldest glibc it runs with; pip takes names literally when told the platform. With one missing
        // it would look for older releases, which the exact pins turn into an error instead.
        for glibc in [28, 27, 26, 25, 24, 18, 17, 12, 5] {
            options.push(format!("--platform=manylinux_2_{glibc}_{}", self.architecture));
        }
        for name in ["manylinux2014", "manylinux2010", "manylinux1"] {
            options.push(format!("--platform={name}_{}", self.architecture));
        }
        options
    }

    /// Bytes to fetch.
    pub fn download(&self) -> Bytes {
        Bytes(self.wheels.iter().map(|pin| pin.download.0).sum())
    }

    /// Bytes of all unpacked files, before anything is left out.
    pub fn unpacked(&self) -> Bytes {
        Bytes(self.wheels.iter().map(|pin| pin.unpacked.0).sum())
    }

    /// Free space needed to install them: wheels and files lie side by side for a while, and a little is used besides.
    pub fn space(&self) -> Bytes {
        Bytes(self.download().0 + self.unpacked().0 + 100_000_000)
    }
}

/// Reads `NAME==VERSION --hash=sha256:HASH  # download=BYTES unpacked=BYTES` lines; empty lines and comments are skipped.
fn parse(text: &str) -> Result<Vec<Pin>, BadPin> {
    let mut pins = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let bad = |reason: &str| BadPin { line: index + 1, reason: reason.to_owned() };
        let (requirement, sizes) = line.split_once("  # ").ok_or_else(|| bad("no sizes behind the hash"))?;
        let (package, sha256) =
            requirement.split_once(" --hash=sha256:").ok_or_else(|| bad("no --hash=sha256: behind the version"))?;
        let (name, version) = package.split_once("==").ok_or_else(|| bad("no == between name and version"))?;
        if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(bad("the hash is not 64 lower-case hexadecimal digits"));
        }
        let size = |key: &str| {
            let value = sizes.split(' ').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
            value
                .and_then(|value| value.parse().ok())
                .map(Bytes)
                .ok_or_else(|| bad(&format!("no number behind {key}=")))
        };
        pins.push(Pin {
            name: name.to_owned(),
            version: version.to_owned(),
            sha256: sha256.to_owned(),
            download: size("download")?,
            unpacked: size("unpacked")?,
        });
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_lists_are_whole() {
        for (architecture, cuda, count) in
            [("x86_64", false, 3), ("x86_64", true, 16), ("aarch64", false, 3), ("aarch64", true, 16)]
        {
            let pins = Pins::of(architecture, cuda).unwrap();
            assert_eq!(pins.wheels.len(), count, "{architecture}, CUDA: {cuda}");
            assert_eq!((pins.wheels[0].name.as_str(), pins.wheels[0].version.as_str()), ("torch", TORCH_VERSION));
            let mut hashes: Vec<&str> = pins.wheels.iter().map(|pin| pin.sha256.as_str()).collect();
            hashes.sort();
            hashes.dedup();
            assert_eq!(hashes.len(), count);
            assert!(pins.wheels.iter().all(|pin| pin.unpacked > pin.download));
        }
        let light = Pins::of("x86_64", false).unwrap();
        assert!(light.download() < Bytes(550_000_000), "{}", light.download());
        assert!(Pins::of("riscv64", false).is_none());
    }

    #[test]
    fn both_processors_get_the_same_versions() {
        let versions = |architecture| {
            let mut all: Vec<_> =
                Pins::of(architecture, true).unwrap().wheels.into_iter().map(|pin| (pin.name, pin.version)).collect();
            all.sort();
            all
        };
        assert_eq!(versions("x86_64"), versions("aarch64"));
    }

    #[test]
    fn requirements_are_what_pip_reads() {
        let pins = Pins::of("x86_64", false).unwrap();
        let first = pins.requirements().lines().next().unwrap().to_owned();
        assert_eq!(
            first,
            "torch==2.11.0 --hash=sha256:0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756"
        );
        assert!(pins.platform_options().contains(&"--platform=manylinux_2_28_x86_64".to_owned()));
    }

    #[test]
    fn a_bad_line_is_named() {
        let hash = "a".repeat(64);
        let good = format!("# c\n\na==1 --hash=sha256:{hash}  # download=1 unpacked=2\n");
        assert_eq!(parse(&good).unwrap().len(), 1);
        for (line, reason) in [
            (format!("a==1 --hash=sha256:{hash}"), "no sizes"),
            (format!("a==1 --hash=md5:{hash}  # download=1 unpacked=2"), "no --hash"),
            (format!("a>=1 --hash=sha256:{hash}  # download=1 unpacked=2"), "no =="),
            (format!("a==1 --hash=sha256:{}  # download=1 unpacked=2", hash.to_uppercase()), "64 lower-case"),
            (format!("a==1 --hash=sha256:{hash}  # download=x unpacked=2"), "download="),
            (format!("a==1 --hash=sha256:{hash}  # download=1"), "unpacked="),
        ] {
            let error = parse(&format!("{good}{line}\n")).unwrap_err();
            assert_eq!(error.line, 4);
            assert!(error.reason.contains(reason), "{error}");
        }
    }
}
