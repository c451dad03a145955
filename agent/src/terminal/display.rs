//! The only part that writes: live lines through indicatif, or plain lines with the time.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lines::{bar, live_lines, notice_line, progress_line};
use super::text::{clean, fit};
use super::{LiveView, Notice, Stage};
use crate::clock;
use crate::flow::Verdict;

/// Between two progress lines where there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Redraws a second: enough for a clock, too few to flicker.
const REDRAWS: u8 = 5;

/// How a person is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Lines that are redrawn, and above them lines that stay.
    Live,
    /// A line with the time per event.
    Plain,
}

/// Tells a person what goes on, on standard error.
///
/// Errors of writing are ignored on purpose: a night does not end because nobody watches it any more.
pub struct Display {
    out: Out,
    colours: bool,
    started: Instant,
    last_progress: Option<Duration>,
    /// The step of the set-up that was told last, and whether its end was told.
    last_step: Option<(String, bool)>,
    last_stage: Option<(u32, Stage)>,
}

enum Out {
    Live(ProgressBar),
    Plain { to: Box<dyn Write + Send>, time: fn() -> String },
}

impl Display {
    /// Live lines where standard error is a terminal that can move its cursor, else plain lines.
    pub fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stderr().is_terminal() && !dumb { Self::live() } else { Self::plain(Box::new(io::stderr()), wall_clock) }
    }

    fn live() -> Self {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(REDRAWS));
        // Messages come cleaned and cut to the width; the style only passes them on.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            line.set_style(style);
        }
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::with(Out::Live(line), colours)
    }

    pub(super) fn plain(to: Box<dyn Write + Send>, time: fn() -> String) -> Self {
        Self::with(Out::Plain { to, time }, false)
    }

    fn with(out: Out, colours: bool) -> Self {
        Self { out, colours, started: Instant::now(), last_progress: None, last_step: None, last_stage: None }
    }

    /// Which of the two.
    pub fn mode(&self) -> Mode {
        match self.out {
            Out::Live(_) => Mode::Live,
            Out::Plain { .. } => Mode::Plain,
        }
    }

    /// Shows the night's state. Call it as often as something changes, and about once a second for the clock; drawing is paced here.
    pub fn update(&mut self, view: &LiveView) {
        self.update_at(view, self.started.elapsed());
    }

    pub(super) fn update_at(&mut self, view: &LiveView, now: Duration) {
        if let Out::Live(line) = &self.out {
            line.set_message(live_lines(view, columns()).join("\n"));
            line.tick();
            return;
        }
        let stage = view.current.as_ref().map(|current| (current.number, current.stage));
        let known = (stage, self.last_stage);
        self.last_stage = stage;
        if let (Some(current), (Some((number, stage)), last)) = (&view.current, known)
            && (last.is_none_or(|(last, _)| last != number)
                || stage == Stage::Training && last != Some((number, stage)))
        {
            let title = clean(&current.title);
            let colon = if title.trim().is_empty() { "" } else { ": " };
            self.say(&format!("#{number} {}{colon}{}", stage.name(), title.trim()));
            self.last_progress = Some(now);
        } else if self.progress_is_due(now) {
            self.say(&progress_line(view));
        }
    }

    /// Tells of something that happened.
    pub fn notice(&mut self, notice: &Notice) {
        self.notice_at(notice, self.started.elapsed());
    }

    pub(super) fn notice_at(&mut self, notice: &Notice, now: Duration) {
        let line = notice_line(notice);
        let Notice::Progress { what, done, total, .. } = notice else {
            let line = self.coloured(notice, line);
            self.say(&line);
            return;
        };
        let finished = total.is_some_and(|total| *done >= total);
        let told = self.last_step.as_ref().filter(|(step, _)| step == what).map(|(_, finished)| *finished);
        let worth_a_line = match (told, finished) {
            (Some(true), _) => false,
            (Some(false) | None, true) => true,
            // A terminal has its live line for this.
            (None, false) => self.mode() == Mode::Plain,
            (Some(false), false) => self.mode() == Mode::Plain && self.progress_is_due(now),
        };
        self.last_step = Some((what.clone(), finished || told == Some(true)));
        if worth_a_line {
            self.last_progress = Some(now);
            self.say(&line);
        }
        if let Out::Live(live) = &self.out {
            let fraction = total.filter(|total| *total > 0).map(|total| *done as f64 / total as f64);
            let bar = fraction.map_or_else(String::new, |fraction| format!("{}  ", bar(fraction, 20)));
            let message =
                if finished { String::new() } else { fit(&format!("{bar}{line}"), columns().saturating_sub(1)) };
            live.set_message(message);
            live.tick();
        }
    }

    /// Prints a text of several lines (the summary, a compiler's error) where it stays, without the time. The text must be clean.
    pub fn print(&mut self, text: &str) {
        match &mut self.out {
            Out::Live(line) => line.println(text),
            Out::Plain { to, .. } => drop(writeln!(to, "{text}").and_then(|()| to.flush())),
        }
    }

    /// Takes the live lines away while something else writes to the terminal (a question, another program).
    pub fn suspend<T>(&mut self, other: impl FnOnce() -> T) -> T {
        match &self.out {
            Out::Live(line) => line.suspend(other),
            Out::Plain { .. } => other(),
        }
    }

    /// Takes the live lines away for good. Also done when the display is dropped.
    pub fn finish(&mut self) {
        if let Out::Live(line) = &self.out {
            line.finish_and_clear();
        }
    }

    fn progress_is_due(&mut self, now: Duration) -> bool {
        let due = self.last_progress.is_none_or(|last| now.saturating_sub(last) >= PLAIN_INTERVAL);
        if due {
            self.last_progress = Some(now);
        }
        due
    }

    fn say(&mut self, line: &str) {
        match &mut self.out {
            Out::Live(live) => live.println(line),
            Out::Plain { to, time } => drop(writeln!(to, "{}  {line}", time()).and_then(|()| to.flush())),
        }
    }

    fn coloured(&self, notice: &Notice, line: String) -> String {
        let colour = match notice {
            Notice::Verdict { verdict: Verdict::Kept, .. } => "32",
            Notice::Verdict { verdict: Verdict::Invalid | Verdict::Crashed | Verdict::Unbuildable, .. }
            | Notice::Warning { .. } => "33",
            _ => return line,
        };
        if self.colours { format!("\u{1b}[{colour}m{line}\u{1b}[0m") } else { line }
    }
}

impl Default for Display {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Columns of the terminal on standard error; 80 where it does not say.
fn columns() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => 80,
    }
}

fn wall_clock() -> String {
    clock::time_of_day(jiff::Timestamp::now(), &clock::here())
}
