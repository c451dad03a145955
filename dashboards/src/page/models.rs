//! How far the answers of language models and coding agents got, and what they cost.

use maud::{Markup, html};

use crate::text::clean;
use crate::view::{ModelView, NightView};

/// The table; nothing where nobody was asked.
pub(super) fn models(night: &NightView) -> Markup {
    html! {
        @if !night.models.is_empty() {
            h3 { "Language models and coding agents" }
            div.table tabindex="0" role="region" aria-label="Language models and coding agents" {
                table {
                    caption {
                        "Of each one's answers, how many can be read, fit the champion and are allowed, compile, run, and are kept; in \
                         brackets their share. The last column: US dollars for a verified thousandth of "
                        (clean(&night.metric)) ", corrected for having been picked."
                    }
                    thead {
                        tr {
                            th scope="col" { "model" }
                            th.number scope="col" { "calls" }
                            th.number scope="col" { "failed" }
                            th.number scope="col" { "answers" }
                            th.number scope="col" { "can be read" }
                            th.number scope="col" { "apply" }
                            th.number scope="col" { "compile" }
                            th.number scope="col" { "run" }
                            th.number scope="col" { "kept" }
                            th.number scope="col" { "tokens" }
                            th.number scope="col" { "dollars" }
                            th.number scope="col" { "$ per 0.001" }
                        }
                    }
                    tbody { @for model in &night.models { (row(model)) } }
                }
            }
        }
    }
}

fn row(of: &ModelView) -> Markup {
    let share = |part: u32| match of.answers {
        0 => part.to_string(),
        answers => format!("{part} ({:.0} %)", f64::from(part) / f64::from(answers) * 100.0),
    };
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
    let dollars = |value: Option<f64>| value.filter(|value| value.is_finite()).map(|value| format!("{value:.4}"));
    let per_thousandth = match (dollars(of.dollars_per_thousandth), of.dollars) {
        (Some(dollars), _) => dollars,
        (None, None) if of.kept > 0 => known(None),
        (None, _) => "–".to_owned(),
    };
    html! {
        tr {
            td { (clean(&of.model)) }
            td.number { (of.calls) }
            td.number { (failed(of)) }
            td.number { (of.answers) }
            td.number { (share(of.parsed)) }
            td.number { (share(of.applied)) }
            td.number { (share(of.compiled)) }
            td.number { (share(of.ran)) }
            td.number { (share(of.kept)) }
            td.number { (known(of.tokens.map(|tokens| tokens.to_string()))) }
            td.number { (known(dollars(of.dollars))) }
            td.number { (per_thousandth) }
        }
    }
}

fn failed(of: &ModelView) -> String {
    let reasons = of.failed.iter().map(|(reason, count)| format!("{count} {}", clean(reason).replace('-', " ")));
    match of.failed.is_empty() {
        true => "0".to_owned(),
        false => reasons.collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_answers_and_nobody_divides_by_none() {
        let model = ModelView {
            model: "large".to_owned(),
            calls: 12,
            failed: vec![("rate-limited".to_owned(), 2), ("server".to_owned(), 1)],
            answers: 8,
            parsed: 6,
            applied: 4,
            compiled: 2,
            ran: 2,
            kept: 1,
            tokens: Some(9_000),
            dollars: Some(0.25),
            dollars_per_thousandth: Some(0.125),
        };
        let silent =
            ModelView { model: "<b>".to_owned(), dollars_per_thousandth: Some(f64::NAN), ..ModelView::default() };
        let agent = ModelView { model: "agent".to_owned(), kept: 1, ..ModelView::default() };
        let row = row(&agent).into_string();
        assert!(row.matches(">unknown<").count() == 3 && !row.contains("0.0000"), "{row}");
        let page = models(&NightView { models: vec![model, silent], ..NightView::default() }).into_string();
        for expected in
            ["6 (75 %)", "1 (12 %)", "2 rate limited, 1 server", ">0.2500<", ">0.1250<", "&lt;b&gt;", ">0<", ">–<"]
        {
            assert!(page.contains(expected), "no {expected} in {page}");
        }
        assert!(!page.contains("NaN"), "{page}");
        assert_eq!(models(&NightView::default()).into_string(), "");
    }
}
