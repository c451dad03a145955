//! `nocturne sample`.

use std::time::Duration;

use data::prepare::Tokenizer;
use protocol::{Event, SampleRequest};
use serde_json::json;

use super::night::{last_night, open_fault};
use super::output::{out, outln};
use super::read::records_fault;
use super::show::no_such_experiment;
use super::{Fault, SampleArgs, campaign_fault, here, open_records, print_json};
use crate::flow::ExperimentId;
use crate::night::ready::{self, Ready};
use crate::night::workbench::Subject;
use crate::prepare;
use crate::replay::campaign_of;
use crate::report::{NightRecords, named};
use crate::terminal::{Display, visible};

/// Seconds that the next token may take.
const PATIENCE: Duration = Duration::from_secs(300);

pub(super) async fn sample(args: SampleArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let latest = last_night(&reader).await?.ok_or_else(|| Fault::usage("there is no trained model yet"))?;
    let id = match &args.experiment {
        Some(text) => named(text, Some(&latest))
            .ok_or_else(|| Fault::usage(format!("{text:?} is not an experiment; write NIGHT/NUMBER")))?,
        None => {
            let records = NightRecords::read(&reader, &latest).await.map_err(records_fault)?;
            ExperimentId { night: latest, number: records.champion() }
        }
    };
    let Some(night) = reader.night(&id.night).await.map_err(Fault::failed)? else {
        return Err(no_such_experiment(&reader, &id).await?);
    };
    let trials = reader.trials(&id).await.map_err(Fault::failed)?;
    let trial = trials
        .iter()
        .rfind(|trial| layout.checkpoint(&id, trial.ordinal).exists())
        .ok_or_else(|| Fault::usage(format!("experiment {id} has no checkpoint")))?;
    let campaign = campaign_of(&layout, &night).map_err(campaign_fault)?;
    let mut display = Display::new();
    let environment = prepare::environment(layout.root(), &campaign, &mut display).await;
    let environment = environment.map_err(|error| Fault::new(error.exit_code(), error))?;
    // With a tag of its own: a night that begins meanwhile ends what carries the tag of nights.
    let launcher = ready::launcher(layout.state().join("sample"), &campaign).map_err(open_fault)?;
    let ready = ready::ready(&layout, &campaign, &environment, launcher, &mut display).await;
    display.finish();
    let Ready { workbench, data, .. } = ready.map_err(open_fault)?;
    let tokenizer = Tokenizer::load(&data.manifest.tokenizer_path(&data.folder)).map_err(Fault::failed)?;
    let mut prompt = vec![data::BOS];
    prompt.extend(tokenizer.encode(&args.prompt).map_err(Fault::usage)?);

    let folder = tempfile::tempdir().map_err(Fault::environment)?;
    let checkpoint = layout.checkpoint(&id, trial.ordinal);
    let subject = Subject {
        executable: layout.trainer(&id),
        sha256: trial.artifact_sha256.clone(),
        folder: folder.path().to_owned(),
    };
    let job = workbench.sample_job(&subject, &checkpoint);
    let request = SampleRequest {
        setting: workbench.setting.clone(),
        checkpoint,
        prompt,
        tokens: args.tokens,
        temperature: args.temperature,
        top_k: args.top_k,
        seed: args.seed,
    };
    let mut process = workbench.launcher.start(&job).await.map_err(Fault::failed)?;
    process.send(&request).await.map_err(|error| Fault::failed(format!("the trainer does not listen: {error}")))?;
    let mut tokens = Vec::new();
    let mut shown = 0;
    if !args.json {
        out!("{}", visible(&args.prompt))?;
    }
    loop {
        let line = tokio::time::timeout(PATIENCE, process.line()).await;
        let line = line.map_err(|_| Fault::failed("the trainer does not go on"))?;
        let Some(line) = line.map_err(Fault::failed)? else { break };
        match protocol::parse::<Event>(&line).map_err(Fault::failed)? {
            Event::Token { id } => tokens.push(id),
            Event::Failed { message, .. } => return Err(Fault::failed(visible(&message))),
            _ => continue,
        }
        if !args.json {
            // Whole characters only: a token may end within one.
            let text = tokenizer.decode(&tokens);
            let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
            if let Some(new) = whole.get(shown..) {
                out!("{}", visible(new))?;
                shown = whole.len();
            }
        }
    }
    let ended = process.finish(Duration::from_secs(30)).await.map_err(Fault::failed)?;
    if ended.code != Some(0) {
        return Err(Fault::failed(format!("the trainer ended badly: {}", visible(&ended.last_words))));
    }
    if args.json {
        let text = tokenizer.decode(&tokens);
        return print_json(&json!({ "experiment": id.to_string(), "prompt": args.prompt, "text": text }));
    }
    outln!("")?;
    Ok(())
}
