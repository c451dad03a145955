//! Pictures as a person gets them: fixed ones against snapshots, real ones checked for overlapping and cut-off text.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod fixture;

use ab_glyph::{Font, FontRef, ScaleFont};
use dashboards::{CurveAxis, Picture, experiment, losses, progress};
use resvg::usvg::roxmltree::{Document, Node};

/// DejaVu Sans, the widest font that a viewer may take, against the embedded one.
const WIDEST: f32 = 1.2;

/// Every picture of a night, with a name.
fn pictures(experiments: u32, points: usize) -> Vec<(String, Picture)> {
    let (night, curves) = fixture::night(experiments, points);
    let mut pictures = vec![
        (format!("progress of {experiments}"), progress(&night).unwrap()),
        (format!("losses of {experiments} against tokens"), losses(&night, &curves, CurveAxis::Tokens).unwrap()),
    ];
    for view in night.experiments.iter().take(3) {
        let find = |number| curves.iter().find(|c| c.experiment == number);
        if let Some(curve) = find(view.number) {
            let picture = experiment(&night, view, curve, find(view.champion_number), CurveAxis::Time).unwrap();
            pictures.push((format!("experiment {} of {experiments}", view.number), picture));
        }
    }
    pictures
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
        let width = WIDEST * text.chars().map(|c| scaled.h_advance(font.glyph_id(c))).sum::<f32>();
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

#[test]
fn no_text_overlaps_another_or_a_mark_or_is_cut_off() {
    for (name, picture) in [0, 1, 8, 24, 200].into_iter().flat_map(|count| pictures(count, 60)) {
        let document = Document::parse(&picture.svg).unwrap();
        let texts = texts(&document);
        assert!(texts.len() > 5, "{name}");
        for (i, text) in texts.iter().enumerate() {
            let inside = text.left >= 0.0 && text.right <= 4800.0 && text.top >= 0.0 && text.bottom <= 2800.0;
            assert!(inside, "{name}: {text:?} is cut off");
            for other in &texts[i + 1..] {
                assert!(!text.overlaps(other), "{name}: {text:?} overlaps {other:?}");
            }
            for circle in document.descendants().filter(|n| n.has_tag_name("circle")) {
                let (x, y, r) = (number(circle, "cx"), number(circle, "cy"), number(circle, "r"));
                let mark = Room { name: "mark".into(), left: x - r, right: x + r, top: y - r, bottom: y + r };
                assert!(!text.overlaps(&mark), "{name}: {text:?} overlaps {mark:?}");
            }
        }
    }
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
    assert_eq!(&picture.png[..8], b"\x89PNG\r\n\x1a\n");
    assert_eq!(&picture.png[16..24], [0, 0, 0x09, 0x60, 0, 0, 0x05, 0x78]);
}

#[test]
fn fixed_views_look_as_they_did() {
    let (mut night, mut curves) = fixture::night(8, 4);
    night.experiments.truncate(6);
    night.experiments[0].verdict = Some(dashboards::Verdict::Crashed);
    curves.truncate(3);
    insta::assert_snapshot!("progress", progress(&night).unwrap().svg);
    insta::assert_snapshot!("losses", losses(&night, &curves, CurveAxis::Tokens).unwrap().svg);
    let picture = experiment(&night, &night.experiments[0], &curves[1], Some(&curves[0]), CurveAxis::Time).unwrap();
    insta::assert_snapshot!("experiment", picture.svg);
}
