//! What a night's decisions rest on: the morning's claim, the noise, leaving one out, early stops, looks at held-out text, and how
//! good proposers were at predicting.

use maud::{Markup, html};

use super::percent;
use crate::axis::usable;
use crate::text::{clean, counted, duration, metric, signed};
use crate::view::{CalibrationView, ClaimView, EarlyView, LooksView, NightView, NoiseView};

/// The morning's claim; what the night decided by was looked at again and again, this text was not.
pub(super) fn claim(night: &NightView) -> Markup {
    let Some(claim) = &night.claim else { return html! {} };
    html! {
        section class=(if claim.holds { "claim holds" } else { "claim" }) {
            h3 { (claim_heading(claim)) }
            @if let Some(why) = &claim.withdrawn { p { (clean(why)) } }
            p { (claim_words(claim)) }
        }
    }
}

fn claim_heading(claim: &ClaimView) -> &'static str {
    match (&claim.withdrawn, claim.holds) {
        (Some(_), _) => "The morning's claim is withdrawn",
        (None, true) => "The morning's claim holds",
        (None, false) => "The morning's claim does not hold",
    }
}

fn claim_words(claim: &ClaimView) -> String {
    if claim.withdrawn.is_some() {
        return "It had been measured on a champion that does not stand, and says nothing.".to_owned();
    }
    let on = format!(
        "on {} of fresh seeds and the sealed text, which decided nothing",
        counted(claim.pairs as usize, "pair")
    );
    let Some(difference) = claim.difference.filter(|value| usable(*value)) else {
        return format!("Nothing could be measured {on}.");
    };
    let interval = match claim.interval {
        Some((low, high)) => format!("95 % interval {} to {}", signed(Some(low)), signed(Some(high))),
        None => "no interval".to_owned(),
    };
    let p = claim
        .p_value
        .filter(|p| p.is_finite())
        .map(|p| if p < 1e-4 { ", p < 0.0001".to_owned() } else { format!(", p = {p:.4}") });
    let side = if claim.holds {
        "is better than the night's start"
    } else {
        "is not shown to be better than the night's start"
    };
    let expected = claim
        .expected
        .filter(|value| usable(*value))
        .map(|expected| format!(" Of all kept changes together {} was to be expected.", signed(Some(expected))));
    format!(
        "The champion {side}: {} ({interval}{}) {on}.{}",
        signed(Some(difference)),
        p.unwrap_or_default(),
        expected.unwrap_or_default()
    )
}

/// What leaving one kept change out showed.
pub(super) fn left_out(night: &NightView) -> Markup {
    html! {
        @if !night.left_out.is_empty() {
            h3 { "Leaving one out" }
            div.table tabindex="0" role="region" aria-label="Leaving one out" {
                table {
                    caption { "The champion without one of its changes, against the champion: what is positive is needed." }
                    thead {
                        tr {
                            th.number scope="col" { "#" }
                            th scope="col" { "without" }
                            th.number scope="col" { "effect" }
                            th.number scope="col" { "95 % interval" }
                            th scope="col" { "which says" }
                        }
                    }
                    tbody {
                        @for left in &night.left_out {
                            tr {
                                td.number { (left.number) }
                                td.title { (clean(&left.title)) }
                                td.number { (signed(left.difference)) }
                                td.number {
                                    @if let Some((low, high)) = left.interval { (signed(Some(low))) " to " (signed(Some(high))) }
                                }
                                td { (clean(&left.words)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The noise, and what stopping early saved.
pub(super) fn decided_by(night: &NightView) -> Markup {
    html! {
        @if night.noise.is_some() || night.early.is_some() {
            h3 { "Noise, and early stops" }
            @if let Some(noise) = &night.noise { p { (noise_words(noise)) } }
            @if let Some(early) = &night.early { p { (early_words(early)) } }
        }
    }
}

fn noise_words(noise: &NoiseView) -> String {
    let degrees =
        if noise.degrees.is_finite() { format!(", {:.1} degrees of freedom", noise.degrees) } else { String::new() };
    format!(
        "Two runs of the same code under two seeds differ: the sd of one run is {}. Under the same seed they differ less: the sd of \
         the difference of two commits' runs is {} (correlation {:.2}{degrees}). From {} of {}, this night's and comparable earlier \
         ones'.",
        metric(Some(noise.run_sd)),
        metric(Some(noise.pair_sd)),
        noise.correlation,
        counted(noise.runs as usize, "run"),
        counted(noise.commits as usize, "commit")
    )
}

fn early_words(early: &EarlyView) -> String {
    let share = early
        .share_saved
        .map(|share| format!(", {} of what trials of discarded ideas would have taken", percent(share)));
    let stopped = format!(
        "{} stopped early as hopeless, which saved {} of training{}.",
        match early.stopped {
            1 => "1 trial was".to_owned(),
            count => format!("{count} trials were"),
        },
        duration(early.seconds_saved),
        share.unwrap_or_default()
    );
    let sample = match early.wrong_interval {
        None => " None was left to finish as a sample, so how often such a stop is wrong is not known.".to_owned(),
        Some((low, high)) => format!(
            " Of {} that looked as hopeless and {} left to finish as a sample, {} kept in the end (95 % interval of the share \
             of wrong stops: {} to {}).",
            early.spared,
            if early.spared == 1 { "was" } else { "were" },
            match early.wrong {
                0 => "none was".to_owned(),
                1 => "1 was".to_owned(),
                count => format!("{count} were"),
            },
            percent(low),
            percent(high)
        ),
    };
    stopped + &sample
}

/// The ledger of held-out text.
pub(super) fn looks(night: &NightView) -> Markup {
    html! {
        @if night.looks.iter().any(|looks| looks.all_nights > 0) {
            h3 { "Looks at held-out text" }
            p {
                "Text that decides again and again is learnt in the end, by choosing what happens to suit it. Sealed text is spent on \
                 one claim in a night."
            }
            ul { @for looks in &night.looks { li { (looks_words(looks)) } } }
        }
    }
}

fn looks_words(looks: &LooksView) -> String {
    let what = if looks.what_for.is_empty() { String::new() } else { format!(" for {}", clean(&looks.what_for)) };
    format!(
        "{} text: {} in this night{what}; {} over {} of the campaign.",
        clean(&looks.part),
        counted(usize::try_from(looks.this_night).unwrap_or(usize::MAX), "evaluation"),
        looks.all_nights,
        counted(looks.nights as usize, "night")
    )
}

/// How good each proposer was at predicting.
pub(super) fn calibration(night: &NightView) -> Markup {
    html! {
        @if !night.calibration.is_empty() {
            h3 { "Predictions" }
            div.table tabindex="0" role="region" aria-label="Predictions" {
                table {
                    caption {
                        "What each proposer predicted, and what was found, corrected for chance. Slope: of found on predicted, 1 is \
                         right. Score: Brier's, of the confidence; 0 is perfect, 0.25 a coin."
                    }
                    thead {
                        tr {
                            th scope="col" { "proposer" }
                            th.number scope="col" { "predictions" }
                            th.number scope="col" { "predicted" }
                            th.number scope="col" { "found" }
                            th.number scope="col" { "slope" }
                            th.number scope="col" { "confidence" }
                            th.number scope="col" { "improved" }
                            th.number scope="col" { "score" }
                        }
                    }
                    tbody { @for of in &night.calibration { (calibration_row(of)) } }
                }
            }
        }
    }
}

fn calibration_row(of: &CalibrationView) -> Markup {
    let plain = |value: Option<f64>, digits: usize| match value.filter(|value| value.is_finite()) {
        Some(value) => crate::text::minus(format!("{value:.digits$}")),
        None => "–".to_owned(),
    };
    html! {
        tr {
            td { (clean(&of.proposer)) }
            td.number { (of.predictions) }
            td.number { (signed(of.mean_predicted)) }
            td.number { (signed(of.mean_found)) }
            td.number { (plain(of.slope, 2)) }
            td.number { (of.mean_confidence.map_or("–".to_owned(), percent)) }
            td.number { (of.mean_probability.map_or("–".to_owned(), percent)) }
            td.number { (plain(of.brier, 3)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_says_whether_it_holds_by_how_much_and_on_what() {
        let mut view = ClaimView {
            holds: true,
            withdrawn: None,
            difference: Some(-0.0035),
            interval: Some((-0.005, -0.002)),
            p_value: Some(0.0021),
            pairs: 6,
            expected: Some(-0.003),
        };
        assert_eq!(
            claim_words(&view),
            "The champion is better than the night's start: −0.0035 (95 % interval −0.0050 to −0.0020, p = 0.0021) on 6 pairs of \
             fresh seeds and the sealed text, which decided nothing. Of all kept changes together −0.0030 was to be expected."
        );
        (view.holds, view.p_value, view.expected, view.pairs) = (false, Some(1e-9), None, 1);
        let words = claim_words(&view);
        assert!(
            words.contains("is not shown to be better") && words.contains("p < 0.0001") && words.contains("1 pair of"),
            "{words}"
        );
        view.difference = Some(f64::NAN);
        assert!(claim_words(&view).starts_with("Nothing could be measured"));
        let withdrawn = ClaimView { withdrawn: Some("it cheats".to_owned()), ..view };
        assert_eq!(claim_heading(&withdrawn), "The morning's claim is withdrawn");
        assert!(claim_words(&withdrawn).ends_with("says nothing."));
    }

    #[test]
    fn early_stops_say_what_they_saved_and_how_often_they_are_wrong() {
        let view = EarlyView {
            stopped: 12,
            seconds_saved: 780.0,
            share_saved: Some(0.31),
            spared: 2,
            wrong: 0,
            wrong_interval: Some((0.0, 0.84)),
        };
        assert_eq!(
            early_words(&view),
            "12 trials were stopped early as hopeless, which saved 13 min of training, 31 % of what trials of discarded ideas would \
             have taken. Of 2 that looked as hopeless and were left to finish as a sample, none was kept in the end \
             (95 % interval of the share of wrong stops: 0 % to 84 %)."
        );
        let unknown = early_words(&EarlyView { stopped: 1, wrong_interval: None, share_saved: None, ..view });
        assert!(unknown.starts_with("1 trial was stopped") && unknown.ends_with("is not known."), "{unknown}");
    }

    #[test]
    fn nothing_is_said_of_what_there_is_not() {
        let night = NightView::default();
        for section in [claim(&night), left_out(&night), decided_by(&night), looks(&night), calibration(&night)] {
            assert_eq!(section.into_string(), "");
        }
    }
}
