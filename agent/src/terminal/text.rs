//! Text that is safe and short enough for a terminal. Pure.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

const ESCAPE: char = '\u{1b}';

/// The text on one line, without escape sequences, control characters and characters that reorder or hide text. Line breaks and tabs
/// become spaces.
pub fn clean(text: &str) -> String {
    cleaned(text, false)
}

/// The same, with line breaks left.
pub fn clean_lines(text: &str) -> String {
    cleaned(text, true)
}

fn cleaned(text: &str, keep_lines: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ESCAPE => rest = after_escape(rest.as_str()).chars(),
            // The one-character forms of `ESC [` and `ESC ]`.
            '\u{9b}' => rest = after_control_sequence(rest.as_str()).chars(),
            '\u{9d}' => rest = after_string(rest.as_str()).chars(),
            '\n' if keep_lines => clean.push('\n'),
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => clean.push(' '),
            c if c.is_control() || reorders_or_hides(c) => {}
            c => clean.push(c),
        }
    }
    clean
}

/// One line of a file as it is quoted in a message: a space for a tab and a replacement mark for everything else that [`clean`] would
/// take away, so that columns stay what they are and a person sees that something is there.
pub fn visible(line: &str) -> String {
    let mark = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() || reorders_or_hides(c) || matches!(c, '\u{2028}' | '\u{2029}') => {
            char::REPLACEMENT_CHARACTER
        }
        c => c,
    };
    line.trim_end_matches(['\r', '\n']).chars().map(mark).collect()
}

/// Bidirectional overrides and isolates, zero-width characters, tags.
fn reorders_or_hides(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn after_escape(rest: &str) -> &str {
    match rest.chars().next() {
        Some('[') => after_control_sequence(&rest[1..]),
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(&rest[1..]),
        // Two-character sequences; those with intermediate bytes (`ESC ( B`) have one more.
        Some(' '..='/') => rest[1..].strip_prefix(|c: char| c.is_ascii_graphic()).unwrap_or(&rest[1..]),
        Some('0'..='~') => &rest[1..],
        _ => rest,
    }
}

/// Parameters and intermediate bytes, then one final byte.
fn after_control_sequence(rest: &str) -> &str {
    let tail = rest.trim_start_matches(|c| matches!(c, ' '..='?'));
    tail.strip_prefix(|c| matches!(c, '@'..='~')).unwrap_or(tail)
}

/// A string to the terminal ends with BEL or `ESC \`; one that never ends is shown, for it may be all there is.
fn after_string(rest: &str) -> &str {
    let end = rest.find(['\u{7}', ESCAPE, '\u{9c}']);
    match end {
        Some(end) => {
            let tail = &rest[end..];
            tail.strip_prefix("\u{1b}\\").or_else(|| tail.strip_prefix(['\u{7}', '\u{9c}'])).unwrap_or(tail)
        }
        None => rest,
    }
}

/// Columns that a clean text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text if it is at most `columns` wide, else its beginning with an ellipsis.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        used += wide;
        fitted.push(c);
    }
    if columns > 0 {
        fitted.truncate(fitted.trim_end().len());
        fitted.push('…');
    }
    fitted
}

/// A length of time in the two units that matter: `7 h 12 min`, `9 min 30 s`, `45 s`; from ten minutes on without seconds.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m @ 10.., _) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// Bits per byte, or a loss, as people compare them.
pub(super) fn figure(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        Some(value) => format!("{value:.4}"),
        None => "-".to_owned(),
    }
}

/// A difference with its sign.
pub(super) fn signed(value: Option<f64>) -> String {
    match value.filter(|value| value.is_finite()) {
        Some(value) => format!("{value:+.4}"),
        None => "-".to_owned(),
    }
}
