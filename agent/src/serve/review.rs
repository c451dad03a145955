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

use super::experiment::diff;
use super::pages::{document, night_of};
use super::problem::Problem;
use super::{Served, views};
use crate::flow::NightId;
use crate::hash::sha256;
use crate::records::{ReviewChoice, ReviewRecord};
use crate::repo::Repo;
use crate::report::{Account, NightRecords, date};
use crate::review::{self, Accepted, Arrangement, Choice, ReviewError};

/// Decisions that a page shows whole; the others come up as these are made.
const MOST_SHOWN: usize = 20;

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

async fn page(State(served): State<Arc<Served>>, Path(night): Path<String>) -> Answer {
    let view = view_of(&served, &night).await?;
    let about = served.frame(&format!("Review of {night}"), Tab::Review).of_night(night);
    Ok(Html(frame(&about, site::review(&view, served.guard.csrf()))).into_response())
}

async fn api_page(State(served): State<Arc<Served>>, Path(night): Path<String>) -> Answer {
    document(&view_of(&served, &night).await?)
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
        let about = records.view(&Account::of(&records, &[], &[]), |of| match shown.contains(&of.id.number) {
            true => diff(&served.layout, of),
            false => String::new(),
        });
        let told = |number: &u32| {
            let experiment = about.experiment(*number)?.clone();
            Some(Told { experiment, why_not: None, picture: None })
        };
        let repo = Repo::discover(served.layout.root()).map_err(|error| Problem::internal(&error))?;
        let branches = repo.accepted_branches(&records.night.campaign, &records.night.id);
        Ok::<_, Problem>(ReviewPage {
            night: views::head(&records.night),
            waiting: shown.iter().filter_map(told).collect(),
            more: u32::try_from(waiting.len() - shown.len()).unwrap_or(u32::MAX),
            decided: decided(&records, &waiting),
            plan: plan(&served, &repo, &records)?,
            made: branches.map_err(|error| Problem::internal(&error))?,
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

/// Which branches come of what is accepted. To find it out takes a merge for each two of them, so it is kept until something is accepted, or
/// the base moves.
fn plan(served: &Served, repo: &Repo, records: &NightRecords) -> Result<Option<PlanView>, Problem> {
    let accepted = review::accepted(records, &records.reviews);
    if accepted.is_empty() {
        return Ok(None);
    }
    let base = repo.revision(BASE).map_err(|error| Problem::internal(&error))?;
    let mut key = format!("plan {} {base}", records.night.id);
    for change in &accepted {
        // Writing to a text cannot fail.
        let _infallible = write!(key, " {} {}", change.commit, sha256(change.message.as_bytes()));
    }
    if let Some(kept) = served.plans.get(&key) {
        return Ok(Some(kept));
    }
    let plan =
        |arrangement| review::plan(repo, &base, &accepted, arrangement).map_err(|error| Problem::internal(&error));
    let (independent, stacked) = (plan(Arrangement::Independent)?, plan(Arrangement::Stacked)?);
    let blocked = |of: &review::Plan| of.blocked.iter().map(|blocked| (blocked.number, blocked.why())).collect();
    let view = PlanView {
        base: format!("your {BASE}, commit {}", base.short()),
        branches: independent.branches.iter().map(|it| (it.name.clone(), it.experiments.clone())).collect(),
        clashes: independent
            .clashes
            .iter()
            .map(|clash| (clash.one.clone(), clash.other.clone(), clash.files.clone()))
            .collect(),
        blocked: blocked(&independent),
        stack: stacked.branches.first().map(|it| it.experiments.clone()).unwrap_or_default(),
        stack_blocked: blocked(&stacked),
    };
    // Names and words of each change, about.
    let bytes = 4096 * accepted.len();
    served.plans.put(key, view.clone(), bytes);
    Ok(Some(view))
}

/// What a form of a page sends.
#[derive(Debug, Deserialize)]
struct Decision {
    experiment: String,
    choice: ReviewChoice,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    back: String,
}

async fn decide(State(served): State<Arc<Served>>, Form(form): Form<Decision>) -> Answer {
    let Decision { experiment, choice, reason, back } = form;
    record(&served, vec![Choice { experiment, choice, reason }]).await?;
    Ok(Redirect::to(own_path(&back)).into_response())
}

/// Where a form asks to go back to, where that is a path of this server.
fn own_path(back: &str) -> &str {
    let plain = back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if back.starts_with('/') && !back.starts_with("//") && plain { back } else { "/nights" }
}

async fn api_decide(State(served): State<Arc<Served>>, Json(choices): Json<Vec<Choice>>) -> Answer {
    document(&record(&served, choices).await?)
}

async fn record(served: &Served, choices: Vec<Choice>) -> Result<Vec<ReviewRecord>, Problem> {
    let reader = served.reader().await?;
    let named = review::named_choices(choices)?;
    Ok(review::record(&served.layout, &reader, &named).await?)
}

/// What a form asks for when branches are to be made.
#[derive(Debug, Deserialize)]
struct Arranged {
    arrangement: String,
}

async fn branches(State(served): State<Arc<Served>>, Path(night): Path<String>, Form(form): Form<Arranged>) -> Answer {
    let arrangement = match form.arrangement.as_str() {
        "independent" => Arrangement::Independent,
        "stacked" => Arrangement::Stacked,
        other => return Err(Problem::bad_request(format!("Branches are made independent or stacked, not {other:?}."))),
    };
    make(&served, &night, arrangement, BASE).await?;
    let night = NightId::try_from(night).map_err(|error| Problem::not_found(error.to_string()))?;
    Ok(Redirect::to(&format!("{}#made", site::url::review(night.as_str()))).into_response())
}

/// What a program asks for when branches are to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    stack: bool,
    base: Option<String>,
}

async fn api_branches(
    State(served): State<Arc<Served>>,
    Path(night): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Answer {
    let arrangement = if wanted.stack { Arrangement::Stacked } else { Arrangement::Independent };
    let (base, plan, made) = make(&served, &night, arrangement, wanted.base.as_deref().unwrap_or(BASE)).await?;
    document(&json!({ "night": night, "base": base, "plan": plan, "made": made }))
}

/// Makes branches of all that is accepted; made again, nothing changes.
async fn make(
    served: &Arc<Served>,
    night: &str,
    arrangement: Arrangement,
    base: &str,
) -> Result<(crate::flow::CommitId, review::Plan, Vec<review::Made>), Problem> {
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
