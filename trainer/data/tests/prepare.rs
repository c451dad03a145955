//! `prepare` from end to end, on small corpora.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use data::prepare::{HubFile, Options, Source, Stage, Tokenizer, key, prepare};
use data::{BOS, Manifest, Packer, Shards, files};

/// A sentence that depends on `i` and is not like the others.
fn document(i: u32) -> String {
    const WORDS: [&str; 8] = ["river", "stone", "cloud", "train", "letter", "garden", "signal", "harbour"];
    let word = |j: u32| WORDS[(i.wrapping_mul(2_654_435_761).rotate_left(j * 5) % 8) as usize];
    let sentence = |j: u32| format!("The {} of number {} went to the {}.\n", word(j), i + j, word(j + 3));
    (0..5).map(sentence).collect()
}

/// A corpus of one .jsonl file with `n` documents, some of them copies or empty.
fn corpus(dir: &Path, n: u32) -> Source {
    let line = |i: u32| {
        let text = if i % 50 == 7 { String::new() } else { document(if i % 20 == 3 { i / 2 } else { i }) };
        serde_json::json!({ "id": i, "text": text }).to_string() + "\n"
    };
    let path = dir.join("corpus.jsonl");
    fs::write(&path, (0..n).map(line).collect::<String>()).unwrap();
    Source::files(&[path], "text").unwrap()
}

fn options() -> Options {
    Options { search_rows: 12, sealed_rows: 9, max_piece_bytes: Some(120), ..Options::new(320, 32) }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    names(dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

fn run(source: &Source, options: &Options, out: &Path) -> Result<Manifest, String> {
    prepare(source, options, out, &mut |_| ()).map_err(|error| error.to_string())
}

#[test]
fn two_runs_give_identical_bytes_on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let source = corpus(dir.path(), 600);
    let mut results = Vec::new();
    for threads in [1, 1, 2, 5] {
        let out = dir.path().join(format!("out-{}", results.len()));
        run(&source, &Options { threads: Some(threads), ..options() }, &out).unwrap();
        results.push(contents(&out));
    }
    assert!(results.iter().all(|result| result == &results[0]));
}

#[test]
fn the_folder_is_what_the_manifest_says() {
    let dir = tempfile::tempdir().unwrap();
    let source = corpus(dir.path(), 600);
    let out = dir.path().join("out");
    let mut stages = Vec::new();
    let manifest = prepare(&source, &options(), &out, &mut |progress| {
        assert!(progress.done <= progress.total);
        if stages.last() != Some(&progress.stage) {
            stages.push(progress.stage);
        }
    })
    .unwrap();
    assert_eq!(stages, [Stage::Read, Stage::Count, Stage::Tokenizer, Stage::Encode]);
    assert_eq!(Manifest::open(&out).unwrap(), manifest);
    manifest.verify(&out).unwrap();
    assert_eq!(names(dir.path()), ["corpus.jsonl", "out"], "no lock and nothing half-made is left");
    assert_eq!(manifest.key, key(&source, &options()));
    assert_eq!((manifest.empty_documents, manifest.duplicate_documents), (12, 30));
    let splits = &manifest.splits;
    let all = [&splits.train, &splits.search, &splits.sealed];
    assert_eq!(all.iter().map(|split| split.documents).sum::<u64>(), 600 - 12 - 30);

    let shards = Shards::open(&out).unwrap();
    assert_eq!(shards.documents() as u64, splits.train.pieces);
    assert_eq!(shards.tokens().len() as u64, splits.train.tokens);
    let token_bytes = manifest.token_bytes(&out).unwrap();
    let bytes: u64 = shards.tokens().iter().map(|&t| u64::from(token_bytes.bytes(t).unwrap())).sum();
    assert_eq!(bytes, splits.train.bytes, "tokens stand for the text and nothing else");
    let (search, sealed) = (manifest.search_rows(&out).unwrap(), manifest.sealed_rows(&out).unwrap());
    assert_eq!((search.len(), sealed.len(), search.context()), (12, 9, 32));
    let mut row = Vec::new();
    Packer::new(&shards, 32, 1).next_row(&mut row);
    assert_eq!((row.len(), row[0]), (33, BOS));

    let tokenizer = Tokenizer::load(&manifest.tokenizer_path(&out)).unwrap();
    assert_eq!(tokenizer.vocabulary(), 320);
    let scored: u64 = token_bytes.scored(&search).unwrap().iter().map(|&n| u64::from(n)).sum();
    assert_eq!(scored, tokenizer.decode_bytes(search.tokens()).len() as u64);
}

#[test]
fn splits_share_no_document_and_lose_none() {
    let dir = tempfile::tempdir().unwrap();
    let source = corpus(dir.path(), 600);
    let out = dir.path().join("out");
    // Uncut, so that every document can be told by its text.
    let manifest = run(&source, &Options { max_piece_bytes: None, ..options() }, &out).unwrap();
    let tokenizer = Tokenizer::load(&manifest.tokenizer_path(&out)).unwrap();
    let shards = Shards::open(&out).unwrap();
    let train: HashSet<String> = (0..shards.documents()).map(|i| tokenizer.decode(shards.document(i))).collect();
    assert_eq!(train.len() as u64, manifest.splits.train.documents, "no copies");
    let all: HashSet<String> = (0..600).map(document).collect();
    assert!(train.is_subset(&all));
    let starts = |rows: data::Rows| -> HashSet<String> {
        let documents = |row: &[u16]| -> Vec<String> {
            row.split(|&token| token == BOS).skip(1).map(|tokens| tokenizer.decode(tokens)).collect()
        };
        rows.iter().flat_map(documents).filter(|start| start.len() > 30).collect()
    };
    let (search, sealed) = (starts(manifest.search_rows(&out).unwrap()), starts(manifest.sealed_rows(&out).unwrap()));
    assert!(!search.is_empty() && search.is_disjoint(&sealed));
    for start in search.union(&sealed) {
        assert!(!train.iter().any(|text| text.starts_with(start)), "held-out text is trained on: {start}");
    }
}

#[test]
fn done_is_done_and_other_data_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let source = corpus(dir.path(), 600);
    let out = dir.path().join("out");
    let first = run(&source, &options(), &out).unwrap();
    let again = prepare(&source, &options(), &out, &mut |progress| panic!("{progress:?}")).unwrap();
    assert_eq!(first, again);
    let other = run(&source, &Options { vocabulary: 300, ..options() }, &out).unwrap_err();
    assert!(other.contains("other text or options"), "{other}");
    fs::remove_file(out.join(files::SEARCH_ROWS)).unwrap();
    let damaged = run(&source, &options(), &out).unwrap_err();
    assert!(damaged.contains("search.rows"), "{damaged}");
}

#[test]
fn the_key_changes_with_the_source_and_the_options_only() {
    let dir = tempfile::tempdir().unwrap();
    let first = key(&corpus(dir.path(), 100), &options());
    assert_eq!(key(&corpus(dir.path(), 100), &Options { threads: Some(3), ..options() }), first);
    let moved = tempfile::tempdir().unwrap();
    assert_eq!(key(&corpus(moved.path(), 100), &options()), first, "where the files are does not matter");
    assert_ne!(key(&corpus(dir.path(), 101), &options()), first);
    assert_ne!(key(&corpus(dir.path(), 100), &Options { context: 33, ..options() }), first);
    let path = dir.path().join("corpus.jsonl");
    assert_ne!(key(&Source::files(&[path], "body").unwrap(), &options()), first);
}

#[test]
fn every_error_names_its_file_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        Source::files(&[path], "text").map_err(|error| error.to_string())
    };
    let good: String = (0..300).map(|i| serde_json::json!({ "text": document(i) }).to_string() + "\n").collect();
    let cases = [
        (write("latin.txt", b"caf\xE9"), "latin.txt is not UTF-8 at byte 3"),
        (write("empty.txt", b""), "empty.txt is empty"),
        (write("cut.parquet", b"PAR1xxxxxxxx"), "cut.parquet is not a whole Parquet file"),
        (write("field.jsonl", (good.clone() + "{\"t\": 1}\n").as_bytes()), "field.jsonl, line 301: there is no `text`"),
        (
            write("small.txt", b"too little text"),
            "small.txt) is too small for the split: after removing copies it has 1",
        ),
        (write("blank.jsonl", b"{\"text\": \" \"}\n"), "it has 0 documents with 0 bytes"),
        (write("table.csv", b"a,b"), "table.csv: only"),
    ];
    for (source, expected) in cases {
        let out = dir.path().join("out");
        let error = source.and_then(|source| run(&source, &options(), &out)).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!out.exists() && !names(dir.path()).iter().any(|name| name.starts_with('.')), "{error}");
    }
    let source = write("good.jsonl", good.as_bytes()).unwrap();
    let large = Options { vocabulary: 20_000, ..options() };
    let error = run(&source, &large, &dir.path().join("out")).unwrap_err();
    assert!(error.contains("good.jsonl) gives a vocabulary of") && error.contains("20000 were asked for"), "{error}");
    let wrong = Options { vocabulary: 200, ..options() };
    assert!(run(&source, &wrong, &dir.path().join("out")).unwrap_err().contains("257 to 65536"));
    let none = Source::files(&[dir.path().join("missing")], "text").unwrap_err().to_string();
    assert!(none.contains("cannot find") && none.contains("missing"), "{none}");
    assert!(!names(dir.path()).contains(&"out".to_string()));
}

#[test]
fn leftovers_of_an_interrupted_run_are_removed_and_never_used() {
    let dir = tempfile::tempdir().unwrap();
    let source = corpus(dir.path(), 600);
    let partial = dir.path().join(".out.partial");
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join(files::TRAIN_TOKENS), "half a file").unwrap();
    fs::write(partial.join(files::MANIFEST), "{}").unwrap();
    let out = dir.path().join("out");
    run(&source, &options(), &out).unwrap().verify(&out).unwrap();
    assert_eq!(names(dir.path()), ["corpus.jsonl", "out"]);
}

#[test]
fn python_sources_are_found_sorted_and_cut() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("package");
    for i in 0..150u32 {
        let folder = root.join(format!("m{}", i % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("f{i}.py")), document(i) + "\n" + &document(i + 1_000)).unwrap();
    }
    fs::write(root.join("__init__.py"), "").unwrap();
    fs::write(root.join("data.bin"), [0xFF]).unwrap();
    fs::create_dir(root.join(".git")).unwrap();
    fs::write(root.join(".git/hook.py"), "hidden").unwrap();
    std::os::unix::fs::symlink(&root, root.join("loop")).unwrap();
    let source = Source::python(&root).unwrap();
    let read: Vec<&str> = source.files_read().map(|file| file.name.as_str()).collect();
    assert_eq!((read.len(), read[0], read[1]), (151, "__init__.py", "m0/f0.py"));
    let sized = Options { search_rows: 5, sealed_rows: 5, ..Options::for_source(&source, 300, 32) };
    assert_eq!(sized.max_piece_bytes, Some(96));
    let manifest = run(&source, &sized, &dir.path().join("out")).unwrap();
    assert_eq!(manifest.empty_documents, 1);
    assert!(manifest.splits.train.pieces > 3 * manifest.splits.train.documents);
    let empty = tempfile::tempdir().unwrap();
    assert!(Source::python(empty.path()).unwrap_err().to_string().contains("no Python (.py) file"));
}

/// Text of about `bytes` bytes in paragraphs, none of which is in another book.
fn book(number: u32, bytes: usize) -> String {
    let mut text = String::new();
    for paragraph in 0.. {
        text += &(document(number * 100_000 + paragraph) + "\n");
        if text.len() > bytes {
            break;
        }
    }
    text
}

#[test]
fn few_long_documents_are_cut_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    (0..40).for_each(|i| fs::write(dir.path().join(format!("{i}.txt")), book(i, 20_000)).unwrap());
    let source = Source::files(&[dir.path().to_path_buf()], "text").unwrap();
    let sized = Options { search_rows: 100, sealed_rows: 100, ..Options::for_source(&source, 320, 64) };
    let out = tempfile::tempdir().unwrap();
    let manifest = run(&source, &sized, &out.path().join("cut")).unwrap();
    let train = &manifest.splits.train;
    assert!(train.documents >= 24 && train.pieces > 100 * train.documents, "{train:?}");
    assert!(manifest.packed_tokens * 10 > train.tokens * 6 && manifest.packed_tokens < train.tokens, "{manifest:?}");
    assert_eq!(manifest.dealt_by, "document");
    let uncut = Options { search_rows: 2, sealed_rows: 2, max_piece_bytes: None, ..sized.clone() };
    let manifest = run(&source, &uncut, &out.path().join("uncut")).unwrap();
    assert!(manifest.packed_tokens * 50 < manifest.splits.train.tokens, "{manifest:?}");
    // A document of less than eight rows stays whole, as in the ancestor, unless it is asked to be cut.
    let source = corpus(dir.path(), 600);
    let sized = Options { search_rows: 12, sealed_rows: 9, ..Options::for_source(&source, 320, 32) };
    let whole = run(&source, &sized, &out.path().join("whole")).unwrap().splits.train;
    assert_eq!(whole.pieces, whole.documents);
    let cut = run(&source, &sized.cut_at(96), &out.path().join("pieces")).unwrap().splits.train;
    assert!(cut.pieces > 2 * cut.documents);
}

#[test]
fn neighbouring_paragraphs_of_a_long_text_are_on_one_side() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("book.txt");
    let text = book(1, 2_000_000);
    fs::write(&path, &text).unwrap();
    let source = Source::files(&[path], "text").unwrap();
    let sized = Options { search_rows: 40, sealed_rows: 40, ..Options::for_source(&source, 320, 64) };
    let out = dir.path().join("out");
    let manifest = run(&source, &sized, &out).unwrap();
    assert_eq!(manifest.dealt_by, "document; 1 long text files in runs of at least 65536 bytes");
    let tokenizer = Tokenizer::load(&manifest.tokenizer_path(&out)).unwrap();
    let shards = Shards::open(&out).unwrap();
    // Training pieces are in the order of the text, so every gap between two is held-out text: a run, or some in a row.
    let (mut end, mut gaps) = (0, Vec::new());
    for i in 0..shards.documents() {
        let piece = tokenizer.decode(shards.document(i));
        let gap = text[end..].find(&piece).unwrap();
        gaps.extend((gap > 0).then_some(gap));
        end += gap + piece.len();
    }
    assert!(!gaps.is_empty() && gaps.iter().all(|&gap| gap >= 60_000), "{gaps:?}");
}

#[test]
fn a_hubs_file_that_is_not_what_was_listed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let listed = corpus(dir.path(), 300).files_read().next().unwrap().sha256.clone();
    let path = dir.path().join("corpus.jsonl");
    let source = || {
        let file = HubFile { name: "a.jsonl".into(), path: path.clone(), sha256: Some(listed.clone()) };
        Source::hub("someone/texts", "f00", &[file], "text").unwrap()
    };
    let out = dir.path().join("out");
    let good = fs::read(&path).unwrap();
    // The size is right, and it still parses.
    fs::write(&path, String::from_utf8(good.clone()).unwrap().replacen("river", "rover", 1)).unwrap();
    let error = run(&source(), &options(), &out).unwrap_err();
    assert!(error.contains("corpus.jsonl has SHA-256") && error.contains(&listed), "{error}");
    assert_eq!(names(dir.path()), ["corpus.jsonl"]);
    fs::write(&path, good).unwrap();
    run(&source(), &options(), &out).unwrap();
}

#[test]
fn files_of_a_hub_keep_their_names_and_order() {
    let dir = tempfile::tempdir().unwrap();
    corpus(dir.path(), 300);
    let path: PathBuf = dir.path().join("corpus.jsonl");
    let cached = dir.path().join("0123abcd");
    fs::rename(&path, &cached).unwrap();
    let file = HubFile { name: "data/part-1.jsonl".into(), path: cached, sha256: None };
    let source = Source::hub("someone/texts", "f00", &[file], "text").unwrap();
    assert_eq!(source.to_string(), "data set someone/texts at f00, 1 files");
    let manifest = run(&source, &options(), &dir.path().join("out")).unwrap();
    assert_eq!(manifest.source_files[0].name, "data/part-1.jsonl");
}
