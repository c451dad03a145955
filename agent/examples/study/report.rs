//! What the study's rows say: noise, pairing, single trials against blocks, curves. Reads files, decides nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data::Manifest;
use nocturne::bench::{Place, Row, noise, read_rows};
use nocturne::flow::DocumentLoss;
use nocturne::run::CurvePoint;
use nocturne::verify::documents::per_document;
use nocturne::verify::{HeldOut, read_claim};

use super::IDEAS;
use super::design;
use super::figures::{self, Line, mean, sd};

/// Rows of one folder, and the folder.
pub struct Study {
    rows: Vec<(Row, PathBuf)>,
    held_out: HeldOut,
    seeds: u32,
}

/// Reads the rows of these folders, the first to name a run counts; their curves stay where they are.
/// `data` is the folder of the campaign's shards.
pub fn read(data: &Path, folders: &[PathBuf], seeds: u32) -> Result<Study, String> {
    let unread = |error: &dyn std::fmt::Display| format!("{}: {error}", data.display());
    let manifest = Manifest::open(data).map_err(|error| unread(&error))?;
    let rows = manifest.search_rows(data).map_err(|error| unread(&error))?;
    let bytes = manifest.token_bytes(data).and_then(|bytes| bytes.scored(&rows)).map_err(|error| unread(&error))?;
    let held_out = HeldOut::new(rows, bytes).map_err(|error| unread(&error))?;
    let mut rows: Vec<(Row, PathBuf)> = Vec::new();
    for folder in folders {
        for row in read_rows(&folder.join("rows.jsonl")).map_err(|error| error.to_string())? {
            if !rows.iter().any(|(other, _)| other.digest == row.digest && other.place == row.place) {
                rows.push((row, folder.clone()));
            }
        }
    }
    Ok(Study { rows, held_out, seeds })
}

impl Study {
    fn row(&self, variant: &str, seed: u32) -> Option<&(Row, PathBuf)> {
        let place = Place { initial: seed, order: seed, repeat: 0 };
        self.rows.iter().find(|(row, _)| row.variant == variant && row.place == place && row.val_bpb.is_some())
    }

    fn val_bpb(&self, variant: &str, seed: u32) -> Option<f64> {
        self.row(variant, seed).and_then(|(row, _)| row.val_bpb)
    }

    /// Differences of an idea from the unedited commit under shared seeds.
    fn differences(&self, idea: &str) -> Vec<f64> {
        (0..self.seeds).filter_map(|seed| Some(self.val_bpb(idea, seed)? - self.val_bpb("unedited", seed)?)).collect()
    }

    /// Everything, as text.
    pub fn print(&self) -> Result<(), String> {
        let finished: Vec<&Row> = self.rows.iter().map(|(row, _)| row).filter(|row| row.val_bpb.is_some()).collect();
        let of = |of: &dyn Fn(&Row) -> f64| mean(&finished.iter().map(|row| of(row)).collect::<Vec<_>>());
        println!(
            "{} runs, {} with a figure; {:.1} steps, {:.0} s of training and {:.0} s of evaluation on average\n",
            self.rows.len(),
            finished.len(),
            of(&|row| row.steps as f64),
            of(&|row| row.training_seconds),
            of(&|row| row.evaluation_seconds),
        );
        self.print_crossed();
        let singles = self.print_singles();
        self.print_sampling()?;
        self.print_curves()?;
        self.print_blocks(&singles);
        Ok(())
    }

    fn print_crossed(&self) {
        let rows: Vec<Row> =
            self.rows.iter().map(|(row, _)| row).filter(|row| row.variant == "unedited").cloned().collect();
        match noise::structure(&rows) {
            Ok(found) => {
                println!("{found:#?}");
                for (initial, line) in (0..found.initials).map(|initial| {
                    let cell = |order| {
                        let place = Place { initial: initial as u32, order, repeat: 0 };
                        rows.iter().find(|row| row.place == place).and_then(|row| row.val_bpb).unwrap_or(f64::NAN)
                    };
                    (initial, (0..found.orders as u32).map(|order| format!("{:.5}", cell(order))).collect::<Vec<_>>())
                }) {
                    println!("initial values {initial}: {}", line.join("  "));
                }
            }
            Err(why) => println!("crossed: {why}"),
        }
    }

    /// Prints the single trials and returns each idea's mean difference.
    fn print_singles(&self) -> Vec<Option<f64>> {
        println!(
            "\nsingle trials, paired by seed\n{:<28} {:>4} {:>9} {:>9}  differences",
            "idea", "runs", "mean", "sd"
        );
        let mut means = Vec::new();
        let (mut squares, mut degrees) = (0.0, 0);
        for idea in IDEAS {
            let differences = self.differences(idea);
            let of = |of: fn(&[f64]) -> f64| if differences.is_empty() { f64::NAN } else { of(&differences) };
            let each: Vec<String> = differences.iter().map(|difference| format!("{difference:+.4}")).collect();
            println!("{idea:<28} {:>4} {:>+9.4} {:>9.4}  {}", differences.len(), of(mean), of(sd), each.join(" "));
            if differences.len() > 1 {
                squares += sd(&differences).powi(2) * (differences.len() - 1) as f64;
                degrees += differences.len() - 1;
            }
            means.push((!differences.is_empty()).then(|| mean(&differences)));
        }
        println!(
            "sd of a paired difference, pooled within ideas: {:.5} ({degrees} degrees of freedom)",
            (squares / degrees as f64).sqrt()
        );
        // Ideas by seeds: what runs of one seed share against the rest.
        let variants: Vec<&str> = std::iter::once("unedited").chain(IDEAS).collect();
        let complete = |variant: &&str| (0..self.seeds).all(|seed| self.val_bpb(variant, seed).is_some());
        let table: Vec<Row> = variants
            .iter()
            .filter(|variant| complete(variant))
            .enumerate()
            .flat_map(|(number, variant)| {
                (0..self.seeds).filter_map(move |seed| {
                    let (row, _) = self.row(variant, seed)?;
                    Some(Row { place: Place { initial: number as u32, order: seed, repeat: 0 }, ..row.clone() })
                })
            })
            .collect();
        match noise::structure(&table) {
            Ok(found) => {
                let (seed, rest) = (found.order.spread.sd, found.rest.spread.sd);
                let run = seed.hypot(rest);
                println!(
                    "ideas x seeds: {} commits x {} seeds; seed sd {seed:.5} {:?}, rest sd {rest:.5} {:?}; sd of a run {run:.5}, of a pair {:.5}, correlation {:.3}",
                    found.initials,
                    found.orders,
                    found.order.spread.interval,
                    found.rest.spread.interval,
                    rest * 2f64.sqrt(),
                    (seed / run).powi(2)
                );
            }
            Err(why) => println!("ideas x seeds: {why}"),
        }
        means
    }

    /// Nats and bytes of each held-out document by a run's claim.
    fn documents(&self, variant: &str, seed: u32) -> Result<Option<Arc<[DocumentLoss]>>, String> {
        let Some((row, folder)) = self.row(variant, seed) else { return Ok(None) };
        let path = folder.join("runs").join(&row.files).join("claim.f32");
        let claim = read_claim(&path, self.held_out.bytes().len()).map_err(|error| error.to_string())?;
        per_document(&claim, &self.held_out).map(Some).map_err(|error| error.to_string())
    }

    /// What a figure owes to the choice of the held-out documents, for runs and for paired differences.
    fn print_sampling(&self) -> Result<(), String> {
        let (mut runs, mut pairs, mut count) = (Vec::new(), Vec::new(), 0);
        for seed in 0..self.seeds {
            let Some(champion) = self.documents("unedited", seed)? else { continue };
            count = champion.len();
            let own: Vec<(f64, f64)> = champion.iter().map(|document| (document.nats, document.bytes.into())).collect();
            runs.push(figures::sampling_error(&own));
            for idea in IDEAS {
                let Some(candidate) = self.documents(idea, seed)? else { continue };
                let both = candidate.iter().zip(champion.iter());
                let differences: Vec<(f64, f64)> = both.map(|(a, b)| (a.nats - b.nats, b.bytes.into())).collect();
                pairs.push(figures::sampling_error(&differences));
            }
        }
        println!(
            "\nstandard error from the choice of {count} held-out documents: of a run {:.5} ({} runs), of a paired difference {:.5} ({} pairs)",
            mean(&runs),
            runs.len(),
            mean(&pairs),
            pairs.len()
        );
        Ok(())
    }

    fn curve(&self, variant: &str, seed: u32) -> Result<Option<Vec<(f64, f64)>>, String> {
        let Some((row, folder)) = self.row(variant, seed) else { return Ok(None) };
        let path = folder.join("runs").join(&row.files).join("curve.jsonl");
        read_curve(&path, row.tokens as f64).map(Some)
    }

    fn print_curves(&self) -> Result<(), String> {
        println!(
            "\npaired difference of the training loss (nats a token, mean of the last k steps) against the final difference (bits per byte)"
        );
        println!(
            "{:>8} {:>3} {:>5} {:>8} {:>9} {:>12} {:>11}",
            "progress", "k", "pairs", "slope", "intercept", "residual sd", "correlation"
        );
        for k in [1, 3, 6] {
            for at in [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0] {
                let mut points = Vec::new();
                for seed in 0..self.seeds {
                    let Some(champion) = self.curve("unedited", seed)? else { continue };
                    for idea in IDEAS {
                        let (Some(candidate), Some(end)) = (self.curve(idea, seed)?, self.val_bpb(idea, seed)) else {
                            continue;
                        };
                        let (Some(a), Some(b)) = (recent(&candidate, at, k), recent(&champion, at, k)) else {
                            continue;
                        };
                        points.push((a - b, end - self.val_bpb("unedited", seed).unwrap_or(f64::NAN)));
                    }
                }
                if let Some(Line { slope, intercept, residual, correlation }) = figures::line(&points) {
                    println!(
                        "{at:>8} {k:>3} {:>5} {slope:>8.3} {intercept:>9.4} {residual:>12.4} {correlation:>11.3}",
                        points.len()
                    );
                }
            }
        }
        Ok(())
    }

    fn print_blocks(&self, singles: &[Option<f64>]) {
        let runs: Vec<(usize, f64)> = design::folded()
            .iter()
            .enumerate()
            .filter_map(|(number, on)| {
                // Where all is off, the commit itself has run.
                let name = if on.contains(&true) { format!("block-{number}") } else { "unedited".to_owned() };
                Some((number, self.val_bpb(&name, design::seed(number))?))
            })
            .collect();
        println!("\nblocks: {} of {} runs", runs.len(), design::folded().len());
        let Some(fit) = figures::fit(&runs) else { return };
        println!("{:<28} {:>9} {:>9} {:>18}   {:>9}", "idea", "block", "se", "95 % interval", "single");
        let margin = figures::student_975(fit.degrees) * fit.standard_error;
        for ((idea, effect), single) in IDEAS.iter().zip(&fit.effects).zip(singles) {
            let single = single.map_or("-".to_owned(), |single| format!("{single:+.4}"));
            println!(
                "{idea:<28} {effect:>+9.4} {:>9.4} {:>+9.4} {:>+8.4}   {single:>9}",
                fit.standard_error,
                effect - margin,
                effect + margin
            );
        }
        println!("residual sd of a block's run {:.5} ({} degrees of freedom)", fit.residual, fit.degrees);
        let both: Vec<(f64, f64)> =
            fit.effects.iter().zip(singles).filter_map(|(block, single)| Some((*block, (*single)?))).collect();
        let off: Vec<f64> = both.iter().map(|(block, single)| (block - single).powi(2)).collect();
        if let Some(line) = figures::line(&both) {
            println!(
                "blocks against singles: correlation {:.3}, rms difference {:.5} over {} ideas",
                line.correlation,
                mean(&off).sqrt(),
                both.len()
            );
        }
    }
}

/// Progress and loss of each step.
fn read_curve(path: &Path, tokens: f64) -> Result<Vec<(f64, f64)>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let point = |line: &str| {
        let point: CurvePoint = serde_json::from_str(line).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((point.tokens as f64 / tokens, point.loss.unwrap_or(f64::NAN)))
    };
    text.lines().map(point).collect()
}

/// Mean loss of the last `k` steps up to a progress.
fn recent(curve: &[(f64, f64)], at: f64, k: usize) -> Option<f64> {
    let losses: Vec<f64> =
        curve.iter().take_while(|(progress, _)| *progress <= at + 1e-9).map(|(_, loss)| *loss).collect();
    losses.len().checked_sub(k).and_then(|from| losses.get(from..)).map(mean)
}
