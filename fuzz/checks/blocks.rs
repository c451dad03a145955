//! Any text as SEARCH/REPLACE blocks.

use nocturne::edit::blocks::{self, BlockError};

/// Whatever the text: blocks that stand in it, all of them and no others, or a complaint.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = blocks::parse(&text);
    let is = |marker: &'static str| move |line: &&str| line.trim_end() == marker;
    let opened = text.lines().filter(is("<<<<<<< SEARCH")).count();
    match &read {
        Ok(edits) => {
            assert_eq!(edits.len(), opened, "not every block that is opened is read");
            assert_eq!(edits.len(), text.lines().filter(is("=======")).count());
            assert_eq!(edits.len(), text.lines().filter(is(">>>>>>> REPLACE")).count());
            let mut rest: &str = &text;
            for edit in edits {
                let path = &edit.path;
                assert!(!path.is_empty() && path.len() <= 200, "the path {path:?}");
                assert!(!path.chars().any(|c| c.is_whitespace() || c.is_control()), "the path {path:?}");
                // The path and then its lines, in this order, behind the block before.
                rest = behind(rest, path);
                for line in edit.search.lines().chain(edit.replace.lines()) {
                    rest = behind(rest, line);
                    assert!(
                        !line.trim_start().starts_with("<<<<<") && !line.trim_start().starts_with(">>>>>"),
                        "{line:?}"
                    );
                }
                for text in [&edit.search, &edit.replace] {
                    assert!(text.is_empty() || text.ends_with('\n'), "{text:?} is no sequence of lines");
                }
            }
            match blocks::render(edits) {
                Ok(written) => assert_eq!(blocks::parse(&written).as_ref(), Ok(edits), "written as {written:?}"),
                Err(error) => assert!(matches!(error, BlockError::Unwritable { .. }), "{error}"),
            }
        }
        Err(error) => assert!(!error.to_string().is_empty() && error.to_string().len() < 1_000, "{error}"),
    }
    // Which of the two line ends a text has does not matter.
    if !text.contains('\r') {
        assert_eq!(blocks::parse(&text.replace('\n', "\r\n")), read, "with CR LF");
    }
}

/// What follows the first `part` of `text`.
fn behind<'a>(text: &'a str, part: &str) -> &'a str {
    let at = text.find(part);
    assert!(at.is_some(), "{part:?} does not stand in {text:?}");
    at.and_then(|at| text.get(at + part.len()..)).unwrap_or_default()
}
