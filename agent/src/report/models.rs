//! What came of the answers of language models and coding agents, and what they cost. Pure.
//!
//! What an answer was worth stands nowhere by itself: whether it can be read is found out by reading it again, and the rest by the
//! experiments that came of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::NightRecords;
use super::experiment::came_to;
use crate::campaign::ProposerName;
use crate::flow::{TrialEnd, Verdict};
use crate::llm::Stop;
use crate::propose::model::answer;
use crate::records::{AttemptKind, AttemptOutcome, ExchangeFacts, ExchangeKind, ExperimentRecord, FailureKind, Reply};

/// One model or coding agent in one night: of its answers, how many got how far, and what they cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct ModelAccount {
    /// `models` or `agents`.
    pub proposer: String,
    /// Its name in `campaign.toml`.
    pub model: String,
    /// Tries over the network, failed ones included; how often a coding agent was run.
    pub calls: u64,
    /// Calls that no answer came of, whatever was tried, by the reason.
    pub failed: BTreeMap<&'static str, u32>,
    /// Answers that were no calls of tools. A coding agent's are the turns in which it left something, whether or not that could be taken.
    pub answers: u32,
    /// Of these, the ones that can be read.
    pub parsed: u32,
    /// Edits that fitted the champion and were allowed.
    pub applied: u32,
    /// Edits that compiled.
    pub compiled: u32,
    /// Experiments of which a trial ran: to its end, or until it was hopeless.
    pub ran: u32,
    /// Experiments that were kept and stand.
    pub kept: u32,
    /// Tokens of requests and answers; `None` where nobody counts them: what a coding agent takes is between the person and its provider.
    pub tokens: Option<u64>,
    /// US dollars; `None` where that is not known.
    pub dollars: Option<f64>,
    /// What its kept experiments are expected to have gained together, in bits per byte, positive is better: verified differences,
    /// corrected for having been picked where that is known. `None` where none was kept.
    pub gain: Option<f64>,
    /// US dollars for a thousandth of a bit per byte gained; `None` where nothing was gained, or the cost is not known.
    pub dollars_per_thousandth: Option<f64>,
}

impl ModelAccount {
    /// A share of its answers.
    pub fn share(&self, part: u32) -> Option<f64> {
        (self.answers > 0).then(|| f64::from(part) / f64::from(self.answers))
    }

    /// Calls that no answer came of.
    pub fn failures(&self) -> u32 {
        self.failed.values().sum()
    }
}

/// The accounts of all that were asked or proposed in a night, by proposer and name.
pub(super) fn models(records: &NightRecords) -> Vec<ModelAccount> {
    let mut accounts: BTreeMap<(String, String), ModelAccount> = BTreeMap::new();
    let mut account = |proposer: &str, model: &str, change: &mut dyn FnMut(&mut ModelAccount)| {
        let key = (proposer.to_owned(), model.to_owned());
        let (proposer, model) = key.clone();
        change(accounts.entry(key).or_insert_with(|| ModelAccount { proposer, model, ..ModelAccount::default() }));
    };
    // The experiment that a model's last readable answer was for: what follows may be blocks alone that mend it.
    let mut under_way: BTreeMap<&str, u32> = BTreeMap::new();
    for call in &records.calls {
        let mends = under_way.get(call.model.as_str()) == Some(&call.number);
        let parsed = is_readable(call, mends);
        if parsed == Some(true) {
            under_way.insert(&call.model, call.number);
        }
        let proposer = match call.kind {
            ExchangeKind::Model => ProposerName::Models,
            ExchangeKind::Agent => ProposerName::Agents,
        };
        account(proposer.name(), &call.model, &mut |account| {
            account.calls = account.calls.saturating_add(call.spent.calls);
            if call.kind == ExchangeKind::Model {
                account.tokens = Some(account.tokens.unwrap_or(0).saturating_add(call.spent.tokens));
                account.dollars = Some(account.dollars.unwrap_or(0.0) + call.spent.usd);
            }
            if let (Reply::Failure(failure), None) = (&call.reply, parsed) {
                *account.failed.entry(failure.kind.name()).or_default() += 1;
            }
            account.answers += u32::from(parsed.is_some());
            account.parsed += u32::from(parsed == Some(true));
        });
    }
    for experiment in &records.experiments {
        let author = &experiment.proposal.author;
        let Some(model) = &author.model else { continue };
        account(&author.proposer, model, &mut |account| {
            let attempted = edits_tried(experiment);
            account.applied += attempted.applied;
            account.compiled += attempted.compiled;
            account.ran += u32::from(ran(records, experiment));
            if came_to(experiment, Verdict::Kept) && records.stands(experiment.id.number) {
                account.kept += 1;
                *account.gain.get_or_insert(0.0) += gain(experiment);
            }
        });
    }
    let mut accounts: Vec<ModelAccount> = accounts.into_values().collect();
    for account in &mut accounts {
        let gain = account.gain.filter(|gain| *gain > 0.0);
        account.dollars_per_thousandth = gain.zip(account.dollars).map(|(gain, dollars)| dollars / (gain * 1_000.0));
    }
    accounts
}

/// `None` where a call brought no answer, or one that wants tools called. What an agent left is on record as malformed where nothing could be
/// made of it.
fn is_readable(call: &ExchangeFacts, mends: bool) -> Option<bool> {
    let answer = match (&call.reply, call.kind) {
        (Reply::Answer(_), ExchangeKind::Agent) => return Some(true),
        (Reply::Failure(failure), ExchangeKind::Agent) if failure.kind == FailureKind::Malformed => return Some(false),
        (Reply::Answer(answer), ExchangeKind::Model) => answer,
        (Reply::Failure(_), _) => return None,
    };
    match answer.stop {
        Stop::Calls => None,
        Stop::Done => Some(answer::is_readable(&answer.text, mends)),
        Stop::Length | Stop::Refused => Some(false),
    }
}

/// How many different edits were tried on the way to an experiment: the same ones are tried again when the champion has moved.
struct Tried {
    applied: u32,
    compiled: u32,
}

fn edits_tried(experiment: &ExperimentRecord) -> Tried {
    let different = |far: &dyn Fn(AttemptKind, AttemptOutcome) -> bool| {
        let mut seen = BTreeSet::new();
        for attempt in experiment.attempts.iter().filter(|attempt| far(attempt.kind, attempt.outcome)) {
            seen.insert(attempt.edits.iter().map(|edit| (&edit.path, &edit.search, &edit.replace)).collect::<Vec<_>>());
        }
        u32::try_from(seen.len()).unwrap_or(u32::MAX)
    };
    Tried {
        applied: different(&|kind, _| kind == AttemptKind::Build),
        compiled: different(&|kind, outcome| kind == AttemptKind::Build && outcome == AttemptOutcome::Succeeded),
    }
}

fn ran(records: &NightRecords, experiment: &ExperimentRecord) -> bool {
    let of_it = records.trials.iter().filter(|trial| trial.experiment == experiment.id);
    let mut ends = of_it.filter_map(|trial| trial.trained.as_ref()).map(|trained| &trained.end);
    ends.any(|end| matches!(end, TrialEnd::Finished | TrialEnd::StoppedEarly { .. }))
}

fn gain(experiment: &ExperimentRecord) -> f64 {
    let decision = experiment.decision.as_ref();
    let expected = decision.and_then(|decision| decision.evidence.as_ref()).map(|evidence| evidence.expected);
    -expected.or_else(|| decision.and_then(|decision| decision.difference)).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::flow::Edit;
    use crate::llm::spend::Spent;
    use crate::llm::{Answer, Usage};
    use crate::records::{AttemptRecord, ExchangeFailure};
    use crate::report::fixture;

    const IDEA: &str = "Title: Try it\nHypothesis: It helps.\nFamily: schedule\nPredicted: -0.001\nConfidence: 0.3\n\n";
    const BLOCK: &str = "trainer/src/candidate/recipe.rs\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n";

    fn call(round: u32, model: &str, reply: Reply) -> ExchangeFacts {
        let spent = Spent { usd: 0.01, tokens: 1_000, calls: 2 };
        let (turn, at) = (1, Timestamp::UNIX_EPOCH);
        let (kind, aim, model) = (ExchangeKind::Model, "an idea".to_owned(), model.to_owned());
        ExchangeFacts { kind, turn, round, number: 1, aim, model, reply, again: false, spent, seconds: 1.0, at }
    }

    fn said(text: &str, stop: Stop) -> Reply {
        Reply::Answer(Answer { model: None, text: text.to_owned(), calls: Vec::new(), stop, usage: Usage::default() })
    }

    fn attempt(ordinal: u32, kind: AttemptKind, outcome: AttemptOutcome, replace: &str) -> AttemptRecord {
        let edit = Edit { path: "p".to_owned(), search: "a".to_owned(), replace: replace.to_owned() };
        AttemptRecord {
            ordinal,
            kind,
            edits: vec![edit],
            patch_digest: None,
            commit: None,
            outcome,
            evidence: String::new(),
            seconds: 0.0,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn answers_are_counted_as_far_as_they_got() {
        let mut records = fixture::night();
        let failure = |kind| Reply::Failure(ExchangeFailure { kind, words: "no".to_owned() });
        records.calls = vec![
            call(1, "large", said("", Stop::Calls)),
            // Blocks alone are an answer only where there is an idea that they mend.
            call(2, "large", said(BLOCK, Stop::Done)),
            call(3, "large", said(&format!("{IDEA}{BLOCK}"), Stop::Done)),
            call(4, "large", said(BLOCK, Stop::Done)),
            call(5, "large", said(&format!("{IDEA}{BLOCK}"), Stop::Length)),
            call(6, "small", failure(FailureKind::Unreachable)),
            call(7, "small", failure(FailureKind::Unreachable)),
            call(8, "small", said("I cannot", Stop::Refused)),
        ];
        // A coding agent: a proposal, one that could not be taken, and a turn that came to nothing.
        let replies = [said("{}", Stop::Done), failure(FailureKind::Malformed), failure(FailureKind::TimedOut)];
        records.calls.extend(replies.into_iter().map(|reply| ExchangeFacts {
            kind: ExchangeKind::Agent,
            spent: Spent { calls: 1, ..Spent::default() },
            ..call(9, "claude", reply)
        }));
        let kept = records.experiments.iter().position(|it| it.id.number > 0 && came_to(it, Verdict::Kept)).unwrap();
        let experiment = &mut records.experiments[kept];
        (experiment.proposal.author.proposer, experiment.proposal.author.model) =
            ("models".into(), Some("large".into()));
        experiment.attempts = vec![
            attempt(1, AttemptKind::Edit, AttemptOutcome::Failed, "x"),
            attempt(2, AttemptKind::Build, AttemptOutcome::Failed, "y"),
            attempt(3, AttemptKind::Build, AttemptOutcome::Succeeded, "z"),
            attempt(4, AttemptKind::Build, AttemptOutcome::Succeeded, "z"),
        ];
        let number = experiment.id.number;
        let expected = experiment.decision.as_ref().unwrap().evidence.as_ref().unwrap().expected;
        let other = records.experiments.iter().position(|it| it.id.number > 0 && it.id.number != number).unwrap();
        let author = &mut records.experiments[other].proposal.author;
        (author.proposer, author.model) = ("agents".into(), Some("claude".into()));
        records.experiments[other].attempts = vec![attempt(1, AttemptKind::Build, AttemptOutcome::Failed, "x")];

        let accounts = models(&records);
        let names: Vec<_> = accounts.iter().map(|it| (it.proposer.as_str(), it.model.as_str())).collect();
        assert_eq!(names, [("agents", "claude"), ("models", "large"), ("models", "small")]);
        let [agent, large, small] = accounts.as_slice() else { panic!("{accounts:?}") };
        assert_eq!((agent.answers, agent.parsed, agent.applied, agent.compiled, agent.calls), (2, 1, 1, 0, 3));
        // Nobody knows what it cost: that is not nothing.
        assert_eq!((agent.tokens, agent.dollars, &agent.failed), (None, None, &BTreeMap::from([("timed-out", 1)])));
        assert_eq!((large.calls, large.answers, large.parsed), (10, 4, 2));
        assert_eq!((large.applied, large.compiled, large.ran, large.kept), (2, 1, 1, 1));
        assert_eq!((large.tokens, large.failures(), large.share(large.parsed)), (Some(5_000), 0, Some(0.5)));
        assert!((large.gain.unwrap() + expected).abs() < 1e-12, "{large:?}");
        assert!((large.dollars_per_thousandth.unwrap() - 0.05 / (-expected * 1e3)).abs() < 1e-9, "{large:?}");
        assert_eq!((small.answers, small.parsed, &small.failed), (1, 0, &BTreeMap::from([("unreachable", 2)])));
        assert_eq!((small.gain, small.dollars_per_thousandth), (None, None));

        // What an agent gained is known, and what that cost is not.
        let author = &mut records.experiments[kept].proposal.author;
        (author.proposer, author.model) = ("agents".into(), Some("claude".into()));
        let accounts = models(&records);
        assert!(accounts[0].gain.is_some() && accounts[0].dollars_per_thousandth.is_none(), "{:?}", accounts[0]);
        let author = &mut records.experiments[kept].proposal.author;
        (author.proposer, author.model) = ("models".into(), Some("large".into()));

        // What was taken back is not kept.
        records.withdrawal =
            Some(crate::records::WithdrawalRecord { experiment: 1, words: "no".into(), at: Timestamp::UNIX_EPOCH });
        assert_eq!((models(&records)[1].kept, models(&records)[1].gain), (0, None));
        assert_eq!(models(&fixture::night()), []);
    }
}
