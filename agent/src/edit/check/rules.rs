//! The rules, in words: what each refuses, why, and what to do instead.
//!
//! One table, from which refusals take their advice and `docs/policy.md` is written; the code that enforces a rule names it
//! by [`Rule`], so that none can be enforced without a text or described without being there.

use std::fmt;

use super::super::policy::Policy;
use super::{attributes, literals, macros, names, nesting, paths};

/// A rule on what a candidate may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the table below says what each of them is")]
pub enum Rule {
    IncludeMacro,
    Environment,
    PathAttribute,
    OutOfLineModule,
    UnsafeCode,
    Extern,
    Assembly,
    RawPointer,
    Union,
    Attribute,
    Derive,
    LintSwitch,
    Macro,
    MacroDefinition,
    MacroArguments,
    Files,
    Process,
    Network,
    OperatingSystem,
    Threads,
    Clock,
    PanicHook,
    StandardLibrary,
    TorchModule,
    TorchFiles,
    TorchGlobal,
    TorchInternal,
    TorchStorage,
    OwnSeed,
    HarnessInternals,
    CrateInternals,
    OtherCrate,
    UnknownPath,
    GlobImport,
    RenamedRoot,
    ShadowedName,
    StaticItem,
    Output,
    EmbeddedData,
    OddName,
    Nesting,
    UnfamiliarSyntax,
}

/// One line of the table.
struct Facts {
    rule: Rule,
    name: &'static str,
    /// What it refuses; completes "Refused: ...".
    what: &'static str,
    why: &'static str,
    /// What to do instead, as one sentence without a full stop: messages end with it.
    instead: &'static str,
}

macro_rules! facts {
    ($($rule:ident $name:literal: $what:literal, $why:literal, $instead:literal;)*) => {
        &[$(Facts { rule: Rule::$rule, name: $name, what: $what, why: $why, instead: $instead }),*]
    };
}

/// In the order of [`Rule`] (a test compares).
const TABLE: &[Facts] = facts![
    IncludeMacro "include-macro":
        "`include!`, `include_str!` and `include_bytes!`.",
        "They make the compiler read any file that it can reach.",
        "write the code or the numbers out in the file";
    Environment "environment":
        "`env!`, `option_env!` and `std::env`.",
        "What a candidate computes follows from its recipe, its setting and its seed, and from nothing on the machine.",
        "put the value into the recipe";
    PathAttribute "path-attribute":
        "`#[path = ...]`, also inside `cfg_attr`.",
        "It makes the compiler read another file as a module.",
        "write the module's code into one of the candidate's files";
    OutOfLineModule "out-of-line-module":
        "`mod name;`.",
        "It makes the compiler read another file, which is not checked.",
        "write the module in place, `mod name { ... }`, or put its code into one of the candidate's files";
    UnsafeCode "unsafe-code":
        "`unsafe` in every form: blocks, functions, traits, implementations and attributes.",
        "Unsafe code can reach the harness's memory and the operating system.",
        "use safe code; tensors offer every operation that a model needs";
    Extern "extern":
        "`extern` in every form: blocks, functions and `extern crate`.",
        "Foreign functions reach the C library, and with it everything.",
        "call functions of Rust and of tch";
    Assembly "assembly":
        "`asm!`, `global_asm!` and `naked_asm!`.",
        "Assembly calls the operating system and can embed files.",
        "use tensor operations";
    RawPointer "raw-pointer":
        "Raw pointer types and `&raw`.",
        "They are of use to unsafe code only.",
        "use references";
    Union "union":
        "`union` items.",
        "Reading one takes unsafe code.",
        "use an enum";
    Attribute "attribute":
        "Attributes other than documentation, `derive`, `inline`, `cold`, `must_use`, `allow`, `expect`, `warn`, `deny`, `default`, `non_exhaustive`, `track_caller` and `rustfmt::skip`.",
        "Attributes can export symbols, place sections, make the compiler read files and hide code from one build or the other (`cfg`).",
        "leave the attribute out";
    Derive "derive":
        "Derives other than `Clone`, `Copy`, `Debug`, `Default`, `PartialEq`, `Eq`, `PartialOrd`, `Ord` and `Hash`.",
        "Any other derive is a program that runs inside the compiler.",
        "implement the trait by hand";
    LintSwitch "lint-switch":
        "Attributes that set the level of a lint on unsafe code.",
        "The trainer forbids unsafe code, and a candidate has no say in that.",
        "leave the attribute out";
    Macro "macro":
        "Macros other than `vec!`, `format!`, `write!`, `writeln!`, `matches!`, `panic!`, `unreachable!`, `unimplemented!`, `todo!` and the `assert!` and `debug_assert!` families, by these names.",
        "A macro's expansion cannot be checked from its call; these are known.",
        "use one of the allowed macros, a function or a closure";
    MacroDefinition "macro-definition":
        "`macro_rules!`.",
        "A macro can put together what no rule would let pass if it were written out.",
        "use a function, a closure or a generic function";
    MacroArguments "macro-arguments":
        "Arguments of a macro that are not expressions (for `matches!`: an expression and a pattern).",
        "What cannot be read cannot be checked.",
        "write the arguments as plain expressions";
    Files "files":
        "`std::fs`, `std::io`, `std::path`, and the methods that ask a path for its file.",
        "A candidate gets its data from the harness and leaves its results with it.",
        "take data from the batch and keep what must last in parameters and state";
    Process "process":
        "`std::process`.",
        "A candidate starts no programs and does not end its own process.",
        "return an error from `build`, or panic, where training cannot go on";
    Network "network":
        "`std::net`.",
        "A candidate speaks to nobody.",
        "leave it out";
    OperatingSystem "operating-system":
        "`std::os`, `std::ffi`, `std::arch`, `std::alloc`, `std::ptr`, `std::intrinsics` and `std::simd`.",
        "They lead around the language to the machine.",
        "use tensor operations";
    Threads "threads":
        "`std::thread`, `std::sync` (all but `Arc` and `Weak`) and `std::task`.",
        "libtorch computes in parallel already; a thread of the candidate's own could go on when the clock has stopped.",
        "use tensor operations, which run in parallel, and `Cell` or `RefCell` in a field where something must change";
    Clock "clock":
        "`std::time`.",
        "Time belongs to the harness; a candidate that reads the clock cannot be repeated.",
        "use `progress.fraction` and `progress.step`";
    PanicHook "panic-hook":
        "`std::panic` and `std::backtrace`.",
        "The harness catches panics and reports them; a candidate that catches or silences them hides what went wrong.",
        "let the panic go to the harness";
    StandardLibrary "standard-library":
        "Everything else in `std` and `core` that is not on the list of allowed modules (below).",
        "The list holds what computing needs.",
        "use one of the allowed modules";
    TorchModule "torch-module":
        "Everything in `tch` that is not on the list of allowed items (below): `jit`, `vision`, `data`, `Cuda`, ...",
        "Those read files, run compiled modules or change settings of the whole process.",
        "use `Tensor` and its operations";
    TorchFiles "torch-files":
        "Names of tch's functions and methods that read or write files and streams (`load`, `save`, `read_npy`, `from_file`, ...), whatever they are called on.",
        "A candidate gets its data from the harness and leaves its results with it.",
        "keep what must last in parameters and state; give functions of your own another name";
    TorchGlobal "torch-global":
        "Names that set what is one for the whole process: random seeds, numbers of threads, the device, printing, cuDNN's and the fuser's switches.",
        "Seeds, threads and device belong to the harness, and trials must be comparable.",
        "draw under `harness::seeded` with the seed that `build` is given, and take the device from `harness::device`";
    TorchInternal "torch-internal":
        "Names of tch that begin with `internal_`, hold `unsafe`, make sparse tensors, hand out pointers, or believe a length that they are told.",
        "They do not check their arguments: a wrong index or length reads or writes the harness's memory.",
        "use the checked operator of the same purpose (`Tensor::from_slice` and `view`, `copy_data`, dense tensors); give functions of your own another name";
    TorchStorage "torch-storage":
        "`as_strided` and its relatives, `set_`, `set_data`, `set_source_*`, `resize_` and `resize_as_`.",
        "They reach past a tensor's own elements into the rest of its storage: other rows, the tokens to be predicted.",
        "use `narrow`, `unfold`, `index_select`, `reshape`, or a new tensor";
    OwnSeed "own-seed":
        "`harness::seeded` with a first argument that does not name `seed`, under another name, or passed on as a value.",
        "Seeds are drawn by the agent; a number of one's own makes every run the same lucky one.",
        "call it with the `seed` that `build` is given, or with a number made from it";
    HarnessInternals "harness-internals":
        "Everything in `harness` that is not on the list of allowed items (below).",
        "The rest of the harness measures the candidate.",
        "use the allowed items";
    CrateInternals "crate-internals":
        "Paths that lead out of the candidate: `crate::...` other than `crate::candidate::...`, `super` beyond the candidate's folder, names of it that are not there.",
        "The four files are the candidate; the rest is not its business.",
        "name the candidate's modules as `super::model`, `super::optimizer`, `super::recipe` or `super::training`";
    OtherCrate "other-crate":
        "Other crates: `protocol`, `data`, `torch_sys`, `libc`, `safetensors`, `serde`, ...",
        "They read files and data, speak to the agent or call C.",
        "use `tch`, the allowed part of `std`, and the allowed items of `harness` and `kernels`";
    UnknownPath "unknown-path":
        "A path of several parts that begins with a name which the file neither defines nor imports by name.",
        "It could be any crate.",
        "define the name or import it with `use`";
    GlobImport "glob-import":
        "`use ...::*` from `std`, `core`, `tch` and `harness`.",
        "It brings in names that nobody sees.",
        "import the names that are used, one by one";
    RenamedRoot "renamed-root":
        "Another name for a crate or for a place above the file: `use std as s`, `use super::{self as up}`.",
        "Paths would no longer show where they lead.",
        "use the names as they are";
    ShadowedName "shadowed-name":
        "A module, type, import or parameter with the name of a crate (`std`, `tch`, `harness`, `data`, ...).",
        "Paths would no longer show where they lead.",
        "choose another name";
    StaticItem "static-item":
        "`static` items and `thread_local!`.",
        "What lasts from one call to the next and is in no field is in no checkpoint either, and lets a model remember earlier requests.",
        "use `const` for what is fixed and a field for what changes";
    Output "output":
        "`println!`, `eprintln!`, `print!`, `eprint!`, `dbg!` and `.print()`.",
        "Nothing that a candidate prints is read; it only fills the log.",
        "leave it out, or put the figure into an error's or a panic's message";
    EmbeddedData "embedded-data":
        "Literals beyond the limits below: a long text, a large table, too many in one file.",
        "A candidate learns from the training data within the budget; numbers learnt earlier are not its own.",
        "compute the table, or learn it";
    OddName "odd-name":
        "Names with letters other than ASCII's, and names longer than the limit below.",
        "Letters that look alike, and names that the compiler folds together, hide what is called; long names hide data.",
        "use a short name in plain letters";
    Nesting "nesting":
        "Brackets deeper, or one expression, type or pattern longer, than the limits below.",
        "It would exhaust the compiler (or this check) and nobody could read it.",
        "split it with `let` or a function";
    UnfamiliarSyntax "unfamiliar-syntax":
        "Syntax that the check does not know, such as that of unstable features.",
        "What cannot be read cannot be checked.",
        "write it in stable Rust";
];

impl Rule {
    /// Every rule, in the order of `docs/policy.md`.
    pub fn all() -> impl Iterator<Item = Rule> {
        TABLE.iter().map(|facts| facts.rule)
    }

    fn facts(self) -> &'static Facts {
        &TABLE[self as usize]
    }

    /// Its name, in lower case with hyphens; stable, since records hold it.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// What to do instead: one sentence without a full stop.
    pub fn instead(self) -> &'static str {
        self.facts().instead
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `docs/policy.md`, whole.
pub fn page() -> String {
    let policy = Policy::default();
    let mut page = format!(
        "# What an experiment may contain\n\n\
         <!-- Written from agent/src/edit/check/rules.rs by `INSTA_UPDATE=always cargo test -p nocturne the_page`. -->\n\n\
         An experiment's edits are checked before anything is committed, built or run. This page lists the rules; a refusal\n\
         names the rule, the place and what to do instead. They are the first of two walls: the sandbox is the boundary, and\n\
         the evaluator believes no number whatever the code does.\n\n\
         ## Files\n\n\
         Only these files may be edited, as regular files (no links, no submodules, not executable) at most {} bytes and {} lines\n\
         long, in at most {} edits, in printable text that ends with a line feed and is Rust:\n\n",
        policy.max_file_bytes, policy.max_file_lines, policy.max_edits
    );
    for path in &policy.paths {
        page += &format!("- `{path}`\n");
    }
    page += "\n## Rules\n\n";
    for facts in TABLE {
        page +=
            &format!("### `{}`\n\nRefused: {} {} Instead: {}.\n\n", facts.name, facts.what, facts.why, facts.instead);
    }
    page += "## Allowed\n\n";
    let items: Vec<String> = paths::STD_ITEMS.iter().map(|(module, item)| format!("{module}::{item}")).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    for (title, list) in [
        ("Modules of `std` and `core`, whole", paths::STD_MODULES),
        ("Items of `std` and `core` beside them", &items),
        ("Items of `tch`", paths::TCH_ITEMS),
        ("Items of `harness`", paths::HARNESS_ITEMS),
        ("Items of `kernels`", paths::KERNELS_ITEMS),
        ("Macros", macros::ALLOWED),
        ("Attributes", attributes::ALLOWED),
        ("Derives", attributes::DERIVES),
    ] {
        let list: Vec<String> = list.iter().map(|name| format!("`{name}`")).collect();
        page += &format!("- {title}: {}.\n", list.join(", "));
    }
    page += "\n## Names refused on whatever they are called\n\n\
             Also with tch's prefix `f_`, after `.` and after `::`. A field or a variable may have such a name.\n\n";
    for rule in Rule::all() {
        let list: Vec<String> =
            names::REFUSED.iter().filter(|(_, of)| *of == rule).map(|(name, _)| format!("`{name}`")).collect();
        if !list.is_empty() {
            page += &format!("- `{rule}`: {}.\n", list.join(", "));
        }
    }
    page += &format!(
        "\n## Limits\n\n\
         - One literal text: {} bytes. One array, tuple or `vec!`: {} elements and {} bytes of literals.\n\
         - Literals of a file: {} numbers and {} bytes (documentation and comments do not count).\n\
         - A name: {} bytes. Brackets: {} deep, macros: {}. One expression, type or pattern: {} tokens between its separators, over all\n  \
           brackets around it.\n",
        literals::TEXT_BYTES,
        literals::TABLE_ELEMENTS,
        literals::TABLE_BYTES,
        literals::FILE_NUMBERS,
        literals::FILE_BYTES,
        names::NAME_BYTES,
        nesting::BRACKETS,
        nesting::MACROS,
        nesting::TOKENS,
    );
    page += "\n## What this cannot stop\n\n\
             The check reads names, not types. It does not see a constant expression or a type that the compiler never finishes,\n\
             a loop without an end, memory without a limit, an operator of libtorch with a mistake in it, or a model that looks\n\
             ahead: the sandbox's limits, the clock and the audit are for those.\n";
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_says_everything() {
        for (i, facts) in TABLE.iter().enumerate() {
            assert_eq!(facts.rule as usize, i, "{}", facts.name);
            assert!(facts.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", facts.name);
            assert!(facts.what.ends_with('.') && facts.why.ends_with('.'), "{}", facts.name);
            assert!(facts.instead.len() > 5 && !facts.instead.ends_with('.'), "{}", facts.name);
        }
        assert_eq!(Rule::UnfamiliarSyntax as usize + 1, TABLE.len());
    }

    #[test]
    fn the_page_is_what_the_code_says() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
        if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/policy.md is not up to date; run `INSTA_UPDATE=always cargo test -p nocturne the_page`"
        );
    }
}
