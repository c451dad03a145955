//! `nocturne review`: what a person makes of a night's experiments, and the branches that come of what they accept.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;

use super::args::{ReviewBranchesArgs, ReviewChoiceArgs, ReviewListArgs, ReviewRecordArgs};
use super::night::last_night;
use super::output::outln;
use super::read::{COLUMNS, parse_night, read_night};
use super::story::experiment_text;
use super::{Fault, here, open_records, print_json};
use crate::files;
use crate::flow::{ExperimentId, NightId};
use crate::layout::Layout;
use crate::records::{ExperimentRecord, ReviewChoice, ReviewRecord};
use crate::repo::Repo;
use crate::report::{NightRecords, named};
use crate::review::{self, Arrangement, Choice, Made, Plan, ReviewError};
use crate::store::Reader;
use crate::terminal::{clean, clean_lines};

/// Bytes of a document of choices.
const MOST_BYTES: u64 = 1 << 20;

/// Lines of a diff that are shown before a question.
const MOST_DIFF_LINES: usize = 120;

pub(super) async fn list(args: ReviewListArgs) -> Result<(), Fault> {
    let Desk { reader, records, .. } = Desk::open(args.night.as_deref()).await?;
    let reviews = reader.reviews(Some(&records.night.id)).await.map_err(Fault::failed)?;
    let waiting = review::waiting(&records, &reviews);
    if args.json {
        let waiting: Vec<String> = waiting.iter().map(|it| it.id.to_string()).collect();
        return print_json(&json!({ "night": records.night.id, "waiting": waiting, "reviews": reviews }));
    }
    print_table(&records, &reviews, &waiting)
}

fn print_table(records: &NightRecords, reviews: &[ReviewRecord], waiting: &[&ExperimentRecord]) -> Result<(), Fault> {
    let latest = review::latest(reviews);
    let reviewed = records
        .experiments
        .iter()
        .filter(|it| latest.contains_key(&it.id.number) && !waiting.iter().any(|waiting| waiting.id == it.id));
    let rows: Vec<&ExperimentRecord> = waiting.iter().copied().chain(reviewed).collect();
    if rows.is_empty() {
        return outln!("night {}: nothing was kept, so nothing waits for you", records.night.id);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(COLUMNS).unwrap_or(u16::MAX));
    table.set_header(["#", "title", "effect", "expected", "choice", "reason"]);
    for row in rows {
        let account = records.account_of(row.id.number);
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:+.4}"));
        let review = latest.get(&row.id.number);
        table.add_row([
            row.id.number.to_string(),
            clean(&row.proposal.title),
            figure(account.as_ref().and_then(|account| account.difference)),
            figure(account.as_ref().and_then(|account| account.expected)),
            review.map_or("waits", |review| review.choice.name()).to_owned(),
            review.map_or_else(String::new, |review| clean(&review.reason)),
        ]);
    }
    outln!("{table}")
}

pub(super) async fn choose(choice: ReviewChoice, args: ReviewChoiceArgs) -> Result<(), Fault> {
    let layout = Layout::new(Repo::discover(&here()?).map_err(Fault::usage)?.root());
    let (_, reader) = open_records(layout.root()).await?;
    let latest = last_night(&reader).await?;
    let id = named(&args.experiment, latest.as_ref()).ok_or_else(|| {
        Fault::usage(format!("{:?} names no experiment", args.experiment))
            .with_help("NIGHT/NUMBER, or a number of the last night")
    })?;
    let reason = args.reason.unwrap_or_default();
    let recorded = review::record(&layout, &reader, &[(id, choice, reason)]).await.map_err(review_fault)?;
    match args.json {
        true => print_json(&json!(recorded)),
        false => tell(&recorded),
    }
}

fn tell(recorded: &[ReviewRecord]) -> Result<(), Fault> {
    for review in recorded {
        let why = if review.reason.is_empty() { String::new() } else { format!(": {}", clean(&review.reason)) };
        outln!("{} {}{why}", review.experiment, review.choice)?;
    }
    if recorded.iter().any(|review| review.choice == ReviewChoice::Accepted) {
        outln!("`nocturne review branches` makes branches of what is accepted")?;
    }
    Ok(())
}

pub(super) async fn record_document(args: ReviewRecordArgs) -> Result<(), Fault> {
    let bytes = read_document(&args.file)?;
    let choices: Vec<Choice> = serde_json::from_slice(&bytes).map_err(|error| {
        Fault::usage(format!("{} is no list of choices: {error}", args.file.display())).with_help(
            r#"for example [{"experiment": "2026-03-08-k4/3", "choice": "rejected", "reason": "too many lines"}]; a choice is accepted, rejected or deferred"#,
        )
    })?;
    let named = review::named_choices(choices).map_err(review_fault)?;
    let layout = Layout::new(Repo::discover(&here()?).map_err(Fault::usage)?.root());
    let (_, reader) = open_records(layout.root()).await?;
    let recorded = review::record(&layout, &reader, &named).await.map_err(review_fault)?;
    print_json(&json!(recorded))
}

fn read_document(path: &Path) -> Result<Vec<u8>, Fault> {
    if path != Path::new("-") {
        return files::read_capped(path, MOST_BYTES).map_err(Fault::usage);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(Fault::usage)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Fault::usage(format!("standard input holds more than {MOST_BYTES} bytes")));
    }
    Ok(bytes)
}

pub(super) async fn branches(args: ReviewBranchesArgs) -> Result<(), Fault> {
    let Desk { reader, records, repo, .. } = Desk::open(args.night.as_deref()).await?;
    let reviews = reader.reviews(Some(&records.night.id)).await.map_err(Fault::failed)?;
    let accepted = review::accepted(&records, &reviews);
    let base = repo.revision(args.base.as_deref().unwrap_or("HEAD")).map_err(Fault::usage)?;
    let arrangement = if args.stack { Arrangement::Stacked } else { Arrangement::Independent };
    let plan = review::plan(&repo, &base, &accepted, arrangement).map_err(Fault::failed)?;
    let made =
        if args.dry_run { Vec::new() } else { review::branches(&repo, &records, &plan).map_err(review_fault)? };
    if args.json {
        return print_json(&json!({ "night": records.night.id, "base": base, "plan": plan, "made": made }));
    }
    for (number, why) in review::fallen(&records, &reviews) {
        outln!("no branch for #{number}, which you accepted: {why}; do not merge one that was made before")?;
    }
    if accepted.is_empty() {
        return outln!("night {}: nothing is accepted yet; see `nocturne review`", records.night.id);
    }
    tell_plan(&plan, &made, args.dry_run)
}

fn tell_plan(plan: &Plan, made: &[Made], dry_run: bool) -> Result<(), Fault> {
    let numbers =
        |experiments: &[u32]| experiments.iter().map(|number| format!("#{number}")).collect::<Vec<_>>().join(", then ");
    for made in made {
        outln!("{}  {}  {}", made.commit.short(), made.branch, numbers(&made.experiments))?;
    }
    if dry_run {
        for branch in &plan.branches {
            outln!("would make .../accepted/{}: {}", branch.name, numbers(&branch.experiments))?;
        }
    }
    for clash in &plan.clashes {
        let files = clash.files.join(", ");
        outln!(
            "{} and {} do not fit together in {files}: merge one of them, then the other by hand",
            clash.one,
            clash.other
        )?;
    }
    for blocked in &plan.blocked {
        outln!("no branch for #{}: {}", blocked.number, blocked.why())?;
    }
    Ok(())
}

/// Goes through what waits, one by one, where both ends are a person's terminal; lists it otherwise.
pub(super) async fn review(args: ReviewListArgs) -> Result<(), Fault> {
    if args.json || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return list(args).await;
    }
    let Desk { layout, reader, records, repo } = Desk::open(args.night.as_deref()).await?;
    let reviews = reader.reviews(Some(&records.night.id)).await.map_err(Fault::failed)?;
    let waiting = review::waiting(&records, &reviews);
    if waiting.is_empty() {
        return print_table(&records, &reviews, &waiting);
    }
    for (place, experiment) in (1..).zip(&waiting) {
        show(&records, &repo, experiment, place, waiting.len())?;
        let Some((choice, reason)) = ask(&records, &experiment.id)? else { break };
        let choice = [(experiment.id.clone(), choice, reason)];
        let recorded = review::record(&layout, &reader, &choice).await.map_err(review_fault)?;
        for review in recorded {
            outln!("{} {}\n", review.experiment, review.choice)?;
        }
    }
    outln!("`nocturne review branches` makes branches of what is accepted")
}

fn show(
    records: &NightRecords,
    repo: &Repo,
    experiment: &ExperimentRecord,
    place: usize,
    of: usize,
) -> Result<(), Fault> {
    outln!("[{place} of {of}] #{} {}", experiment.id.number, clean(&experiment.proposal.title))?;
    outln!("{}", clean_lines(&experiment.proposal.hypothesis))?;
    if let Some(account) = records.account_of(experiment.id.number) {
        outln!("\n{}", experiment_text(experiment, &account))?;
    }
    for found in review::left_out(records, &experiment.id) {
        outln!("{}", clean(&found))?;
    }
    if let Some(candidate) = &experiment.candidate {
        let diff = repo.diff(&candidate.parent, &candidate.commit).map_err(Fault::failed)?;
        let lines: Vec<&str> = diff.lines().collect();
        for line in lines.iter().take(MOST_DIFF_LINES) {
            outln!("{}", clean(line))?;
        }
        if lines.len() > MOST_DIFF_LINES {
            outln!("... {} more lines: `nocturne show {}`", lines.len() - MOST_DIFF_LINES, experiment.id)?;
        }
    }
    Ok(())
}

/// The person's choice; `None` to stop here.
fn ask(records: &NightRecords, id: &ExperimentId) -> Result<Option<(ReviewChoice, String)>, Fault> {
    loop {
        let Some(answer) = prompt("\n[a]ccept, [r]eject, [d]efer, [q]uit? ")? else { return Ok(None) };
        let choice = match answer.to_ascii_lowercase().as_str() {
            "a" | "accept" => ReviewChoice::Accepted,
            "r" | "reject" => ReviewChoice::Rejected,
            "d" | "defer" => ReviewChoice::Deferred,
            "q" | "quit" => return Ok(None),
            _ => continue,
        };
        let question = match choice {
            ReviewChoice::Rejected => "Why? It goes into later briefs: ",
            _ => "A remark, or nothing: ",
        };
        let Some(reason) = prompt(question)? else { return Ok(None) };
        match review::check(records, id, choice, &reason) {
            Ok(reason) => return Ok(Some((choice, reason))),
            Err(why) => outln!("{why}")?,
        }
    }
}

/// A line of the person's; `None` at the end of the input.
fn prompt(question: &str) -> Result<Option<String>, Fault> {
    let mut out = io::stdout().lock();
    write!(out, "{question}").and_then(|()| out.flush()).map_err(Fault::failed)?;
    let mut line = String::new();
    let read = io::stdin().lock().take(64 << 10).read_line(&mut line).map_err(Fault::failed)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

/// What a review needs of a repository.
struct Desk {
    layout: Layout,
    reader: Reader,
    records: NightRecords,
    repo: Repo,
}

impl Desk {
    /// Opens it for a night, or the last one.
    async fn open(night: Option<&str>) -> Result<Self, Fault> {
        let repo = Repo::discover(&here()?).map_err(Fault::usage)?;
        let (layout, reader) = open_records(repo.root()).await?;
        let night: NightId = match night {
            Some(name) => parse_night(name)?,
            None => last_night(&reader).await?.ok_or_else(|| {
                Fault::failed("there is no night yet").with_help("begin with: nocturne night experiments/quickstart")
            })?,
        };
        let records = read_night(&reader, night.as_str()).await?;
        Ok(Self { layout, reader, records, repo })
    }
}

fn review_fault(error: ReviewError) -> Fault {
    match error {
        ReviewError::Repo(_) | ReviewError::Report(_) | ReviewError::Store(_) => Fault::failed(error),
        _ => Fault::usage(error),
    }
}
