//! What the noise of a run is made of: initial values, data order, and the rest. Pure.
//!
//! The model is the two-way random-effects one without replication, `y = mean + initial + order + rest`, for runs of one commit
//! under every pair of some seeds of initial values and some of the data order (balanced and complete). Variances follow from
//! the mean squares of the analysis of variance (Searle, Casella and McCulloch 1992, *Variance Components*, chapter 4). `rest` is
//! what belongs to the pair of seeds alone, and whatever does not repeat under the same seeds; runs that repeat a pair tell how much
//! of it that second part is.
//!
//! Intervals are generalised pivotal intervals (Tsui and Weerahandi 1989, JASA 84; Weerahandi 1993, JASA 88): each sum of squares is
//! divided by draws of its chi-square distribution, each figure is computed from the draws, negative variances taken as 0, and the
//! middle 95 % are reported. The draws come from a fixed seed. Where a part's mean square is far below the rest's, its interval shrinks to
//! 0 to 0: the design could not see that part, which does not prove that there is none.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Place, Row};

/// Draws behind an interval.
const DRAWS: usize = 10_000;

/// Outside of an interval on either side.
const TAIL: f64 = 0.025;

/// A standard deviation in bits per byte.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Its estimate.
    pub sd: f64,
    /// 95 % interval.
    pub interval: (f64, f64),
}

/// A part of the variance of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Component {
    /// As a standard deviation; 0 where the estimate of its variance is negative.
    #[serde(flatten)]
    pub spread: Spread,
    /// Its share in the variance of a run, 0 to 1.
    pub share: f64,
    /// 95 % interval of that.
    pub share_interval: (f64, f64),
}

/// The noise of one commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Structure {
    /// Crossed runs that the figures rest on; repeats are not counted.
    pub runs: usize,
    /// Different seeds of initial values.
    pub initials: usize,
    /// Different seeds of the data order.
    pub orders: usize,
    /// Mean bits per byte.
    pub mean: f64,
    /// A run under fresh seeds.
    pub run: Spread,
    /// What runs with the same initial values share.
    pub initial: Component,
    /// What runs with the same data order share.
    pub order: Component,
    /// All else.
    pub rest: Component,
    /// Runs that repeated a pair of seeds.
    pub repeats: usize,
    /// A run under the same seeds again; `None` without repeats. An interval from 0 to 0 means that every repeat agreed to the last bit.
    pub repeat: Option<Spread>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum NoStructure {
    /// Too small a design.
    #[error(
        "{initials} seeds of initial values and {orders} of the data order tell nothing apart; take at least 2 of each"
    )]
    TooFew {
        /// Of initial values.
        initials: usize,
        /// Of the data order.
        orders: usize,
    },
    /// A hole in the design.
    #[error("the run under initial values {} and data order {} has no figure ({end}), and the analysis needs all of them", place.initial, place.order)]
    Missing {
        /// Which.
        place: Place,
        /// How it ended, where it ran.
        end: String,
    },
}

/// Estimates the structure from the rows of one commit; rows beyond the crossed ones (`repeat` above 0) tell what does not repeat.
///
/// # Errors
/// See [`NoStructure`].
pub fn structure(rows: &[Row]) -> Result<Structure, NoStructure> {
    let initials: BTreeSet<u32> = rows.iter().map(|row| row.place.initial).collect();
    let orders: BTreeSet<u32> = rows.iter().map(|row| row.place.order).collect();
    let (a, b) = (initials.len(), orders.len());
    if a < 2 || b < 2 {
        return Err(NoStructure::TooFew { initials: a, orders: b });
    }
    let mut cells = vec![vec![0.0; b]; a];
    for (line, &initial) in cells.iter_mut().zip(&initials) {
        for (cell, &order) in line.iter_mut().zip(&orders) {
            let place = Place { initial, order, repeat: 0 };
            let row = rows.iter().find(|row| row.place == place);
            let missing = |end: &str| NoStructure::Missing { place, end: end.to_owned() };
            let row = row.ok_or_else(|| missing("never ran"))?;
            *cell = row.val_bpb.ok_or_else(|| missing(&row.end))?;
        }
    }
    let sums = Sums::of(&cells);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let draws: Vec<Variances> = (0..DRAWS).map(|_| sums.draw(&mut random)).collect();
    let point = sums.variances();
    let spread = |of: &dyn Fn(&Variances) -> f64| {
        let middle = middle(draws.iter().map(|draw| of(draw).sqrt()).collect());
        Spread { sd: of(&point).sqrt(), interval: middle }
    };
    let component = |of: &dyn Fn(&Variances) -> f64| Component {
        spread: spread(of),
        share: of(&point) / point.sum().max(f64::MIN_POSITIVE),
        share_interval: middle(draws.iter().map(|draw| of(draw) / draw.sum().max(f64::MIN_POSITIVE)).collect()),
    };
    let (repeats, repeat) = repeated(rows, &mut random);
    Ok(Structure {
        runs: a * b,
        initials: a,
        orders: b,
        mean: sums.mean,
        run: spread(&|variances| variances.sum()),
        initial: component(&|variances| variances.initial),
        order: component(&|variances| variances.order),
        rest: component(&|variances| variances.rest),
        repeats,
        repeat,
    })
}

/// Variances of the three parts, none below 0.
#[derive(Debug, Clone, Copy)]
struct Variances {
    initial: f64,
    order: f64,
    rest: f64,
}

impl Variances {
    fn sum(&self) -> f64 {
        self.initial + self.order + self.rest
    }
}

/// The analysis of variance of a complete table of `a` by `b` runs.
struct Sums {
    a: f64,
    b: f64,
    mean: f64,
    /// Sums of squares of initial values, data order, rest.
    squares: [f64; 3],
    /// Their degrees of freedom.
    degrees: [usize; 3],
}

impl Sums {
    fn of(cells: &[Vec<f64>]) -> Sums {
        let (rows, columns) = (cells.len(), cells.first().map_or(0, Vec::len));
        let (a, b) = (rows as f64, columns as f64);
        let mean = cells.iter().flatten().sum::<f64>() / (a * b);
        let of_row: Vec<f64> = cells.iter().map(|row| row.iter().sum::<f64>() / b - mean).collect();
        let mut of_column = vec![-mean; columns];
        for row in cells {
            for (sum, cell) in of_column.iter_mut().zip(row) {
                *sum += cell / a;
            }
        }
        let mut rest = 0.0;
        for (row, effect) in cells.iter().zip(&of_row) {
            for (cell, other) in row.iter().zip(&of_column) {
                rest += (cell - mean - effect - other).powi(2);
            }
        }
        let square = |effects: &[f64]| effects.iter().map(|effect| effect * effect).sum::<f64>();
        Sums {
            a,
            b,
            mean,
            squares: [b * square(&of_row), a * square(&of_column), rest],
            degrees: [rows - 1, columns - 1, (rows - 1) * (columns - 1)],
        }
    }

    /// From mean squares: E(initial) = rest + b initial, E(order) = rest + a order.
    fn variances_of(&self, [initial, order, rest]: [f64; 3]) -> Variances {
        Variances {
            initial: ((initial - rest) / self.b).max(0.0),
            order: ((order - rest) / self.a).max(0.0),
            rest: rest.max(0.0),
        }
    }

    fn variances(&self) -> Variances {
        let mean = |i: usize| self.squares[i] / self.degrees[i] as f64;
        self.variances_of([mean(0), mean(1), mean(2)])
    }

    /// The variances with each sum of squares divided by a draw instead of its degrees of freedom.
    fn draw(&self, random: &mut ChaCha8Rng) -> Variances {
        let mut mean = |i: usize| self.squares[i] / chi_square(self.degrees[i], random);
        let means = [mean(0), mean(1), mean(2)];
        self.variances_of(means)
    }
}

/// How many runs repeated a pair of seeds, and the pooled spread within pairs.
fn repeated(rows: &[Row], random: &mut ChaCha8Rng) -> (usize, Option<Spread>) {
    let mut pairs: BTreeMap<(u32, u32), Vec<f64>> = BTreeMap::new();
    for row in rows {
        if let Some(val_bpb) = row.val_bpb {
            pairs.entry((row.place.initial, row.place.order)).or_default().push(val_bpb);
        }
    }
    let degrees: usize = pairs.values().map(|runs| runs.len() - 1).sum();
    if degrees == 0 {
        return (0, None);
    }
    let squares: f64 = pairs
        .values()
        .map(|runs| {
            let mean = runs.iter().sum::<f64>() / runs.len() as f64;
            runs.iter().map(|run| (run - mean).powi(2)).sum::<f64>()
        })
        .sum();
    let draws = (0..DRAWS).map(|_| (squares / chi_square(degrees, random)).sqrt()).collect();
    (degrees, Some(Spread { sd: (squares / degrees as f64).sqrt(), interval: middle(draws) }))
}

/// The middle 95 % of some draws.
fn middle(mut draws: Vec<f64>) -> (f64, f64) {
    draws.sort_by(f64::total_cmp);
    let at = |quantile: f64| draws.get((quantile * draws.len() as f64) as usize).copied().unwrap_or(f64::NAN);
    (at(TAIL), at(1.0 - TAIL))
}

/// A draw of the chi-square distribution: a sum of squared normal numbers, two at a time (Box and Muller 1958).
fn chi_square(degrees: usize, random: &mut ChaCha8Rng) -> f64 {
    // In (0, 1]: its logarithm is finite.
    let mut uniform = || ((random.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let mut sum = 0.0;
    for _ in 0..degrees / 2 {
        sum += -2.0 * uniform().ln();
    }
    if degrees % 2 == 1 {
        sum += -2.0 * uniform().ln() * (std::f64::consts::TAU * uniform()).cos().powi(2);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fixture::row;

    fn normal(random: &mut ChaCha8Rng) -> f64 {
        let sign = if random.next_u32().is_multiple_of(2) { 1.0 } else { -1.0 };
        sign * chi_square(1, random).sqrt()
    }

    /// A table with these sds of initial values, order and rest.
    fn table(a: u32, b: u32, sds: [f64; 3], random: &mut ChaCha8Rng) -> Vec<Row> {
        let initial: Vec<f64> = (0..a).map(|_| sds[0] * normal(random)).collect();
        let order: Vec<f64> = (0..b).map(|_| sds[1] * normal(random)).collect();
        let cells =
            initial.iter().zip(0..).flat_map(|(i, at)| order.iter().zip(0..).map(move |(o, of)| (at, of, i + o)));
        cells.map(|(initial, order, sum)| row(initial, order, 0, 2.0 + sum + sds[2] * normal(random))).collect()
    }

    #[test]
    fn a_small_table_gives_the_figures_worked_by_hand() {
        // Row means 1, 3; column means 1, 2, 3; residuals all 0 but for +-0.5 in two columns.
        let rows: Vec<Row> = crate::bench::fixture::small_table().into_iter().chain([row(0, 0, 1, 0.7)]).collect();
        let found = structure(&rows).unwrap();
        // Sums of squares 6, 4, 1 with 1, 2, 2 degrees: mean squares 6, 2, 0.5.
        assert!((found.rest.spread.sd - 0.5f64.sqrt()).abs() < 1e-12, "{found:?}");
        assert!((found.initial.spread.sd - (5.5f64 / 3.0).sqrt()).abs() < 1e-12, "{found:?}");
        assert!((found.order.spread.sd - 0.75f64.sqrt()).abs() < 1e-12, "{found:?}");
        let shares = found.initial.share + found.order.share + found.rest.share;
        assert!((found.mean - 2.0).abs() < 1e-12 && (shares - 1.0).abs() < 1e-12);
        assert_eq!((found.runs, found.initials, found.orders, found.repeats), (6, 2, 3, 1));
        // Two runs 0.2 apart: variance 0.02 with one degree.
        assert!((found.repeat.unwrap().sd - 0.02f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn holes_and_designs_that_are_too_small_are_told() {
        let mut rows = vec![row(0, 0, 0, 1.0), row(0, 1, 0, 1.1)];
        assert_eq!(structure(&rows), Err(NoStructure::TooFew { initials: 1, orders: 2 }));
        rows.push(row(1, 0, 0, 1.2));
        assert!(
            structure(&rows)
                .unwrap_err()
                .to_string()
                .contains("initial values 1 and data order 1 has no figure (never")
        );
        rows.push(Row { val_bpb: None, end: "NotFinite".to_owned(), ..row(1, 1, 0, 0.0) });
        assert!(structure(&rows).unwrap_err().to_string().contains("NotFinite"));
    }

    #[test]
    fn repeats_that_agree_to_the_last_bit_have_no_spread() {
        let rows = [row(0, 0, 0, 1.0), row(0, 1, 0, 1.1), row(1, 0, 0, 1.2), row(1, 1, 0, 1.4), row(1, 1, 1, 1.4)];
        let repeat = structure(&rows).unwrap().repeat.unwrap();
        assert_eq!((repeat.sd, repeat.interval), (0.0, (0.0, 0.0)));
    }

    #[test]
    fn intervals_cover_the_truth() {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        let (sds, tables) = ([0.001, 0.002, 0.0015], 200);
        let total = sds.iter().map(|sd| sd * sd).sum::<f64>().sqrt();
        let mut covered = [0; 4];
        for _ in 0..tables {
            let found = structure(&table(4, 5, sds, &mut random)).unwrap();
            let spreads = [found.initial.spread, found.order.spread, found.rest.spread, found.run];
            for ((count, spread), truth) in covered.iter_mut().zip(spreads).zip(sds.into_iter().chain([total])) {
                *count += usize::from(spread.interval.0 <= truth && truth <= spread.interval.1);
            }
        }
        // 95 % of 200 is 190 with an sd of 3.1; such intervals are known to cover a little more.
        assert!(covered.iter().all(|count| (180..=200).contains(count)), "{covered:?}");
    }
}
