//! The page of one experiment, and of several side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use dashboards::site::{
    self, AttemptView, CompareView, Compared, ExperimentPage, MOST_COMPARED, Outcome, PairedView, Tab, Told, frame,
};
use dashboards::{CurveAxis, CurveView, ExperimentView, NightView, Picture, ReviewView};

use super::pages::{Parameters, document};
use super::problem::Problem;
use super::review::{said, told};
use super::{Served, views};
use crate::clock::date;
use crate::flow::{ExperimentId, NightId, Purpose};
use crate::layout::Layout;
use crate::records::{ExperimentRecord, ReviewRecord};
use crate::repo::Repo;
use crate::report::{Account, Curves, NightRecords, ReportError, diff, evaluation_text, recipe_numbers, shown};
use crate::review;
use crate::store::Reader;

type Answer = Result<Response, Problem>;

pub(super) fn routes() -> Router<Arc<Served>> {
    Router::new()
        .route("/nights/{night}/{number}", get(experiment))
        .route("/api/nights/{night}/experiments/{number}", get(api_experiment))
        .route("/compare", get(compare))
        .route("/api/compare", get(api_compare))
}

/// The experiment of an address.
fn named(night: &str, number: &str) -> Result<ExperimentId, Problem> {
    let id = format!("{night}/{number}").parse();
    id.map_err(|_| Problem::not_found(format!("There is no experiment {number:?} of a night {night:?}.")))
}

async fn experiment(
    State(served): State<Arc<Served>>,
    Path((night, number)): Path<(String, String)>,
    asked: Parameters,
) -> Answer {
    let mut view = page_of(&served, named(&night, &number)?).await?;
    let said = said(&asked).filter(|said| *said == number);
    let of = view.told.experiment.number;
    view.done = said.and_then(|said| told(said, view.reviews.iter().map(|review| (of, review.choice))));
    let about = served.frame(&format!("#{number} {}", view.told.experiment.title), Tab::Experiments).of_night(night);
    Ok(Html(frame(&about, site::experiment(&view, served.guard.csrf()))).into_response())
}

async fn api_experiment(State(served): State<Arc<Served>>, Path((night, number)): Path<(String, String)>) -> Answer {
    document(&page_of(&served, named(&night, &number)?).await?)
}

async fn page_of(served: &Arc<Served>, id: ExperimentId) -> Result<ExperimentPage, Problem> {
    let reader = served.reader().await?;
    let records = NightRecords::read_part(&reader, &id.night, &[id.number]).await?;
    let record = of(&records, &id)?.clone();
    let (before, after) = reader.neighbours(&id.night, id.number).await?;
    let trials = records.trials.iter().filter(|trial| trial.experiment == id);
    let certificates = trials.map(|trial| (trial.ordinal, evaluation_text(trial))).filter(|(_, text)| !text.is_empty());
    let story = || records.account_of(id.number).map(|account| account.story).unwrap_or_default();
    let mut page = ExperimentPage {
        night: views::head(&records.night),
        state: record.state.to_string(),
        concluded: if record.decision.is_none() { story() } else { Vec::new() },
        before,
        after,
        model: record.proposal.author.model.clone(),
        key: record.proposal.key.clone(),
        dollars: record.proposal.author.cost_usd,
        attempts: record.attempts.iter().map(attempt).collect(),
        reviews: records.reviews.iter().filter(|review| review.experiment == id).map(spoken).collect(),
        certificates: certificates.collect(),
        ..ExperimentPage::default()
    };
    let served = Arc::clone(served);
    let drawn = tokio::task::spawn_blocking(move || {
        let repo = Repo::discover(served.layout.root());
        let about = records.view(&Account::of(&records, &[], &[]), |of| match of.id == record.id {
            true => diff(repo.as_ref(), of),
            false => String::new(),
        });
        let experiment = match about.experiment(record.id.number) {
            Some(found) => found.clone(),
            None => start(&records, &record),
        };
        let picture = curve(&served, &records, &about, &experiment)?;
        let why_not = review::why_not(&records, &record);
        Ok::<_, Problem>((about, Told { experiment, why_not, picture }))
    });
    (page.about, page.told) = drawn.await.map_err(|error| Problem::internal(&error))??;
    Ok(page)
}

fn of<'a>(records: &'a NightRecords, id: &ExperimentId) -> Result<&'a ExperimentRecord, Problem> {
    let found = records.experiments.iter().find(|it| it.id == *id);
    found.ok_or_else(|| Problem::not_found(format!("There is no experiment {id}.")))
}

/// The night's start, which is no experiment of the view.
fn start(records: &NightRecords, record: &ExperimentRecord) -> ExperimentView {
    ExperimentView {
        number: record.id.number,
        title: "the night's start".to_owned(),
        val_bpb: records.val_bpb(record.id.number),
        trials_measured: u32::try_from(records.runs(record.id.number).len()).unwrap_or(u32::MAX),
        commit: record.candidate.as_ref().map(|candidate| candidate.commit.to_string()).unwrap_or_default(),
        ..ExperimentView::default()
    }
}

fn attempt(of: &crate::records::AttemptRecord) -> AttemptView {
    AttemptView { kind: of.kind.to_string(), outcome: of.outcome.to_string(), evidence: of.evidence.clone() }
}

fn spoken(review: &ReviewRecord) -> ReviewView {
    ReviewView { choice: views::choice(review.choice), reason: review.reason.clone(), date: date(review.at) }
}

/// An experiment's curve against its champion's, kept once it is decided; `None` where nothing was recorded.
fn curve(
    served: &Served,
    records: &NightRecords,
    about: &NightView,
    experiment: &ExperimentView,
) -> Result<Option<Picture>, Problem> {
    let number = experiment.number;
    if number == 0 {
        return Ok(None);
    }
    let decided = records.experiments.iter().find(|it| it.id.number == number).and_then(|it| it.decided_at);
    let stands = records.stands(number);
    // A champion is run again after the decision, which widens its band.
    let both = [experiment.champion_number, number].into_iter().flat_map(|of| records.runs(of));
    let runs: String = both.map(|run| format!(" {}.{}.{}", run.experiment.number, run.era, run.ordinal)).collect();
    let key = decided.map(|at| format!("{}/{number} {at} {stands}{runs}", records.night.id));
    if let Some(kept) = key.as_ref().and_then(|key| served.pictures.get(key)) {
        return Ok(Some(kept));
    }
    let curves = Curves::read_of(records, &served.layout, &[number]).map_err(|error| Problem::internal(&error))?;
    let own = curves.of(records, number);
    if own.points.is_empty() {
        return Ok(None);
    }
    let champions = curves.of_champion(records, number, experiment.champion_number);
    let drawn = dashboards::experiment(about, experiment, &own, &champions, CurveAxis::Tokens);
    let drawn = drawn.map_err(|error| Problem::internal(&error))?;
    if let Some(key) = key {
        let bytes = drawn.svg.len();
        served.pictures.put(key, drawn.clone(), bytes);
    }
    Ok(Some(drawn))
}

async fn compare(State(served): State<Arc<Served>>, asked: Query<Vec<(String, String)>>) -> Answer {
    let view = compared(&served, &asked).await?;
    Ok(Html(frame(&served.frame("Comparison", Tab::Compare), site::compare(&view))).into_response())
}

async fn api_compare(State(served): State<Arc<Served>>, asked: Query<Vec<(String, String)>>) -> Answer {
    document(&compared(&served, &asked).await?)
}

/// What an address asks to be compared: each once, in its order.
fn asked_for(asked: &[(String, String)]) -> Result<Vec<ExperimentId>, Problem> {
    let mut ids: Vec<ExperimentId> = Vec::new();
    for (name, value) in asked {
        if name != "e" {
            return Err(Problem::bad_request(format!("This page knows e=NIGHT/NUMBER, and not {name:?}.")));
        }
        let id = value.parse().map_err(|_| {
            let given: String = value.chars().take(60).collect();
            Problem::bad_request(format!("e={given:?} in the address names no experiment: NIGHT/NUMBER does."))
        })?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    match ids.len() {
        0 | 1 => Err(Problem::bad_request("Two experiments at least are compared: tick them in the table of a night.")),
        count if count > MOST_COMPARED => {
            Err(Problem::bad_request(format!("At most {MOST_COMPARED} experiments are compared at once, not {count}.")))
        }
        _ => Ok(ids),
    }
}

async fn compared(served: &Arc<Served>, asked: &[(String, String)]) -> Result<CompareView, Problem> {
    let ids = asked_for(asked)?;
    let reader = served.reader().await?;
    let nights = nights_of(&reader, &ids).await?;
    for id in &ids {
        of(&nights[&id.night], id)?;
    }
    let served = Arc::clone(served);
    let drawn = tokio::task::spawn_blocking(move || {
        let mut view = CompareView {
            pairs: pairs(&nights, &ids),
            recipe: recipes(&served.layout, &nights, &ids),
            ..CompareView::default()
        };
        let mut curves: Vec<CurveView> = Vec::new();
        for id in &ids {
            let records = &nights[&id.night];
            let of = column(records, id)?;
            let read =
                Curves::read_of(records, &served.layout, &[id.number]).map_err(|error| Problem::internal(&error))?;
            let curve = read.of(records, id.number);
            curves.push(CurveView { label: format!("{} #{} {}", id.night, id.number, of.title), ..curve });
            view.compared.push(of);
        }
        if curves.iter().any(|curve| !curve.points.is_empty()) {
            view.picture = Some(site::overlay(&curves, CurveAxis::Tokens).map_err(|error| Problem::internal(&error))?);
        }
        Ok::<_, Problem>(view)
    });
    drawn.await.map_err(|error| Problem::internal(&error))?
}

async fn nights_of(reader: &Reader, ids: &[ExperimentId]) -> Result<BTreeMap<NightId, NightRecords>, Problem> {
    let names: BTreeSet<&NightId> = ids.iter().map(|id| &id.night).collect();
    let mut nights = BTreeMap::new();
    for night in names {
        let numbers: Vec<u32> = ids.iter().filter(|id| id.night == *night).map(|id| id.number).collect();
        let records = NightRecords::read_part(reader, night, &numbers)
            .await
            .map_err(|error: ReportError| Problem::from(error))?;
        nights.insert(night.clone(), records);
    }
    Ok(nights)
}

fn column(records: &NightRecords, id: &ExperimentId) -> Result<Compared, Problem> {
    let record = of(records, id)?;
    let missing = || Problem::not_found(format!("There is no experiment {id}."));
    let account = records.account_of(id.number).ok_or_else(missing)?;
    let candidate = record.candidate.as_ref();
    let trained =
        || records.trials.iter().filter(|trial| trial.experiment == *id).filter_map(|trial| trial.trained.as_ref());
    let last = records.reviews.iter().rfind(|review| review.experiment == *id);
    let verdict = record.decision.as_ref().map(|decision| shown(decision.verdict));
    Ok(Compared {
        campaign: records.night.campaign.clone(),
        night: id.night.to_string(),
        number: id.number,
        title: if id.number == 0 { "the night's start".to_owned() } else { record.proposal.title.clone() },
        outcome: Outcome::of(verdict, account.stands),
        champion: account.champion,
        difference: account.difference,
        interval: account.interval,
        expected: account.expected,
        probability: account.probability,
        predicted: account.predicted,
        val_bpb: account.val_bpb,
        runs: account.runs,
        lines: candidate.map(|candidate| (candidate.lines_added, candidate.lines_removed)),
        seconds: trained().map(|trained| trained.training_seconds).reduce(|sum, next| sum + next),
        tokens: records.trial(id.number).and_then(|trial| trial.trained.as_ref()).map(|trained| trained.tokens),
        memory: trained().map(|trained| trained.peak_memory_bytes).max(),
        proposer: record.proposal.author.proposer.clone(),
        family: record.proposal.family.clone(),
        choice: last.map(|review| views::choice(review.choice)),
    })
}

/// Runs of the others under seeds under which the first ran too: of its night, on the search text, in the same era.
fn pairs(nights: &BTreeMap<NightId, NightRecords>, ids: &[ExperimentId]) -> Vec<PairedView> {
    let Some((first, others)) = ids.split_first() else { return Vec::new() };
    let records = &nights[&first.night];
    let runs = |id: &ExperimentId| {
        let mut runs: BTreeMap<(u64, u32), Vec<f64>> = BTreeMap::new();
        let of_it = records.trials.iter().filter(|trial| trial.experiment == *id && trial.purpose == Purpose::Search);
        for trial in of_it {
            if let Some(value) = trial.val_bpb() {
                runs.entry((trial.seed, trial.era)).or_default().push(value);
            }
        }
        runs
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let ours = runs(first);
    let mut pairs = Vec::new();
    for (other, id) in (1..).zip(others).filter(|(_, id)| id.night == first.night) {
        let mut differences = Vec::new();
        for (key, theirs) in runs(id) {
            let seed =
                records.night.seeds.iter().position(|seed| *seed == key.0).and_then(|seed| u32::try_from(seed).ok());
            if let (Some(ours), Some(seed)) = (ours.get(&key), seed) {
                differences.push((seed, mean(&theirs) - mean(ours)));
            }
        }
        if !differences.is_empty() {
            differences.sort_by_key(|(seed, _)| *seed);
            pairs.push(PairedView { other, differences });
        }
    }
    pairs
}

/// The recipe's numbers in which they differ.
fn recipes(
    layout: &Layout,
    nights: &BTreeMap<NightId, NightRecords>,
    ids: &[ExperimentId],
) -> Vec<(String, Vec<Option<f64>>)> {
    let Ok(repo) = Repo::discover(layout.root()) else { return Vec::new() };
    let numbers: Vec<BTreeMap<String, f64>> = ids
        .iter()
        .map(|id| {
            let records = &nights[&id.night];
            let record = records.experiments.iter().find(|it| it.id == *id);
            let commit = record.and_then(|it| it.candidate.as_ref()).map(|candidate| &candidate.commit);
            commit.and_then(|commit| recipe_numbers(&repo, &records.night, commit)).unwrap_or_default()
        })
        .collect();
    let names: BTreeSet<&String> = numbers.iter().flat_map(BTreeMap::keys).collect();
    // A recipe that cannot be read differs in nothing that anybody knows.
    let differs = |name: &String| {
        let mut readable = numbers.iter().filter(|of| !of.is_empty()).map(|of| of.get(name));
        readable.next().is_some_and(|first| readable.any(|other| other != first))
    };
    let rows = names.into_iter().filter(|name| differs(name));
    rows.map(|name| (name.clone(), numbers.iter().map(|of| of.get(name).copied()).collect())).collect()
}
