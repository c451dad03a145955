//! Reads typed values out of a parsed TOML table and collects every problem on the way, so that a person sees all mistakes of
//! a file at once. (Serde stops at the first one and knows no neighbouring keys.)

mod lists;

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layout::{self, LAYOUT};
use super::problems::{Problem, nearest};
use super::words::{describe, grouped, listed, quoted};

const NO_SECRETS: &str = "campaign.toml is committed, and copied into the records of every night; put the key into a variable of the \
                          environment and name that with `key_env`, or into a file that only you can read and name that with `key_file`";

/// A value and the bytes of the file it was written with.
pub(super) type Found<T> = (T, Range<usize>);

/// One table of the file.
pub(super) struct Section<'t> {
    name: &'static str,
    table: Option<&'t DeTable<'t>>,
    /// Where to point when something is missing here.
    pub(super) span: Range<usize>,
    /// Whether the person wrote the section in a way that cannot be read, so that nothing in it is missing.
    broken: bool,
}

impl Section<'_> {
    /// Whether the person wrote this key, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| entry(table, key).is_some())
    }

    /// The section as it is written in the file.
    pub(super) fn title(&self) -> String {
        layout::written(self.name).into_owned()
    }

    /// Where the key itself stands, or the section if it is not there.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.and_then(|table| entry(table, key)).map_or(self.span.clone(), |(key, _)| key.span())
    }
}

fn entry<'t>(
    table: &'t DeTable<'t>,
    key: &str,
) -> Option<(&'t Spanned<toml::de::DeString<'t>>, &'t Spanned<DeValue<'t>>)> {
    table.iter().find(|(name, _)| name.get_ref() == key)
}

/// Collects problems while sections are read. A getter that returns `None` for a key that is there has said why.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
    /// Texts that may be secrets: whoever shows the file must not show them.
    pub(super) secrets: Vec<Range<usize>>,
    /// Where a section stands, its name and the key that a mistyped key of it was taken for: it is not missing as well.
    meant: Vec<(usize, &'static str, &'static str)>,
}

impl Reader {
    /// Whether the person wrote this key, or one that was taken for it.
    pub(super) fn wrote(&self, section: &Section<'_>, key: &str) -> bool {
        section.has(key) || self.took(section, key) || section.broken
    }

    fn took(&self, section: &Section<'_>, key: &str) -> bool {
        self.meant.iter().any(|(at, name, meant)| (*at, *name, *meant) == (section.span.start, section.name, key))
    }

    /// Notes a problem.
    pub(super) fn problem(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
        help: Option<String>,
    ) {
        let problem = Problem { message: message.into(), expected: expected.into(), help, span };
        // A section may be read twice.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// The whole file as the section without a name.
    pub(super) fn top<'t>(&mut self, table: &'t DeTable<'t>, end: usize) -> Section<'t> {
        let section = Section { name: "", table: Some(table), span: end..end, broken: false };
        self.refuse_unknown_keys(&section);
        section
    }

    /// A table inside another; one that is not there has no keys.
    pub(super) fn section<'t>(&mut self, parent: &Section<'t>, key: &'static str) -> Section<'t> {
        let inside = LAYOUT.iter().map(|(name, _)| *name).find(|name| *name == format!("{}.{key}", parent.name));
        let name = inside.unwrap_or(key);
        let Some((written, value)) = parent.table.and_then(|table| entry(table, key)) else {
            let broken = parent.broken || self.took(parent, key);
            return Section { name, table: None, span: parent.span.clone(), broken };
        };
        let table = match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.problem(
                    value.span(),
                    format!("`{key}` is {}, not a section", describe(other)),
                    "expected a table",
                    Some(format!("write a line `[{name}]` and put its keys below it")),
                );
                None
            }
        };
        let section = Section { name, table, span: written.span(), broken: table.is_none() };
        self.refuse_unknown_keys(&section);
        section
    }

    fn refuse_unknown_keys(&mut self, section: &Section<'_>) {
        let known = LAYOUT.iter().find(|(name, _)| *name == section.name).map_or(&[][..], |(_, keys)| keys);
        for (key, value) in section.table.into_iter().flatten() {
            let written = key.get_ref().as_ref();
            if known.contains(&written) {
                continue;
            }
            if layout::SECRETS.contains(&written.to_lowercase().as_str()) {
                self.secrets.push(value.span());
                self.problem(
                    key.span(),
                    format!("`{written}` cannot stand here"),
                    "a secret",
                    Some(NO_SECRETS.to_owned()),
                );
                continue;
            }
            let elsewhere = layout::sections_with(written);
            let near = nearest(written, known.iter().copied());
            if let (Some(near), true) = (near, elsewhere.is_empty()) {
                self.meant.push((section.span.start, section.name, near));
            }
            let help = match (near, elsewhere.as_slice()) {
                (_, ["", ..]) => format!("`{written}` stands at the top of the file, before the first section"),
                (Some(near), []) => format!("did you mean `{near}`?"),
                (None, []) => format!("the keys of {} are {}", section.title(), listed(known)),
                (_, others) => {
                    let others: Vec<_> = others.iter().map(|name| layout::written(name)).collect();
                    format!("`{written}` belongs in {}", others.join(" or "))
                }
            };
            self.problem(
                key.span(),
                format!("{} has no key `{}`", section.title(), crate::terminal::clean(written)),
                "unknown key",
                Some(help),
            );
        }
    }

    fn value<'t>(&self, section: &Section<'t>, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        section.table.and_then(|table| entry(table, key)).map(|(_, value)| value)
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, help: Option<String>) {
        let message = format!("`{key}` is {}", describe(value.get_ref()));
        self.problem(value.span(), message, format!("expected {expected}"), help);
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, section: &Section<'_>, key: &str, expected: &str) -> Option<Found<String>> {
        let value = self.value(section, key)?;
        match value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => {
                self.problem(value.span(), format!("`{key}` is empty"), format!("expected {expected}"), None);
                None
            }
            DeValue::String(text) => Some((text.clone().into_owned(), value.span())),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
                self.wrong_type(key, value, expected, Some(format!("put it in quotes: `{key} = \"...\"`")));
                None
            }
            _ => {
                self.wrong_type(key, value, expected, None);
                None
            }
        }
    }

    /// A whole number within limits.
    pub(super) fn integer(
        &mut self,
        section: &Section<'_>,
        key: &str,
        limits: RangeInclusive<u64>,
        what: &str,
    ) -> Option<Found<u64>> {
        let value = self.value(section, key)?;
        let expected = match (*limits.start(), *limits.end()) {
            (least, u64::MAX) => format!("a whole number of {what}, at least {}", grouped(least)),
            (least, most) => format!("a whole number of {what} from {} to {}", grouped(least), grouped(most)),
        };
        let DeValue::Integer(written) = value.get_ref() else {
            let help = match value.get_ref() {
                DeValue::String(text) if text.trim().parse::<u64>().is_ok() => {
                    Some(format!("write it without quotes: `{key} = {}`", text.trim()))
                }
                DeValue::Float(float) => {
                    let whole =
                        float.as_str().parse::<f64>().ok().filter(|f| f.fract() == 0.0 && (0.0..1e15).contains(f));
                    whole.map(|whole| format!("write it without a fraction: `{key} = {whole}`"))
                }
                _ => None,
            };
            self.wrong_type(key, value, &expected, help);
            return None;
        };
        match u64::from_str_radix(written.as_str(), written.radix()).ok().filter(|number| limits.contains(number)) {
            Some(number) => Some((number, value.span())),
            None => {
                self.problem(
                    value.span(),
                    format!("`{key} = {written}` is out of range"),
                    format!("expected {expected}"),
                    None,
                );
                None
            }
        }
    }

    /// A finite number above `least` (or equal to it where `or_equal`) and at most `most`.
    pub(super) fn number(
        &mut self,
        section: &Section<'_>,
        key: &str,
        least: (f64, bool),
        most: f64,
        what: &str,
    ) -> Option<Found<f64>> {
        self.bounded(section, key, least, most, &format!("a number of {what}"))
    }

    /// A part of one, as [`Reader::number`].
    pub(super) fn share(
        &mut self,
        section: &Section<'_>,
        key: &str,
        least: (f64, bool),
        most: f64,
    ) -> Option<Found<f64>> {
        self.bounded(section, key, least, most, "a share")
    }

    fn bounded(
        &mut self,
        section: &Section<'_>,
        key: &str,
        (least, or_equal): (f64, bool),
        most: f64,
        what: &str,
    ) -> Option<Found<f64>> {
        let value = self.value(section, key)?;
        let bound = if or_equal { "at least" } else { "more than" };
        let expected = format!("{what}, {bound} {least} and at most {most}");
        let parsed = match value.get_ref() {
            DeValue::Integer(whole) => {
                i128::from_str_radix(whole.as_str(), whole.radix()).ok().map(|whole| whole as f64)
            }
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::String(text) => {
                let help = text.trim().parse::<f64>().ok();
                let help = help.map(|_| format!("write it without quotes: `{key} = {}`", text.trim()));
                self.wrong_type(key, value, &expected, help);
                return None;
            }
            _ => {
                self.wrong_type(key, value, &expected, None);
                return None;
            }
        };
        // A NaN fails both comparisons.
        match parsed.filter(|number| (*number > least || or_equal && *number == least) && *number <= most) {
            Some(number) => Some((number, value.span())),
            None => {
                let message = format!("`{key}` is out of range");
                self.problem(value.span(), message, format!("expected {expected}"), None);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        let value = self.value(section, key)?;
        let help = match value.get_ref() {
            DeValue::Boolean(flag) => return Some(*flag),
            DeValue::String(text) if matches!(text.trim(), "true" | "false") => {
                Some(format!("write it without quotes: `{key} = {}`", text.trim()))
            }
            _ => None,
        };
        self.wrong_type(key, value, "true or false", help);
        None
    }

    /// One word of a list.
    pub(super) fn choice(
        &mut self,
        section: &Section<'_>,
        key: &str,
        words: &[&'static str],
    ) -> Option<Found<&'static str>> {
        let expected = format!("one of {}", quoted(words));
        let (text, span) = self.text(section, key, &expected)?;
        match words.iter().find(|word| **word == text) {
            Some(word) => Some((word, span)),
            None => {
                self.unknown_word(key, &text, span, words);
                None
            }
        }
    }

    /// Says that `text` is none of `words`.
    pub(super) fn unknown_word(&mut self, key: &str, text: &str, span: Range<usize>, words: &[&'static str]) {
        let help = nearest(text, words.iter().copied()).map(|near| format!("did you mean \"{near}\"?"));
        let message = format!("`{key}` cannot be \"{}\"", crate::terminal::clean(text));
        self.problem(span, message, format!("expected one of {}", quoted(words)), help);
    }
}
