//! Untrusted text made fit to draw: cleaned, measured, shortened; and numbers as a person reads them.
//!
//! Escaping is not done here: plotters escapes what goes into an SVG, maud what goes into a page.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

/// How much wider the text may come out where a viewer draws the SVG with another font than the embedded one. DejaVu Sans, the
/// widest of the usual ones, was measured at 1.20 times Ubuntu Light.
const WIDEST_OTHER_FONT: f64 = 1.2;

/// Nothing drawn is longer; keeps a title of a megabyte from costing a second.
const LONGEST: usize = 500;
/// A hypothesis, a reason: the page has more room than a picture.
const LONGEST_PARAGRAPH: usize = 4_000;

/// The font that texts are measured and (in PNG) drawn with.
pub(crate) const FONT: &[u8] = epaint_default_fonts::UBUNTU_LIGHT;

static MEASURE: LazyLock<Option<FontRef<'static>>> = LazyLock::new(|| FontRef::try_from_slice(FONT).ok());

/// One line without control characters, characters that reorder their neighbours, characters that XML forbids and piles of
/// combining marks; white space in a row becomes one space. At most 500 characters.
pub(crate) fn clean(text: &str) -> String {
    clean_to(text, LONGEST)
}

/// As [`clean`], for what is to be read as a paragraph: at most 4,000 characters.
pub(crate) fn clean_long(text: &str) -> String {
    clean_to(text, LONGEST_PARAGRAPH)
}

fn clean_to(text: &str, longest: usize) -> String {
    let mut line = String::with_capacity(text.len().min(longest * 4));
    let mut count = 0;
    let mut marks = 0;
    for c in text.chars() {
        if count == longest {
            line.push('…');
            break;
        }
        if c.is_whitespace() {
            if !line.is_empty() && !line.ends_with(' ') {
                line.push(' ');
                count += 1;
            }
            continue;
        }
        if is_unsafe(c) {
            continue;
        }
        marks = if is_combining(c) { marks + 1 } else { 0 };
        if marks <= 2 {
            line.push(c);
            count += 1;
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// As [`clean`], but for text of many lines: keeps line feeds and tabs, and any length.
pub(crate) fn clean_block(text: &str) -> String {
    text.chars().filter(|&c| matches!(c, '\n' | '\t') || !is_unsafe(c)).collect()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
        || (u32::from(c) & 0xfffe) == 0xfffe
        || matches!(c, '\u{fdd0}'..='\u{fdef}')
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}' | '\u{0483}'..='\u{0489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Width in pixels that one line of text may take at a font size (em) in pixels, with room for a wider font.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| advance(c, size)).sum::<f64>() * WIDEST_OTHER_FONT
}

fn advance(c: char, size: f64) -> f64 {
    // A glyph of another font: ideographs are one em wide, emoji up to 1.3.
    let foreign = 1.3 / WIDEST_OTHER_FONT * size;
    let Some(font) = MEASURE.as_ref() else { return foreign };
    let glyph = font.glyph_id(c);
    if glyph.0 == 0 {
        return foreign;
    }
    let em = font.units_per_em().unwrap_or(1000.0);
    // `PxScale` is the height from descent to ascent, not the em.
    let scale = PxScale::from(size as f32 * font.height_unscaled() / em);
    f64::from(font.as_scaled(scale).h_advance(glyph))
}

/// The text cleaned and, where it is wider than `room` pixels, cut and ended with an ellipsis.
pub(crate) fn fit(text: &str, size: f64, room: f64) -> String {
    let text = clean(text);
    if width(&text, size) <= room {
        return text;
    }
    let mut left = room / WIDEST_OTHER_FONT - advance('…', size);
    let mut cut = String::new();
    for c in text.chars() {
        left -= advance(c, size);
        if left < 0.0 {
            break;
        }
        cut.push(c);
    }
    cut.truncate(cut.trim_end_matches([' ', '\u{200d}']).len());
    cut.push('…');
    cut
}

/// The text cleaned and broken between words into at most `lines` lines of `room` pixels, the last one shortened.
pub(crate) fn wrap(text: &str, size: f64, room: f64, lines: usize) -> Vec<String> {
    let text = clean(text);
    let mut done: Vec<String> = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() && done.len() + 1 < lines && width(rest, size) > room {
        let mut end = None;
        for (at, _) in rest.match_indices(' ') {
            if width(&rest[..at], size) > room {
                break;
            }
            end = Some(at);
        }
        // A single word wider than a line cannot be broken; the last line's ellipsis deals with it.
        let Some(end) = end else { break };
        done.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() {
        done.push(fit(rest, size, room));
    }
    done
}

/// A metric with four decimals, which is finer than any seed's noise; absurd ones in scientific notation, none as a dash.
pub(crate) fn metric(value: Option<f64>) -> String {
    match value {
        Some(v) if !v.is_finite() => "not finite".to_owned(),
        Some(v) if v.abs() >= 1e5 => minus(format!("{v:.3e}")),
        Some(v) => minus(format!("{v:.4}")),
        None => "–".to_owned(),
    }
}

/// A difference of metrics with its sign, as [`metric`].
pub(crate) fn signed(value: Option<f64>) -> String {
    match value {
        // So small that four decimals would show a signed zero.
        Some(v) if v.is_finite() && v != 0.0 && v.abs() < 5e-5 => {
            minus(format!("{}{v:.0e}", if v > 0.0 { "+" } else { "" }))
        }
        Some(v) if v.is_finite() && v > 0.0 => format!("+{}", metric(value)),
        _ => metric(value),
    }
}

/// An interval's bounds, as [`signed`]; one that is nothing beside the other is none: `−0.1371 to 0.0000`.
pub(crate) fn interval((low, high): (f64, f64)) -> String {
    let bound = |own: f64, other: f64| match own.abs() < 5e-5 && own != 0.0 && other.abs() >= 5e-5 {
        true => minus(format!("{own:.4}")),
        false => signed(Some(own)),
    };
    format!("{} to {}", bound(low, high), bound(high, low))
}

/// A standard error behind its metric, `± 2e−6`; nothing where there is none, or where it is nothing beside four decimals: to
/// take a logarithm in two ways alone makes some 1e-8.
pub(crate) fn plus_minus(error: Option<f64>) -> String {
    match error {
        Some(e) if !e.is_finite() || e < 0.0 => "± unknown".to_owned(),
        Some(e) if e >= 5e-5 => format!("± {}", metric(Some(e))),
        Some(e) if e >= 5e-7 => minus(format!("± {e:.0e}")),
        _ => String::new(),
    }
}

/// Seconds as `42 s`, `13 min` or `7 h 05 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    if seconds < 99.5 {
        return format!("{seconds:.0} s");
    }
    let minutes = (seconds / 60.0).round().min(1e12) as u64;
    if minutes < 100 { format!("{minutes} min") } else { format!("{} h {:02} min", minutes / 60, minutes % 60) }
}

/// Bytes with a binary unit, for example `1.2 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A whole number with its thousands apart: `62,480`.
pub(crate) fn grouped(value: f64) -> String {
    if !value.is_finite() || value.abs() >= 1e15 {
        return plain(value);
    }
    let digits = format!("{:.0}", value.abs());
    let mut told = if value < 0.0 { "−".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

/// `1 experiment`, `2 experiments`.
pub(crate) fn counted(count: usize, singular: &str) -> String {
    format!("{count} {singular}{}", if count == 1 { "" } else { "s" })
}

/// A number of a recipe, with up to five digits that say something: `4096`, `0.04`, `1e−8`.
pub(crate) fn plain(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "not finite".to_owned(),
        0.0 => "0".to_owned(),
        size if !(1e-4..1e7).contains(&size) => {
            let text = format!("{value:.3e}");
            let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
            let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
            minus(format!("{digits}e{power}"))
        }
        size => {
            let decimals = (4 - size.log10().floor() as i64).max(0) as usize;
            let text = format!("{value:.decimals$}");
            let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            minus(text.to_owned())
        }
    }
}

/// The typographic minus sign instead of the hyphen, and no `-0.0000`.
pub(crate) fn minus(number: String) -> String {
    match number.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|b| matches!(b, b'0' | b'.')) => digits.to_owned(),
        _ => number.replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_loses_what_could_harm_and_keeps_the_rest() {
        assert_eq!(clean("  a\tb\r\nc\u{1b}[31m \u{202e}d\u{0}e\u{ffff} "), "a b c[31m de");
        assert_eq!(clean("<b>&\"']]></b>"), "<b>&\"']]></b>");
        assert_eq!(clean(&format!("e{}", "\u{301}".repeat(90))), "e\u{301}\u{301}");
        assert_eq!(clean("日本 😀 ü"), "日本 😀 ü");
        assert_eq!(clean(&"x".repeat(10_000)).chars().count(), LONGEST + 1);
        assert_eq!(clean_long(&"x".repeat(10_000)).chars().count(), LONGEST_PARAGRAPH + 1);
        assert_eq!(clean_block("a\n\tb\u{1b}\u{202e}"), "a\n\tb");
    }

    #[test]
    fn numbers_read_well() {
        let metrics = [Some(1.84231), Some(-0.00001), Some(f64::NAN), Some(1e30), None].map(metric);
        assert_eq!(metrics, ["1.8423", "0.0000", "not finite", "1.000e30", "–"]);
        let differences = [Some(0.0012), Some(-0.0321), Some(0.0), Some(-0.00001), None].map(signed);
        let errors = [Some(0.00021), Some(2.4e-6), Some(4e-7), None, Some(f64::NAN)].map(plus_minus);
        assert_eq!(errors, ["± 0.0002", "± 2e−6", "", "", "± unknown"]);
        assert_eq!(differences, ["+0.0012", "−0.0321", "0.0000", "−1e−5", "–"]);
        let durations = [0.0, 42.4, 780.0, 25_500.0, f64::INFINITY, -1.0].map(duration);
        assert_eq!(durations, ["0 s", "42 s", "13 min", "7 h 05 min", "–", "–"]);
        assert_eq!([0.0, 999.0, 1_000.0, -1_234_567.0, 1e30].map(grouped), ["0", "999", "1,000", "−1,234,567", "1e30"]);
        assert_eq!([0, 1_500, 1 << 30].map(bytes), ["0 B", "1.5 KiB", "1.0 GiB"]);
        assert_eq!((counted(1, "trial"), counted(0, "trial")), ("1 trial".into(), "0 trials".into()));
    }

    #[test]
    fn numbers_of_recipes_have_no_needless_digits() {
        let told = [4096.0, 0.04, 1e-8, -0.5, 1.0 / 3.0, 0.0, 1e30, 524_288.0, f64::NAN].map(plain);
        assert_eq!(told, ["4096", "0.04", "1e−8", "−0.5", "0.33333", "0", "1e30", "524288", "not finite"]);
    }

    #[test]
    fn a_bound_that_is_nothing_beside_the_other_is_no_power_of_ten() {
        for (bounds, told) in [
            ((-0.1371, -7e-10), "−0.1371 to 0.0000"),
            ((-0.002, 0.00001), "−0.0020 to 0.0000"),
            ((-0.00002, 0.00001), "−2e−5 to +1e−5"),
            ((-0.0502, -0.0208), "−0.0502 to −0.0208"),
            ((0.0, 0.01), "0.0000 to +0.0100"),
        ] {
            assert_eq!(interval(bounds), told);
        }
    }

    #[test]
    fn wrapping_breaks_between_words() {
        let lines = wrap("one two three four five six seven eight nine ten", 13.0, 120.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("one two") && lines[1].ends_with('…'), "{lines:?}");
        assert_eq!(wrap("", 13.0, 120.0, 2), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn shortened_text_fits(text in "\\PC{0,80}|[a-zA-Z ]{0,200}", room in 20.0..400.0) {
            prop_assert!(width(&fit(&text, 13.0, room), 13.0) <= room + 1e-6);
            for line in wrap(&text, 13.0, room, 3) {
                prop_assert!(width(&line, 13.0) <= room + 1e-6);
            }
        }
    }
}
