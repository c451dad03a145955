//! A digest of what the candidate files compute, for telling that two proposals are the same edit whatever their words.

use sha2::{Digest, Sha256};

use super::tokens::{Kind, after_documentation, lex};
use crate::flow::SourceFile;

/// SHA-256, hexadecimal, over the content of all candidate `files`, in order of their paths.
///
/// Each file counts by its tokens: white space, line breaks, comments and documentation do not change the digest, everything
/// that the compiler reads does. Two edits that leave the same tokens are the same experiment, however they are described and
/// laid out. A file that is not Rust counts by its lines without surrounding white space and without blank ones.
pub fn content_digest(files: &[SourceFile]) -> String {
    let mut files: Vec<&SourceFile> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut hash = Sha256::new();
    hash.update("nocturne candidate content 1\n");
    for file in files {
        let content = canonical(&file.text);
        for part in [file.path.as_bytes(), &content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}

/// Whether two texts have the same tokens, documentation aside.
pub(super) fn same_content(a: &str, b: &str) -> bool {
    a == b || canonical(a) == canonical(b)
}

/// Bytes that are equal for two texts exactly if their content is. Each item is closed by a NUL, which no token contains.
fn canonical(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut push = |tag: u8, item: &str| {
        bytes.push(tag);
        bytes.extend_from_slice(item.as_bytes());
        bytes.push(0);
    };
    match lex(text) {
        Ok(tokens) => {
            let mut rest = tokens.as_slice();
            while let [token, after @ ..] = rest {
                if let Some(behind) = after_documentation(rest) {
                    rest = behind;
                    continue;
                }
                let mut buffer = [0; 4];
                match &token.kind {
                    Kind::Name(name) => push(b'n', name),
                    Kind::Literal(literal) => push(b'l', literal),
                    Kind::Punct(c, true) => push(b'j', c.encode_utf8(&mut buffer)),
                    Kind::Punct(c, false) => push(b'p', c.encode_utf8(&mut buffer)),
                    Kind::Open(c) => push(b'o', c.encode_utf8(&mut buffer)),
                    Kind::Close(c) => push(b'c', c.encode_utf8(&mut buffer)),
                }
                rest = after;
            }
        }
        Err(_) => text.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| push(b't', line)),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> String {
        content_digest(&[SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }])
    }

    #[test]
    fn layout_and_comments_do_not_count() {
        let plain = digest("/// A.\nfn a(x: f64) -> f64 { x * 0.5 }\n");
        for same in [
            "fn a(x: f64) -> f64 {\n    x * 0.5\n}\n",
            "//! Module.\n\n/// Other words.\nfn a( x : f64 ) -> f64 { /* half */ x * 0.5 } // half\n",
            "#[doc = \"A.\"] fn a(x: f64) -> f64 { x * 0.5 }",
        ] {
            assert_eq!(digest(same), plain, "{same}");
        }
    }

    #[test]
    fn everything_else_counts() {
        let texts = [
            "fn a(x: f64) -> f64 { x * 0.5 }",
            "fn a(x: f64) -> f64 { x * 0.50 }",
            "fn a(x: f64) -> f64 { -x * 0.5 }",
            "fn b(x: f64) -> f64 { x * 0.5 }",
            "#[inline] fn a(x: f64) -> f64 { x * 0.5 }",
            "fn a() { \"a b\" }",
            "fn a() { \"a  b\" }",
            "a && b",
            "a & & b",
            "a (b)",
            "a [b]",
            "not rust (",
            "not rust )",
        ];
        for (i, a) in texts.iter().enumerate() {
            for b in &texts[i + 1..] {
                assert_ne!(digest(a), digest(b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn paths_count_and_their_order_does_not() {
        let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let forth = content_digest(&[file("a.rs", "x"), file("b.rs", "y")]);
        assert_eq!(forth, content_digest(&[file("b.rs", "y"), file("a.rs", "x")]));
        assert_ne!(forth, content_digest(&[file("a.rs", "y"), file("b.rs", "x")]));
        assert_ne!(forth, content_digest(&[file("a.rs", "x y")]));
    }
}
