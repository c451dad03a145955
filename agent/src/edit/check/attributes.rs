//! Attributes.

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Lit, Meta, Path, Token};

use super::rules::Rule;
use super::text;

/// Attributes that a candidate may use.
pub(super) const ALLOWED: &[&str] = &[
    "allow",
    "cold",
    "default",
    "deny",
    "derive",
    "doc",
    "expect",
    "inline",
    "must_use",
    "non_exhaustive",
    "rustfmt::skip",
    "track_caller",
    "warn",
];

/// Derives that a candidate may use.
pub(super) const DERIVES: &[&str] =
    &["Clone", "Copy", "Debug", "Default", "Eq", "Hash", "Ord", "PartialEq", "PartialOrd"];

/// The rule that an attribute breaks, and what to show for it.
pub(super) fn refused(attribute: &Attribute) -> Option<(Rule, String)> {
    let meta = &attribute.meta;
    let name = text(meta.path());
    let shown = format!("#[{name}]");
    match name.as_str() {
        "path" => Some((Rule::PathAttribute, "#[path]".to_owned())),
        "unsafe" => Some((Rule::UnsafeCode, "#[unsafe(...)]".to_owned())),
        "cfg_attr" => {
            let rule = if names_path(attribute) { Rule::PathAttribute } else { Rule::Attribute };
            Some((rule, shown))
        }
        "derive" => derived(meta),
        "doc" => documentation(meta),
        "allow" | "expect" | "warn" | "deny" => lint(meta).map(|rule| (rule, shown)),
        other if !ALLOWED.contains(&other) => Some((Rule::Attribute, shown)),
        _ => plain(meta).map(|rule| (rule, shown)),
    }
}

/// An attribute that may have one word in brackets or a text written out: a macro in its place would be expanded.
fn plain(meta: &Meta) -> Option<Rule> {
    match meta {
        Meta::Path(_) => None,
        Meta::NameValue(pair) => value(&pair.value),
        Meta::List(list) => list.parse_args::<Path>().err().map(|_| Rule::Attribute),
    }
}

/// The value of an attribute, which must be a text.
fn value(value: &Expr) -> Option<Rule> {
    match value {
        Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)) => None,
        Expr::Macro(call) => Some(super::macros::specific(&text(&call.mac.path)).unwrap_or(Rule::Attribute)),
        _ => Some(Rule::Attribute),
    }
}

/// Whether `path =` stands anywhere in the attribute, for a clearer name of what is refused in any case.
fn names_path(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let metas = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    metas.is_ok_and(|metas| metas.iter().any(|meta| text(meta.path()) == "path"))
}

fn derived(meta: &Meta) -> Option<(Rule, String)> {
    let Meta::List(list) = meta else { return Some((Rule::Derive, "#[derive]".to_owned())) };
    match list.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated) {
        Ok(paths) => {
            let refused = paths.iter().map(text).find(|path| !DERIVES.contains(&path.as_str()))?;
            Some((Rule::Derive, format!("#[derive({refused})]")))
        }
        Err(_) => Some((Rule::Derive, "#[derive]".to_owned())),
    }
}

/// `#[doc = "..."]`, `#[doc(hidden)]`, `#[doc(inline)]`; a value that is not written out would be a macro's.
fn documentation(meta: &Meta) -> Option<(Rule, String)> {
    let shown = || "#[doc = ...]".to_owned();
    match meta {
        Meta::NameValue(pair) => value(&pair.value).map(|rule| (rule, shown())),
        Meta::List(list) => match list.parse_args::<Path>() {
            Ok(path) if matches!(text(&path).as_str(), "hidden" | "inline") => None,
            _ => Some((Rule::Attribute, "#[doc(...)]".to_owned())),
        },
        Meta::Path(_) => Some((Rule::Attribute, shown())),
    }
}

/// Lints by name, with or without a reason.
fn lint(meta: &Meta) -> Option<Rule> {
    let Meta::List(list) = meta else { return Some(Rule::Attribute) };
    let Ok(metas) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return Some(Rule::Attribute);
    };
    metas.iter().find_map(|meta| match meta {
        Meta::Path(path) => text(path).contains("unsafe").then_some(Rule::LintSwitch),
        Meta::NameValue(pair) if pair.path.is_ident("reason") => value(&pair.value),
        Meta::NameValue(_) => Some(Rule::Attribute),
        Meta::List(_) => Some(Rule::Attribute),
    })
}
