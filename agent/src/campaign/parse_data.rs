//! `[data]`: where the text comes from, how it is cut, and which combinations make no sense.

use std::ops::Range;
use std::path::{Path, PathBuf};

use protocol::Scale;

use super::reader::{Found, Reader, Section};
use super::{Data, DataSource, HubFiles};

/// BOS and the 256 bytes.
const LEAST_VOCABULARY: u64 = 257;
/// Token ids are 16 bit.
const MOST_VOCABULARY: u64 = 65_536;
const MOST_CONTEXT: u64 = 65_536;
const MOST_ROWS: u64 = 10_000_000;
/// What crate `data` can cut at least to.
const LEAST_PIECE: u64 = 16;
const MOST_PIECE: u64 = 1 << 30;

/// Reads the section; the scale gives its defaults.
pub(super) fn read_data(reader: &mut Reader, top: &Section<'_>, scale: Scale) -> Option<Data> {
    let data = reader.section(top, "data");
    let source = read_source(reader, &data);
    let vocabulary = reader.integer(&data, "vocabulary", LEAST_VOCABULARY..=MOST_VOCABULARY, "tokens");
    let context = reader.integer(&data, "context", 2..=MOST_CONTEXT, "tokens");
    let search_rows = reader.integer(&data, "search_rows", 1..=MOST_ROWS, "rows");
    let sealed_rows = reader.integer(&data, "sealed_rows", 1..=MOST_ROWS, "rows");
    let max_train_bytes = reader.integer(&data, "max_train_bytes", 1..=u64::MAX, "bytes");
    let max_piece_bytes = reader.integer(&data, "max_piece_bytes", LEAST_PIECE..=MOST_PIECE, "bytes");
    let sample = reader.integer(&data, "tokenizer_sample_bytes", 1..=u64::MAX, "bytes");
    if let (Some((most, _)), Some((sample, span))) = (&max_train_bytes, &sample)
        && sample > most
    {
        let message = "the tokenizer's sample is larger than the training text";
        let help = format!("`tokenizer_sample_bytes` may be at most `max_train_bytes`, {most}");
        reader.problem(span.clone(), message, "more than there will be", Some(help));
    }
    let max_train_bytes = max_train_bytes.map(|(bytes, _)| bytes);
    // Held-out text: some half a megabyte, 8 and 32 megabytes, so that its share of the noise stays below that of the seeds.
    let (rows, default_sample) = match scale {
        Scale::Cpu => (512, 8_000_000),
        Scale::Gpu => (2_048, 128_000_000),
        Scale::H100 => (4_096, 256_000_000),
    };
    let default_sample = max_train_bytes.map_or(default_sample, |most| most.min(default_sample));
    let size = |found: Option<Found<u64>>, default: usize| {
        found.and_then(|(number, _)| usize::try_from(number).ok()).unwrap_or(default)
    };
    Some(Data {
        source: source?,
        vocabulary: size(vocabulary, scale.vocabulary()),
        context: size(context, scale.context()),
        search_rows: size(search_rows, rows),
        sealed_rows: size(sealed_rows, rows),
        max_train_bytes,
        max_piece_bytes: max_piece_bytes.and_then(|(bytes, _)| usize::try_from(bytes).ok()),
        tokenizer_sample_bytes: sample.map_or(default_sample, |(bytes, _)| bytes),
    })
}

fn read_source(reader: &mut Reader, data: &Section<'_>) -> Option<DataSource> {
    let embedded = reader.choice(data, "embedded", &["libtorch-python"]);
    let files = reader.texts(data, "files", "paths");
    let hub = reader.section(data, "hub");
    let text_field = reader.text(data, "text_field", "the name of a field or column");
    let hub_source = if data.has("hub") { read_hub(reader, &hub) } else { None };

    let named: Vec<&str> = ["embedded", "files", "hub"].into_iter().filter(|key| data.has(key)).collect();
    match named.as_slice() {
        [] if ["embedded", "files", "hub"].into_iter().any(|key| reader.wrote(data, key)) => return None,
        [] => {
            let help = "add `embedded = \"libtorch-python\"`, `files = [\"corpus.txt\"]` or `hub = { repo = \"...\", ... }` to `[data]`";
            let expected = "expected `embedded`, `files` or `hub`";
            reader.problem(data.span.clone(), "the source of the text is missing", expected, Some(help.to_owned()));
            return None;
        }
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                let message = format!("[data] has both `{first}` and `{other}`");
                reader.problem(
                    data.key_span(other),
                    message,
                    "a second source",
                    Some("keep one source of text".to_owned()),
                );
            }
            return None;
        }
    }
    if embedded.is_some() && data.has("text_field") {
        let help =
            "`text_field` says which field of .jsonl or .parquet files holds the text; remove it here".to_owned();
        reader.problem(
            data.key_span("text_field"),
            "the embedded corpus has no fields",
            "nothing to choose",
            Some(help),
        );
    }
    let text_field = text_field.map_or_else(|| "text".to_owned(), |(field, _)| field);
    if let Some((files, _)) = files {
        // Folders stand without a kind, or end in a slash where their name has a dot.
        let is_folder = |file: &str| file.ends_with('/') || Path::new(file).extension().is_none();
        for (file, span) in files.iter().filter(|(file, _)| !is_folder(file)) {
            refuse_unreadable_kind(reader, file, span.clone());
        }
        let files = files.into_iter().map(|(file, _)| PathBuf::from(file)).collect();
        return Some(DataSource::Files { files, text_field });
    }
    match hub_source {
        Some((repo, revision, files)) => Some(DataSource::Hub { repo, revision, files, text_field }),
        None => embedded.map(|_| DataSource::LibtorchPython),
    }
}

fn read_hub(reader: &mut Reader, hub: &Section<'_>) -> Option<(String, String, HubFiles)> {
    for key in ["repo", "revision"] {
        if !reader.wrote(hub, key) {
            reader.problem(hub.span.clone(), format!("`hub` has no `{key}`"), format!("expected `{key}`"), None);
        }
    }
    let repo = reader.text(hub, "repo", "a data set repository: owner/name").filter(|(repo, span)| {
        let part = |text: &str| {
            (1..=96).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
                && !text.starts_with('.')
        };
        let fits = repo.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
        if !fits {
            let help = "for https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle write \"karpathy/climbmix-400b-shuffle\"";
            reader.problem(span.clone(), "`repo` is not a repository of the hub", "expected owner/name", Some(help.to_owned()));
        }
        fits
    });
    let revision = reader.text(hub, "revision", "a commit id").filter(|(revision, span)| {
        let fits = revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !fits {
            let help = "a branch can move between two nights and make their figures incomparable; \
                        the commit id stands on the repository's page under `Files and versions`, `History`";
            let expected = "expected 40 lower-case hexadecimal digits";
            reader.problem(span.clone(), "`revision` is not a commit id", expected, Some(help.to_owned()));
        }
        fits
    });
    let named = reader.texts(hub, "files", "paths");
    let prefix = reader.text(hub, "prefix", "the beginning of paths");
    let max_files = reader.integer(hub, "max_files", 1..=1_000_000, "files");
    for (path, span) in named.iter().flat_map(|(files, _)| files).chain(prefix.iter()) {
        if path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains(['\\', '?', '#', '%']) {
            let message = "a path of the hub cannot be absolute, leave the repository or hold ? # % \\";
            reader.problem(span.clone(), message, "expected a path inside the repository", None);
        }
    }
    for (path, span) in named.iter().flat_map(|(files, _)| files) {
        refuse_unreadable_kind(reader, path, span.clone());
    }
    let files = match (reader.wrote(hub, "files"), reader.wrote(hub, "prefix")) {
        (true, true) if hub.has("files") && hub.has("prefix") => {
            let help = Some("keep one: the files' names, or what their paths begin with".to_owned());
            reader.problem(
                hub.key_span("prefix"),
                "`hub` has both `files` and `prefix`",
                "a second choice of files",
                help,
            );
            None
        }
        (false, false) => {
            let help = Some(
                "add `files = [\"shard_00000.parquet\"]`, or `prefix = \"data/\"` with `max_files = 4`".to_owned(),
            );
            reader.problem(hub.span.clone(), "`hub` does not say which files", "expected `files` or `prefix`", help);
            None
        }
        (true, _) => {
            if hub.has("max_files") && hub.has("files") {
                let help = Some("remove `max_files`, or name fewer files".to_owned());
                reader.problem(
                    hub.key_span("max_files"),
                    "`max_files` goes with `prefix` only",
                    "nothing to limit",
                    help,
                );
            }
            named.map(|(files, _)| HubFiles::Named(files.into_iter().map(|(file, _)| file).collect()))
        }
        (false, true) => {
            let max_files = max_files.and_then(|(number, _)| usize::try_from(number).ok());
            prefix.map(|(prefix, _)| HubFiles::Prefix { prefix, max_files })
        }
    };
    Some((repo?.0, revision?.0, files?))
}

fn refuse_unreadable_kind(reader: &mut Reader, path: &str, span: Range<usize>) {
    if !["txt", "jsonl", "parquet"].iter().any(|kind| Path::new(path).extension().is_some_and(|ext| ext == *kind)) {
        let message = format!("\"{}\" is of no kind that can be read", crate::terminal::clean(path));
        reader.problem(span, message, "expected a name that ends in .txt, .jsonl or .parquet", None);
    }
}
