//! Plays a night's lines without a night, to look at them: `cargo run --example terminal`, in a narrow window, while resizing it,
//! or with `2> file`.

use std::thread::sleep;
use std::time::Duration;

use nocturne::flow::Verdict;
use nocturne::terminal::{Current, Display, LiveView, Notice, Place, Row, Stage, Summary, Unit, render_summary};

const TITLES: [&str; 3] = [
    "Halve the tokens per step so that twice as many steps fit into the budget",
    "Raise the rotary base \u{1b}[31mto 200,000\u{1b}[0m",
    "窓のパターンを変える: use long windows in every second layer of the decoder",
];

fn main() {
    let mut display = Display::new();
    for done in (0..=553).step_by(20).chain([553]) {
        let what = "Downloading libtorch 2.11.0".to_owned();
        display.notice(&Notice::Progress { what, done: done * 1_000_000, total: Some(553_000_000), unit: Unit::Bytes });
        sleep(Duration::from_millis(60));
    }
    display.notice(&Notice::Stage { text: "Night 2026-03-08-k4 of quickstart begins at 1a2b3c4".to_owned() });
    let mut rows = Vec::new();
    for (number, title) in (1..).zip(TITLES) {
        let mut view =
            LiveView { done: number - 1, limit: Some(3), baseline: Some(1.8), best: Some(1.8), ..LiveView::default() };
        for tick in 0..30_u32 {
            let stage = match tick {
                0..5 => Stage::Building,
                5..25 => Stage::Training,
                _ => Stage::Verifying,
            };
            let progress = match stage {
                Stage::Training => Some(f64::from(tick - 5) / 20.0),
                Stage::Verifying => Some(f64::from(tick - 25) / 5.0),
                _ => None,
            };
            let loss = progress.map(|_| 7.6 - 0.15 * f64::from(tick.min(24) - 5));
            view.current = Some(Current { number, title: title.to_owned(), stage, progress, loss });
            view.time_left = Some(Duration::from_secs(1_300 - 60 * u64::from(number) - u64::from(tick)));
            view.next = Some((number + 1, if tick < 15 { "proposing" } else { "built" }.to_owned()));
            display.update(&view);
            sleep(Duration::from_millis(100));
        }
        let verdict = if number == 1 { Verdict::Kept } else { Verdict::Discarded };
        let (val_bpb, difference) = (Some(1.78 + 0.01 * f64::from(number)), Some(0.02 * f64::from(number) - 0.03));
        let reason = "lower is kept".to_owned();
        let interval = difference.map(|difference| (difference - 0.001, difference + 0.001));
        let told = title.to_owned();
        display.notice(&Notice::Verdict {
            number,
            title: told,
            verdict,
            val_bpb,
            difference,
            interval,
            trials: 2,
            reason,
        });
        let branch = format!("nocturne/quickstart/2026-03-08-k4/{number}-some-slug");
        rows.push(Row {
            number,
            title: title.to_owned(),
            val_bpb,
            trials: 1,
            difference,
            interval: None,
            verdict: Some(verdict),
            stands: true,
            branch,
        });
    }
    display.notice(&Notice::Warning { text: "the disk has less than 3 GB left".to_owned() });
    display.finish();
    let summary = Summary {
        campaign: "quickstart".to_owned(),
        night: "2026-03-08-k4".to_owned(),
        baseline: Some(1.8),
        champion: Some((1, 1.79)),
        withdrawn: None,
        rows,
        branch_prefix: "nocturne/quickstart/2026-03-08-k4/".to_owned(),
        total: Duration::from_secs(70),
        training: Duration::from_secs(60),
        places: vec![Place {
            what: "plots".to_owned(),
            place: "experiments/quickstart/nights/2026-03-08-k4/".to_owned(),
        }],
    };
    eprint!("{}", render_summary(&summary, 80));
}
