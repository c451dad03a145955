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
    // A coding agent calls whom it likes.
    let calls = if model.calls == 0 { "-".to_owned() } else { model.calls.to_string() };
    [
        clean(&model.model),
        calls,
        model.answers.to_string(),
        part(model.parsed),
        part(model.applied),
        part(model.compiled),
        part(model.ran),
        part(model.kept),
        model.tokens.to_string(),
        format!("{:.4}", model.dollars),
        model.dollars_per_thousandth.map_or_else(|| "-".to_owned(), |dollars| format!("{dollars:.4}")),
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
                tokens: 1_234_567,
                dollars: 0.8125,
                gain: Some(0.004),
                dollars_per_thousandth: Some(0.203_125),
            },
            ModelAccount { proposer: "agents".to_owned(), model: "claude-code".to_owned(), ..ModelAccount::default() },
        ];
        insta::assert_snapshot!(models_text(&models));
    }
}
