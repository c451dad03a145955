//! Commands that make something of what is recorded: `report`, `replay`, `rebuild`.

use serde_json::json;

use super::night::{last_night, open_fault};
use super::output::{out, outln};
use super::read::{parse_night, records_fault};
use super::show::no_such_experiment;
use super::{Fault, ReadArgs, ReplayArgs, ReportArgs, campaign_fault, here, open_records, print_json};
use crate::files;
use crate::layout::Layout;
use crate::night::Lock;
use crate::replay;
use crate::repo::Repo;
use crate::report::{self, certificate_text, named};
use crate::store;
use crate::terminal::Display;

pub(super) async fn report(args: ReportArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let night = match &args.night {
        Some(name) => parse_night(name)?,
        None => last_night(&reader).await?.ok_or_else(|| Fault::usage("there is no night to report on yet"))?,
    };
    let files = report::write(&layout, &reader, &night).await.map_err(records_fault)?;
    if args.json {
        return print_json(&json!({ "night": night, "files": files }));
    }
    for file in files {
        outln!("{}", file.strip_prefix(layout.root()).unwrap_or(&file).display())?;
    }
    Ok(())
}

pub(super) async fn replay(args: ReplayArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let latest = last_night(&reader).await?;
    let id = named(&args.experiment, latest.as_ref())
        .ok_or_else(|| Fault::usage(format!("{:?} is not an experiment; write NIGHT/NUMBER", args.experiment)))?;
    if reader.experiment(&id).await.map_err(Fault::failed)?.is_none() {
        return Err(no_such_experiment(&reader, &id).await?);
    }
    let mut display = Display::new();
    let replayed = replay::replay(&layout, &reader, &id, &mut display).await;
    display.finish();
    let replayed = replayed.map_err(|error| match error {
        replay::ReplayError::Campaign(error) => campaign_fault(error),
        replay::ReplayError::Open(error) => open_fault(error),
        other => Fault::failed(other),
    })?;
    if args.json {
        return print_json(&json!(replayed));
    }
    outln!("{id} again under the same seed, in {}", replayed.folder.display())?;
    if let Some(then) = replayed.then {
        outln!("then: {then:.6} bits per byte")?;
    }
    outln!("now:  {:.6} bits per byte ({} steps, {} tokens)", replayed.now, replayed.steps, replayed.tokens)?;
    let figure = (replayed.now, replayed.standard_error);
    out!("{}", certificate_text(&replayed.certificate, Some(figure), None, None))?;
    Ok(())
}

pub(super) async fn rebuild(args: ReadArgs) -> Result<(), Fault> {
    let root = Repo::discover(&here()?).map_err(Fault::usage)?.root().to_owned();
    let layout = Layout::new(&root);
    files::create_folder(&layout.state()).map_err(Fault::failed)?;
    // Held to the end: a night that began meanwhile would write into the database that is set aside.
    let _lock = Lock::take(&layout.lock()).map_err(open_fault)?;
    let rebuilt = store::rebuild(&layout).await.map_err(Fault::failed)?;
    let problems: Vec<String> =
        rebuilt.problems.iter().map(|left| format!("{}: {}", left.path.display(), left.problem)).collect();
    if args.json {
        return print_json(&json!({
            "nights": rebuilt.nights,
            "experiments": rebuilt.experiments,
            "trials": rebuilt.trials,
            "exchanges": rebuilt.exchanges,
            "queue": rebuilt.queue,
            "reviews": rebuilt.reviews,
            "problems": problems,
            "set_aside": rebuilt.set_aside,
        }));
    }
    outln!("{} nights, {} experiments, {} trials", rebuilt.nights, rebuilt.experiments, rebuilt.trials)?;
    if rebuilt.exchanges + rebuilt.queue > 0 {
        outln!("{} calls of models, {} ideas in the queue", rebuilt.exchanges, rebuilt.queue)?;
    }
    if rebuilt.reviews > 0 {
        outln!("{} reviews", rebuilt.reviews)?;
    }
    for problem in problems {
        outln!("left out: {}", crate::terminal::clean(&problem))?;
    }
    if let Some(old) = rebuilt.set_aside {
        outln!("the database that was there is now {}", old.display())?;
    }
    Ok(())
}
