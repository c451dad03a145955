//! Files -> documents, one at a time: a corpus is never held in memory.
//!
//! A document is what is dealt to one side of a split as a whole. A file of plain text is one where that leaves enough
//! of them: neighbouring paragraphs of a book must not be both trained on and measured. In a corpus of few or unequal
//! files, long ones are cut into runs of at least [`RUN_BYTES`] instead.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::PrepareError;
use super::Source;
use super::parquet_file::read_parquet;
use super::source::{Input, Kind};

/// Text files up to this size are one document.
const WHOLE_TEXT_BYTES: u64 = 256 << 10;

/// Longer ones too, up to this size, in a corpus of at least [`ENOUGH_FILES`] text files and with no more than its share ...
const LONGEST_TEXT_BYTES: u64 = 64 << 20;

/// ... one part of so many of all plain text, so that no single file fills a held-out split.
const ENOUGH_FILES: u64 = 64;

/// Others are cut at the first blank line after so many bytes ...
pub(crate) const RUN_BYTES: usize = 64 << 10;

/// ... or at a line's end, where so much text has no blank line.
const MAX_RUN_BYTES: usize = 1 << 20;

/// A longer line of a .jsonl file is refused: one document must fit into memory with room to spare.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// Hands on each document of a file, and how far into the file it reaches, in bytes.
pub(crate) type Each<'a> = &'a mut dyn FnMut(String, u64) -> Result<(), PrepareError>;

/// Bytes of the longest file of plain text that is one document in this corpus.
pub(crate) fn longest_whole(source: &Source) -> u64 {
    let texts = source.inputs().iter().filter(|input| input.kind == Kind::Text);
    let (files, bytes) = texts.fold((0, 0), |(files, bytes), input| (files + 1, bytes + input.record.bytes));
    let most = if files >= ENOUGH_FILES { (bytes / ENOUGH_FILES).min(LONGEST_TEXT_BYTES) } else { 0 };
    most.max(WHOLE_TEXT_BYTES)
}

/// How the files of a source are dealt out, in words.
pub(crate) fn dealt_by(source: &Source) -> String {
    let texts = source.inputs().iter().filter(|input| input.kind == Kind::Text);
    let longest = longest_whole(source);
    match texts.filter(|input| input.record.bytes > longest).count() {
        0 => "document".to_owned(),
        runs => format!("document; {runs} long text files in runs of at least {RUN_BYTES} bytes"),
    }
}

/// Reads one file. `field` names the field or column with the text; `longest` is [`longest_whole`] of the corpus.
pub(crate) fn read_documents(input: &Input, field: &str, longest: u64, each: Each<'_>) -> Result<(), PrepareError> {
    let path = &input.path;
    match input.kind {
        Kind::Text if input.record.bytes > longest => read_runs(path, each),
        Kind::Code | Kind::Text => {
            let bytes = fs::read(path).map_err(PrepareError::read("read", path))?;
            let end = bytes.len() as u64;
            each(utf8(path, bytes, |offset| format!("byte {offset}"))?, end)
        }
        Kind::JsonLines => read_json_lines(path, field, each),
        Kind::Parquet => read_parquet(path, field, each),
    }
}

/// Checked text; `place` words the offset at which it is not UTF-8.
pub(crate) fn utf8(path: &Path, bytes: Vec<u8>, place: impl Fn(usize) -> String) -> Result<String, PrepareError> {
    String::from_utf8(bytes).map_err(|error| PrepareError::NotUtf8 {
        path: path.to_path_buf(),
        place: place(error.utf8_error().valid_up_to()),
    })
}

/// A long text file, cut into documents at blank lines.
fn read_runs(path: &Path, each: Each<'_>) -> Result<(), PrepareError> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(PrepareError::read("open", path))?);
    let mut run: Vec<u8> = Vec::new();
    let mut start = 0;
    let mut emit = |run: Vec<u8>| {
        let from = start;
        start += run.len();
        each(utf8(path, run, |offset| format!("byte {}", from + offset))?, start as u64)
    };
    loop {
        let before = run.len();
        let mut line = (&mut file).take(1 << 16);
        let read = line.read_until(b'\n', &mut run).map_err(PrepareError::read("read", path))?;
        if read == 0 {
            break;
        }
        let blank = run[before..].iter().all(u8::is_ascii_whitespace);
        if run.len() >= RUN_BYTES && blank && run.ends_with(b"\n") {
            emit(std::mem::take(&mut run))?;
        } else if run.len() >= MAX_RUN_BYTES {
            let rest = run.split_off(forced_cut(&run));
            emit(std::mem::replace(&mut run, rest))?;
        }
    }
    if run.is_empty() { Ok(()) } else { emit(run) }
}

/// Where to cut text that has no blank line: after its last line, or else between two characters.
fn forced_cut(run: &[u8]) -> usize {
    if let Some(newline) = run.iter().rposition(|&byte| byte == b'\n') {
        return newline + 1;
    }
    // The last byte that starts a character; continuation bytes look like 10xxxxxx. At most 3 follow a start.
    let tail = run.len().saturating_sub(4);
    run[tail..].iter().rposition(|byte| byte & 0xC0 != 0x80).map_or(run.len(), |i| tail + i)
}

fn read_json_lines(path: &Path, field: &str, each: Each<'_>) -> Result<(), PrepareError> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(PrepareError::read("open", path))?);
    let (mut line_number, mut offset) = (0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut file).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(PrepareError::read("read", path))? as u64;
        if read == 0 {
            return Ok(());
        }
        line_number += 1;
        let json_error = |reason: String| PrepareError::Json {
            path: path.to_path_buf(),
            line: line_number,
            field: field.to_string(),
            reason,
        };
        if read == MAX_LINE_BYTES {
            return Err(json_error(format!("the line is longer than {MAX_LINE_BYTES} bytes")));
        }
        if let Err(error) = std::str::from_utf8(&line) {
            let place = format!("byte {} (line {line_number})", offset + error.valid_up_to() as u64);
            return Err(PrepareError::NotUtf8 { path: path.to_path_buf(), place });
        }
        offset += read;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&line).map_err(|error| json_error(format!("column {}: {error}", error.column())))?;
        match object.remove(field) {
            Some(serde_json::Value::String(text)) => each(text, offset)?,
            Some(serde_json::Value::Null) => each(String::new(), offset)?,
            Some(_) => return Err(json_error(format!("`{field}` is not a string"))),
            None => return Err(json_error(format!("there is no `{field}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::Source;

    fn read(name: &str, content: &[u8]) -> Result<Vec<String>, PrepareError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        let source = Source::files(&[path], "text")?;
        let mut documents = Vec::new();
        read_documents(&source.inputs()[0], "text", longest_whole(&source), &mut |text, end| {
            assert!(end <= content.len() as u64);
            documents.push(text);
            Ok(())
        })?;
        Ok(documents)
    }

    #[test]
    fn small_text_is_one_document_and_big_text_many() {
        assert_eq!(read("a.txt", b"one\n\ntwo\n").unwrap(), ["one\n\ntwo\n"]);
        let paragraph = "A line of some text.\n".repeat(50) + "\n";
        let text = paragraph.repeat(400);
        let documents = read("b.txt", text.as_bytes()).unwrap();
        assert_eq!(documents.concat(), text);
        let (last, runs) = documents.split_last().unwrap();
        assert!(runs.len() > 4 && runs.iter().all(|d| d.ends_with("\n\n") && d.len() >= RUN_BYTES), "{}", runs.len());
        assert!(runs.iter().all(|d| d.len() < RUN_BYTES + 2_000) && last.len() < RUN_BYTES + 2_000);
    }

    #[test]
    fn books_are_dealt_whole_where_there_are_enough() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: String, bytes: usize| fs::write(dir.path().join(name), vec![b'x'; bytes]).unwrap();
        (0..63).for_each(|i| write(format!("{i:03}.txt"), 300_000));
        let words = || dealt_by(&Source::files(&[dir.path().to_path_buf()], "text").unwrap());
        assert_eq!(words(), "document; 63 long text files in runs of at least 65536 bytes");
        write("063.txt".into(), 300_000);
        assert_eq!(words(), "document");
        write("large.txt".into(), 400_000);
        assert_eq!(words(), "document; 1 long text files in runs of at least 65536 bytes");
    }

    #[test]
    fn text_without_blank_lines_is_cut_between_characters() {
        for text in ["\u{20AC}".repeat(1 << 20), "line\n".repeat(1 << 19)] {
            let documents = read("c.txt", text.as_bytes()).unwrap();
            assert_eq!(documents.concat(), text);
            assert!(documents.len() > 2 && documents.iter().all(|d| d.len() <= MAX_RUN_BYTES + (1 << 16)));
        }
    }

    #[test]
    fn what_is_not_text_is_named_with_its_place() {
        let mut big = b"some text\n\n".repeat(40_000);
        big[400_000] = 0xFF;
        let json = b"{\"text\": \"a\"}\n{\"text\": \"\xFF\"}\n".to_vec();
        for (name, content, expected) in [
            ("a.txt", b"ab\xFFc".to_vec(), "a.txt is not UTF-8 at byte 2"),
            ("b.txt", big, "b.txt is not UTF-8 at byte 400000"),
            ("c.jsonl", json, "c.jsonl is not UTF-8 at byte 24 (line 2)"),
            ("d.jsonl", b"{\"text\": \"a\"}\n\n{\"body\": 1}\n".to_vec(), "d.jsonl, line 3: there is no `text`"),
            ("e.jsonl", b"{\"text\": 4}".to_vec(), "e.jsonl, line 1: `text` is not a string"),
            ("f.jsonl", b"{\"text\": \"a\"".to_vec(), "f.jsonl, line 1: column 12: EOF"),
            ("g.jsonl", b"[1]".to_vec(), "g.jsonl, line 1"),
            ("h.txt", b"".to_vec(), "h.txt is empty"),
            ("i.csv", b"a,b".to_vec(), "i.csv: only .txt"),
            ("j.parquet", b"PAR1".to_vec(), "j.parquet is not a whole Parquet file"),
        ] {
            let error = read(name, &content).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn json_lines_give_their_field() {
        let documents =
            read("a.jsonl", "{\"id\": 1, \"text\": \"h\u{e9}\\n\"}\n\n{\"text\": null}\n{\"text\":\"b\"}".as_bytes());
        assert_eq!(documents.unwrap(), ["h\u{e9}\n", "", "b"]);
    }
}
