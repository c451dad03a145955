//! Lists: of tables, and of texts.

use toml::de::DeValue;

use super::{Found, Reader, Section, entry};
use crate::campaign::words::describe;

impl Reader {
    /// The tables of a list, `[[key]]`, in the order of the file; a list that is not there has none.
    pub(in crate::campaign) fn tables<'t>(
        &mut self,
        parent: &Section<'t>,
        key: &'static str,
        most: usize,
    ) -> Vec<Section<'t>> {
        let Some((written, value)) = parent.table.and_then(|table| entry(table, key)) else { return Vec::new() };
        let help = || Some(format!("write `[[{key}]]`, in two brackets, above each, and its keys below it"));
        let DeValue::Array(items) = value.get_ref() else {
            let (message, span) = match value.get_ref() {
                DeValue::Table(_) => (format!("`{key}` is one section, not a list of them"), written.span()),
                other => (format!("`{key}` is {}, not a list of sections", describe(other)), value.span()),
            };
            self.problem(span, message, "expected a list of tables", help());
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let span = item.span();
            match item.get_ref() {
                _ if index >= most => {
                    let message = format!("there are more than {most} of [[{key}]]");
                    self.problem(span, message, "one too many", Some("remove some".to_owned()));
                    break;
                }
                DeValue::Table(table) => {
                    let section = Section { name: key, table: Some(table), span, broken: false };
                    self.refuse_unknown_keys(&section);
                    sections.push(section);
                }
                other => {
                    let message = format!("`{key}` holds {}", describe(other));
                    self.problem(span, message, "expected a table", help());
                }
            }
        }
        sections
    }

    /// A list of texts, none of them empty or there twice; at least one.
    pub(in crate::campaign) fn texts(
        &mut self,
        section: &Section<'_>,
        key: &str,
        what: &str,
    ) -> Option<Found<Vec<Found<String>>>> {
        self.list(section, key, what, false)
    }

    /// A list of texts, as a program's arguments are: some may be empty or there twice, but there is at least one.
    pub(in crate::campaign) fn words(
        &mut self,
        section: &Section<'_>,
        key: &str,
        what: &str,
    ) -> Option<Found<Vec<Found<String>>>> {
        self.list(section, key, what, true)
    }

    fn list(&mut self, section: &Section<'_>, key: &str, what: &str, any: bool) -> Option<Found<Vec<Found<String>>>> {
        let value = self.value(section, key)?;
        let DeValue::Array(items) = value.get_ref() else {
            let help = value.get_ref().as_str().map(|text| format!("put it in brackets: `{key} = [{text:?}]`"));
            self.wrong_type(key, value, &format!("a list of {what}"), help);
            return None;
        };
        let mut texts: Vec<Found<String>> = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) if !any && text.trim().is_empty() => {
                    self.problem(item.span(), format!("`{key}` has an empty entry"), format!("expected {what}"), None);
                }
                DeValue::String(text) if !any && texts.iter().any(|(earlier, _)| earlier == text) => {
                    let message = format!("`{key}` names \"{}\" twice", crate::terminal::clean(text));
                    self.problem(item.span(), message, "already named", None);
                }
                DeValue::String(text) => texts.push((text.clone().into_owned(), item.span())),
                other => {
                    let message = format!("`{key}` holds {}", describe(other));
                    self.problem(item.span(), message, format!("expected {what}, in quotes"), None);
                }
            }
        }
        if items.is_empty() {
            self.problem(value.span(), format!("`{key}` is empty"), format!("expected a list of {what}"), None);
        }
        (!texts.is_empty()).then(|| (texts, value.span()))
    }
}
