//! `nocturne export`: what is on record, for other programs.

use serde_json::json;

use super::night::last_night;
use super::output::outln;
use super::read::{parse_night, read_night};
use super::{ExportAllArgs, ExportNightArgs, Fault, here, open_records, print_json};
use crate::export::{self, ExportError};

pub(super) async fn tensorboard(args: ExportNightArgs) -> Result<(), Fault> {
    let (layout, reader) = open_records(&here()?).await?;
    let night = match &args.night {
        Some(name) => parse_night(name)?,
        None => last_night(&reader).await?.ok_or_else(|| Fault::usage("there is no night to export yet"))?,
    };
    let records = read_night(&reader, night.as_str()).await?;
    let folder = args.folder.clone();
    let written = tokio::task::spawn_blocking(move || export::write_tensorboard(&layout, &records, &folder));
    let trials = written.await.map_err(Fault::failed)?.map_err(export_fault)?;
    if args.json {
        return print_json(&json!({ "night": night, "folder": args.folder, "trials": trials }));
    }
    outln!("{trials} trials; look at them with: tensorboard --logdir {}", args.folder.display())
}

pub(super) async fn csv(args: ExportAllArgs) -> Result<(), Fault> {
    let (_, reader) = open_records(&here()?).await?;
    let written = export::write_csv(&reader, &args.folder).await.map_err(export_fault)?;
    if args.json {
        let tables: serde_json::Map<String, serde_json::Value> =
            written.into_iter().map(|(name, rows)| (name.to_owned(), rows.into())).collect();
        return print_json(&json!({ "folder": args.folder, "rows": tables }));
    }
    for (name, rows) in written {
        outln!("{}: {rows} rows", args.folder.join(name).with_extension("csv").display())?;
    }
    Ok(())
}

fn export_fault(error: ExportError) -> Fault {
    match error {
        ExportError::NotEmpty(_) => Fault::usage(error),
        other => Fault::failed(other),
    }
}
