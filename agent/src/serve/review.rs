//! Deciding in the browser: what waits, the person's choices, and the branches that come of what they accept.
//!
//! Choices are checked and written down by [`crate::review::record`], as those of the command line are, also while a night runs in another
//! process. Branches are made by [`crate::review::branches`]: nothing is merged, moved or checked out.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Form, Path, State};
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dashboards::site::{self, DecidedRow, PlanView, ReviewPage, Tab, Told, frame};
use serde::Deserialize;
use serde_json::json;

use super::pages::{Parameters, document, night_of};
use super::problem::Problem;
use super::{Served, views};
use crate::causes::chain;
use crate::clock::date;
use crate::flow::{CommitId, NightId};
use crate::hash::sha256;
use crate::records::{ReviewChoice, ReviewRecord};
use crate::repo::Repo;
use crate::report::{Account, NightRecords, diff};
use crate::review::{self, Accepted, Arrangement, Choice, ReviewError};

/// Decisions that a page shows whole; the others come up as these are made.
const MOST_SHOWN: usize = 20;

/// Accepted changes of which a page says what would come: each two of them are merged for that.
const MOST_PLANNED: usize = 24;

/// What the branches stand on.
const BASE: &str = "HEAD";

type Answer = Result<Response, Problem>;

pub(super) fn routes() -> Router<Arc<Served>> {
    Router::new()
        .route("/nights/{night}/review", get(page))
        .route("/nights/{night}/branches", post(branches))
        .route("/reviews", post(decide))
        .route("/api/nights/{night}/review", get(api_page))
        .route("/api/nights/{night}/branches", post(api_branches))
        .route("/api/reviews", post(api_decide))
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let words = error.to_string();
        match error {
            ReviewError::NoSuchExperiment(_) => Self::not_found(words),
            ReviewError::NotAcceptable { .. } => Self::conflict(words, "It can be rejected or deferred."),
            ReviewError::NoReason | ReviewError::TooLong(_) | ReviewError::BadDocument(_) => Self::bad_request(words),
            ReviewError::Report(error) => (*error).into(),
            ReviewError::Store(error) => error.into(),
            ReviewError::Repo(_) | ReviewError::BadName(_) => Self::internal(&error),
        }
    }
}

async fn page(State(served): State<Arc<Served>>, Path(night): Path<String>, asked: Parameters) -> Answer {
    let mut view = view_of(&served, &night).await?;
    view.done = match said(&asked) {
        Some("branches") => Some("The branches are there: they stand under Made.".to_owned()),
        other => other.and_then(|number| told(number, view.decided.iter().map(|row| (row.number, row.choice)))),
    };
    let about = served.frame(&format!("Review of {night}"), Tab::Review).of_night(night);
    Ok(Html(frame(&about, site::review(&view, served.guard.csrf()))).into_response())
}

async fn api_page(State(served): State<Arc<Served>>, Path(night): Path<String>) -> Answer {
    document(&view_of(&served, &night).await?)
}

/// What a form that led here has done.
pub(super) fn said(asked: &Parameters) -> Option<&str> {
    asked.iter().find(|(name, _)| name == "said").map(|(_, value)| value.as_str())
}

/// The same in words: by what is on record now, not by what an address says.
pub(super) fn told(number: &str, choices: impl Iterator<Item = (u32, dashboards::Choice)>) -> Option<String> {
    let number: u32 = number.parse().ok()?;
    let last = choices.filter(|(of, _)| *of == number).last();
    let words = last.map_or("put off", |(_, choice)| match choice {
        dashboards::Choice::Deferred => "put off",
        other => other.name(),
    });
    Some(format!("#{number} is {words}."))
}

/// What there is to review of a night, with whatever bears on it.
async fn records_of(served: &Served, night: &str) -> Result<NightRecords, Problem> {
    let reader = served.reader().await?;
    let night = night_of(&reader, night).await?.id;
    let numbers = reader.to_review(&night).await?;
    Ok(NightRecords::read_part(&reader, &night, &numbers).await?)
}

async fn view_of(served: &Arc<Served>, night: &str) -> Result<ReviewPage, Problem> {
    let records = records_of(served, night).await?;
    let served = Arc::clone(served);
    let made = tokio::task::spawn_blocking(move || {
        let waiting: Vec<u32> = review::waiting(&records, &records.reviews).iter().map(|it| it.id.number).collect();
        let shown = &waiting[..waiting.len().min(MOST_SHOWN)];
        let repo = Repo::discover(served.layout.root()).map_err(|error| Problem::internal(&error))?;
        let about = records.view(&Account::of(&records, &[], &[]), |of| match shown.contains(&of.id.number) {
            true => diff(Ok(&repo), of),
            false => String::new(),
        });
        let told = |number: &u32| {
            let experiment = about.experiment(*number)?.clone();
            Some(Told { experiment, why_not: None, picture: None })
        };
        let fallen = review::fallen(&records, &records.reviews);
        let branches = repo.accepted_branches(&records.night.campaign, &records.night.id);
        Ok::<_, Problem>(ReviewPage {
            night: views::head(&records.night),
            waiting: shown.iter().filter_map(told).collect(),
            more: u32::try_from(waiting.len() - shown.len()).unwrap_or(u32::MAX),
            decided: decided(&records, &waiting),
            plan: plan(&served, &repo, &records),
            made: branches
                .map_err(|error| Problem::internal(&error))?
                .into_iter()
                .map(|name| mark(name, &fallen))
                .collect(),
            fallen,
            done: None,
            about,
        })
    });
    made.await.map_err(|error| Problem::internal(&error))?
}

/// The last word on each experiment that does not wait, the newest first.
fn decided(records: &NightRecords, waiting: &[u32]) -> Vec<DecidedRow> {
    let latest = review::latest(&records.reviews);
    let mut latest: Vec<&ReviewRecord> =
        latest.into_values().filter(|review| !waiting.contains(&review.experiment.number)).collect();
    latest.sort_by_key(|review| std::cmp::Reverse(review.ordinal));
    let title = |number: u32| {
        let of_it = records.experiments.iter().find(|it| it.id.number == number);
        of_it.map(|it| it.proposal.title.clone()).unwrap_or_default()
    };
    let row = |review: &ReviewRecord| DecidedRow {
        number: review.experiment.number,
        title: title(review.experiment.number),
        choice: views::choice(review.choice),
        reason: review.reason.clone(),
        date: date(review.at),
    };
    latest.into_iter().map(row).collect()
}

/// A branch that was made, and whether an experiment that it is named after was taken back since.
fn mark(name: String, fallen: &[(u32, String)]) -> (String, bool) {
    let of =
        name.rsplit('/').next().and_then(|end| end.split('-').next()).and_then(|number| number.parse::<u32>().ok());
    let is_fallen = fallen.iter().any(|(number, _)| Some(*number) == of) || (of.is_none() && !fallen.is_empty());
    (name, is_fallen)
}

/// Names what would be made: the night, the base, and every change with its message.
fn digest(records: &NightRecords, base: &CommitId, accepted: &[Accepted]) -> String {
    let mut words = format!("{} {base}", records.night.id);
    for change in accepted {
        // Writing to a text cannot fail.
        let _infallible = write!(words, " {} {}", change.commit, sha256(change.message.as_bytes()));
    }
    sha256(words.as_bytes())
}

/// Which branches come of what is accepted; `None` where nothing is. To find it out takes a merge for each two of them, so it is kept until
/// something else is accepted, or the base moves. What keeps it from being known is told, and keeps nothing else from being shown.
fn plan(served: &Served, repo: &Repo, records: &NightRecords) -> Option<PlanView> {
    let accepted = review::accepted(records, &records.reviews);
    if accepted.is_empty() {
        return None;
    }
    let found = repo.revision(BASE).map_err(|error| chain(&error)).and_then(|base| {
        let digest = digest(records, &base, &accepted);
        if let Some(kept) = served.plans.get(&digest) {
            return Ok(kept);
        }
        let view = planned(repo, &base, &accepted, &digest)?;
        // Names and words of each change, about.
        served.plans.put(digest, view.clone(), 4096 * accepted.len());
        Ok(view)
    });
    Some(found.unwrap_or_else(|problem| PlanView { problem: Some(problem), ..PlanView::default() }))
}

fn planned(repo: &Repo, base: &CommitId, accepted: &[Accepted], digest: &str) -> Result<PlanView, String> {
    if accepted.len() > MOST_PLANNED {
        return Err(format!(
            "{} changes are accepted, and to see how each two of them fit together takes too long for a page; `nocturne review branches \
             --dry-run` says it, and `nocturne review branches` makes them",
            accepted.len()
        ));
    }
    let plan = |arrangement| review::plan(repo, base, accepted, arrangement).map_err(|error| chain(&error));
    let (independent, stacked) = (plan(Arrangement::Independent)?, plan(Arrangement::Stacked)?);
    let blocked = |of: &review::Plan| of.blocked.iter().map(|blocked| (blocked.number, blocked.why())).collect();
    Ok(PlanView {
        base: format!("your {BASE}, commit {}", base.short()),
        digest: digest.to_owned(),
        problem: None,
        branches: independent.branches.iter().map(|it| (it.name.clone(), it.experiments.clone())).collect(),
        clashes: independent
            .clashes
            .iter()
            .map(|clash| (clash.one.clone(), clash.other.clone(), clash.files.clone()))
            .collect(),
        blocked: blocked(&independent),
        stack: stacked.branches.first().map(|it| it.experiments.clone()).unwrap_or_default(),
        stack_blocked: blocked(&stacked),
    })
}

/// What a form of a page sends.
#[derive(Debug, Deserialize)]
struct Decision {
    experiment: String,
    choice: ReviewChoice,
    #[serde(default)]
    reason: String,
    seen: Option<String>,
    #[serde(default)]
    back: String,
}

/// What a script of a page sends of one experiment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    experiment: String,
    choice: ReviewChoice,
    #[serde(default)]
    reason: String,
    /// The last word that the page showed, empty for none; left out, it is not asked what was said meanwhile.
    seen: Option<String>,
}

async fn decide(State(served): State<Arc<Served>>, Form(form): Form<Decision>) -> Answer {
    let Decision { experiment, choice, reason, seen, back } = form;
    let recorded = record(&served, vec![Said { experiment, choice, reason, seen }]).await?;
    let mut to = own_path(&back).to_owned();
    if let Some(review) = recorded.first().filter(|_| !to.contains(['?', '#'])) {
        to = format!("{to}?said={}", review.experiment.number);
    }
    Ok(Redirect::to(&to).into_response())
}

/// Where a form asks to go back to, where that is a path of this server.
fn own_path(back: &str) -> &str {
    let plain = back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if back.starts_with('/') && !back.starts_with("//") && plain { back } else { "/nights" }
}

async fn api_decide(State(served): State<Arc<Served>>, Json(choices): Json<Vec<Said>>) -> Answer {
    document(&record(&served, choices).await?)
}

async fn record(served: &Served, said: Vec<Said>) -> Result<Vec<ReviewRecord>, Problem> {
    let reader = served.reader().await?;
    let (choices, seen): (Vec<Choice>, Vec<Option<String>>) = said
        .into_iter()
        .map(|Said { experiment, choice, reason, seen }| (Choice { experiment, choice, reason }, seen))
        .unzip();
    let named = review::named_choices(choices)?;
    let reviews = reader.reviews(None).await?;
    for ((id, _, _), seen) in named.iter().zip(&seen) {
        let last = reviews.iter().rfind(|review| review.experiment == *id).map_or("", |review| review.choice.name());
        if seen.as_ref().is_some_and(|seen| seen != last) {
            return Err(Problem::conflict(
                format!("{id} is {last} by now: somebody said so since this page was loaded. Nothing was written."),
                "Load the page again and look at it once more.",
            ));
        }
    }
    Ok(review::record(&served.layout, &reader, &named).await?)
}

/// What a form asks for when branches are to be made.
#[derive(Debug, Deserialize)]
struct Arranged {
    arrangement: String,
    /// The digest of what the page said would be made.
    plan: String,
}

async fn branches(State(served): State<Arc<Served>>, Path(night): Path<String>, Form(form): Form<Arranged>) -> Answer {
    let arrangement = match form.arrangement.as_str() {
        "independent" => Arrangement::Independent,
        "stacked" => Arrangement::Stacked,
        other => return Err(Problem::bad_request(format!("Branches are made independent or stacked, not {other:?}."))),
    };
    make(&served, &night, arrangement, BASE, Some(form.plan)).await?;
    let night = NightId::try_from(night).map_err(|error| Problem::not_found(error.to_string()))?;
    Ok(Redirect::to(&format!("{}?said=branches#made", site::url::review(night.as_str()))).into_response())
}

/// What a program asks for when branches are to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    stack: bool,
    base: Option<String>,
    /// The digest of the plan that was looked at; left out, what comes of it now is made.
    plan: Option<String>,
}

async fn api_branches(
    State(served): State<Arc<Served>>,
    Path(night): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Answer {
    let arrangement = if wanted.stack { Arrangement::Stacked } else { Arrangement::Independent };
    let (base, plan, made) =
        make(&served, &night, arrangement, wanted.base.as_deref().unwrap_or(BASE), wanted.plan).await?;
    document(&json!({ "night": night, "base": base, "plan": plan, "made": made }))
}

/// Makes branches of all that is accepted; made again, nothing changes.
async fn make(
    served: &Arc<Served>,
    night: &str,
    arrangement: Arrangement,
    base: &str,
    looked_at: Option<String>,
) -> Result<(CommitId, review::Plan, Vec<review::Made>), Problem> {
    let records = records_of(served, night).await?;
    let (served, base) = (Arc::clone(served), base.to_owned());
    let made = tokio::task::spawn_blocking(move || {
        let accepted: Vec<Accepted> = review::accepted(&records, &records.reviews);
        if accepted.is_empty() {
            let help = "Accept something first.";
            return Err(Problem::conflict(
                "Nothing of this night is accepted, so there is nothing to make a branch of.",
                help,
            ));
        }
        let repo = Repo::discover(served.layout.root()).map_err(|error| Problem::internal(&error))?;
        let base = repo.revision(&base).map_err(|error| Problem::bad_request(error.to_string()))?;
        if looked_at.is_some_and(|looked_at| looked_at != digest(&records, &base, &accepted)) {
            return Err(Problem::conflict(
                "What would be made is not what the page said: your HEAD has moved since, or something else is accepted. Nothing was made.",
                "Load the page again and look at the branches once more.",
            ));
        }
        let plan = review::plan(&repo, &base, &accepted, arrangement).map_err(|error| Problem::internal(&error))?;
        let made = review::branches(&repo, &records, &plan)?;
        Ok((base, plan, made))
    });
    made.await.map_err(|error| Problem::internal(&error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_this_server_alone() {
        for (asked, led) in [
            ("/nights/n/review#branches", "/nights/n/review#branches"),
            ("/nights/n?q=a%20b", "/nights/n?q=a%20b"),
            ("", "/nights"),
            ("//example.org", "/nights"),
            ("/\\example.org", "/nights"),
            ("https://example.org", "/nights"),
            ("/a\r\nSet-Cookie: x", "/nights"),
            ("/é", "/nights"),
        ] {
            assert_eq!(own_path(asked), led, "{asked:?}");
        }
    }
}
