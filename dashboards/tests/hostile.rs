//! Whatever a view model holds, drawing gives a well-formed picture and page, and no text becomes markup.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use dashboards::{
    CertificateView, Choice, ClaimView, CurveAxis, CurvePoint, CurveView, EarlyView, EvidenceView, ExperimentView,
    GapView, NightView, NoiseView, Picture, RecipeView, ReviewView, RunView, SpanView, Stage, Verdict,
    VerificationView, losses, page,
};
use fixture::Rest;
use proptest::prelude::*;
use resvg::usvg::roxmltree::Document;

const NASTY: &str = "</text></svg></style>]]><script>alert('x')</script>\"'><img src=x onerror=alert(1)>&lt;&#60;\u{1b}[31m\u{0}\
                     \u{202e}\u{ffff}\n<!--";

/// All pictures and the page of a night.
fn draw(night: &NightView, curves: &[CurveView], rest: &Rest) -> (Vec<Picture>, String) {
    let pictures = fixture::draw(night, curves, rest, 2).unwrap();
    let page = page(night, &pictures);
    (pictures.iter().map(|(_, picture)| picture.clone()).collect(), page)
}

fn assert_harmless_picture(picture: &Picture) {
    assert!(!picture.svg.contains(|c: char| c.is_control() && c != '\n'), "a control character came through");
    assert!(!picture.svg.contains('\u{202e}'));
    let document = Document::parse(&picture.svg).unwrap();
    for node in document.descendants().filter(|n| n.is_element()) {
        let name = node.tag_name().name();
        assert!(
            ["svg", "title", "desc", "text", "polyline", "polygon", "rect", "circle", "line"].contains(&name),
            "{name}"
        );
        for attribute in node.attributes() {
            let name = attribute.name();
            let known = [
                "width",
                "height",
                "viewBox",
                "role",
                "stroke-linejoin",
                "stroke-linecap",
                "x",
                "y",
                "dy",
                "cx",
                "cy",
                "r",
                "x1",
                "x2",
                "y1",
                "y2",
                "points",
                "fill",
                "stroke",
                "stroke-width",
                "stroke-opacity",
                "opacity",
                "font-family",
                "font-size",
                "text-anchor",
            ];
            assert!(known.contains(&name), "{name}");
        }
    }
}

/// Reads the page's tags as a browser would, and checks that they are those that the page's own code writes.
fn assert_harmless_page(page: &str) {
    assert!(!page.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "a control character came through");
    let tags = "html head meta title style body header main section article figure details summary div table caption thead \
                tbody tr th td h1 h2 h3 h4 nav figcaption p a ul ol li dl dt dd pre ins del span code strong small svg desc text polyline polygon rect circle line";
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if rest.starts_with("!DOCTYPE html>") {
            continue;
        }
        let rest_of_tag = rest.trim_start_matches('/');
        let end = rest_of_tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
        let name = &rest_of_tag[..end];
        assert!(tags.split_whitespace().any(|tag| tag == name), "the page has a <{name}>");
        let mut quoted = false;
        let mut bare = String::new();
        for c in rest_of_tag[end..].chars() {
            match c {
                '"' => quoted = !quoted,
                '>' if !quoted => break,
                c if !quoted => bare.push(c),
                _ => {}
            }
        }
        for attribute in bare.split_whitespace() {
            assert!(!attribute.starts_with("on") && !attribute.starts_with("style="), "the page has a {attribute}");
        }
    }
}

#[test]
fn no_text_becomes_markup() {
    let (mut night, mut curves) = fixture::night(12, 20);
    let nasty = || NASTY.to_owned();
    for field in [
        &mut night.campaign,
        &mut night.night,
        &mut night.date,
        &mut night.metric,
        &mut night.metric_unit,
        &mut night.budget,
        &mut night.champion_commit,
        &mut night.champion_branch,
    ] {
        *field = nasty();
    }
    night.faults = vec![nasty()];
    night.verification.evaluators = vec![nasty()];
    night.verification.sandboxes = vec![nasty(), nasty()];
    night.verification.rejected = [(nasty(), 3)].into();
    night.warnings = vec![nasty(), nasty()];
    for (i, view) in night.experiments.iter_mut().enumerate() {
        view.verdict = Some(Verdict::ALL[i % 6]);
        for field in [
            &mut view.title,
            &mut view.hypothesis,
            &mut view.source,
            &mut view.reason,
            &mut view.proposer,
            &mut view.family,
            &mut view.commit,
            &mut view.branch,
            &mut view.diff,
        ] {
            *field = nasty();
        }
        if let Some(evidence) = &mut view.evidence {
            evidence.story = vec![nasty(), nasty()];
        }
        let (evaluator, sandbox, checks) = (nasty(), nasty(), vec![(nasty(), true), (nasty(), false)]);
        view.certificate = Some(CertificateView { evaluator, sandbox, checks, ..CertificateView::default() });
        let choice = [Choice::Accepted, Choice::Rejected, Choice::Deferred][i % 3];
        view.review = Some(ReviewView { choice, reason: nasty(), date: nasty() });
        for trial in &mut view.trials {
            trial.what = nasty();
        }
    }
    if let Some(claim) = &mut night.claim {
        claim.withdrawn = Some(nasty());
    }
    for left in &mut night.left_out {
        (left.of, left.part) = (Some(1), Some(nasty()));
        (left.title, left.words) = (nasty(), nasty());
    }
    for looks in &mut night.looks {
        (looks.part, looks.what_for) = (nasty(), nasty());
    }
    for calibration in &mut night.calibration {
        calibration.proposer = nasty();
    }
    night.waiting = vec![1, 2, 3];
    night.skipped = vec![(nasty(), nasty())];
    night.machine.gaps = vec![GapView { begin_minutes: 0.0, end_minutes: 9.0, what: nasty() }];
    for model in &mut night.models {
        (model.model, model.failed) = (nasty(), vec![(nasty(), 3)]);
    }
    for curve in &mut curves {
        curve.label = nasty();
        curve.verdict = curve.verdict.map(|_| Verdict::Kept);
    }
    let mut rest = Rest::of(&night);
    for span in &mut rest.spans {
        span.label = nasty();
    }
    for recipe in &mut rest.recipes {
        recipe.numbers = [(nasty(), f64::from(recipe.experiment)), (nasty() + "x", 1.0)].into();
    }
    let (pictures, page) = draw(&night, &curves, &rest);
    for picture in &pictures {
        assert_harmless_picture(picture);
        assert!(picture.svg.contains("&lt;/text&gt;"), "the title was lost instead of escaped");
        assert_eq!(&picture.png().unwrap()[..8], b"\x89PNG\r\n\x1a\n");
    }
    assert_harmless_page(&page);
    assert_eq!(page.matches("</style>").count(), 1);
    assert!(page.contains("&lt;script&gt;"));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        ".{0,40}",
        "\\PC{0,300}",
        Just(NASTY.to_owned()),
        Just("日本語 العربية עברית ไทย 👩‍👩‍👧‍👦🏳️‍🌈 → ≤ 𝔘𝔫𝔦 ﷽ e\u{301}\u{301}\u{301}".to_owned()),
        Just("W".repeat(3000)),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 1.7..1.9, 1 => proptest::num::f64::ANY, 1 => Just(1.8), 1 => Just(f64::NAN), 1 => -1e15..1e15]
}

prop_compose! {
    fn experiment_view()(
        number in prop_oneof![5 => 0u32..300, 1 => any::<u32>()],
        verdict in prop::option::of(prop::sample::select(Verdict::ALL.to_vec())),
        texts in prop::collection::vec(text(), 4),
        numbers in prop::collection::vec(prop::option::of(number()), 4),
        interval in prop::option::of((number(), number())),
        champion_number in 0u32..4,
        peak_memory_bytes in any::<Option<u64>>(),
        lines_added in any::<u32>(),
    ) -> ExperimentView {
        ExperimentView {
            number, verdict, interval, champion_number, peak_memory_bytes, lines_added,
            title: texts[0].clone(),
            hypothesis: texts[1].clone(),
            reason: texts[2].clone(),
            diff: texts[3].clone(),
            val_bpb: numbers[0],
            level: numbers[3],
            trials_measured: champion_number,
            stopped_early: champion_number == 1,
            taken_back: champion_number == 2,
            difference: numbers[1],
            predicted_effect: numbers[2],
            training_seconds: numbers[3],
            standard_error: numbers[0].map(|number| number - 1.8),
            tokens_per_second: numbers[1],
            champion_tokens_per_second: numbers[2],
            champion_memory_bytes: peak_memory_bytes,
            confidence: numbers[3].map(|number| number - 1.3),
            evidence: numbers[1].map(|number| EvidenceView {
                expected: number,
                probability: number - 1.3,
                ..EvidenceView::default()
            }),
            ..ExperimentView::default()
        }
    }
}

prop_compose! {
    fn curve_view()(
        experiment in 0u32..6,
        label in text(),
        verdict in prop::option::of(prop::sample::select(Verdict::ALL.to_vec())),
        parameters in any::<Option<u64>>(),
        points in prop::collection::vec((any::<u64>(), number(), prop::option::of(number())), 0..40),
    ) -> CurveView {
        let points = points.into_iter().map(|(tokens, seconds, loss)| CurvePoint { tokens, seconds, loss }).collect();
        CurveView { experiment, label, verdict, parameters, seed: Some(experiment), points }
    }
}

prop_compose! {
    fn night_view()(
        texts in prop::collection::vec(text(), 5),
        baseline in prop::option::of(number()),
        champion in prop::option::of(number()),
        experiments in prop::collection::vec(experiment_view(), 0..14),
        seconds_total in number(),
        champion_number in 0u32..6,
    ) -> NightView {
        NightView {
            campaign: texts[0].clone(),
            night: texts[1].clone(),
            metric: texts[2].clone(),
            metric_unit: texts[3].clone(),
            warnings: vec![texts[4].clone()],
            verification: VerificationView {
                evaluators: vec![texts[4].clone()],
                sandboxes: texts[..2].to_vec(),
                rejected: [(texts[2].clone(), usize::MAX / 2)].into(),
                verified: 1,
                ..VerificationView::default()
            },
            baseline_error: champion,
            claim: baseline.map(|difference| ClaimView {
                difference: Some(difference),
                interval: champion.map(|high| (difference, high)),
                p_value: champion,
                expected: champion,
                ..ClaimView::default()
            }),
            noise: champion.map(|run_sd| NoiseView { run_sd, degrees: seconds_total, ..NoiseView::default() }),
            early: champion.map(|share| EarlyView {
                seconds_saved: seconds_total,
                share_saved: Some(share),
                wrong_interval: Some((share, seconds_total)),
                ..EarlyView::default()
            }),
            waiting: (0..champion_number).collect(),
            baseline, champion, experiments, seconds_total, champion_number,
            ..NightView::default()
        }
    }
}

prop_compose! {
    fn rest()(
        spans in prop::collection::vec((0usize..6, number(), number(), text()), 0..30),
        runs in prop::collection::vec((0u32..4, number(), number(), 0u32..3), 0..30),
        recipes in prop::collection::vec(prop::collection::btree_map(text(), number(), 0..5), 0..14),
    ) -> Rest {
        let span = |(stage, begin_minutes, end_minutes, label): (usize, f64, f64, String)| {
            SpanView { stage: Stage::ALL[stage], begin_minutes, end_minutes, label }
        };
        let run = |(experiment, minutes, value, era)| RunView { experiment, minutes, value, seed: None, era };
        let recipe = |(experiment, numbers)| RecipeView { experiment, numbers, other_changes: false };
        Rest {
            spans: spans.into_iter().map(span).collect(),
            runs: runs.into_iter().map(run).collect(),
            recipes: (0..).zip(recipes).map(recipe).collect(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_view_gives_a_harmless_picture(
        night in night_view(),
        curves in prop::collection::vec(curve_view(), 0..6),
        rest in rest(),
    ) {
        let (pictures, page) = draw(&night, &curves, &rest);
        pictures.iter().for_each(assert_harmless_picture);
        // Most of the time of this test would be PNGs; one of each case is drawn, in turn.
        let one = &pictures[night.experiments.len() % pictures.len()];
        prop_assert_eq!(&one.png().unwrap()[..8], b"\x89PNG\r\n\x1a\n");
        assert_harmless_page(&page);
    }
}

#[test]
fn a_hundred_thousand_points_make_a_small_picture() {
    let (night, mut curves) = fixture::night(2, 100_000);
    curves.truncate(2);
    let picture = losses(&night, &curves, CurveAxis::Tokens).unwrap();
    assert!(picture.svg.len() < 200_000, "{} bytes", picture.svg.len());
}
