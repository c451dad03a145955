//! `nocturne setup` and `nocturne doctor`.

use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};

use super::output::outln;
use super::{Fault, ReadArgs, SetupArgs, here};
use crate::layout::Layout;
use crate::prepare;
use crate::repo::Repo;
use crate::setup::{self, Finding, State};
use crate::store::{Reader, StoreError};
use crate::terminal::Display;

/// Width of the doctor's table where it is not shown on a terminal.
const COLUMNS: u16 = 120;

pub(super) async fn setup(args: SetupArgs) -> Result<(), Fault> {
    let root = Repo::discover(&here()?).map_err(Fault::usage)?.root().to_owned();
    let mut options = setup::Options::of_process();
    if args.print_libtorch {
        // For builds and tests: no corpus, and no room for nights.
        options.corpus = false;
        options.repository_space = setup::Bytes(0);
    }
    let mut display = Display::new();
    let ready = prepare::set_up(&root, &options, &mut display).await;
    display.finish();
    let environment = ready.map_err(|error| Fault::new(error.exit_code(), error))?;
    if args.print_libtorch {
        if let Some(libtorch) = &environment.libtorch {
            outln!("{}", libtorch.link_dir.display())?;
        }
        return Ok(());
    }
    match &environment.libtorch {
        Some(libtorch) => {
            let kind = if libtorch.cuda { "with CUDA" } else { "for the CPU" };
            outln!("libtorch {} ({kind}): {}", libtorch.version, libtorch.root.display())?;
        }
        None => outln!("this repository's trainer needs no libtorch")?,
    }
    outln!("{}", environment.toolchain.rustc.version)?;
    outln!("Ready. Next: nocturne night experiments/quickstart")?;
    Ok(())
}

pub(super) async fn doctor(args: ReadArgs) -> Result<(), Fault> {
    let root = Repo::discover(&here()?).map_err(Fault::usage)?.root().to_owned();
    let helper = std::env::current_exe()
        .map_err(|error| Fault::environment(format!("cannot tell where this program lies: {error}")))?;
    // It starts confined processes and waits for them.
    let offer = tokio::task::spawn_blocking(move || sandbox::probe(&helper)).await.map_err(Fault::failed)?;
    let options = setup::Options::of_process();
    let mut findings = setup::doctor(&root, &options, &offer).await;
    findings.extend(crate::conditions::present(&options.surroundings).await);
    findings.push(records(&Layout::new(&root).database()).await);
    let fit = findings.iter().all(|finding| finding.state != State::Fail);
    let printed = if args.json {
        super::print_json(&serde_json::json!({ "fit": fit, "findings": findings, "sandbox": offer }))
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if table.width().is_none() {
            table.set_width(COLUMNS);
        }
        for finding in &findings {
            let word = match finding.state {
                State::Ok => "ok",
                State::Warn => "note",
                State::Fail => "FAIL",
            };
            let remedy = finding.remedy.as_ref().map(|remedy| format!("\n{remedy}")).unwrap_or_default();
            table.add_row([word.to_owned(), finding.name.to_owned(), format!("{}{remedy}", finding.detail)]);
        }
        outln!("{}", table.trim_fmt())
    };
    // Whether anybody reads it or not, the exit code says it.
    if fit { printed } else { Err(Fault::environment("this machine is not ready for a night; see what FAILs above")) }
}

/// Whether the database can be read to its end, as a night asks when it begins.
async fn records(path: &Path) -> Finding {
    let found = match Reader::open_as_it_is(path).await {
        Ok(reader) => reader.quick_check().await,
        Err(error) => Err(error),
    };
    let (state, detail, remedy) = match found {
        Ok(()) => (State::Ok, format!("{} is whole", path.display()), None),
        Err(StoreError::NoDatabase { .. }) => (State::Ok, "none yet".to_owned(), None),
        Err(error @ StoreError::Older { .. }) => {
            (State::Warn, error.to_string(), Some("The next command that reads it does that".to_owned()))
        }
        Err(error) => (State::Fail, error.to_string(), None),
    };
    Finding { name: "records", state, detail, remedy }
}
