//! The tables, in Markdown, as docs/decisions.md shows them.

use crate::tally::{Figure, Night, mean, ratio};

/// A table: a head and rows of cells.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Aligned columns.
    pub fn print(&self) {
        let columns = self.rows[0].len();
        let width = |k: usize| self.rows.iter().map(|row| row[k].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (i, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            println!("| {} |", cells.join(" | "));
            if i == 0 {
                let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
                println!("|-{}-|", rules.join("-|-"));
            }
        }
        println!();
    }
}

/// A figure with its standard error.
pub fn plain(figure: Figure, digits: usize) -> String {
    if figure.value.is_finite() {
        format!("{:.digits$} ± {:.digits$}", figure.value, figure.standard_error)
    } else {
        "none".to_owned()
    }
}

/// The same in per cent.
pub fn percent(figure: Figure) -> String {
    plain(Figure { value: 100.0 * figure.value, standard_error: 100.0 * figure.standard_error }, 1)
}

/// Gain in thousandths of a bit per byte.
pub fn gain(nights: &[Night]) -> String {
    plain(mean(nights, |night| 1000.0 * night.gain), 1)
}

pub fn keeps(nights: &[Night]) -> String {
    plain(mean(nights, |night| night.keeps), 2)
}

pub fn not_real(nights: &[Night]) -> String {
    percent(ratio(nights, |night| night.false_keeps, |night| night.keeps))
}

pub fn ideas_not_real(nights: &[Night]) -> String {
    percent(ratio(nights, |night| night.false_ideas, |night| night.ideas))
}

pub fn false_keeps(nights: &[Night]) -> String {
    plain(mean(nights, |night| night.false_keeps), 3)
}

pub fn wrong_claims(nights: &[Night]) -> String {
    percent(mean(nights, |night| night.wrong_claims))
}

pub fn claims(nights: &[Night]) -> String {
    percent(mean(nights, |night| night.claims))
}

pub fn covered(nights: &[Night]) -> [String; 3] {
    [
        percent(ratio(nights, |night| night.covered, |night| night.intervals)),
        percent(ratio(nights, |night| night.kept_covered, |night| night.kept_intervals)),
        percent(ratio(nights, |night| night.claim_covered, |night| night.claim_intervals)),
    ]
}

/// Trials that were foreseen while the one before them was evaluated, and those instead of which another was.
pub fn foresight(nights: &[Night]) -> [String; 2] {
    [
        percent(ratio(nights, |night| night.foreseen, |night| night.followed)),
        percent(ratio(nights, |night| night.foreseen_wrongly, |night| night.followed)),
    ]
}

/// Time saved on bad candidates, early stops that were of true improvements, and spared trials whose experiment was kept.
pub fn stops(nights: &[Night]) -> [String; 3] {
    [
        percent(ratio(nights, |night| night.bad_whole - night.bad_time, |night| night.bad_whole)),
        percent(ratio(nights, |night| night.false_stops, |night| night.stops)),
        percent(ratio(nights, |night| night.spared_kept, |night| night.spared)),
    ]
}
