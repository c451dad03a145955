//! What a table of experiments is asked for: filters, order and page, as its address has them.

use serde::Serialize;

use super::parts::Outcome;
use super::url;

/// Rows of a page.
pub const ROWS: u32 = 100;
/// Characters of a text that is searched or filtered for.
pub const MOST_TEXT: usize = 200;

/// What a table is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// The experiment's number: the order in which they were made.
    #[default]
    Number,
    /// The measured difference, the best first.
    Effect,
    /// What is expected of it when it is measured again, the best first: what it is worth.
    Value,
    /// The metric, the lowest first.
    Metric,
    /// Seconds of training.
    Time,
}

impl Sort {
    /// All of them.
    pub const ALL: [Sort; 5] = [Sort::Number, Sort::Effect, Sort::Value, Sort::Metric, Sort::Time];

    /// The word in addresses; with a `-` before it the order is turned round.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Number => "number",
            Sort::Effect => "effect",
            Sort::Value => "value",
            Sort::Metric => "metric",
            Sort::Time => "time",
        }
    }
}

/// A parameter of an address that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}={given:?} in the address: {expected}")]
pub struct BadParameter {
    /// Its name.
    pub name: String,
    /// What was given, shortened.
    pub given: String,
    /// What it should have been.
    pub expected: &'static str,
}

/// Which experiments of a night are shown, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExperimentsQuery {
    /// Only those that came out so.
    pub verdict: Option<Outcome>,
    /// Only those of this proposer.
    pub proposer: Option<String>,
    /// Only those of this family.
    pub family: Option<String>,
    /// Only those with this text in them; empty for all.
    pub q: String,
    /// The order.
    pub sort: Sort,
    /// Whether it is turned round.
    pub descending: bool,
    /// The page, counted from 1.
    pub page: u32,
}

impl Default for ExperimentsQuery {
    fn default() -> Self {
        Self {
            verdict: None,
            proposer: None,
            family: None,
            q: String::new(),
            sort: Sort::Number,
            descending: false,
            page: 1,
        }
    }
}

impl ExperimentsQuery {
    /// From the names and values of an address, decoded. What is empty asks for nothing; the last of a name counts.
    ///
    /// # Errors
    /// A name or value that means nothing, or a text that is too long.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, BadParameter> {
        let mut query = Self::default();
        for (name, value) in pairs {
            let bad = |expected| BadParameter {
                name: name.chars().take(40).collect(),
                given: value.chars().take(40).collect(),
                expected,
            };
            let value = value.trim();
            let text = || match value.chars().count() {
                0 => Ok(None),
                1..=MOST_TEXT => Ok(Some(value.to_owned())),
                _ => Err(bad("at most 200 characters are searched for")),
            };
            match name {
                "verdict" if value.is_empty() => query.verdict = None,
                "verdict" => {
                    let expected = "kept, discarded, inconclusive, invalid, crashed, unbuildable, taken-back or open";
                    query.verdict = Some(Outcome::named(value).ok_or_else(|| bad(expected))?);
                }
                "proposer" => query.proposer = text()?,
                "family" => query.family = text()?,
                "q" => query.q = text()?.unwrap_or_default(),
                "sort" if value.is_empty() => (query.sort, query.descending) = (Sort::Number, false),
                "sort" => {
                    let (descending, word) = match value.strip_prefix('-') {
                        Some(word) => (true, word),
                        None => (false, value),
                    };
                    let found = Sort::ALL.into_iter().find(|sort| sort.name() == word);
                    let expected = "number, effect, value, metric or time, with a - before it to turn it round";
                    (query.sort, query.descending) = (found.ok_or_else(|| bad(expected))?, descending);
                }
                "page" => {
                    let page = value.parse().ok().filter(|page| (1..=1_000_000).contains(page));
                    query.page = page.ok_or_else(|| bad("a number from 1 on"))?;
                }
                _ => return Err(bad("this page knows verdict, proposer, family, q, sort and page")),
            }
        }
        Ok(query)
    }

    /// The address of a night's table that is asked this; what is as usual is left out.
    pub fn address(&self, night: &str) -> String {
        let direction = if self.descending { "-" } else { "" };
        let sort = format!("{direction}{}", self.sort.name());
        let page = self.page.to_string();
        let parts = [
            ("verdict", self.verdict.map_or("", Outcome::name)),
            ("proposer", self.proposer.as_deref().unwrap_or("")),
            ("family", self.family.as_deref().unwrap_or("")),
            ("q", &self.q),
            ("sort", if sort == "number" { "" } else { &sort }),
            ("page", if self.page == 1 { "" } else { &page }),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", url::encoded(value)))
            .collect();
        let mark = if parts.is_empty() { "" } else { "?" };
        format!("{}{mark}{}", url::night(night), parts.join("&"))
    }

    /// The same sorted by something else, from its first page; by the same again, turned round.
    pub fn sorted_by(&self, sort: Sort) -> Self {
        Self { sort, descending: self.sort == sort && !self.descending, page: 1, ..self.clone() }
    }

    /// Another page of the same.
    pub fn on_page(&self, page: u32) -> Self {
        Self { page, ..self.clone() }
    }

    /// Whether anything is left out.
    pub fn is_filtered(&self) -> bool {
        self.verdict.is_some() || self.proposer.is_some() || self.family.is_some() || !self.q.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_survives_its_address() {
        let query = ExperimentsQuery {
            verdict: Some(Outcome::TakenBack),
            proposer: Some("a b".into()),
            family: Some("<i>&x=1".into()),
            q: "100 % é".into(),
            sort: Sort::Time,
            descending: true,
            page: 3,
        };
        let address = query.address("n");
        assert_eq!(
            address,
            "/nights/n?verdict=taken-back&proposer=a%20b&family=%3Ci%3E%26x%3D1&q=100%20%25%20%C3%A9&sort=-time&page=3"
        );
        let asked = [
            ("verdict", "taken-back"),
            ("proposer", "a b"),
            ("family", "<i>&x=1"),
            ("q", " 100 % é "),
            ("sort", "-time"),
            ("page", "3"),
        ];
        assert_eq!(ExperimentsQuery::parse(asked).unwrap(), query);
        let nothing = [("verdict", ""), ("proposer", ""), ("q", ""), ("sort", "")];
        assert_eq!(ExperimentsQuery::parse(nothing).unwrap(), ExperimentsQuery::default());
        assert_eq!(ExperimentsQuery::default().address("n"), "/nights/n");
    }

    #[test]
    fn what_means_nothing_is_said_so() {
        let long = "x".repeat(MOST_TEXT + 1);
        for (name, value) in [
            ("page", "-1"),
            ("page", "0"),
            ("page", "x"),
            ("page", "99999999999"),
            ("sort", "x"),
            ("sort", "--time"),
            ("verdict", "liked"),
            ("q", long.as_str()),
            ("other", "1"),
        ] {
            let refused = ExperimentsQuery::parse([(name, value)]).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{name}=")) && refused.len() < 200, "{refused}");
        }
    }

    #[test]
    fn sorting_by_the_same_again_turns_it_round() {
        let query = ExperimentsQuery { page: 4, q: "x".into(), ..ExperimentsQuery::default() };
        let by_effect = query.sorted_by(Sort::Effect);
        assert_eq!((by_effect.sort, by_effect.descending, by_effect.page), (Sort::Effect, false, 1));
        assert!(by_effect.sorted_by(Sort::Effect).descending && by_effect.q == "x");
        assert!(query.sorted_by(Sort::Number).descending);
    }
}
