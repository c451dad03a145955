//! `nocturne night`.

use std::error::Error;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{Fault, NightArgs, campaign_fault, here, print_json};
use crate::flow::NightId;
use crate::layout::Layout;
use crate::night::{self, CutOff, Ending, OpenError, Opened, Wishes};
use crate::records::NightRecord;
use crate::report::{self, NightRecords};
use crate::store::{Reader, Store};
use crate::terminal::{Display, Notice, Place, Row, Summary, clean, render_summary};

pub(super) async fn night(args: NightArgs) -> Result<(), Fault> {
    let here = here()?;
    let interrupts = interrupts()?;
    let mut display = Display::new();
    let wishes = Wishes {
        hours: args.hours,
        until: args.until,
        experiments: args.experiments,
        proposers: args.proposer.clone(),
        replay: args.replay.clone(),
    };
    let mut ask = ask_to_resume;
    let cut_off = match (args.resume, args.fresh) {
        (true, _) => CutOff::Resume,
        (_, true) => CutOff::Fresh,
        // Nobody there to answer: going on loses nothing.
        _ if args.json || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() => CutOff::Resume,
        _ => CutOff::Ask(&mut ask),
    };
    let (opened, interrupts) = open(&here, &args, &wishes, cut_off, &mut display, interrupts).await?;
    let Opened { context, machine, view, offset, resumed, .. } = &opened;
    let night = context.night.id.clone();
    let begins = if *resumed { "Going on with night" } else { "Night" };
    let campaign = context.campaign.name.to_string();
    display.notice(&Notice::Stage { text: format!("{begins} {night} of {campaign}: {}", context.campaign.title) });
    let outcome =
        night::drive(std::sync::Arc::clone(context), machine.clone(), *offset, view.clone(), &mut display, interrupts)
            .await;
    display.finish();
    let outcome = outcome.map_err(Fault::failed)?;

    let layout = context.layout.clone();
    let reported = write_report(&layout, &context.store, &night).await;
    let records = NightRecords::read(&context.store, &night).await.map_err(Fault::failed)?;
    let files = reported.map_err(|error| {
        Fault::failed(format!("the night is recorded, but its report could not be written: {error}"))
            .with_help(format!("mend the cause, then: nocturne report {night}"))
    });
    let printed = if args.json {
        print_json(&document(&records, &outcome.ending))
    } else {
        let text = render_summary(&summary(&records, &layout), columns_of_stderr());
        // All of it is recorded; that nobody is there to read it any more does not make the night a failure.
        let _unread = write!(std::io::stderr(), "{text}");
        Ok(())
    };
    files?;
    match outcome.ending {
        Ending::BadStart(why) => Err(Fault::failed(format!("the night's start cannot be measured: {why}"))
            .with_help(format!("the logs are in {}", layout.experiment(&context.id(0)).display()))),
        Ending::MachineFaults(why) => Err(Fault::failed(format!("the night could not go on: {why}"))
            .with_help("what was measured is recorded; mend the cause and run the night again")),
        Ending::ChampionInvalid(why) => Err(Fault::failed(why)
            .with_help("begin the next night from a commit before that experiment, and look at its edits and its log")),
        Ending::ExperimentsDone | Ending::Deadline | Ending::NothingLeft | Ending::Stopped => printed,
    }
}

/// Writes the night's report, and into its journal what that took.
async fn write_report(layout: &Layout, store: &Store, night: &NightId) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let key = format!("report/{}", store.effect_times(night).await?.len());
    store.begin_effect(night, &key, "report", &json!({})).await?;
    let files = report::write(layout, store, night).await?;
    store.end_effect(night, &key, &json!({ "event": "written" })).await?;
    Ok(files)
}

/// Opens the night; a Ctrl-C meanwhile ends the program, for nothing has begun.
async fn open(
    here: &std::path::Path,
    args: &NightArgs,
    wishes: &Wishes,
    cut_off: CutOff<'_>,
    display: &mut Display,
    mut interrupts: mpsc::Receiver<()>,
) -> Result<(Opened, mpsc::Receiver<()>), Fault> {
    let opened = tokio::select! {
        opened = night::open(here, &args.campaign, wishes, cut_off, display) => opened,
        Some(()) = interrupts.recv() => {
            display.finish();
            return Err(Fault::failed("stopped before the night began; what was downloaded is kept"));
        }
    };
    match opened {
        Ok(opened) => Ok((opened, interrupts)),
        Err(error) => {
            display.finish();
            Err(open_fault(error))
        }
    }
}

/// What to say of a night that cannot begin, and of whatever else needs the same.
pub(super) fn open_fault(error: OpenError) -> Fault {
    match error {
        OpenError::Campaign(error) => campaign_fault(error),
        other => Fault::new(other.exit_code(), other),
    }
}

/// Whether the person is being asked something. The question blocks whoever would hear of a Ctrl-C.
static ASKING: AtomicBool = AtomicBool::new(false);

/// One message for each Ctrl-C or SIGTERM. During a question they end the program at once, for nothing has begun.
fn interrupts() -> Result<mpsc::Receiver<()>, Fault> {
    let listen = |kind| signal(kind).map_err(|error| Fault::environment(format!("cannot listen for signals: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    // Listened to so that it does not end the program, and then ignored: a night outlives the terminal that it was begun
    // from (a lost connection, a closed window). Whoever wants it to end says so with Ctrl-C or SIGTERM.
    let mut hangup = listen(SignalKind::hangup())?;
    let (send, receive) = mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            // As a shell tells it: 128 and the signal's number.
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hangup.recv() => continue,
            };
            if ASKING.load(Ordering::SeqCst) {
                // The cursor stands behind the question.
                let _unread = writeln!(std::io::stderr());
                std::process::exit(code);
            }
            if send.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

fn ask_to_resume(night: &NightRecord) -> bool {
    ASKING.store(true, Ordering::SeqCst);
    let question = format!("Night {} of {} was cut off. Go on with it? [Y/n] ", night.id, clean(&night.campaign));
    let _unread = write!(std::io::stderr(), "{question}");
    let mut answer = String::new();
    // No answer is the answer that loses nothing.
    let read = std::io::stdin().lock().read_line(&mut answer);
    ASKING.store(false, Ordering::SeqCst);
    read.is_err() || !matches!(answer.trim().to_lowercase().as_str(), "n" | "no")
}

/// Columns of the terminal, or of a page.
fn columns_of_stderr() -> usize {
    use rustix::termios::tcgetwinsize;
    tcgetwinsize(std::io::stderr())
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|columns| *columns >= 40)
        .unwrap_or(100)
}

/// The last words of a night for a person.
pub(super) fn summary(records: &NightRecords, layout: &Layout) -> Summary {
    let (night, campaign) = (&records.night.id, &records.night.campaign);
    let champion = records.champion();
    let folder = layout.reports(campaign, night);
    let shown = folder.strip_prefix(layout.root()).unwrap_or(&folder).display().to_string();
    let branch_prefix = format!("nocturne/{campaign}/{night}/");
    let mut places = vec![
        Place { what: "the page".to_owned(), place: format!("{shown}/report.html") },
        Place { what: "the plots".to_owned(), place: format!("{shown}/progress.png, loss-time.png, ...") },
    ];
    if champion > 0 {
        let changes = format!("git log -p {}..{branch_prefix}champion", records.night.start_commit.short());
        places.push(Place { what: "the champion's changes".to_owned(), place: changes });
    }
    places.push(Place { what: "all branches".to_owned(), place: format!("git branch --list '{branch_prefix}*'") });
    places.push(Place { what: "one experiment".to_owned(), place: format!("nocturne show {night}/1") });
    Summary {
        campaign: campaign.clone(),
        night: night.to_string(),
        baseline: records.val_bpb(0),
        champion: records.level(champion).map(|level| (champion, level)),
        withdrawn: records.withdrawal.as_ref().map(|withdrawal| withdrawal.words.clone()),
        rows: records
            .experiments
            .iter()
            .filter(|experiment| experiment.id.number > 0)
            .map(|experiment| Row {
                number: experiment.id.number,
                title: experiment.proposal.title.clone(),
                val_bpb: records.val_bpb(experiment.id.number),
                trials: records.runs(experiment.id.number).len(),
                difference: experiment.decision.as_ref().and_then(|decision| decision.difference),
                interval: experiment.decision.as_ref().and_then(|decision| decision.interval),
                verdict: experiment.decision.as_ref().map(|decision| decision.verdict),
                stands: records.stands(experiment.id.number),
                branch: experiment.candidate.as_ref().map(|c| c.branch.clone()).unwrap_or_default(),
            })
            .collect(),
        branch_prefix,
        total: Duration::from_secs_f64(records.seconds().max(0.0)),
        training: Duration::from_secs_f64(records.training_seconds().max(0.0)),
        places,
    }
}

/// The same for a program.
fn document(records: &NightRecords, ending: &Ending) -> Value {
    let mut document = night_json(records);
    if let Some(fields) = document.as_object_mut() {
        let ended = match ending {
            Ending::ExperimentsDone => "experiments-done".to_owned(),
            Ending::Deadline => "deadline".to_owned(),
            Ending::NothingLeft => "nothing-left".to_owned(),
            Ending::Stopped => "stopped".to_owned(),
            Ending::BadStart(why) | Ending::MachineFaults(why) | Ending::ChampionInvalid(why) => {
                format!("failed: {why}")
            }
        };
        fields.insert("ended".to_owned(), ended.into());
    }
    document
}

/// A night as `--json` gives it.
pub(super) fn night_json(records: &NightRecords) -> Value {
    let champion = records.champion();
    let commit_of = |number: u32| {
        let experiment = records.experiments.iter().find(|experiment| experiment.id.number == number);
        experiment.and_then(|experiment| experiment.candidate.as_ref()).map(|candidate| candidate.commit.clone())
    };
    let experiments: Vec<Value> = records
        .experiments
        .iter()
        .filter(|experiment| experiment.id.number > 0)
        .map(|experiment| {
            let decision = experiment.decision.as_ref();
            let stands = records.stands(experiment.id.number);
            let evidence = decision.and_then(|decision| decision.evidence.as_ref());
            let evidence = evidence.filter(|found| stands && found.vouched());
            json!({
                "id": experiment.id.to_string(),
                "number": experiment.id.number,
                "branch": experiment.candidate.as_ref().map(|c| c.branch.clone()),
                "commit": experiment.candidate.as_ref().map(|c| c.commit.clone()),
                "title": experiment.proposal.title,
                "proposer": experiment.proposal.author.proposer,
                "verdict": decision.map(|decision| decision.verdict),
                "stands": stands,
                "val_bpb": records.val_bpb(experiment.id.number),
                "runs": records.runs(experiment.id.number).len(),
                "level": records.level(experiment.id.number),
                "standard_error": records.standard_error(experiment.id.number),
                "predicted": experiment.proposal.predicted_effect,
                "confidence": experiment.proposal.confidence,
                "difference": decision.and_then(|decision| decision.difference),
                "interval": decision.and_then(|decision| decision.interval),
                "expected": evidence.map(|evidence| evidence.expected),
                "probability": evidence.map(|evidence| evidence.probability),
                "reason": decision.map(|decision| decision.reason.clone()),
            })
        })
        .collect();
    json!({
        "night": records.night.id,
        "campaign": records.night.campaign,
        "baseline": {
            "val_bpb": records.val_bpb(0),
            "runs": records.runs(0).len(),
            "standard_error": records.standard_error(0),
            "commit": records.night.start_commit,
        },
        "champion": {
            "val_bpb": records.val_bpb(champion),
            "runs": records.runs(champion).len(),
            "level": records.level(champion),
            "standard_error": records.standard_error(champion),
            "commit": commit_of(champion).unwrap_or_else(|| records.night.start_commit.clone()),
            "number": champion,
        },
        "withdrawal": records.withdrawal,
        "experiments": experiments,
        "seconds": { "total": records.seconds(), "training": records.training_seconds() },
    })
}

/// The last night of all campaigns.
pub(super) async fn last_night(reader: &Reader) -> Result<Option<NightId>, Fault> {
    let nights = reader.nights().await.map_err(Fault::failed)?;
    Ok(nights.into_iter().max_by_key(|night| night.started_at).map(|night| night.id))
}
