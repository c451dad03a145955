//! Refuses what is nested too deeply before anything that works by recursion sees it: the parser, the walk over its tree and
//! the compiler.
//!
//! Not only brackets nest: `!!!x`, `A<A<A<..`, `a + b + ..` and `x.f().f()..` make trees as deep as they are long. So each
//! bracket's content is cut into runs at the separators that surely end an expression, type or pattern, and the tokens of the
//! run around a place, over all brackets around it, bound the depth of the tree there.

use super::super::tokens::{Kind, Spot, Token, after_documentation};

/// Brackets inside each other.
pub(super) const BRACKETS: usize = 48;

/// Macros in arguments of macros: each reads all that it holds once more.
pub(super) const MACROS: usize = 6;

/// Tokens of the runs around a place. Honest code stays below 100; a tree this deep takes less than 1 MiB of stack to parse
/// without optimisation (a test tries).
pub(super) const TOKENS: usize = 256;

/// The run at one level of brackets.
#[derive(Default)]
struct Run {
    tokens: usize,
    /// `<` without their `>`: a comma among them ends nothing.
    angles: usize,
    /// A `|` was seen, which may open a closure's parameters: their commas end nothing.
    bar: bool,
}

/// The first place that is nested too deeply.
pub(super) fn too_deep(tokens: &[Token]) -> Option<Spot> {
    let mut levels = vec![Run::default()];
    let mut total = 0_usize;
    let mut rest = tokens;
    let mut before = None;
    while let [token, after @ ..] = rest {
        if let Some(behind) = after_documentation(rest) {
            rest = behind;
            continue;
        }
        let next = after.first().map(|token| &token.kind);
        if let Kind::Close(_) = token.kind {
            let inner = levels.pop().unwrap_or_default();
            total -= inner.tokens;
        }
        let level = match levels.last_mut() {
            Some(level) => level,
            // Unbalanced; the lexer does not make such.
            None => return Some(token.spot),
        };
        level.tokens += 1;
        total += 1;
        if total > TOKENS {
            return Some(token.spot);
        }
        let ends = match &token.kind {
            Kind::Punct(';', _) => true,
            Kind::Punct(',', _) => level.angles == 0 && !level.bar,
            Kind::Punct('<', _) => {
                level.angles += 1;
                false
            }
            // Not of `->` and `=>`.
            Kind::Punct('>', _) => {
                if !matches!(before, Some(Kind::Punct('-' | '=', true))) {
                    level.angles = level.angles.saturating_sub(1);
                }
                false
            }
            Kind::Punct('|', _) => {
                level.bar = true;
                false
            }
            // After a block, what goes on with it begins with `else`, `as`, an operator, a dot or a bracket.
            Kind::Close('}') => match next {
                Some(Kind::Name(name)) => name != "else" && name != "as",
                Some(Kind::Literal(_) | Kind::Punct('#', _)) => true,
                _ => false,
            },
            _ => false,
        };
        if ends {
            total -= level.tokens;
            *level = Run::default();
        }
        if let Kind::Open(_) = token.kind {
            if levels.len() > BRACKETS {
                return Some(token.spot);
            }
            levels.push(Run::default());
        }
        before = Some(token.kind.clone());
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::super::tokens::lex;
    use super::*;

    #[test]
    fn what_is_flat_is_flat_however_long() {
        for piece in [
            "fn a() { b(); }\n",
            "/// Documentation.\nconst A: [f64; 2] = [0.5, -0.5];\n",
            "fn a(x: f64) -> Option<f64> { if x > 0.0 { b } else { c } }\n",
            "fn a() { for i in 0..3 { b } if c { d } match e { f => {} g => {} } }\n",
            "#[inline] fn a() {} struct B { c: Vec<f64>, d: HashMap<String, f64>, }\n",
        ] {
            let text = piece.repeat(2_000);
            assert_eq!(too_deep(&lex(&text).unwrap()), None, "{piece}");
        }
        let statements = "fn a() { ".to_owned() + &"x += a * b + f(|c, d| c + d, 1);\n".repeat(2_000) + "}";
        assert_eq!(too_deep(&lex(&statements).unwrap()), None);
        let numbers = "const A: &[f64] = &[".to_owned() + &"1.0, ".repeat(20_000) + "];";
        assert_eq!(too_deep(&lex(&numbers).unwrap()), None);
    }

    #[test]
    fn what_is_deep_is_found_however_it_nests() {
        for (open, middle, close) in [
            ("(", "x", ")"),
            ("[", "x", "]"),
            ("{", "x", "}"),
            ("!", "x", ""),
            ("-", "x", ""),
            ("&", "x", ""),
            ("*", "x", ""),
            ("A<", "B", ">"),
            ("A<B, ", "B", ">"),
            ("|a| ", "x", ""),
            ("|a, b| ", "x", ""),
            ("x + ", "x", ""),
            ("x = ", "x", ""),
            ("return ", "x", ""),
            ("if a {} else ", "{}", ""),
            ("&'a ", "T", ""),
            ("for<'a, 'b> fn() -> ", "T", ""),
            ("a::{", "b", "}"),
            ("a::", "b", ""),
            ("x => match y {", "z", "}"),
            ("", "x", ".f()"),
            ("", "x", "[0]"),
            ("", "x", "()"),
            ("", "x", "?"),
            ("", "x", " as u8"),
        ] {
            let text = format!("fn f() {{ {}{middle}{} }}", open.repeat(1_001), close.repeat(1_001));
            assert!(too_deep(&lex(&text).unwrap()).is_some(), "{open}{middle}{close}");
        }
    }
}
