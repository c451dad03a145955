//! What is refused and what is not.

use std::collections::HashSet;
use std::path::Path;

use proptest::prelude::*;

use super::hostile::HOSTILE;
use super::*;

fn rules(text: &str) -> Vec<&'static str> {
    let found = violations("a.rs", text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    found.into_iter().map(|violation| violation.rule.name()).collect()
}

#[test]
fn every_attempt_is_refused_by_the_rule_meant_for_it() {
    let mut wrong = String::new();
    for (expected, text) in HOSTILE {
        let text = format!("//! A line.\n{text}\n");
        match violations("a.rs", &text) {
            Ok(found) => {
                let rules: Vec<_> = found.iter().map(|violation| violation.rule.name()).collect();
                if rules.join(" ") != **expected {
                    wrong += &format!("{text}  expected {expected}, found {found:?}\n");
                }
            }
            Err(error) => wrong += &format!("{text}  expected {expected}, found {error:?}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(HOSTILE.len() >= 120);
}

#[test]
fn every_rule_has_an_attempt() {
    let tried: HashSet<&str> = HOSTILE.iter().flat_map(|(rules, _)| rules.split(' ')).collect();
    // Its attempts are made below, being long.
    for rule in Rule::all().filter(|rule| *rule != Rule::EmbeddedData) {
        assert!(tried.contains(rule.name()), "{rule}");
    }
}

/// Each is a whole file; together they use what an honest model, optimizer or schedule may need.
#[rustfmt::skip] // one file a line where it fits
const HONEST: &[&str] = &[
    "use tch::{self, nn, Device, IndexOp, Kind, NewAxis, Reduction, Scalar, Tensor, TensorIndexer};",
    "use harness::{Batch, Candidate, CandidateError, Precision, Progress, Scale, Setting};",
    "use kernels::{AdamStep, adamw, norm};\nfn f(x: &tch::Tensor) -> tch::Tensor { norm(&kernels::plain::squared_relu(&kernels::attention(x, x, x, 8))) }",
    "use std::collections::{BTreeMap, HashMap, VecDeque, hash_map::{self, Entry}};\nfn f() -> HashMap<String, f64> { HashMap::new() }",
    "use std::fmt::{self, Display};\nstruct A; impl fmt::Display for A { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, \"{}\", 1) } }",
    "use std::cell::{Cell, RefCell};\nuse std::rc::Rc;\nuse std::sync::Arc;\nstruct A { cache: Rc<RefCell<Vec<f64>>>, count: Cell<u64>, shared: Arc<str> }",
    "use std::f64::consts::PI;\nfn f(x: f64) -> f64 { (x * PI).cos() * std::f64::consts::E.powf(0.5) + f64::EPSILON.max(f64::from(1_u8)) }",
    "fn f(std: f64, data: &[f64], load: f64) -> f64 { let path = load; std * data[0] + path }",
    "struct Path { path: f64, process: f64, net: f64, fs: &'static str, env: f64, load: f64 }\nfn f(p: &Path) -> f64 { p.load + p.env + p.net * (p.process) }",
    "const TEXT: &str = \"#[path = x] unsafe { std::process::exit(1) } include_str!()\"; // std::fs::read",
    "/// No unsafe code, no include!() and no std::env here.\n#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]\nenum A { #[default] B, C }",
    "trait Mixer { const WIDTH: i64; type State: Clone; fn mix(&self, x: &tch::Tensor) -> tch::Tensor; fn width() -> i64 { Self::WIDTH * 2 } }\nfn f<M: Mixer>(m: &M, s: M::State) -> i64 where M::State: Default { let _ = <M as Mixer>::State::default(); M::width() + <M>::WIDTH }",
    "struct W<T, const N: usize>([T; N]);\nimpl<T: Copy + Into<f64>, const N: usize> W<T, N> { fn sum(&self) -> f64 { self.0.iter().map(|&x| x.into()).sum() } }",
    "fn f(x: &[f64]) -> Vec<f64> { x.iter().zip(1..).filter(|(x, _)| **x > 0.0).map(|(x, i)| x * f64::from(i)).collect::<Vec<_>>() }",
    "fn f() -> Box<dyn Fn(f64) -> f64> { let half = |x: f64| x * 0.5; Box::new(move |x| half(x)) }",
    "fn f() -> impl Iterator<Item = f64> { std::iter::successors(Some(1.0), |x| (*x > 0.1).then_some(x * 0.5)) }",
    "const WAVES: [[f64; 3]; 2] = [[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]];\nconst fn f() -> usize { WAVES.len() }",
    "#![allow(clippy::too_many_arguments, reason = \"shapes\")]\n#[inline(always)] #[must_use = \"a tensor\"] fn f() -> u8 { 1 }\n#[expect(dead_code)] #[cold] #[track_caller] fn g() {}\n#[rustfmt::skip] #[doc(hidden)] fn h() {}",
    "mod inner { use super::*; use super::super::recipe::Recipe; pub(super) fn f(r: &Recipe) -> f64 { super::g() } pub(in super::super) mod deep { pub fn h() { super::f(x); super::super::g(); } } }\nfn g() -> f64 { self::inner::f(x) }",
    "use super::model::{self, Model, Parameter as P, Role};\nuse super::recipe::*;\nuse crate::candidate::optimizer::Optimizer;\nuse Role::*;\nfn f(m: &Model) { model::norm(x); P::new(); let o: Optimizer = super::training::x(); }",
    "use tch::nn::{self, Module, OptimizerConfig};\nfn f(vs: &nn::Path) -> nn::Linear { nn::linear(vs / \"a\", 4, 4, nn::LinearConfig { bias: false, ..Default::default() }) }",
    "use tch::{Kind, Tensor};\nfn f(x: &Tensor) -> Tensor { let _guard = tch::no_grad_guard(); tch::no_grad(|| x.set_requires_grad(false)).to_kind(Kind::Float) + Tensor::zeros([2, 3], tch::kind::FLOAT_CPU) }",
    "use tch::Tensor;\nfn f(x: &Tensor) -> f64 { let v: Vec<f64> = Vec::try_from(x.flatten(0, -1)).unwrap_or_default(); let m = f64::try_from(x.mean(None)).unwrap_or(0.0); v[0] + m + x.double_value(&[0]) + x.std(true).double_value(&[]) }",
    "use harness::seeded;\nfn f(seed: u64) { seeded(seed, \"a\", || 1); harness::seeded(seed ^ 7, \"b\", || 2); seeded(self.seed.wrapping_add(3), \"c\", || 3); harness::seeded(*seed as u64, \"d\", || 4); }",
    "fn f(x: Option<f64>) -> Result<f64, String> { let Some(x) = x else { return Err(format!(\"no {what:?} in {:>4}\", 3, what = \"x\")) }; if let 0.0..=1.0 = x && x > 0.5 { Ok(x) } else { Err(\"y\".into()) } }",
    "fn f(role: &Role) -> u8 { match role { Role::Head | Role::Matrix => 1, Role::Other { rate, .. } if *rate > 0.5 => 2, _ => unreachable!(\"{}\", 1) } }\nenum Role { Head, Matrix, Other { rate: f64 } }",
    "fn f(n: usize) { assert!(n > 0, \"n is {n}\"); assert_eq!(n % 2, 0, \"odd {}\", n,); debug_assert!(matches!(n, 1..=8 | 16 if n > 2)); let mut v = vec![0.0; n]; v.resize(2 * n, 1.0); v.extend(vec![1.0, 2.0,]); let w: Vec<u8> = vec![]; todo!() }",
    "fn f<'a>(x: &'a mut [f64]) -> &'a f64 { 'rows: for i in (0..x.len()).rev().step_by(2) { loop { if x[i] > 1.0 { continue 'rows } x[i] += 1.0; break } } std::mem::swap(&mut x.to_vec(), &mut Vec::new()); &x[0] }",
    "use std::ops::{Add, Mul};\nstruct V(f64);\nimpl Add for V { type Output = V; fn add(self, o: V) -> Self::Output { V(self.0 + o.0) } }\nimpl Drop for V { fn drop(&mut self) {} }\nimpl std::iter::Sum for V { fn sum<I: Iterator<Item = V>>(i: I) -> V { i.fold(V(0.0), Add::add) } }",
    "impl From<Bad> for String { fn from(bad: Bad) -> String { bad.0 } }\nstruct Bad(String);\nimpl std::error::Error for Bad {}\ntype Answer<T> = std::result::Result<T, Bad>;\nfn f() -> Answer<core::num::NonZeroU8> { Err(Bad(String::new())) }",
    "use std::borrow::Cow;\nfn f(x: Cow<'_, str>) -> char { let s: String = x.chars().rev().collect(); char::from_digit(u32::from_str_radix(&s, 10).unwrap_or(0), 10).unwrap_or('0') }",
    "use std::hash::{DefaultHasher, Hash, Hasher};\nfn f(x: &str) -> u64 { let mut h = DefaultHasher::new(); x.hash(&mut h); h.finish() }",
    "struct Stage { f: fn(f64) -> f64 }\nfn f(s: &Stage) -> f64 { (s.f)(0.5) + [f64::sqrt, f64::abs].iter().map(|g| g(4.0)).sum::<f64>() }",
];

#[test]
fn nothing_honest_is_refused() {
    let mut wrong = String::new();
    for text in HONEST {
        match violations("a.rs", text) {
            Ok(found) if found.is_empty() => {}
            other => wrong += &format!("{text}\n  {other:?}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(HONEST.len() >= 30);
}

/// What the playbook and the tuner make is checked where they are tested.
#[test]
fn the_baseline_stays_well_below_the_limits() {
    for path in crate::edit::CANDIDATE_FILES {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap();
        assert_eq!(rules(&text), Vec::<&str>::new(), "{path}");
        // With four times as much of everything it would still pass.
        let file: String =
            (0..4).map(|i| format!("mod m{i} {{\n{text}\n}}\n").replace("use super::", "use super::super::")).collect();
        assert_eq!(rules(&file.replace("//!", "//")), Vec::<&str>::new(), "{path}");
    }
}

#[test]
fn places_are_exact() {
    let text = "// ä\nfn f() {\n    let ä = \"ö\"; std::fs::read(\n        env!(\"X\"));\n    x.load(1);\n}\n";
    let found: Vec<_> = violations("a.rs", text).unwrap().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    a.rs:3:9: `ä` is not allowed in a candidate (rule odd-name): use a short name in plain letters
    a.rs:3:18: `std::fs::read` is not allowed in a candidate (rule files): take data from the batch and keep what must last in parameters and state
    a.rs:4:9: `env!` is not allowed in a candidate (rule environment): put the value into the recipe
    a.rs:5:7: `.load()` is not allowed in a candidate (rule torch-files): keep what must last in parameters and state; give functions of your own another name
    ");
}

#[test]
fn tables_and_texts_are_limited() {
    let numbers = |count: usize| "1.5, ".repeat(count);
    let long = "x".repeat(literals::TEXT_BYTES);
    let cases = [
        (format!("const A: &[f64] = &[{}];", numbers(256)), false),
        (format!("const A: &[f64] = &[{}];", numbers(257)), true),
        (format!("fn f() {{ let a = vec![{}]; }}", numbers(257)), true),
        (format!("const A: &[&[f64]] = &[{}];", format!("&[{}], ", numbers(99)).repeat(3)), true),
        (format!("const A: &[B] = &[{}];", "X, ".repeat(257)), true),
        (format!("const A: (f64, [f64; 250]) = (1.0, [{}]);", numbers(256)), true),
        (format!("const A: &[u128] = &[{}];", "123456789012345678901234567890, ".repeat(150)), true),
        (format!("const A: &str = \"{}\";", &long[2..]), false),
        (format!("const A: &str = \"{long}\";"), true),
        (format!("const A: &[u8] = b\"{long}\";"), true),
        (format!("const A: &str = r#\"{long}\"#;"), true),
        (format!("fn f() {{ panic!(\"{long}\") }}"), true),
        (format!("/// {long}{long}\nfn f() {{}}"), false),
        ((0..10).map(|i| format!("const A{i}: &str = \"{}\";\n", &long[100..])).collect(), true),
        ((0..1001).map(|i| format!("const A{i}: u8 = 1;\n")).collect(), true),
        ((0..500).map(|i| format!("const A{i}: u8 = 1;\n")).collect(), false),
    ];
    for (text, refused) in cases {
        let expected: &[&str] = if refused { &["embedded-data"] } else { &[] };
        assert_eq!(rules(&text), expected, "{}", &text[..text.len().min(100)]);
    }
}

/// Nested in every way: just within the limits, on half of the stack that any thread has, and as long as a file may be.
#[test]
fn depth_is_refused_before_it_can_exhaust_anything() {
    let check = || {
        for (open, middle, close) in NESTED {
            for count in [30, 40, 47, 60, 80, 120, 230, 240, 250, 300, 65_000] {
                let count = count.min(65_000 / (open.len() + close.len()));
                let text = format!("fn f() {{ {}{middle}{} }}\n", open.repeat(count), close.repeat(count));
                let _ = violations("a.rs", &text);
            }
        }
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(check).unwrap().join().unwrap();
    for text in ["(".repeat(100_000), "[".repeat(100_000), "A<".repeat(100_000)] {
        assert!(violations("a.rs", &text).map_or(true, |found| !found.is_empty()));
    }
}

/// What opens, what stands in the middle, what closes.
#[rustfmt::skip]
const NESTED: &[(&str, &str, &str)] = &[
    ("(", "x", ")"), ("[", "x", "]"), ("{", "x", "}"), ("!", "x", ""), ("-", "x", ""), ("&", "x", ""), ("*", "x", ""),
    ("let a: A<", "B", ">;"), ("A::<", "B", ">::c()"), ("x as A<", "B", ">"), ("|a| ", "x", ""), ("|a, b| ", "x", ""), ("|_: A<B>| ", "x", ""),
    ("x + ", "x", ""), ("x = ", "x", ""), ("x..", "x", ""), ("return ", "x", ""), ("break ", "x", ""), ("if a {} else ", "{}", ""), ("if ", "x", " {}"),
    ("match x { _ => ", "x", "}"), ("x.f(", "x", ")"), ("f(|| ", "x", ")"), ("vec![", "x", "]"), ("format!(\"{}\", ", "x", ")"),
    ("matches!(x, A(", "x", "))"), ("", "x", ".f()"), ("", "x", "[0]"), ("", "x", "()"), ("", "x", "?"), ("", "x", " as u8"), ("", "x", ".await"),
    ("let ", "x", " = x;"), ("let &", "x", " = x;"), ("fn f() { ", "x", "}"), ("mod a { ", "", "}"), ("use a::{", "b", "};"), ("use ", "a", "::b;"),
    ("impl A<", "B", "> {}"), ("let a: fn() -> ", "B", ";"), ("let a: impl Fn() -> ", "B", ";"), ("let a: [", "u8", "; 2];"), ("let a: (", "u8", ",);"),
    ("let a: &'a ", "u8", ";"), ("async move ", "x", ""), ("const { ", "x", " }"), ("'a: loop { ", "x", " }"), ("while x { ", "x", " }"), ("for x in ", "x", " {}"),
    ("A { b: ", "x", " }"), ("if let A { b: ", "x", " } = x {}"), ("match x { A(", "x", ") => {} }"), ("<A as B<", "x", ">>::c"), ("x < ", "y", ""), ("a::b::<", "x", ">"),
    ("move || -> A { ", "x", " }"), ("dyn Fn(", "x", ")"), ("(x, ", "x", ")"), ("x; ", "", ""), ("a < b > ", "x", ""), ("x << ", "x", ""), ("#[inline] ", "x", ""), ("return || ", "x", ""),
];

proptest! {
    #[test]
    fn never_panics_on_any_text(text in "\\PC{0,60}") {
        let _ = violations("a.rs", &text);
    }

    /// Pieces of Rust in any order.
    #[test]
    fn never_panics_on_any_tokens(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let _ = violations("a.rs", &pieces.join(" "));
    }

    /// Honest and hostile files cut off, doubled and mixed.
    #[test]
    fn never_panics_on_damaged_files(a in prop::sample::select(HOSTILE), b in prop::sample::select(HONEST), cut in 0.0..1.0f64) {
        let text = format!("{b}\n{}", a.1);
        let _ = violations("a.rs", &text);
        let end = (0..=text.len()).rev().find(|end| *end as f64 <= cut * text.len() as f64 && text.is_char_boundary(*end));
        let _ = violations("a.rs", &text[..end.unwrap_or(0)]);
    }
}

const PIECES: &[&str] = &[
    "fn",
    "f",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    "::",
    ":",
    ";",
    ",",
    ".",
    "->",
    "=>",
    "=",
    "&",
    "*",
    "|",
    "||",
    "!",
    "#",
    "'a",
    "let",
    "mut",
    "match",
    "if",
    "else",
    "for",
    "in",
    "impl",
    "struct",
    "enum",
    "use",
    "mod",
    "static",
    "const",
    "unsafe",
    "extern",
    "std",
    "tch",
    "self",
    "super",
    "crate",
    "as",
    "seeded",
    "harness",
    "vec!",
    "format!",
    "matches!",
    "include!",
    "1",
    "1.5",
    "\"x\"",
    "b\"x\"",
    "c\"x\"",
    "r#type",
    "_",
    "..",
    "?",
    "dyn",
    "async",
    "move",
    "where",
    "#[derive(A)]",
    "#[doc = 1]",
    "#![x]",
    "union",
    "macro",
];
