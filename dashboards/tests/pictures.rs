//! Pictures as a person gets them: fixed ones against snapshots, real ones checked for overlapping and cut-off text.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use ab_glyph::{Font, FontRef, ScaleFont};
use dashboards::{
    CurveAxis, CurveView, NightView, Picture, Verdict, calibration, drift, effects, experiment, importance, losses,
    parallel, progress, timeline,
};
use fixture::Rest;
use resvg::usvg::roxmltree::{Document, Node};

/// DejaVu Sans, the widest font that a viewer may take, against the embedded one.
const WIDEST: f32 = 1.2;

/// Every picture of a night, with a name.
fn pictures(experiments: u32, points: usize) -> Vec<(String, Picture)> {
    let (night, curves) = fixture::night(experiments, points);
    named(&night, &curves, &Rest::of(&night), &format!("of {experiments}"))
}

fn named(night: &NightView, curves: &[CurveView], rest: &Rest, of: &str) -> Vec<(String, Picture)> {
    let pictures = fixture::draw(night, curves, rest, 3).unwrap();
    pictures.iter().map(|(which, picture)| (format!("{} {of}", which.name()), picture.clone())).collect()
}

#[derive(Debug, Clone)]
struct Room {
    name: String,
    left: f32,
    right: f32,
    top: f32,
    bottom: f32,
}

impl Room {
    fn overlaps(&self, other: &Room) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }
}

fn number(node: Node<'_, '_>, attribute: &str) -> f32 {
    node.attribute(attribute).unwrap().parse().unwrap()
}

/// The room of each line of text as plotters placed it.
fn texts(document: &Document<'_>) -> Vec<Room> {
    let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).unwrap();
    let of = |node: Node<'_, '_>| {
        let text = node.text().unwrap().trim().to_owned();
        let size = number(node, "font-size");
        let scaled = font.as_scaled(size * font.height_unscaled() / font.units_per_em().unwrap());
        // What the font lacks is as wide as an ideograph in another.
        let advance = |c: char| match font.glyph_id(c) {
            glyph if glyph.0 == 0 => size / WIDEST,
            glyph => scaled.h_advance(glyph),
        };
        let width = WIDEST * text.chars().map(advance).sum::<f32>();
        let (x, y) = (number(node, "x"), number(node, "y"));
        let left = match node.attribute("text-anchor").unwrap() {
            "start" => x,
            "middle" => x - width / 2.0,
            _ => x - width,
        };
        // Capitals and most letters reach from 0.36 em above the middle to 0.36 below; descenders a little further.
        let middle = match node.attribute("dy").unwrap() {
            "0.5ex" => y,
            "0.76em" => y + 0.4 * size,
            _ => y - 0.4 * size,
        };
        Room { name: text, left, right: left + width, top: middle - 0.4 * size, bottom: middle + 0.4 * size }
    };
    document.descendants().filter(|n| n.has_tag_name("text")).map(of).collect()
}

/// What is wrong with the texts of a picture.
fn overlaps(name: &str, picture: &Picture) -> Vec<String> {
    let mut found = Vec::new();
    let document = Document::parse(&picture.svg).unwrap();
    let view_box = document.root_element().attribute("viewBox").unwrap();
    let size: Vec<f32> = view_box.split(' ').map(|number| number.parse().unwrap()).collect();
    let texts = texts(&document);
    assert!(texts.len() > 2, "{name}");
    let circles: Vec<Room> = document
        .descendants()
        .filter(|n| n.has_tag_name("circle"))
        .map(|circle| {
            let (x, y, r) = (number(circle, "cx"), number(circle, "cy"), number(circle, "r"));
            Room { name: "mark".into(), left: x - r, right: x + r, top: y - r, bottom: y + r }
        })
        .collect();
    for (i, text) in texts.iter().enumerate() {
        let inside = text.left >= 0.0 && text.right <= size[2] && text.top >= 0.0 && text.bottom <= size[3];
        if !inside {
            found.push(format!("{name}: {text:?} is cut off"));
        }
        let others = texts[i + 1..].iter().chain(&circles).filter(|other| text.overlaps(other));
        found.extend(others.map(|other| format!("{name}: {text:?} overlaps {other:?}")));
    }
    found
}

#[test]
fn no_text_overlaps_another_or_a_mark_or_is_cut_off() {
    let all = [0, 1, 3, 8, 24, 40, 200].into_iter().flat_map(|count| pictures(count, 60));
    let found: Vec<String> = all.flat_map(|(name, picture)| overlaps(&name, &picture)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn long_titles_foreign_letters_and_absurd_numbers_overlap_nothing() {
    let words = [
        "a title that goes on and on ".repeat(12),
        "W".repeat(400),
        "日本語の長い題名は幅が広い、それでも重ならない".repeat(6),
        "👩‍👩‍👧‍👦🏳️‍🌈 العربية עברית e\u{301}\u{301} ﷽ 𝔘𝔫𝔦".repeat(9),
        String::new(),
    ];
    let absurd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e14, 9.9e14, 1e-300, 12_345.678_9, 0.0];
    let mut found = Vec::new();
    for (count, shift) in [(1, 0), (3, 1), (40, 2), (200, 3)] {
        let (mut night, mut curves) = fixture::night(count, 30);
        let mut rest = Rest::of(&night);
        let word = |i: usize| words[(i + shift) % words.len()].clone();
        let odd = |i: usize| absurd[(i * 7 + shift) % absurd.len()];
        (night.campaign, night.metric, night.metric_unit, night.date) = (word(0), word(1), word(2), word(3));
        night.seconds_total = odd(shift);
        for (i, view) in night.experiments.iter_mut().enumerate() {
            (view.title, view.family, view.proposer) = (word(i), word(i + 1), word(i + 2));
            match i % 4 {
                0 => (view.difference, view.level) = (Some(odd(i)), Some(odd(i + 1))),
                1 => (view.interval, view.predicted_effect) = (Some((odd(i), odd(i + 1))), Some(odd(i + 2))),
                2 => (view.confidence, view.number) = (Some(odd(i)), u32::MAX - i as u32),
                _ => {}
            }
        }
        for (i, curve) in curves.iter_mut().enumerate() {
            curve.label = word(i);
            curve
                .points
                .iter_mut()
                .step_by(3)
                .for_each(|point| (point.loss, point.seconds) = (Some(odd(i)), odd(i + 1)));
        }
        for (i, span) in rest.spans.iter_mut().enumerate() {
            span.label = word(i);
            if i % 5 == 0 {
                (span.begin_minutes, span.end_minutes) = (odd(i), odd(i + 1));
            }
        }
        for (i, run) in rest.runs.iter_mut().enumerate().step_by(3) {
            (run.value, run.minutes, run.era) = (odd(i), odd(i + 2), i as u32);
        }
        for (i, recipe) in rest.recipes.iter_mut().enumerate() {
            recipe.numbers.insert(word(0), odd(i));
            recipe.numbers.insert(word(1), i as f64);
            recipe.numbers.insert(word(2), 1.0 / i as f64);
        }
        for (name, picture) in named(&night, &curves, &rest, &format!("of {count} odd ones")) {
            found.extend(overlaps(&name, &picture));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn two_hundred_experiments_show_most_numbers_of_what_is_listed() {
    let (night, _) = fixture::night(200, 1);
    let picture = progress(&night).unwrap();
    let document = Document::parse(&picture.svg).unwrap();
    let names: Vec<String> = texts(&document).into_iter().map(|t| t.name).collect();
    let listed: Vec<&String> = names.iter().filter(|n| n.parse::<u32>().is_ok()).collect();
    // Once in the list, once beside its mark (tick labels may add to that).
    let twice = listed.iter().filter(|n| listed.iter().filter(|m| m == n).count() >= 2).count() / 2;
    assert!(twice >= 20, "only {twice} are numbered");
}

#[test]
fn the_same_view_gives_the_same_files() {
    assert_eq!(pictures(8, 30), pictures(8, 30));
}

#[test]
fn the_png_is_a_png_of_the_promised_size() {
    let (_, picture) = pictures(2, 10).remove(0);
    let png = picture.png().unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&png[16..24], [0, 0, 0x09, 0x60, 0, 0, 0x05, 0x78]);
}

#[test]
fn fixed_views_look_as_they_did() {
    let (mut night, mut curves) = fixture::night(8, 4);
    night.experiments.truncate(6);
    night.experiments[0].verdict = Some(Verdict::Crashed);
    curves.truncate(3);
    insta::assert_snapshot!("progress", progress(&night).unwrap().svg);
    insta::assert_snapshot!("losses", losses(&night, &curves, CurveAxis::Tokens).unwrap().svg);
    let picture = experiment(&night, &night.experiments[0], &curves[1], &curves[..1], CurveAxis::Time).unwrap();
    insta::assert_snapshot!("experiment", picture.svg);
    let [start, own, other] = [&curves[0], &curves[1], &curves[2]].map(Clone::clone);
    let picture = experiment(&night, &night.experiments[1], &own, &[start, other], CurveAxis::Compute).unwrap();
    insta::assert_snapshot!("experiment_over_band", picture.svg);
    let rest = Rest::of(&night);
    insta::assert_snapshot!("effects", effects(&night).unwrap().svg);
    insta::assert_snapshot!("calibration", calibration(&night).unwrap().svg);
    insta::assert_snapshot!("timeline", timeline(&night, &rest.spans).unwrap().svg);
    insta::assert_snapshot!("drift", drift(&night, &rest.runs).unwrap().svg);
    insta::assert_snapshot!("importance", importance(&night, &rest.recipes).unwrap().svg);
    insta::assert_snapshot!("parallel", parallel(&night, &rest.recipes).unwrap().svg);
}
