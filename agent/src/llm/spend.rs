//! What a night may spend on its models, and what it has spent.
//!
//! Every call is reserved before it is made, at what it may cost at most as far as that can be told, and settled at what it did cost. A
//! call is allowed while nothing is used up by what is spent and reserved together; so with several calls in flight a limit is passed by
//! one call's cost at most, never by one for each of them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::Usage;

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Price {
    /// Of a request, as far as the server has it not in its cache.
    pub input: f64,
    /// Of a request's part that it has.
    pub cached: f64,
    /// Of an answer.
    pub output: f64,
}

/// What a night may spend; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// US dollars.
    pub usd: Option<f64>,
    /// Tokens of requests and answers together, cached ones included.
    pub tokens: Option<u64>,
    /// Calls.
    pub calls: Option<u64>,
}

/// Something spent.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// US dollars.
    pub usd: f64,
    /// Tokens of requests and answers together.
    pub tokens: u64,
    /// Calls.
    pub calls: u64,
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UsedUp {
    /// The money is spent.
    #[error(
        "the night's money for models is spent: {spent:.4} of {limit:.4} US dollars; raise `dollars` in [spending] of campaign.toml"
    )]
    Usd {
        /// Spent or reserved.
        spent: f64,
        /// The limit.
        limit: f64,
    },
    /// The tokens are used up.
    #[error(
        "the night's tokens for models are used up: {spent} of {limit}; raise `tokens` in [spending] of campaign.toml"
    )]
    Tokens {
        /// Spent or reserved.
        spent: u64,
        /// The limit.
        limit: u64,
    },
    /// The calls are used up.
    #[error(
        "the night's calls of models are used up: {spent} of {limit}; raise `calls` in [spending] of campaign.toml"
    )]
    Calls {
        /// Made or begun.
        spent: u64,
        /// The limit.
        limit: u64,
    },
}

impl Price {
    /// What a call cost. Counts that the server did not give are replaced by estimates, `input` and `output`: not knowing is not free.
    pub fn of(&self, usage: &Usage, input: u64, output: u64) -> Spent {
        let cached = usage.cached.unwrap_or(0);
        let input = usage.input.unwrap_or_else(|| input.saturating_sub(cached));
        let output = usage.output.unwrap_or(output);
        let millions = |tokens: u64| tokens as f64 / 1e6;
        let usd = millions(input) * self.input + millions(cached) * self.cached + millions(output) * self.output;
        Spent { usd, tokens: input.saturating_add(cached).saturating_add(output), calls: 1 }
    }

    /// What a call costs at most: the whole request and the longest answer at full price.
    pub fn at_most(&self, input: u64, output: u64) -> Spent {
        self.of(&Usage { input: Some(input), cached: None, output: Some(output) }, input, output)
    }
}

/// Tokens that a text has at most, more or less: three bytes make one, where code has three to four.
pub fn estimated_tokens(text: &str) -> u64 {
    estimated_tokens_of(text.len() as u64)
}

/// The same of so many bytes.
pub fn estimated_tokens_of(bytes: u64) -> u64 {
    bytes.div_ceil(3)
}

/// A night's account with all its models.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Account {
    limits: Limits,
    spent: Spent,
    reserved: HashMap<u64, Spent>,
    next: u64,
}

/// A call that may be made; to be settled or cancelled.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is never settled stays reserved"]
pub struct Reservation(u64);

impl Account {
    /// An account of a night that has spent this already.
    pub fn new(limits: Limits, spent: Spent) -> Self {
        Self { limits, spent, ..Self::default() }
    }

    /// What is spent.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Allows one more call that may cost as much, if nothing is used up.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn reserve(&mut self, at_most: Spent) -> Result<Reservation, UsedUp> {
        let taken = self.reserved.values().fold(self.spent, |sum, more| sum.plus(more));
        match self.limits {
            Limits { usd: Some(limit), .. } if taken.usd >= limit => {
                return Err(UsedUp::Usd { spent: taken.usd, limit });
            }
            Limits { tokens: Some(limit), .. } if taken.tokens >= limit => {
                return Err(UsedUp::Tokens { spent: taken.tokens, limit });
            }
            Limits { calls: Some(limit), .. } if taken.calls >= limit => {
                return Err(UsedUp::Calls { spent: taken.calls, limit });
            }
            _ => {}
        }
        let reservation = Reservation(self.next);
        self.next += 1;
        self.reserved.insert(reservation.0, at_most);
        Ok(reservation)
    }

    /// A call has been made and cost this. A failed one may have cost nothing; it counts as a call all the same.
    pub fn settle(&mut self, Reservation(id): Reservation, cost: Spent) {
        self.reserved.remove(&id);
        self.spent = self.spent.plus(&cost);
    }
}

impl Spent {
    /// Both together.
    pub fn plus(&self, other: &Spent) -> Spent {
        Spent {
            usd: self.usd + other.usd,
            tokens: self.tokens.saturating_add(other.tokens),
            calls: self.calls.saturating_add(other.calls),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRICE: Price = Price { input: 3.0, cached: 0.3, output: 15.0 };

    #[test]
    fn a_call_costs_what_its_tokens_cost() {
        let usage = Usage { input: Some(1_000), cached: Some(10_000), output: Some(200) };
        let spent = PRICE.of(&usage, 0, 0);
        assert!((spent.usd - (0.003 + 0.003 + 0.003)).abs() < 1e-12, "{spent:?}");
        assert_eq!((spent.tokens, spent.calls), (11_200, 1));
        // A server that counts nothing is paid by the estimate.
        let silent = PRICE.of(&Usage::default(), 1_000, 200);
        assert!((silent.usd - 0.006).abs() < 1e-12, "{silent:?}");
    }

    #[test]
    fn each_limit_ends_it_with_words() {
        let call = Spent { usd: 0.5, tokens: 100, calls: 1 };
        for (limits, words) in [
            (Limits { usd: Some(1.0), ..Limits::default() }, "1.0000 of 1.0000 US dollars"),
            (Limits { tokens: Some(150), ..Limits::default() }, "200 of 150"),
            (Limits { calls: Some(2), ..Limits::default() }, "2 of 2"),
        ] {
            let mut account = Account::new(limits, Spent::default());
            for _ in 0..2 {
                let reserved = account.reserve(call).unwrap();
                account.settle(reserved, call);
            }
            let error = account.reserve(call).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    proptest! {
        /// Whatever the order of calls and answers: more than the limit is never spent by more than one call's cost.
        #[test]
        fn no_limit_is_passed_by_more_than_one_call(
            limit in 0.0..20.0_f64,
            steps in prop::collection::vec((any::<bool>(), 0.0..1.0_f64), 0..200),
        ) {
            let mut account = Account::new(Limits { usd: Some(limit), ..Limits::default() }, Spent::default());
            let mut flying = Vec::new();
            for (begins, share) in steps {
                if begins {
                    flying.extend(account.reserve(Spent { usd: 2.0, tokens: 1, calls: 1 }));
                } else if let Some(reservation) = flying.pop() {
                    account.settle(reservation, Spent { usd: 2.0 * share, tokens: 1, calls: 1 });
                }
                let all = account.reserved.values().fold(account.spent, |sum, more| sum.plus(more));
                prop_assert!(all.usd < limit + 2.0 + 1e-9);
            }
        }
    }
}
