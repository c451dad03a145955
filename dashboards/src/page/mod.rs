//! The simple page of a night: one self-contained HTML file that works offline, in the dark and on paper.
//!
//! Everything a proposer, a compiler or a log said goes through maud's escaping; control characters are stripped first. There is
//! no script, and the page's own content policy forbids any, should a hole be found.

mod article;
mod found;
mod models;
mod table;

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::axis::usable;
use crate::diff::DIFF_CSS;
use crate::picture::Picture;
use crate::plots::change;
use crate::text::{clean, counted, duration, metric};
use crate::verification::verification;
use crate::view::{ExperimentView, NightView, Verdict};

/// Nothing is fetched or run, whatever the page contains.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The pictures that go into a page; each may be missing.
#[derive(Debug, Clone, Default)]
pub struct NightPictures {
    /// From [`crate::progress`].
    pub progress: Option<Picture>,
    /// From [`crate::effects`].
    pub effects: Option<Picture>,
    /// From [`crate::losses`] against tokens.
    pub loss_tokens: Option<Picture>,
    /// From [`crate::losses`] against time.
    pub loss_time: Option<Picture>,
    /// From [`crate::losses`] against compute; only where the number of parameters is known.
    pub loss_compute: Option<Picture>,
    /// From [`crate::importance`].
    pub importance: Option<Picture>,
    /// From [`crate::parallel`].
    pub parallel: Option<Picture>,
    /// From [`crate::calibration`].
    pub calibration: Option<Picture>,
    /// From [`crate::timeline`].
    pub timeline: Option<Picture>,
    /// From [`crate::drift`].
    pub drift: Option<Picture>,
    /// From [`crate::experiment`] against tokens, by the experiment's number. Each adds some 30 kB to the page.
    pub experiments: BTreeMap<u32, Picture>,
    /// The same against time.
    pub experiments_time: BTreeMap<u32, Picture>,
    /// The same against compute.
    pub experiments_compute: BTreeMap<u32, Picture>,
}

impl NightPictures {
    /// Those that there are, with a name for each that is fit for a file: `progress`, `experiment-003`.
    pub fn all(&self) -> Vec<(String, &Picture)> {
        let named = [
            ("progress", &self.progress),
            ("effects", &self.effects),
            ("loss-tokens", &self.loss_tokens),
            ("loss-time", &self.loss_time),
            ("loss-compute", &self.loss_compute),
            ("importance", &self.importance),
            ("parallel", &self.parallel),
            ("calibration", &self.calibration),
            ("timeline", &self.timeline),
            ("drift", &self.drift),
        ];
        let named = named.into_iter().filter_map(|(name, picture)| Some((name.to_owned(), picture.as_ref()?)));
        let experiments =
            [("", &self.experiments), ("-time", &self.experiments_time), ("-compute", &self.experiments_compute)];
        let experiments = experiments.into_iter().flat_map(|(axis, pictures)| {
            pictures.iter().map(move |(number, picture)| (format!("experiment-{number:03}{axis}"), picture))
        });
        named.chain(experiments).collect()
    }
}

/// The night as one HTML document: the answer in two sentences, the morning's claim, warnings, progress, the kept experiments with
/// hypothesis, effect, the story of their decision and diff, what decisions rested on, the loss curves, how often held-out text was
/// looked at, proposers' calibration, and a table of all experiments.
pub fn page(night: &NightView, pictures: &NightPictures) -> String {
    let mut experiments: Vec<&ExperimentView> = night.experiments.iter().collect();
    experiments.sort_by_key(|e| e.number);
    let (once_kept, others): (Vec<&ExperimentView>, Vec<&ExperimentView>) =
        experiments.iter().partition(|e| e.verdict == Some(Verdict::Kept));
    let (kept, fallen): (Vec<&ExperimentView>, Vec<&ExperimentView>) = once_kept.into_iter().partition(|e| e.is_kept());
    let name = format!("{} · night {}", clean(&night.campaign), clean(&night.night));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) }
                style { (PreEscaped(include_str!("page.css"))) (PreEscaped(DIFF_CSS)) }
            }
            body {
                header {
                    h1 { (name) }
                    p.when { (clean(&night.date)) }
                }
                main {
                    p.answer { (answer(night, &kept)) }
                    (verification(night))
                    (found::claim(night))
                    (notices("Before you trust a number", &night.warnings))
                    (notices("Faults of the machine", &night.faults))
                    (figure(pictures.progress.as_ref()))
                    (figure(pictures.effects.as_ref()))
                    @if !kept.is_empty() {
                        h2 { "Kept" }
                        @for experiment in &kept { (article::article(night, experiment, pictures)) }
                    }
                    @if !fallen.is_empty() {
                        h2 { "Kept, and taken back" }
                        @for experiment in &fallen { (article::article(night, experiment, pictures)) }
                    }
                    (found::left_out(night))
                    (found::decided_by(night))
                    (figure(pictures.drift.as_ref()))
                    @if pictures.loss_tokens.is_some() || pictures.loss_time.is_some() {
                        h2 { "Loss" }
                        (figure(pictures.loss_tokens.as_ref()))
                        (figure(pictures.loss_time.as_ref()))
                        (figure(pictures.loss_compute.as_ref()))
                    }
                    @if pictures.importance.is_some() || pictures.parallel.is_some() {
                        h2 { "The recipe's numbers" }
                        (figure(pictures.importance.as_ref()))
                        (figure(pictures.parallel.as_ref()))
                    }
                    (found::looks(night))
                    (found::calibration(night))
                    (figure(pictures.calibration.as_ref()))
                    (models::models(night))
                    @if pictures.timeline.is_some() {
                        h2 { "The machine's night" }
                        (figure(pictures.timeline.as_ref()))
                    }
                    h2 { "All experiments" }
                    (table::table(night, &experiments))
                    @if others.iter().any(|e| pictures.experiments.contains_key(&e.number)) {
                        h2 { "Curves of the others" }
                        @for experiment in &others {
                            @if let Some(picture) = pictures.experiments.get(&experiment.number) {
                                details {
                                    summary { "#" (experiment.number) " " (clean(&experiment.title)) }
                                    (figure(Some(picture)))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

/// What the night found and what it cost, in two sentences.
fn answer(night: &NightView, kept: &[&ExperimentView]) -> Markup {
    let name = clean(&night.metric);
    let unit = clean(&night.metric_unit);
    let usable_of = |value: Option<f64>| value.filter(|v| usable(*v));
    let of_all = format!("{} of {}", kept.len(), counted(night.experiments.len(), "experiment"));
    let finding = match (usable_of(night.baseline), usable_of(night.champion)) {
        (Some(start), Some(end)) if night.champion_number != 0 || start != end => {
            let compared = if night.baseline_trials > 1 { ", equal seeds compared" } else { "" };
            format!(
                "{name} went from {} to {} {unit} ({}{compared}); {of_all} kept.",
                metric(Some(start)),
                metric(Some(end)),
                change(start, end)
            )
        }
        (Some(start), _) => format!("{name} stays at {} {unit}; {of_all} kept.", metric(Some(start))),
        _ => format!("The night's start has no {name}; {of_all} kept."),
    };
    let percent = night.seconds_training / night.seconds_total * 100.0;
    let share = if percent.is_finite() { format!(", {percent:.0} % of it training") } else { String::new() };
    let commit = short(&night.champion_commit);
    html! {
        (finding) " The night took " (duration(night.seconds_total)) (share)
        @if night.champion_number != 0 && !commit.is_empty() {
            "; its champion is #" (night.champion_number) ", commit " code { (commit) }
            @if !night.champion_branch.is_empty() { " on " code { (clean(&night.champion_branch)) } }
        }
        "."
    }
}

fn notices(title: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            section.warning {
                h3 { (title) }
                ul { @for line in lines { li { (clean(line)) } } }
            }
        }
    }
}

fn figure(picture: Option<&Picture>) -> Markup {
    html! { @if let Some(picture) = picture { figure { (PreEscaped(&picture.svg)) } } }
}

/// A share of one, as a person reads it.
fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0} %", 100.0 * share.clamp(0.0, 1.0)) } else { "–".to_owned() }
}

/// The first seven digits of a commit, as people write them.
fn short(commit: &str) -> String {
    clean(commit).chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{BLUE, FAINT, GRID, INK, MUTED};

    fn night() -> NightView {
        NightView {
            metric: "val_bpb".into(),
            metric_unit: "bits per byte".into(),
            baseline: Some(1.8423),
            champion: Some(1.8423),
            experiments: vec![ExperimentView::default(), ExperimentView::default()],
            seconds_total: 600.0,
            seconds_training: 420.0,
            ..NightView::default()
        }
    }

    #[test]
    fn the_answer_says_what_was_found_and_what_it_cost() {
        let mut night = night();
        assert_eq!(
            answer(&night, &[]).into_string(),
            "val_bpb stays at 1.8423 bits per byte; 0 of 2 experiments kept. The night took 10 min, 70 % of it training."
        );
        night.champion = Some(1.8239);
        night.champion_number = 2;
        night.champion_commit = "0123456789abcdef0123456789abcdef01234567".into();
        night.champion_branch = "nocturne/q/n/champion".into();
        assert_eq!(
            answer(&night, &[&night.experiments[1]]).into_string(),
            "val_bpb went from 1.8423 to 1.8239 bits per byte (−0.0184, −1.00 %); 1 of 2 experiments kept. The night took 10 min, \
             70 % of it training; its champion is #2, commit <code>0123456</code> on <code>nocturne/q/n/champion</code>."
        );
        night.baseline = Some(f64::NAN);
        night.seconds_total = 0.0;
        assert!(
            answer(&night, &[]).into_string().starts_with("The night's start has no val_bpb; 0 of 2 experiments kept.")
        );
    }

    #[test]
    fn what_was_kept_and_does_not_stand_is_not_counted() {
        let mut night = night();
        for (number, taken_back) in [(0, false), (1, true)] {
            let experiment = &mut night.experiments[number];
            experiment.number = u32::try_from(number).unwrap() + 1;
            (experiment.verdict, experiment.taken_back) = (Some(Verdict::Kept), taken_back);
        }
        let page = page(&night, &NightPictures::default());
        assert!(page.contains("; 1 of 2 experiments kept."), "{page}");
        let (kept, fallen) = (page.find("<h2>Kept</h2>").unwrap(), page.find("<h2>Kept, and taken back</h2>").unwrap());
        let (first, second) = (page.find("id=\"experiment-1\"").unwrap(), page.find("id=\"experiment-2\"").unwrap());
        assert!(kept < first && first < fallen && fallen < second, "{page}");
        assert_eq!(page.matches("does not stand").count(), 2, "{page}");
        let progress = crate::progress(&night).unwrap().svg;
        assert!(progress.contains("1 of 2 experiments kept") && !progress.contains("2 of 2"), "{progress}");
    }

    #[test]
    fn the_dark_page_knows_the_colours_of_the_pictures() {
        for color in [INK, MUTED, GRID, FAINT, BLUE] {
            let hex = format!("\"#{:02X}{:02X}{:02X}\"", color.0, color.1, color.2);
            assert!(include_str!("page.css").contains(&hex), "page.css has no rule for {hex}");
        }
    }
}
