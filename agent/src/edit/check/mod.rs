//! The policy on what a candidate's source may contain, decided on its syntax tree.
//!
//! What may be named is an allow-list: a path may begin with a name of the file's own or with a listed part of `std`, `tch` or
//! `harness`, a macro or an attribute must be a listed one, and what a macro is called with is read like the rest. Methods have
//! no types here, so of those the dangerous names are refused on whatever they are called. Renaming, globs and macros that
//! build code are refused because they would make all of this guesswork. The rules in words are in [`rules`], for people in
//! `docs/policy.md`.
//!
//! Must not: be taken for the boundary. It reads names; what the compiler and libtorch do with them, the sandbox bounds.

mod attributes;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod hostile;
mod literals;
mod macros;
mod names;
mod nesting;
mod paths;
mod rules;
#[cfg(test)]
mod tests;
mod tree;

pub use rules::{Rule, page};

use super::error::Violation;
use super::tokens::{Kind, Spot, Token, read};

/// A refusal, before it has a file.
struct Found {
    rule: Rule,
    spot: Spot,
    text: String,
}

/// Every place where the Rust file `text` breaks a rule, in order. An error is a line and the parser's words.
pub(super) fn violations(path: &str, text: &str) -> Result<Vec<Violation>, (usize, String)> {
    let mut found = read(text, |stream, tokens| {
        let mut found = by_token(&tokens);
        match nesting::too_deep(&tokens) {
            Some(spot) => {
                found.push(Found { rule: Rule::Nesting, spot, text: "too much inside each other".to_owned() })
            }
            None => {
                let file = syn::parse2::<syn::File>(stream)
                    .map_err(|error| (Spot::of(error.span()).line.max(1), error.to_string()));
                match file {
                    Ok(file) => found.extend(tree::walk(&file)),
                    // What the tokens show is the better answer.
                    Err(error) if found.is_empty() => return Err(error),
                    Err(_) => {}
                }
            }
        }
        Ok(found)
    })??;
    found.sort_by_key(|found| (found.spot, found.rule as usize));
    found.dedup_by(|a, b| a.spot == b.spot && a.rule == b.rule);
    Ok(found
        .into_iter()
        .map(|Found { rule, spot: Spot { line, column }, text }| Violation {
            rule,
            path: path.to_owned(),
            line,
            column,
            found: shorten(text),
        })
        .collect())
}

/// What is refused wherever it stands: keywords without an honest use, and names that hide something.
fn by_token(tokens: &[Token]) -> Vec<Found> {
    let rule = |name: &str| match name {
        "unsafe" => Some(Rule::UnsafeCode),
        "extern" => Some(Rule::Extern),
        "macro_rules" => Some(Rule::MacroDefinition),
        _ if !name.is_ascii() || name.len() > names::NAME_BYTES => Some(Rule::OddName),
        _ => None,
    };
    let name = |token: &Token| match &token.kind {
        Kind::Name(name) => rule(name).map(|rule| Found { rule, spot: token.spot, text: name.clone() }),
        _ => None,
    };
    tokens.iter().filter_map(name).collect()
}

/// A path as text, without generic arguments and `r#`.
fn text(path: &syn::Path) -> String {
    segments(path).join("::")
}

/// A path's names, without `r#`.
fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| plain(&segment.ident)).collect()
}

/// A name without `r#`.
fn plain(ident: &syn::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

/// At most 80 characters.
fn shorten(text: String) -> String {
    if text.chars().count() <= 80 {
        return text;
    }
    let mut short: String = text.chars().take(77).collect();
    short.push_str("...");
    short
}
