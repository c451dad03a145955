//! `nocturne bench`.

use std::path::Path;

use serde_json::json;

use super::night::open_fault;
use super::output::outln;
use super::{Fault, NoiseArgs, ThroughputArgs, campaign_fault, here, print_json};
use crate::bench::noise::{Component, Spread, Structure, structure};
use crate::bench::throughput::{self, Length, Shape, Wish};
use crate::bench::{BenchError, Options, Place, Row, Runner, Variant};
use crate::flow::CommitId;
use crate::terminal::{Display, Notice};

/// The first word of every answer, so that nobody looks for these runs in `nocturne list`.
const NOT_RECORDED: &str = "Nothing of this is recorded in the database.";

pub(super) async fn noise(args: NoiseArgs) -> Result<(), Fault> {
    let commit = args.commit.clone().map(CommitId::try_from).transpose().map_err(Fault::usage)?;
    let options = Options { commit, tokens: args.tokens, threads: args.threads, cuts: None };
    let mut display = Display::new();
    let measured = measure(&here()?, &args, &options, &mut display).await;
    display.finish();
    let (runner, rows) = measured.map_err(bench_fault)?;
    let found = structure(&rows).map_err(Fault::failed)?;
    if args.json {
        return print_json(&json!({
            "commit": runner.commit(),
            "setting": runner.setting(),
            "budget": runner.budget(),
            "steps": steps(&rows),
            "structure": found,
            "rows": rows,
            "folder": runner.folder(),
        }));
    }
    for line in lines(&found, &rows) {
        outln!("{line}")?;
    }
    outln!("Rows, curves and claims: {}. {NOT_RECORDED}", runner.folder().display())
}

pub(super) async fn throughput(args: ThroughputArgs) -> Result<(), Fault> {
    let ThroughputArgs { depth, dim, head_dim, vocab, seq, batch, .. } = args;
    let wish = Wish {
        shape: Shape { depth, dim, head_dim, vocab, seq, batch },
        precision: args.dtype,
        device: args.device,
        threads: args.threads,
        length: args.seconds.map_or(Length::Steps(args.steps), Length::Seconds),
    };
    let mut display = Display::new();
    if args.compile {
        let text = "--compile does nothing here: a trainer is compiled before it runs".to_owned();
        display.notice(&Notice::Warning { text });
    }
    let measured = throughput::throughput(&here()?, &wish, &mut display).await;
    display.finish();
    let line = serde_json::to_string(&measured.map_err(bench_fault)?).map_err(Fault::failed)?;
    outln!("{line}")
}

/// Runs what has not been run yet: the crossed runs first, then a second run of the first pairs of the diagonal.
async fn measure(
    here: &Path,
    args: &NoiseArgs,
    options: &Options,
    display: &mut Display,
) -> Result<(Runner, Vec<Row>), BenchError> {
    let mut runner = Runner::open(here, &args.campaign, options, display).await?;
    let crossed =
        (0..args.seeds).flat_map(|initial| (0..args.orders).map(move |order| Place { initial, order, repeat: 0 }));
    let most = args.seeds.min(args.orders).max(1);
    let again = (0..args.repeats).map(|number| Place {
        initial: number % most,
        order: number % most,
        repeat: 1 + number / most,
    });
    let mut rows = Vec::new();
    for place in crossed.chain(again) {
        rows.push(runner.run(&Variant::unedited(), place, display).await?);
    }
    Ok((runner, rows))
}

/// Fewest and most optimizer steps of a run.
fn steps(rows: &[Row]) -> Option<(u64, u64)> {
    let steps = || rows.iter().map(|row| row.steps);
    steps().min().zip(steps().max())
}

/// The figures for a person.
fn lines(found: &Structure, rows: &[Row]) -> Vec<String> {
    let Structure { runs, initials, orders, mean, repeats, .. } = found;
    let spread = |name: &str, Spread { sd, interval: (low, high) }: &Spread| {
        format!("{name:<28} {sd:>9.5}  {low:>9.5} to {high:<9.5}")
    };
    let component = |name: &str, Component { spread: part, share, share_interval: (low, high) }: &Component| {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        format!("{}  {:>5}  {} to {}", spread(name, part), percent(*share), percent(*low), percent(*high))
    };
    let mut lines = vec![
        format!(
            "{runs} runs: {initials} seeds of initial values x {orders} seeds of the data order; mean {mean:.5} bits per byte"
        ),
        match steps(rows) {
            Some((least, most)) if least != most => format!("{least} to {most} optimizer steps each"),
            Some((steps, _)) => format!("{steps} optimizer steps each"),
            None => String::new(),
        },
        String::new(),
        format!(
            "{:<28} {:>9}  {:<22} {:>6}  {}",
            "bits per byte", "sd", "95 % interval", "share", "of the variance of a run"
        ),
        spread("a run under fresh seeds", &found.run),
        component("  initial values", &found.initial),
        component("  data order", &found.order),
        component("  rest", &found.rest),
    ];
    match &found.repeat {
        Some(repeat) => lines.push(format!("{}  ({repeats} repeats)", spread("the same seeds again", repeat))),
        None => lines.push("the same seeds again         not measured (--repeats 0)".to_owned()),
    }
    lines
}

fn bench_fault(error: BenchError) -> Fault {
    match error {
        BenchError::Campaign(error) => campaign_fault(error),
        BenchError::Open(error) => open_fault(error),
        BenchError::Setup(error) => Fault::new(error.exit_code(), error),
        BenchError::Data(error) => Fault::new(error.exit_code(), error),
        BenchError::Repo(error) => Fault::usage(error),
        other => Fault::failed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fixture::{row, small_table};

    #[test]
    fn the_figures_stand_with_the_runs_behind_them() {
        // Worked by hand in `bench::noise`: sds of 0.5^0.5, (5.5/3)^0.5 and 0.75^0.5.
        let rows = small_table();
        let said = lines(&structure(&rows).unwrap(), &rows).join("\n");
        assert!(
            said.starts_with("6 runs: 2 seeds of initial values x 3 seeds of the data order; mean 2.00000"),
            "{said}"
        );
        assert!(
            said.contains("20 to 21 optimizer steps each") && said.contains("not measured (--repeats 0)"),
            "{said}"
        );
        let line = said.lines().find(|line| line.starts_with("  initial values")).unwrap();
        assert!(line.contains("1.35401") && line.contains("59 %"), "{line}");

        let again: Vec<Row> = rows.iter().cloned().chain([row(0, 0, 1, 0.5)]).collect();
        let said = lines(&structure(&again).unwrap(), &again).join("\n");
        assert!(said.contains("the same seeds again           0.00000    0.00000 to 0.00000    (1 repeats)"), "{said}");
    }
}
