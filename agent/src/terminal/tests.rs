use std::io::Write;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::text::width;
use super::*;

fn view() -> LiveView {
    LiveView {
        time_left: Some(Duration::from_secs(7 * 3_600 + 12 * 60)),
        done: 3,
        limit: Some(8),
        current: Some(Current {
            number: 4,
            title: "Halve the tokens per step so that twice as many steps fit into the budget".to_owned(),
            stage: Stage::Training,
            progress: Some(0.52),
            loss: Some(4.32149),
        }),
        baseline: Some(1.8),
        best: Some(1.7877),
        next: Some((5, "building".to_owned())),
        stopping: false,
    }
}

#[test]
fn live_lines_fit_every_width_and_say_the_most_they_can() {
    let mut shown = String::new();
    for columns in [120, 80, 60, 40, 20, 8, 1, 0] {
        shown += &format!("--- {columns} columns\n");
        for line in live_lines(&view(), columns) {
            assert!(width(&line) < columns.max(1), "{line:?} at {columns} columns");
            shown += &format!("{line}\n");
        }
    }
    let mut verified = view();
    if let Some(current) = &mut verified.current {
        current.verifying(0.375);
    }
    let views = [
        ("at the start", LiveView { limit: Some(8), ..LiveView::default() }),
        (
            "the baseline is verified",
            LiveView {
                current: Some(Current {
                    number: 0,
                    title: "baseline".to_owned(),
                    stage: Stage::Verifying,
                    progress: Some(f64::NAN),
                    loss: Some(f64::NAN),
                }),
                ..LiveView::default()
            },
        ),
        ("a trial is verified", verified),
        ("stopping", LiveView { stopping: true, next: None, best: Some(1.8), ..view() }),
    ];
    for (what, view) in views {
        shown += &format!("--- {what}\n{}\n{}\n", live_lines(&view, 100).join("\n"), progress_line(&view));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn notices_are_one_line_each() {
    let verdict = |number, verdict, val_bpb, difference, reason: &str| Notice::Verdict {
        number,
        title: "Halve the \u{1b}[31mtokens\nper step".to_owned(),
        verdict,
        val_bpb,
        difference,
        interval: difference.map(|difference| (difference - 0.001, difference + 0.001)),
        trials: number,
        reason: reason.to_owned(),
    };
    let notices = [
        Notice::Stage { text: "Training the tokenizer".to_owned() },
        Notice::Warning { text: "the disk is\nnearly full".to_owned() },
        Notice::Progress {
            what: "Downloading libtorch".to_owned(),
            done: 1,
            total: Some(553_000_000),
            unit: Unit::Bytes,
        },
        Notice::Progress {
            what: "Downloading libtorch".to_owned(),
            done: 2_400_000_000,
            total: None,
            unit: Unit::Bytes,
        },
        Notice::Progress { what: "Reading".to_owned(), done: 12, total: Some(2_400), unit: Unit::Things("documents") },
        Notice::Progress { what: "Reading".to_owned(), done: 12, total: Some(0), unit: Unit::Things("documents") },
        verdict(0, Verdict::Kept, Some(1.8), None, "measured"),
        verdict(0, Verdict::Crashed, None, None, "out of memory"),
        verdict(1, Verdict::Kept, Some(1.79), Some(-0.01), "lower"),
        verdict(2, Verdict::Discarded, Some(1.81), Some(0.02), "not lower"),
        verdict(5, Verdict::Discarded, None, None, "stopped early as hopeless"),
        verdict(3, Verdict::Unbuildable, None, None, "error[E0308]: mismatched\ntypes"),
        verdict(4, Verdict::Invalid, Some(f64::NAN), None, ""),
    ];
    let lines: Vec<String> = notices.iter().map(notice_line).collect();
    assert!(lines.iter().all(|line| !line.contains(['\n', '\u{1b}'])));
    insta::assert_snapshot!(lines.join("\n"));
}

fn summary() -> Summary {
    let prefix = "nocturne/quickstart/2026-03-08-k4/";
    let row = |number: u32, title: &str, figures: Option<(f64, f64)>, verdict, slug: &str| Row {
        number,
        title: title.to_owned(),
        val_bpb: figures.map(|(val_bpb, _)| val_bpb),
        trials: match number {
            1 => 4,
            _ => usize::from(figures.is_some()),
        },
        difference: figures.map(|(_, difference)| difference),
        interval: (number == 1).then_some((-0.014, -0.011)),
        verdict,
        stands: number != 2,
        branch: if slug.is_empty() { String::new() } else { format!("{prefix}{number}-{slug}") },
    };
    Summary {
        campaign: "quickstart".to_owned(),
        night: "2026-03-08-k4".to_owned(),
        baseline: Some(1.8),
        champion: Some((1, 1.7877)),
        withdrawn: None,
        rows: vec![
            row(
                1,
                "Halve the tokens per step",
                Some((1.7877, -0.0123)),
                Some(Verdict::Kept),
                "halve-the-tokens-per-step",
            ),
            row(
                2,
                "Replace squared ReLU by a gated unit of two thirds the width, as in GLU variants",
                Some((1.7901, 0.0024)),
                Some(Verdict::Discarded),
                "replace-squared-relu-by-a-gated-unit",
            ),
            row(
                3,
                "窓のパターンを変える: use long windows in every second layer",
                None,
                Some(Verdict::Crashed),
                "windows",
            ),
            row(4, "Tie the head\u{1b}[2J\nto the embedding", None, Some(Verdict::Unbuildable), "tie"),
            row(5, "Raise the rotary base", None, None, ""),
        ],
        branch_prefix: prefix.to_owned(),
        total: Duration::from_secs(1_204),
        training: Duration::from_secs(180),
        places: vec![
            Place {
                what: "progress".to_owned(),
                place: "experiments/quickstart/nights/2026-03-08-k4/progress.svg".to_owned(),
            },
            Place { what: "the champion's changes".to_owned(), place: format!("git diff main {prefix}champion") },
        ],
    }
}

#[test]
fn the_summary_fits_its_columns() {
    for columns in [80, 120] {
        let text = render_summary(&summary(), columns);
        let table = text.lines().skip(3).take(6);
        for line in table {
            assert!(width(line) <= columns, "{line:?} at {columns} columns");
        }
        assert!(!text.contains('\u{1b}'));
        insta::assert_snapshot!(format!("summary_{columns}"), text);
    }
    let nothing = Summary { rows: Vec::new(), champion: None, baseline: None, places: Vec::new(), ..summary() };
    insta::assert_snapshot!("summary_of_nothing", render_summary(&nothing, 80));
}

#[test]
fn what_was_kept_and_taken_back_is_not_counted_as_kept() {
    let mut fallen = summary();
    fallen.rows[0].stands = false;
    let text = render_summary(&fallen, 120);
    assert!(text.contains(": 1 discarded, 1 crashed, 1 unbuildable, 1 kept and taken back;"), "{text}");
    let row = text.lines().find(|line| line.contains("Halve the tokens")).unwrap();
    assert!(row.contains("taken back") && !row.contains("kept"), "{row}");
}

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn plain_lines_are_one_an_event_and_progress_is_rare() {
    let paper = Paper::default();
    let mut display = Display::plain(Box::new(paper.clone()), || "22:15:00".to_owned());
    assert_eq!(display.mode(), Mode::Plain);
    let download =
        |done| Notice::Progress { what: "Downloading".to_owned(), done, total: Some(100), unit: Unit::Things("files") };
    for second in 0..=100 {
        display.notice_at(&download(second), Duration::from_secs(second));
    }
    display.notice_at(&download(100), Duration::from_secs(140));
    let mut now = Duration::from_secs(200);
    for (stage, seconds) in [(Stage::Building, 3), (Stage::Starting, 2), (Stage::Training, 70), (Stage::Verifying, 40)]
    {
        for second in 0..seconds {
            now += Duration::from_secs(1);
            let progress = Some(second as f64 / seconds as f64);
            let current = view().current.map(|current| Current { stage, progress, ..current });
            display.update_at(&LiveView { current, ..view() }, now);
        }
    }
    display.print("one\ntwo");
    let told = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
    insta::assert_snapshot!(told);
}

/// A stream that nobody reads any more.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_display_can_live_on_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Display>();
}

#[test]
fn a_closed_terminal_does_not_end_the_night() {
    let mut display = Display::plain(Box::new(Closed), String::new);
    display.update(&view());
    display.notice(&Notice::Warning { text: "x".to_owned() });
    display.print("x");
}

#[test]
fn durations_are_told_in_two_units() {
    for (seconds, told) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 00 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (3_599, "59 min"),
        (3_600, "1 h 00 min"),
        (100_000, "27 h 46 min"),
    ] {
        assert_eq!(duration(Duration::from_secs(seconds)), told);
    }
}

#[test]
fn escape_sequences_leave_nothing_behind() {
    for (dirty, clear) in [
        ("plain text, ümläut, 窓, 😀", "plain text, ümläut, 窓, 😀"),
        ("a\u{1b}[31;1mred\u{1b}[0mb", "aredb"),
        ("a\u{1b}[2J\u{1b}[Hb", "ab"),
        ("a\u{1b}]0;title\u{7}b", "ab"),
        ("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\b", "alinkb"),
        ("a\u{1b}P1$r\u{9c}b", "ab"),
        ("a\u{9b}31mb\u{9d}52;c;x\u{7}c", "abc"),
        ("a\u{1b}(Bb\u{1b}7c\u{1b}cd", "abcd"),
        ("a\u{1b}", "a"),
        ("a\u{1b}[", "a"),
        ("a\u{1b}]never ends", "anever ends"),
        ("a\u{1b}é", "aé"),
        ("a\u{1b}(é", "aé"),
        ("a\rb\nc\td\u{8}e", "a b c de"),
        ("safe\u{202e}txt.exe\u{2066}\u{200b}", "safetxt.exe"),
        ("\u{feff}x\u{0}\u{7f}y\u{85}z", "xyz"),
    ] {
        assert_eq!(clean(dirty), clear, "{dirty:?}");
    }
    assert_eq!(clean_lines("a\u{1b}[1m\nb\r\n"), "a\nb \n");
}

#[test]
fn wide_characters_are_cut_at_their_columns() {
    for (text, columns, fitted) in [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("ab cd", 4, "ab…"),
        ("窓窓窓", 6, "窓窓窓"),
        ("窓窓窓", 5, "窓窓…"),
        ("窓窓窓", 4, "窓…"),
        ("窓", 1, "…"),
        ("ab", 0, ""),
    ] {
        assert_eq!(fit(text, columns), fitted, "{text:?} in {columns}");
    }
}

proptest! {
    #[test]
    fn nothing_that_moves_the_cursor_survives(text in "(\\PC|[\u{0}-\u{20}\u{1b}\u{7f}-\u{9f}\\[\\]P_(;0-9mJ]){0,60}") {
        let once = clean(&text);
        prop_assert!(once.chars().all(|c| !c.is_control()));
        prop_assert_eq!(clean(&once), once.clone());
        prop_assert!(clean_lines(&text).chars().all(|c| c == '\n' || !c.is_control()));
        prop_assert_eq!(clean_lines(&text).replace('\n', " "), once);
        let quoted = visible(&text);
        prop_assert!(quoted.chars().all(|c| !c.is_control()));
        prop_assert_eq!(quoted.chars().count(), text.trim_end_matches(['\r', '\n']).chars().count());
    }

    #[test]
    fn what_fits_is_never_wider(text in "\\PC{0,40}", columns in 0usize..50) {
        prop_assert!(width(&fit(&clean(&text), columns)) <= columns);
    }

    #[test]
    fn live_lines_never_wrap(title in "\\PC{0,90}", state in "\\PC{0,20}", columns in 0usize..200, loss: f64, progress: f64, best: f64) {
        let current = Current { number: 4, title, stage: Stage::Training, progress: Some(progress), loss: Some(loss) };
        let view = LiveView { current: Some(current), best: Some(best), next: Some((5, state)), ..view() };
        for line in live_lines(&view, columns) {
            prop_assert!(width(&line) < columns.max(1));
            prop_assert!(!line.contains(char::is_control));
        }
    }
}
