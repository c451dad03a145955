//! Where a path may lead: the lists of what is allowed, and the reading of a path's beginning.

use std::collections::HashSet;

use super::names;
use super::rules::Rule;

/// Modules of the standard library in which everything safe is harmless, so that a module itself may be imported as well.
pub(super) const STD_MODULES: &[&str] = &[
    "array",
    "borrow",
    "boxed",
    "cell",
    "char",
    "clone",
    "cmp",
    "collections",
    "convert",
    "default",
    "error",
    "f32",
    "f64",
    "fmt",
    "hash",
    "i128",
    "i16",
    "i32",
    "i64",
    "i8",
    "isize",
    "iter",
    "marker",
    "mem",
    "num",
    "ops",
    "option",
    "rc",
    "result",
    "slice",
    "str",
    "string",
    "u128",
    "u16",
    "u32",
    "u64",
    "u8",
    "usize",
    "vec",
];

/// Single items of modules that are otherwise refused: module and item.
pub(super) const STD_ITEMS: &[(&str, &str)] = &[("sync", "Arc"), ("sync", "Weak")];

/// Modules of the standard library that have a rule of their own; the rest fall under [`Rule::StandardLibrary`].
const STD_REFUSED: &[(&str, Rule)] = &[
    ("fs", Rule::Files),
    ("io", Rule::Files),
    ("path", Rule::Files),
    ("process", Rule::Process),
    ("net", Rule::Network),
    ("env", Rule::Environment),
    ("option_env", Rule::Environment),
    ("include", Rule::IncludeMacro),
    ("include_str", Rule::IncludeMacro),
    ("include_bytes", Rule::IncludeMacro),
    ("os", Rule::OperatingSystem),
    ("ffi", Rule::OperatingSystem),
    ("arch", Rule::OperatingSystem),
    ("alloc", Rule::OperatingSystem),
    ("ptr", Rule::OperatingSystem),
    ("intrinsics", Rule::OperatingSystem),
    ("simd", Rule::OperatingSystem),
    ("thread", Rule::Threads),
    ("thread_local", Rule::StaticItem),
    ("sync", Rule::Threads),
    ("task", Rule::Threads),
    ("time", Rule::Clock),
    ("panic", Rule::PanicHook),
    ("backtrace", Rule::PanicHook),
    ("println", Rule::Output),
    ("eprintln", Rule::Output),
    ("print", Rule::Output),
    ("eprint", Rule::Output),
    ("dbg", Rule::Output),
];

/// What a candidate may name of tch, with everything below it that no other rule refuses.
pub(super) const TCH_ITEMS: &[&str] = &[
    "Device",
    "IndexOp",
    "Kind",
    "Layout",
    "NewAxis",
    "NoGradGuard",
    "Reduction",
    "Result",
    "Scalar",
    "Shape",
    "TchError",
    "Tensor",
    "TensorIndexer",
    "autocast",
    "index",
    "kind",
    "nn",
    "no_grad",
    "no_grad_guard",
    "with_grad",
];

/// What a candidate may name of the harness.
pub(super) const HARNESS_ITEMS: &[&str] = &[
    "Batch",
    "Candidate",
    "CandidateError",
    "Part",
    "Precision",
    "Progress",
    "Scale",
    "Setting",
    "device",
    "saw_gradients",
    "seeded",
    "spent_on",
];

/// What a candidate may name of the fused operations: all that they offer to be computed with.
pub(super) const KERNELS_ITEMS: &[&str] = &[
    "AdamStep",
    "adamw",
    "add_norm",
    "attention",
    "cautious_update",
    "gated_value",
    "linear",
    "linears",
    "mix_norm",
    "muon_look_ahead",
    "norm",
    "normuon",
    "plain",
    "polar_express",
    "rotary_norm",
    "rotate",
    "softcap_cross_entropy",
    "squared_relu",
];

/// What stands in the candidate's folder, above its files.
const SIBLINGS: [&str; 5] = ["model", "optimizer", "recipe", "training", "Trainer"];

/// Crates that a path could begin with and must not: all that the trainer and what is beneath it are made of.
const OTHER_CRATES: &[&str] = &[
    "alloc",
    "proc_macro",
    "test",
    "protocol",
    "data",
    "trainer",
    "torch_sys",
    "libc",
    "rustix",
    "safetensors",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "half",
    "ndarray",
    "rand",
    "rayon",
    "zip",
    "memmap2",
    "bytemuck",
    "hex",
    "tempfile",
    "sandbox",
    "nocturne",
    "dashboards",
];

/// Crates of which a part is allowed.
const KNOWN_CRATES: [&str; 5] = ["std", "core", "tch", "harness", "kernels"];

/// Types, traits and primitives that are in scope everywhere.
const PRELUDE: &[&str] = &[
    "Self",
    "Vec",
    "String",
    "Box",
    "Option",
    "Result",
    "Iterator",
    "IntoIterator",
    "DoubleEndedIterator",
    "ExactSizeIterator",
    "Extend",
    "FromIterator",
    "Default",
    "Clone",
    "Copy",
    "Send",
    "Sync",
    "Sized",
    "Unpin",
    "Drop",
    "Fn",
    "FnMut",
    "FnOnce",
    "AsyncFn",
    "AsyncFnMut",
    "AsyncFnOnce",
    "Future",
    "IntoFuture",
    "From",
    "Into",
    "TryFrom",
    "TryInto",
    "AsRef",
    "AsMut",
    "ToOwned",
    "ToString",
    "PartialEq",
    "Eq",
    "PartialOrd",
    "Ord",
    "bool",
    "char",
    "str",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
];

/// Whether a path that begins with `name` could lead into a crate, so that nothing else may be called so.
pub(super) fn is_crate(name: &str) -> bool {
    KNOWN_CRATES.contains(&name) || OTHER_CRATES.contains(&name)
}

/// What a file's paths are read against.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Names that the file defines or imports, wherever in it.
    pub known: HashSet<String>,
    /// Modules around the place that is being read, within the file.
    pub depth: usize,
}

impl Scope {
    /// The rule that a path of an expression, a type or a pattern breaks. `rooted`: it begins with `::`.
    pub fn of_path(&self, segments: &[String], rooted: bool) -> Option<Rule> {
        let [root, rest @ ..] = segments else { return None };
        if rest.is_empty() && !rooted {
            // A variable, or something that the file defines or has imported, which was checked there.
            return None;
        }
        if let Some(rule) = rest.iter().find_map(|name| names::refused(name)) {
            return Some(rule);
        }
        // `self::std::fs`, where `use std::{self}` made `std` a name of the module: the last name may be a function's.
        let between = rest.split_last().map_or(rest, |(_, between)| between);
        if reaches_crate(root, between) {
            return Some(Rule::RenamedRoot);
        }
        match self.of_beginning(segments, rooted) {
            Err(rule) => Some(rule),
            Ok(Beginning::Known) => None,
            Ok(Beginning::Bare) => {
                (!self.known.contains(root) && !PRELUDE.contains(&root.as_str())).then_some(Rule::UnknownPath)
            }
        }
    }

    /// The rule that an import breaks: `segments` whole, without a last `self` or `*`.
    pub fn of_import(&self, segments: &[String], rooted: bool, rename: Option<&str>, glob: bool) -> Option<Rule> {
        let [root, rest @ ..] = segments else { return Some(Rule::GlobImport) };
        let known_crate = KNOWN_CRATES.contains(&root.as_str());
        if known_crate && glob {
            return Some(Rule::GlobImport);
        }
        let only_up = segments.iter().all(|name| name == "super" || name == "self" || name == "crate");
        if rename.is_some() && (only_up || (rest.is_empty() && is_crate(root))) {
            return Some(Rule::RenamedRoot);
        }
        if rest.is_empty() && known_crate {
            return None;
        }
        if reaches_crate(root, rest) {
            return Some(Rule::RenamedRoot);
        }
        if let Some(rule) = rest.iter().find_map(|name| names::refused(name)) {
            return Some(rule);
        }
        let bound = rename.or(segments.last().map(String::as_str)).filter(|_| !glob);
        if root == "harness" && rest.len() == 1 && rest[0] == "seeded" && bound != Some("seeded") {
            return Some(Rule::OwnSeed);
        }
        match self.of_beginning(segments, rooted) {
            Err(rule) => {
                // `use super::*`: the candidate's folder, or the module around this one.
                let ups = segments.iter().filter(|name| *name == "super").count();
                let folder = glob && only_up && root != "crate" && ups <= self.depth + 1;
                return (!folder).then_some(rule);
            }
            Ok(Beginning::Bare) if !self.known.contains(root) => return Some(Rule::UnknownPath),
            Ok(_) => {}
        }
        bound.filter(|name| is_crate(name)).map(|_| Rule::ShadowedName)
    }

    /// Reads where a path begins and whether it may lead there.
    fn of_beginning(&self, segments: &[String], rooted: bool) -> Result<Beginning, Rule> {
        let name = |i: usize| segments.get(i).map_or("", String::as_str);
        match name(0) {
            "std" | "core" => of_std(&segments[1..]).map_or(Ok(Beginning::Known), Err),
            "tch" if TCH_ITEMS.contains(&name(1)) => Ok(Beginning::Known),
            "tch" => Err(Rule::TorchModule),
            "harness" if HARNESS_ITEMS.contains(&name(1)) => Ok(Beginning::Known),
            "harness" => Err(Rule::HarnessInternals),
            "kernels" if KERNELS_ITEMS.contains(&name(1)) => Ok(Beginning::Known),
            "kernels" => Err(Rule::OtherCrate),
            "crate" if name(1) == "candidate" && SIBLINGS.contains(&name(2)) => Ok(Beginning::Known),
            "crate" => Err(Rule::CrateInternals),
            "self" | "super" => {
                let ups =
                    segments.iter().skip(usize::from(name(0) == "self")).take_while(|name| *name == "super").count();
                let after = name(ups + usize::from(name(0) == "self"));
                let inside = ups <= self.depth;
                let beside = ups == self.depth + 1 && SIBLINGS.contains(&after);
                if inside || beside { Ok(Beginning::Known) } else { Err(Rule::CrateInternals) }
            }
            other if OTHER_CRATES.contains(&other) || rooted => Err(Rule::OtherCrate),
            _ => Ok(Beginning::Bare),
        }
    }
}

/// Whether a path that begins elsewhere goes through a crate's name on its way.
fn reaches_crate(root: &str, rest: &[String]) -> bool {
    !KNOWN_CRATES.contains(&root) && rest.iter().any(|name| KNOWN_CRATES.contains(&name.as_str()))
}

/// How a path begins that may go on.
enum Beginning {
    /// With something that has been looked up.
    Known,
    /// With a name of the file's own, or one that nobody knows.
    Bare,
}

/// `segments` after `std` or `core`.
fn of_std(segments: &[String]) -> Option<Rule> {
    let [module, rest @ ..] = segments else { return Some(Rule::StandardLibrary) };
    if STD_MODULES.contains(&module.as_str()) {
        return None;
    }
    if rest.first().is_some_and(|item| STD_ITEMS.contains(&(module.as_str(), item.as_str()))) {
        return None;
    }
    Some(STD_REFUSED.iter().find(|(name, _)| name == module).map_or(Rule::StandardLibrary, |(_, rule)| *rule))
}
