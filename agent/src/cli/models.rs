//! `nocturne models`: how far the answers of language models and coding agents got in a night, and what they cost.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::night::last_night;
use super::output::{out, outln};
use super::read::{COLUMNS, parse_night, records_fault};
use super::{Fault, ReportArgs, here, open_records, print_json};
use crate::report::{Account, ModelAccount, NightRecords};
use crate::terminal::clean;

pub(super) async fn models(args: ReportArgs) -> Result<(), Fault> {
    let (_, reader) = open_records(&here()?).await?;
    let night = match &args.night {
        Some(name) => parse_night(name)?,
        None => last_night(&reader).await?.ok_or_else(|| Fault::usage("there is no night yet"))?,
    };
    let records = NightRecords::read(&reader, &night).await.map_err(records_fault)?;
    let account = Account::read(&reader, &records).await.map_err(records_fault)?;
    if args.json {
        return print_json(&json!({ "night": night, "models": account.models }));
    }
    if account.models.is_empty() {
        outln!("no language model or coding agent was asked in night {night}")?;
        return Ok(());
    }
    out!("{}", models_text(&account.models))
}

/// The table, and below it why calls failed; each line is ended.
pub(super) fn models_text(models: &[ModelAccount]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(COLUMNS).unwrap_or(u16::MAX));
    table.set_header(HEADER);
    for model in models {
        table.add_row(row(model));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n");
    for model in models.iter().filter(|model| !model.failed.is_empty()) {
        let reasons = model.failed.iter().map(|(kind, count)| format!("{} {count}", kind.replace('-', " ")));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        text += &format!("  {}: calls without an answer: {reasons}\n", clean(&model.model));
    }
    text + "  Shares are of answers. $ per 0.001: dollars for a verified thousandth of val_bpb, corrected for having been picked.\n"
}

const HEADER: [&str; 11] =
    ["model", "calls", "answers", "can be read", "apply", "compile", "run", "kept", "tokens", "dollars", "$ per 0.001"];

fn row(model: &ModelAccount) -> [String; 11] {
    let part = |part: u32| match model.share(part) {
        // A whole number of answers: their share says how many of a hundred.
        Some(share) => format!("{part} ({:.0} %)", share * 100.0),
        None => part.to_string(),
    };
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    // Where something was gained and the cost is not known, neither is this.
    let per_thousandth = match (model.dollars_per_thousandth, model.dollars, model.gain) {
        (Some(dollars), ..) => format!("{dollars:.4}"),
        (None, None, Some(_)) => known(None),
        _ => "-".to_owned(),
    };
    [
        clean(&model.model),
        model.calls.to_string(),
        model.answers.to_string(),
        part(model.parsed),
        part(model.applied),
        part(model.compiled),
        part(model.ran),
        part(model.kept),
        known(model.tokens.map(|tokens| tokens.to_string())),
        known(model.dollars.map(|dollars| format!("{dollars:.4}"))),
        per_thousandth,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_table_says_how_far_answers_got() {
        let models = [
            ModelAccount {
                proposer: "models".to_owned(),
                model: "large\u{1b}[2J".to_owned(),
                calls: 120,
                failed: BTreeMap::from([("rate-limited", 3), ("server", 1)]),
                answers: 80,
                parsed: 76,
                applied: 60,
                compiled: 41,
                ran: 38,
                kept: 2,
                tokens: Some(1_234_567),
                dollars: Some(0.8125),
                gain: Some(0.004),
                dollars_per_thousandth: Some(0.203_125),
            },
            ModelAccount {
                proposer: "agents".to_owned(),
                model: "claude-code".to_owned(),
                gain: Some(0.002),
                ..ModelAccount::default()
            },
        ];
        insta::assert_snapshot!(models_text(&models));
    }
}
