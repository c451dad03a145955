//! Makes every candidate of the tests real: one generated crate, under the workspace's `target/tmp` and sharing its target
//! folder, holds each as a module, and one executable is the trainer of them all; it goes by the name that it is called by.

use std::path::{Path, PathBuf};
use std::process::Command;

use nocturne::edit::{CANDIDATE_FILES, CheckedPatch, Policy, apply, blocks};
use nocturne::flow::{Author, Edit, Proposal, SourceFile};
use nocturne::propose::Playbook;
use protocol::{Precision, Scale, Setting};
use rand::{RngExt as _, SeedableRng as _};

use super::attempts::attempts;
use super::catalogue::evaluator_cheats;
use super::generated::{self, root, write};
use super::honest::{HONEST, Source};

/// How large everything is. The generated crate holds all sizes, one for each of the recipe's scales.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// The recipe's constructor that holds these numbers.
    pub scale: Scale,
    /// Layers of the usual model.
    pub depth: i64,
    /// Its width.
    pub dim: i64,
    /// Width of a head.
    pub head_dim: i64,
    /// Rows of a training step.
    pub step_rows: i64,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Tokens of a row.
    pub context: usize,
    /// Held-out rows.
    pub rows: usize,
    /// Training steps.
    pub steps: u64,
}

/// Everything in seconds.
pub const SMALL: Size = Size {
    scale: Scale::Cpu,
    depth: 2,
    dim: 32,
    head_dim: 16,
    step_rows: 8,
    vocabulary: 512,
    context: 64,
    rows: 64,
    steps: 20,
};

/// Half way to the scale of two cores.
pub const NEAR: Size = Size {
    scale: Scale::Gpu,
    depth: 3,
    dim: 64,
    head_dim: 32,
    step_rows: 8,
    vocabulary: 1_024,
    context: 128,
    rows: 64,
    steps: 20,
};

/// The scale of two cores itself.
pub const WHOLE: Size = Size {
    scale: Scale::H100,
    depth: 4,
    dim: 256,
    head_dim: 64,
    step_rows: 16,
    vocabulary: 2_048,
    context: 256,
    rows: 256,
    steps: 6,
};

/// Name of the generated crate.
const CRATE: &str = "cheat-check";

/// The repository's candidate.
pub fn baseline() -> Vec<SourceFile> {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    CANDIDATE_FILES.iter().map(|path| SourceFile { path: (*path).to_owned(), text: read(path) }).collect()
}

/// Edits as somebody would propose them.
pub fn proposal(name: &str, edits: Vec<Edit>) -> Proposal {
    Proposal {
        key: name.to_owned(),
        title: name.to_owned(),
        hypothesis: "It lowers the number.".to_owned(),
        source: "a test".to_owned(),
        family: "test".to_owned(),
        predicted_effect: None,
        confidence: None,
        edits,
        author: Author { proposer: "model".to_owned(), model: None, cost_usd: 0.0 },
    }
}

/// All candidate files with edits in place, through the policy.
pub fn patched(name: &str, edits: Vec<Edit>) -> Vec<SourceFile> {
    let base = baseline();
    let patch = CheckedPatch::check(&proposal(name, edits), &base, &Policy::default())
        .unwrap_or_else(|error| panic!("{name}: the policy refuses it: {error}"));
    overlay(&base, patch.files())
}

/// `base` with the files of `edited` in their places.
pub fn overlay(base: &[SourceFile], edited: &[SourceFile]) -> Vec<SourceFile> {
    let newest = |file: &SourceFile| edited.iter().find(|edited| edited.path == file.path).unwrap_or(file).clone();
    base.iter().map(newest).collect()
}

/// The recipe with the sizes' numbers in place of its scales'.
fn shaped(files: &[SourceFile], deeper: i64, narrower: i64) -> Vec<SourceFile> {
    let mut files = files.to_vec();
    for file in files.iter_mut().filter(|file| file.path.ends_with("recipe.rs")) {
        for size in [SMALL, NEAR, WHOLE] {
            let start = format!("    pub fn {}() -> Recipe {{\n        Recipe::base(Shape {{\n", size.scale.name());
            let from = file.text.find(&start).unwrap() + start.len();
            let to = from + file.text[from..].find("        })\n").unwrap();
            let (depth, dim) = (size.depth + deeper, size.dim / narrower);
            let (head_dim, rows) = (size.head_dim.min(dim), size.step_rows);
            let tokens = rows * size.context as i64;
            let numbers = format!(
                "depth: {depth}, dim: {dim}, head_dim: {head_dim}, tokens_per_step: {tokens}, micro_batch_rows: {rows},\n"
            );
            file.text.replace_range(from..to, &numbers);
        }
        // No more than the narrowest model has; where value embeddings are gone, so is the line.
        file.text = file.text.replace("gate_channels: 32,", "gate_channels: 16,");
    }
    files
}

/// A folder that no sandbox shows, at a place that candidates can be told of.
pub fn secrets() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cheat-check-secrets")
}

/// Every candidate: its name and its files. Attempts on the sandbox have not been through the policy.
fn candidates() -> Vec<(String, Vec<SourceFile>)> {
    let playbook = Playbook::load().unwrap();
    let mut all = Vec::new();
    for honest in HONEST {
        let files = match honest.source {
            Source::Baseline => baseline(),
            Source::Edits(text) => patched(honest.name, blocks::parse(text).unwrap()),
            Source::Playbook(id) => {
                let idea = playbook.ideas().iter().find(|idea| idea.id == id).unwrap();
                patched(honest.name, idea.proposal().edits)
            }
        };
        all.push((honest.name.to_owned(), shaped(&files, honest.deeper, honest.narrower)));
    }
    for cheat in evaluator_cheats() {
        let edits = blocks::parse(&cheat.blocks).unwrap_or_else(|error| panic!("{}: {error}", cheat.name));
        all.push((cheat.name.clone(), shaped(&patched(&cheat.name, edits), 0, 1)));
    }
    for attempt in attempts() {
        let edits = blocks::parse(&attempt.blocks(&secrets().display().to_string())).unwrap();
        all.push((attempt.name.to_owned(), shaped(&apply(&baseline(), &edits).unwrap(), 0, 1)));
    }
    all
}

/// The executables, and the folder with their data.
pub struct Workshop {
    /// How large everything is.
    pub size: Size,
    executable: PathBuf,
}

impl Workshop {
    /// Generates and compiles.
    pub fn open(size: Size) -> Workshop {
        let folder = generated::folder(CRATE);
        let (mut modules, mut calls) = (String::new(), String::new());
        let all = candidates();
        let plain = all[0].1.clone();
        for (name, files) in all {
            let module = name.replace('-', "_");
            // A file that is the plain model's, and that uses no edited one, is not compiled again.
            let same = |last: &str| files.iter().zip(&plain).all(|(a, b)| !a.path.ends_with(last) || a.text == b.text);
            let shared: &[&str] = match () {
                () if name == "plain" || !same("recipe.rs") => &[],
                () if !same("model.rs") => &["recipe"],
                () if !same("optimizer.rs") => &["recipe", "model"],
                () => &["recipe", "model", "optimizer"],
            };
            let mut inside = String::new();
            for file in &files {
                let last = file.path.rsplit('/').next().unwrap();
                let part = last.trim_end_matches(".rs");
                if shared.contains(&part) {
                    inside += &format!(" pub use super::plain::{part};");
                } else {
                    inside += &format!(" pub mod {part};");
                    write(&folder.join("src/candidates").join(&module).join(last), &file.text);
                }
            }
            modules += &format!("pub mod {module} {{{inside} }}\n");
            calls += &format!("    {name:?} => {module},\n");
        }
        write(&folder.join("src/candidates.rs"), &modules);
        write(&folder.join("src/calls.rs"), &format!("dispatch! {{\n{calls}}}\n"));
        write(&folder.join("src/main.rs"), include_str!("binary.rs"));
        let executable = generated::build(CRATE, &folder, "serde_json = \"*\"\n");
        Workshop { size, executable }
    }

    /// What candidates are built from.
    pub fn setting(&self, precision: Precision) -> Setting {
        let Size { scale, vocabulary, context, .. } = self.size;
        Setting { scale, vocabulary, context, device: "cpu".to_owned(), precision, threads: 1 }
    }

    /// Text and a setting, in `folder`.
    pub fn lay_out(&self, folder: &Path, precision: Precision) {
        text(folder, self.size);
        std::fs::write(folder.join("setting.json"), serde_json::to_vec(&self.setting(precision)).unwrap()).unwrap();
    }

    /// A checkpoint of each named candidate, in `folder`. Returns a line on each.
    pub fn make(&self, folder: &Path, names: &[&str]) -> Vec<String> {
        let share = |names: &[&str]| {
            let mut command = Command::new(&self.executable);
            command.arg("make").arg(folder).arg(self.size.steps.to_string()).args(names);
            command
        };
        generated::lines_of(names.chunks(names.len().div_ceil(generated::shares()).max(1)).map(share).collect())
    }

    /// The trainer of one candidate, in `folder`.
    pub fn trainer(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(format!("candidate-{name}"));
        if !path.exists() {
            // Another file system has no hard links to this one.
            std::fs::hard_link(&self.executable, &path)
                .or_else(|_| std::fs::copy(&self.executable, &path).map(drop))
                .unwrap();
        }
        path
    }
}

/// Bytes that each token stands for: 0 for the start of a document, then 1 to 6.
pub fn token_bytes(vocabulary: usize) -> Vec<u16> {
    (0..vocabulary as u16).map(|id| if id == 0 { 0 } else { 1 + id % 6 }).collect()
}

/// Writes `train.rows`, `search.rows`, `train.tokens`, `train.index` and `token_bytes.bin`: a language of words that follow
/// each other by habit, documents of a topic each, a word now and then out of place.
fn text(folder: &Path, size: Size) {
    let mut draw = rand_chacha::ChaCha8Rng::seed_from_u64(20_261_121);
    let words = size.vocabulary as u16 - 1;
    // Zipf's law, roughly: the square of a uniform number.
    let word = |draw: &mut rand_chacha::ChaCha8Rng| {
        let uniform: f64 = draw.random();
        1 + ((uniform * uniform * f64::from(words)) as u16).min(words - 1)
    };
    let habits: Vec<[u16; 3]> =
        (0..size.vocabulary).map(|_| [word(&mut draw), word(&mut draw), word(&mut draw)]).collect();
    let mut documents = |tokens: usize| {
        let (mut text, mut index) = (Vec::<u16>::new(), Vec::<u64>::new());
        while text.len() < tokens {
            index.push(text.len() as u64);
            text.push(0);
            let topic: Vec<u16> = (0..4).map(|_| word(&mut draw)).collect();
            let mut last = word(&mut draw);
            for _ in 0..draw.random_range(20..200) {
                text.push(last);
                last = match draw.random_range(0..20) {
                    0..13 => habits[usize::from(last)][usize::from(draw.random_range(0..6u8) / 3)],
                    13..16 => topic[draw.random_range(0..4)],
                    _ => word(&mut draw),
                };
            }
        }
        index.push(text.len() as u64);
        (text, index)
    };
    let width = size.context + 1;
    let mut rows = |count: usize| {
        let (mut text, index) = documents(count * width);
        let mut rows = text.clone();
        rows.truncate(count * width);
        rows.chunks_exact_mut(width).for_each(|row| row[0] = 0);
        (rows, std::mem::take(&mut text), index)
    };
    let bytes = |tokens: &[u16]| tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>();
    let put = |name: &str, content: Vec<u8>| std::fs::write(folder.join(name), content).unwrap();
    let (train, tokens, index) = rows(512);
    put("train.rows", bytes(&train));
    put("train.tokens", bytes(&tokens));
    put("train.index", index.iter().flat_map(|offset| offset.to_le_bytes()).collect());
    put("search.rows", bytes(&rows(size.rows).0));
    put("token_bytes.bin", bytes(&token_bytes(size.vocabulary)));
}
