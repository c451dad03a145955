//! The morning page of a night: one self-contained HTML file that works offline, in the dark and on paper.
//!
//! It is in the order of what a tired person asks: what came of it, can that be trusted, what is to be decided, what failed, what did the
//! machine do; then everything else.
//!
//! Everything a proposer, a compiler or a log said goes through maud's escaping; control characters are stripped first. There is
//! no script, and the page's own content policy forbids any, should a hole be found.

mod answer;
pub(crate) mod article;
mod decisions;
pub(crate) mod effect;
mod failed;
mod found;
mod machine;
mod models;
mod pictures;
mod table;
mod trust;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::article::{Article, article};
use self::effect::Range;
pub(crate) use self::pictures::Curves;
pub use self::pictures::{NightPicture, NightPictures};
use crate::axis::usable;
use crate::diff::DIFF_CSS;
use crate::picture::Picture;
use crate::text::{clean, counted};
use crate::verification::verification;
use crate::view::{CurveAxis, ExperimentView, NightView, Verdict};

/// Nothing is fetched or run, whatever the page contains.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// Curves of what was not kept that the page shows.
const MOST_CURVES: usize = 40;

const PAGE_CSS: &str = include_str!("page.css");

/// Rules for an experiment's article and for pictures, whose colours they turn for the dark; a page that uses them sets the colours `--paper`,
/// `--ink`, `--muted`, `--line`, `--shade`, `--kept` and `--bad`.
pub const ARTICLE_CSS: &str = include_str!("article.css");

/// The night as one HTML document, in the order of a morning: the answer in two sentences, warnings, what waits for a decision, what
/// was decided already, what failed and why, the machine's night; then what all that rests on, and every experiment in a table.
pub fn page(night: &NightView, pictures: &NightPictures) -> String {
    let name = format!("{} · night {}", clean(&night.campaign), clean(&night.night));
    let sections = sections(night, pictures);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) }
                style { (PreEscaped(PAGE_CSS)) (PreEscaped(ARTICLE_CSS)) (PreEscaped(DIFF_CSS)) }
            }
            body {
                header {
                    h1 { (name) }
                    p.when { (clean(&night.date)) @if !night.budget.is_empty() { " · " (clean(&night.budget)) " of training per trial" } }
                }
                main {
                    (answer::answer(night))
                    (careful(night))
                    nav aria-label="On this page" {
                        ul { @for section in &sections { li { a href={ "#" (section.id) } { (section.title) } } } }
                    }
                    @for section in &sections {
                        section id=(section.id) { h2 { (section.title) } (section.content) }
                    }
                }
            }
        }
    }
    .into_string()
}

/// A part of the page with a heading.
struct Section {
    id: &'static str,
    title: String,
    content: Markup,
}

fn sections(night: &NightView, pictures: &NightPictures) -> Vec<Section> {
    let mut experiments: Vec<&ExperimentView> = night.experiments.iter().collect();
    experiments.sort_by_key(|experiment| experiment.number);
    let shown = |which, name| figure(pictures.get(which), name);
    let has = |which| pictures.get(which).is_some();
    let mut sections = Vec::new();
    let mut add = |id, title: &str, content: Markup| sections.push(Section { id, title: title.to_owned(), content });
    let waiting = match decisions::waiting(night).len() {
        0 => "Waiting for your decision".to_owned(),
        count => format!("Waiting for your decision: {count}"),
    };
    add("decisions", &waiting, decisions::section(night, pictures));
    if !decisions::decided(night).is_empty() {
        add("decided", "What you decided", decisions::decided_section(night));
    }
    add("failed", "What failed, and why", failed::failed(night));
    add(
        "machine",
        "The machine's night",
        html! {
            (machine::machine(night))
            (shown(NightPicture::Timeline, "What the machine did when"))
        },
    );
    add(
        "course",
        "The night in pictures",
        html! {
            (shown(NightPicture::Progress, "Progress of the night"))
            (shown(NightPicture::Effects, "Effects of experiments"))
            (shown(NightPicture::Loss(CurveAxis::Tokens), "Loss against tokens"))
            @if has(NightPicture::Loss(CurveAxis::Time)) || has(NightPicture::Loss(CurveAxis::Compute)) {
                details {
                    summary { "Loss against time and compute" }
                    (shown(NightPicture::Loss(CurveAxis::Time), "Loss against time"))
                    (shown(NightPicture::Loss(CurveAxis::Compute), "Loss against compute"))
                }
            }
        },
    );
    add(
        "ground",
        "What decisions rested on",
        html! {
            (found::claim(night))
            (verification(night))
            (found::decided_by(night))
            (shown(NightPicture::Drift, "Noise and drift"))
            (found::left_out(night))
            (found::looks(night))
        },
    );
    if !night.calibration.is_empty() || !night.models.is_empty() {
        add(
            "proposers",
            "Who proposed, and how well",
            html! {
                (found::calibration(night))
                (shown(NightPicture::Calibration, "Predictions against what was found"))
                (models::models(night))
            },
        );
    }
    if has(NightPicture::Importance) || has(NightPicture::Parallel) {
        add(
            "recipe",
            "The recipe's numbers",
            html! {
                (shown(NightPicture::Importance, "Which numbers matter"))
                (shown(NightPicture::Parallel, "The recipe's numbers of all experiments"))
            },
        );
    }
    add(
        "all",
        "All experiments",
        html! { (table::table(night, &experiments)) (others(night, &experiments, pictures)) },
    );
    sections
}

/// Articles of what was kept and waits no more, and curves of the others.
fn others(night: &NightView, experiments: &[&ExperimentView], pictures: &NightPictures) -> Markup {
    let others: Vec<&&ExperimentView> = experiments.iter().filter(|e| !night.waiting.contains(&e.number)).collect();
    let (kept, others): (Vec<&ExperimentView>, Vec<&ExperimentView>) =
        others.into_iter().partition(|e| e.verdict == Some(Verdict::Kept));
    let range = Range::of(kept.iter().copied());
    html! {
        @if !kept.is_empty() {
            h3 { "Kept, and not waiting" }
            @for experiment in kept {
                details {
                    summary { "#" (experiment.number) " " (clean(&experiment.title)) }
                    (article(&Article { night, experiment, curves: Curves::of(pictures, experiment.number), range, level: 4, actions: None }))
                }
            }
        }
        (curves_of(&others, pictures))
    }
}

/// Curves of what was not kept, the best of them: each adds some 40 kB to the page, and all lie beside it anyway.
fn curves_of(others: &[&ExperimentView], pictures: &NightPictures) -> Markup {
    let against_tokens = |e: &ExperimentView| pictures.get(NightPicture::Experiment(e.number, CurveAxis::Tokens));
    let mut shown: Vec<&&ExperimentView> = others.iter().filter(|e| against_tokens(e).is_some()).collect();
    let effect = |e: &ExperimentView| e.difference.filter(|value| usable(*value)).unwrap_or(f64::INFINITY);
    shown.sort_by(|one, other| effect(one).total_cmp(&effect(other)).then(one.number.cmp(&other.number)));
    let more = shown.len().saturating_sub(MOST_CURVES);
    shown.truncate(MOST_CURVES);
    shown.sort_by_key(|experiment| experiment.number);
    html! {
        @if !shown.is_empty() {
            h3 { "Curves of the others" }
            @for experiment in shown {
                details {
                    summary { "#" (experiment.number) " " (clean(&experiment.title)) }
                    (figure(against_tokens(experiment), "Training loss against its champion"))
                }
            }
            @if more > 0 {
                p {
                    "These are the best of them. The curves of " (counted(more, "other experiment")) " lie beside this page, in "
                    code { "experiment-NUMBER.svg" } "."
                }
            }
        }
    }
}

/// Where a number should not be trusted.
fn careful(night: &NightView) -> Markup {
    let warnings = trust::warnings(night);
    html! {
        @if !warnings.is_empty() {
            section.warning aria-label="Warnings" {
                h2 { "Before you trust a number" }
                ul { @for line in &warnings { li { (line) } } }
            }
        }
    }
}

/// A picture that is wider than a telephone, in a frame that scrolls; `name` is what the frame is called.
pub(crate) fn figure(picture: Option<&Picture>, name: &str) -> Markup {
    html! {
        @if let Some(picture) = picture {
            figure.plot tabindex="0" role="group" aria-label=(name) { (PreEscaped(&picture.svg)) }
        }
    }
}

/// A share of one, as a person reads it.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.0} %", 100.0 * share.clamp(0.0, 1.0)) } else { "–".to_owned() }
}

/// The first seven digits of a commit, as people write them.
pub(crate) fn short(commit: &str) -> String {
    clean(commit).chars().take(7).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canvas::{BLUE, FAINT, GRID, INK, MUTED};
    use crate::view::{Choice, ReviewView};

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
    fn the_page_is_in_the_order_of_a_morning() {
        let mut night = night();
        for (number, taken_back) in [(0, false), (1, true)] {
            let experiment = &mut night.experiments[number];
            experiment.number = u32::try_from(number).unwrap() + 1;
            (experiment.verdict, experiment.taken_back) = (Some(Verdict::Kept), taken_back);
        }
        (night.waiting, night.warnings) = (vec![1, 77], vec!["careful".into()]);
        let review = ReviewView { choice: Choice::Rejected, reason: "too long".into(), date: String::new() };
        night.experiments.push(ExperimentView { number: 3, review: Some(review), ..ExperimentView::default() });
        let page = page(&night, &NightPictures::default());
        let order = [
            "class=\"outcome\"",
            "class=\"answer\"",
            "Before you trust a number",
            "<nav",
            "<h2>Waiting for your decision: 1</h2>",
            "id=\"experiment-1\"",
            "<h2>What you decided</h2>",
            "too long",
            "<h2>What failed, and why</h2>",
            "taken back",
            "<h2>The machine's night</h2>",
            "<h2>All experiments</h2>",
            "id=\"experiment-2\"",
        ];
        let places: Vec<usize> =
            order.iter().map(|what| page.find(what).unwrap_or_else(|| panic!("no {what} in {page}"))).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(page.contains("it kept 1 of 3 experiments, and 1 waits for you."), "{page}");
        let progress = crate::progress(&night).unwrap().svg;
        assert!(progress.contains("1 of 3 experiments kept"), "{progress}");
    }

    #[test]
    fn a_long_night_shows_the_curves_of_the_best_alone() {
        let experiment = |number| ExperimentView {
            number,
            verdict: Some(Verdict::Discarded),
            difference: Some(0.5 - 0.001 * f64::from(number)),
            ..ExperimentView::default()
        };
        let night = NightView { experiments: (1..=60).map(experiment).collect(), ..NightView::default() };
        let picture = crate::progress(&NightView::default()).unwrap();
        let of = |number| (NightPicture::Experiment(number, CurveAxis::Tokens), picture.clone());
        let page = page(&night, &(1..=60).map(of).collect());
        assert_eq!(page.matches("<summary>").count(), MOST_CURVES);
        assert!(page.contains("<summary>#60 ") && !page.contains("<summary>#20 "));
        assert!(page.contains("The curves of 20 other experiments lie beside"));
    }

    #[test]
    fn headings_are_in_order_and_one_is_the_first() {
        let mut night = night();
        night.experiments[0].number = 1;
        night.experiments[0].verdict = Some(Verdict::Kept);
        night.left_out = vec![crate::view::LeftOutView::default()];
        night.calibration = vec![crate::view::CalibrationView::default()];
        night.models = vec![crate::view::ModelView::default()];
        night.claim = Some(crate::view::ClaimView::default());
        let page = page(&night, &NightPictures::default());
        let levels: Vec<u32> =
            page.match_indices("<h").filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10)).collect();
        assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1, "{levels:?}");
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
        assert_eq!(page.matches("<table").count(), page.matches("<caption").count());
        assert_eq!(page.matches("<th ").count() + page.matches("<th>").count(), page.matches(" scope=\"").count());
    }

    #[test]
    fn every_colour_can_be_read_on_every_paper() {
        let texts = ["ink", "muted", "kept", "bad"];
        let found = crate::contrast::unreadable(PAGE_CSS, &texts, &["paper", "shade"]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn the_dark_page_knows_the_colours_of_the_pictures() {
        for color in [INK, MUTED, GRID, FAINT, BLUE] {
            let hex = format!("\"#{:02X}{:02X}{:02X}\"", color.0, color.1, color.2);
            assert!(ARTICLE_CSS.contains(&hex), "article.css has no rule for {hex}");
        }
    }
}
