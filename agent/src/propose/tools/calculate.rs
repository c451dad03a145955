//! Small arithmetic, so that nobody who proposes has to do it in the head.
//!
//! Numbers, `+ - * / ^`, signs, parentheses and a few functions. Powers bind to the right and more tightly than a sign in front of them,
//! as in mathematics: `-2^2` is -4, `2^-3^2` is 2^(-(3^2)). Text and depth are bounded, and a result that is no number is an error.

/// Bytes of an expression.
const MOST_BYTES: usize = 400;

/// How deep parentheses, signs and powers may stand in each other.
const MOST_DEPTH: usize = 40;

/// The functions, as they are told.
pub(super) const FUNCTIONS: &str = "sqrt, log (natural), log2, log10, exp, abs, min, max, pi";

/// The value of an expression.
///
/// # Errors
/// What is wrong with it, and at which character.
pub fn calculate(expression: &str) -> Result<f64, String> {
    if expression.len() > MOST_BYTES {
        return Err(format!(
            "the expression has {} bytes, at most {MOST_BYTES} are read; calculate it in parts",
            expression.len()
        ));
    }
    let mut reader = Reader { text: expression, at: 0, depth: 0 };
    let value = reader.sum()?;
    reader.skip_space();
    if let Some(c) = reader.peek() {
        return Err(reader.unexpected(c, "an operator or the end"));
    }
    match value.is_finite() {
        true => Ok(value),
        false => Err(format!("the result is no finite number ({value}); look for a division by zero or a huge power")),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Byte that is read next.
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn skip_space(&mut self) {
        while let Some(c) = self.peek().filter(|c| c.is_whitespace()) {
            self.at += c.len_utf8();
        }
    }

    /// Takes one of these characters, if it stands next.
    fn take(&mut self, one_of: &[char]) -> Option<char> {
        self.skip_space();
        let next = self.peek().filter(|c| one_of.contains(c))?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn unexpected(&self, found: char, wanted: &str) -> String {
        let character = self.text.get(..self.at).map_or(0, |read| read.chars().count()) + 1;
        format!("character {character}: expected {wanted}, found {found:?}")
    }

    /// Goes one level deeper.
    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(format!("the expression is nested more than {MOST_DEPTH} deep; calculate it in parts"));
        }
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&['+', '-', '\u{2212}']) {
            let next = self.product()?;
            value = if operator == '+' { value + next } else { value - next };
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.signed()?;
        while let Some(operator) = self.take(&['*', '/', '\u{00D7}', '\u{00F7}']) {
            // `**` is how many languages write a power; read as two signs it would be an error that tells nothing.
            if operator == '*' && self.take(&['*']).is_some() {
                return Err("powers are written with ^, such as 2^10".to_owned());
            }
            let next = self.signed()?;
            value = if matches!(operator, '*' | '\u{00D7}') { value * next } else { value / next };
        }
        Ok(value)
    }

    fn signed(&mut self) -> Result<f64, String> {
        match self.take(&['+', '-', '\u{2212}']) {
            Some('+') => self.within(Self::signed),
            Some(_) => self.within(Self::signed).map(|value| -value),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<f64, String> {
        let base = self.atom()?;
        match self.take(&['^']) {
            Some(_) => Ok(base.powf(self.within(Self::signed)?)),
            None => Ok(base),
        }
    }

    fn atom(&mut self) -> Result<f64, String> {
        if self.take(&['(']).is_some() {
            let value = self.within(Self::sum)?;
            return self.close().map(|()| value);
        }
        match self.peek() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.named(),
            Some(c) => Err(self.unexpected(c, "a number, a function or `(`")),
            None => Err("the expression ends where a number is awaited".to_owned()),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        match self.take(&[')']) {
            Some(_) => Ok(()),
            None => match self.peek() {
                Some(c) => Err(self.unexpected(c, "an operator or `)`")),
                None => Err("a parenthesis is not closed".to_owned()),
            },
        }
    }

    /// Digits with a point, an exponent and underscores between them.
    fn number(&mut self) -> Result<f64, String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digits = |from: usize| {
            let part = rest.get(from..).unwrap_or_default();
            from + part.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(part.len())
        };
        let mut end = digits(0);
        if rest.get(end..).is_some_and(|rest| rest.starts_with('.')) {
            end = digits(end + 1);
        }
        if rest.get(end..).is_some_and(|rest| rest.starts_with(['e', 'E'])) {
            let sign = usize::from(rest.get(end + 1..).is_some_and(|rest| rest.starts_with(['+', '-'])));
            let exponent = digits(end + 1 + sign);
            // Without digits behind it, it is not an exponent.
            if exponent > end + 1 + sign {
                end = exponent;
            }
        }
        let written: String = rest.get(..end).unwrap_or_default().chars().filter(|c| *c != '_').collect();
        let value = written.parse().map_err(|_| format!("`{written}` is no number"))?;
        self.at += end;
        Ok(value)
    }

    /// A function with its arguments, or a constant.
    fn named(&mut self) -> Result<f64, String> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default().to_ascii_lowercase();
        self.at += end;
        if name == "pi" {
            return Ok(std::f64::consts::PI);
        }
        if self.take(&['(']).is_none() {
            return Err(format!("`{name}` is no number; functions are written with parentheses: {FUNCTIONS}"));
        }
        let arguments = self.within(|reader| {
            let mut arguments = vec![reader.sum()?];
            while reader.take(&[',']).is_some() {
                arguments.push(reader.sum()?);
            }
            Ok(arguments)
        })?;
        self.close()?;
        match (name.as_str(), arguments.as_slice()) {
            ("sqrt", [x]) => Ok(x.sqrt()),
            ("log" | "ln", [x]) => Ok(x.ln()),
            ("log2", [x]) => Ok(x.log2()),
            ("log10", [x]) => Ok(x.log10()),
            ("exp", [x]) => Ok(x.exp()),
            ("abs", [x]) => Ok(x.abs()),
            ("min", [first, rest @ ..]) => Ok(rest.iter().fold(*first, |least, x| least.min(*x))),
            ("max", [first, rest @ ..]) => Ok(rest.iter().fold(*first, |most, x| most.max(*x))),
            ("sqrt" | "log" | "ln" | "log2" | "log10" | "exp" | "abs", _) => {
                Err(format!("`{name}` takes one number, not {}", arguments.len()))
            }
            _ => Err(format!("there is no function `{name}`; there are {FUNCTIONS}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_reckons_as_mathematics_does() {
        for (text, expected) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("10 - 4 - 3", 3.0),
            ("24 / 4 / 2", 3.0),
            ("2 ^ 3 ^ 2", 512.0),
            ("-2 ^ 2", -4.0),
            ("2 ^ -1", 0.5),
            ("(-2) ^ 2", 4.0),
            ("--3 + +2", 5.0),
            ("2 * -3", -6.0),
            ("\u{2212}3 \u{00D7} 4", -12.0),
            (".5 + 1.", 1.5),
            ("1e3 + 2.5E-1", 1000.25),
            ("524_288 / 2_048", 256.0),
            ("0.04 * (512 / 768) ^ -0.5", 0.04 * (512.0_f64 / 768.0).powf(-0.5)),
            ("sqrt(16) + log(exp(2)) + log2(8) + log10(0.1)", 8.0),
            ("min(3, 1, 2) + max(3, 1, 2) + abs(-4) + LN(1)", 8.0),
            ("cos", f64::NAN),
            ("2 * pi", std::f64::consts::TAU),
        ] {
            match calculate(text) {
                Ok(value) => assert!((value - expected).abs() < 1e-12, "{text}: {value}"),
                Err(error) => assert!(expected.is_nan(), "{text}: {error}"),
            }
        }
    }

    #[test]
    fn what_it_cannot_reckon_it_says() {
        for (text, expected) in [
            ("", "the expression ends where a number is awaited"),
            ("1 +", "ends where a number"),
            ("1 2", "character 3: expected an operator or the end, found '2'"),
            ("(1", "a parenthesis is not closed"),
            ("(1 2)", "character 4: expected an operator or `)`, found '2'"),
            ("ä", "character 1: expected a number, a function or `(`, found 'ä'"),
            ("1 + ä", "character 5:"),
            (")", "character 1:"),
            ("2 ** 3", "powers are written with ^"),
            ("1 / 0", "no finite number (inf)"),
            ("10 ^ 400", "no finite number"),
            ("sqrt(-1)", "no finite number (NaN)"),
            ("sqrt(1, 2)", "`sqrt` takes one number, not 2"),
            ("sin(1)", "there is no function `sin`; there are sqrt"),
            ("x + 1", "`x` is no number; functions are"),
            ("1e", "found 'e'"),
            (".", "`.` is no number"),
            ("1_000_.5.2", "found '.'"),
            ("min()", "expected a number"),
        ] {
            let error = calculate(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn absurd_expressions_are_refused_before_they_hurt() {
        for deep in [
            "(".repeat(200) + "1" + &")".repeat(199),
            "-".repeat(300) + "1",
            "2^".repeat(190) + "1",
            "sqrt(".repeat(70),
        ] {
            assert!(calculate(&deep).unwrap_err().contains("nested more than"), "{deep}");
        }
        assert!(calculate(&"1+".repeat(10_000)).unwrap_err().contains("at most 400"));
        assert!(calculate(&format!("{}1", "1+".repeat(199))).is_ok());
        // Levels that were left again do not count.
        assert!(calculate(&["(((1)))"; 40].join("+")).is_ok());
    }

    /// An expression as text and what it comes to, put together from the inside.
    fn expressions() -> impl Strategy<Value = (String, f64)> {
        let leaf = (0..1_000_u32).prop_map(|n| (format!("{}", f64::from(n) / 8.0), f64::from(n) / 8.0));
        leaf.prop_recursive(4, 24, 2, |inner| {
            (inner.clone(), inner, 0..6_u8).prop_map(|((a, x), (b, y), operation)| match operation {
                0 => (format!("({a} + {b})"), x + y),
                1 => (format!("({a}-{b})"), x - y),
                2 => (format!("({a})*({b})"), x * y),
                3 => (format!("max({a}, {b})"), x.max(y)),
                4 => (format!("-({a})"), -x),
                _ => (format!("(sqrt(abs({a})))"), x.abs().sqrt()),
            })
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_machine((text, expected) in expressions()) {
            prop_assume!(text.len() <= MOST_BYTES);
            let value = calculate(&text).unwrap();
            prop_assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{text}: {value} {expected}");
        }

        #[test]
        fn never_panics(text in "([-+*/^(),. 0-9e_]|sqrt|max|pi|\\PC){0,60}") {
            if let Ok(value) = calculate(&text) {
                prop_assert!(value.is_finite());
            }
        }
    }
}
