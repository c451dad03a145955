//! Calls of macros: which, and what their arguments hold.

use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, Macro, Pat, Token};

use super::rules::Rule;
use super::text;

/// Macros that a candidate may call, by exactly these names.
pub(super) const ALLOWED: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "format",
    "matches",
    "panic",
    "todo",
    "unimplemented",
    "unreachable",
    "vec",
    "write",
    "writeln",
];

/// What an allowed macro was called with.
#[derive(Default)]
pub(super) struct Arguments {
    pub expressions: Vec<Expr>,
    pub pattern: Option<Pat>,
}

/// Reads a call.
pub(super) fn read(call: &Macro) -> Result<Arguments, Rule> {
    let name = text(&call.path);
    if call.path.leading_colon.is_some() || !ALLOWED.contains(&name.as_str()) {
        return Err(specific(&name).unwrap_or(Rule::Macro));
    }
    let tokens = call.tokens.clone();
    let read = match name.as_str() {
        "matches" => matches.parse2(tokens),
        "vec" => vector.parse2(tokens),
        _ => list.parse2(tokens),
    };
    read.map_err(|_| Rule::MacroArguments)
}

/// The rule for a macro that has one of its own, by the last part of its path.
pub(super) fn specific(name: &str) -> Option<Rule> {
    match name.rsplit("::").next()? {
        "include" | "include_str" | "include_bytes" => Some(Rule::IncludeMacro),
        "env" | "option_env" => Some(Rule::Environment),
        "asm" | "global_asm" | "naked_asm" | "llvm_asm" => Some(Rule::Assembly),
        "macro_rules" => Some(Rule::MacroDefinition),
        "thread_local" => Some(Rule::StaticItem),
        "print" | "println" | "eprint" | "eprintln" | "dbg" => Some(Rule::Output),
        _ => None,
    }
}

/// Expressions with commas; a named argument of a format reads as an assignment.
fn list(input: ParseStream) -> syn::Result<Arguments> {
    let expressions = Punctuated::<Expr, Token![,]>::parse_terminated(input)?.into_iter().collect();
    Ok(Arguments { expressions, pattern: None })
}

/// A list, or `value; count`.
fn vector(input: ParseStream) -> syn::Result<Arguments> {
    if input.is_empty() {
        return Ok(Arguments::default());
    }
    let first: Expr = input.parse()?;
    let mut expressions = vec![first];
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
        expressions.push(input.parse()?);
        return Ok(Arguments { expressions, pattern: None });
    }
    while !input.is_empty() {
        input.parse::<Token![,]>()?;
        if !input.is_empty() {
            expressions.push(input.parse()?);
        }
    }
    Ok(Arguments { expressions, pattern: None })
}

/// `value, pattern [if guard] [,]`.
fn matches(input: ParseStream) -> syn::Result<Arguments> {
    let mut expressions: Vec<Expr> = vec![input.parse()?];
    input.parse::<Token![,]>()?;
    let pattern = Some(Pat::parse_multi_with_leading_vert(input)?);
    if input.peek(Token![if]) {
        input.parse::<Token![if]>()?;
        expressions.push(input.parse()?);
    }
    if input.peek(Token![,]) {
        input.parse::<Token![,]>()?;
    }
    Ok(Arguments { expressions, pattern })
}
