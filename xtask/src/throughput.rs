//! `cargo xtask bench`: the trainer's throughput beside that of the same model in PyTorch, interleaved on this machine, as a table of ratios.
//! docs/performance.md quotes it and says what is measured how.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::torch::{self, Reference};
use crate::{machine, steps};

/// A model and its batch.
struct Scale {
    name: &'static str,
    from: &'static str,
    /// In the words of both programs.
    options: &'static [&'static str],
    tokens_per_step: f64,
    steps: u32,
}

const SCALES: [Scale; 2] = [
    Scale {
        name: "cpu",
        from: "the campaigns' scale `cpu`",
        options: &[
            "--depth",
            "4",
            "--dim",
            "256",
            "--head-dim",
            "64",
            "--vocab",
            "2048",
            "--seq",
            "256",
            "--batch",
            "16",
        ],
        tokens_per_step: 4_096.0,
        steps: 30,
    },
    Scale {
        name: "nanochat",
        // dim is 64 a layer there (aspect ratio), the vocabulary tok_train's default.
        from: "nanochat's runs/runcpu.sh of 2026-01-17: depth 6, heads of 64, 32 rows of 512 tokens; width 384 and 32,768 tokens are its defaults",
        options: &[
            "--depth",
            "6",
            "--dim",
            "384",
            "--head-dim",
            "64",
            "--vocab",
            "32768",
            "--seq",
            "512",
            "--batch",
            "32",
        ],
        tokens_per_step: 16_384.0,
        steps: 6,
    },
];

/// A program and how it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Setting {
    who: Who,
    dtype: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Nocturne,
    Torch { compiled: bool, tuned: bool },
}

impl Setting {
    /// All of them, ours first.
    fn all() -> Vec<Setting> {
        let mut all: Vec<Setting> = ["bf16", "fp32"].map(|dtype| Setting { who: Who::Nocturne, dtype }).into();
        for tuned in [false, true] {
            for compiled in [false, true] {
                all.extend(["fp32", "bf16"].map(|dtype| Setting { who: Who::Torch { compiled, tuned }, dtype }));
            }
        }
        all
    }

    fn name(&self) -> String {
        let dtype = self.dtype;
        match self.who {
            Who::Nocturne => format!("Nocturne, {dtype}"),
            Who::Torch { compiled, tuned } => format!(
                "PyTorch {}, {dtype}{}",
                if compiled { "compiled" } else { "eager" },
                if tuned { ", tuned malloc" } else { "" }
            ),
        }
    }
}

/// What one run of a program printed.
#[derive(Debug, Clone, Copy)]
struct Run {
    tokens_per_second: f64,
    first_step_seconds: f64,
    peak_rss_mb: f64,
}

/// What is asked for on the command line.
struct Wish {
    scales: Vec<&'static Scale>,
    rounds: usize,
    steps: Option<u32>,
}

impl Wish {
    fn parse(words: &[&str]) -> Result<Wish, String> {
        let mut wish = Wish { scales: SCALES.iter().collect(), rounds: 5, steps: None };
        for pair in words.chunks(2) {
            let number = |value: &str| match value.parse::<u32>() {
                Ok(number @ 1..) => Ok(number),
                _ => Err(format!("{value} is no number of {}", pair[0].trim_start_matches('-'))),
            };
            match *pair {
                ["--scale", name] => {
                    let scale = SCALES.iter().find(|scale| scale.name == name);
                    wish.scales = vec![scale.ok_or_else(|| format!("no scale {name}; there are cpu and nanochat"))?];
                }
                ["--rounds", value] => wish.rounds = number(value)? as usize,
                ["--steps", value] => wish.steps = Some(number(value)?),
                _ => return Err(format!("not understood: {}; cargo xtask help lists the options", pair.join(" "))),
            }
        }
        Ok(wish)
    }
}

/// Measures and prints a table for each scale.
pub fn bench(words: &[&str]) -> Result<(), String> {
    let wish = Wish::parse(words)?;
    let agent = steps::agent()?;
    let reference = Reference::prepare()?;
    let mut incomparable: Vec<String> = Vec::new();
    for scale in wish.scales {
        let steps = wish.steps.unwrap_or(scale.steps);
        let options = |setting: &Setting, steps: u32| -> Vec<String> {
            let steps = steps.to_string();
            let more = ["--steps", &steps, "--dtype", setting.dtype, "--device", "cpu"];
            scale.options.iter().chain(&more).map(|word| (*word).to_owned()).collect()
        };
        let command = |setting: &Setting, steps: u32| -> Result<Command, String> {
            let mut options = options(setting, steps);
            Ok(match setting.who {
                Who::Nocturne => {
                    let mut command = Command::new(&agent);
                    command.args(["bench", "throughput"]).args(options).current_dir(steps::root()?);
                    command
                }
                Who::Torch { compiled, tuned } => {
                    options.extend(compiled.then(|| "--compile".to_owned()));
                    reference.command(&options, tuned)
                }
            })
        };
        // Ours is compiled here, not between the measurements.
        let all = Setting::all();
        let built = answer("Build the candidate and try it", &mut command(&all[0], 1)?)?;
        let mut runs: Vec<Vec<Run>> = all.iter().map(|_| Vec::new()).collect();
        let mut failed: Vec<Option<String>> = all.iter().map(|_| None).collect();
        let mut busiest: f64 = 0.0;
        for round in 0..wish.rounds {
            for place in order(all.len(), round) {
                let setting = &all[place];
                if failed[place].is_some() {
                    continue;
                }
                let busy = machine::busy()?;
                busiest = busiest.max(busy);
                let title = format!("{} scale, round {} of {}: {}", scale.name, round + 1, wish.rounds, setting.name());
                let run = match answer(&title, &mut command(setting, steps)?).and_then(|document| read(&document)) {
                    Ok(run) => run,
                    // At some scale a setting of PyTorch takes more memory than there is: the others are still to be compared with.
                    Err(why) if setting.who != Who::Nocturne => {
                        eprintln!("error: {why}; it is left out from here on");
                        failed[place] = Some(why);
                        // What it did in rounds before would be compared with ours of all rounds.
                        runs[place].clear();
                        continue;
                    }
                    Err(why) => return Err(why),
                };
                eprintln!(
                    "    {:.0} tokens/s (other programs used {:.0} % before it)",
                    run.tokens_per_second,
                    100.0 * busy
                );
                runs[place].push(run);
            }
        }
        let head = format!(
            "Scale `{}` ({}): {}, {steps} steps, {} rounds. {}. The trainer of commit {}{}. Before a run other programs used {:.0} % of the \
             processor at most.",
            scale.name,
            scale.from,
            scale.options.join(" "),
            wish.rounds,
            machine::describe()?,
            built["commit"].as_str().map_or("(none)", |commit| commit.get(..10).unwrap_or(commit)),
            if built["modified"] == true { " with changes" } else { "" },
            100.0 * busiest
        );
        let (table, missing) = table(&all, &runs, scale.tokens_per_step);
        incomparable.extend(missing.into_iter().map(|what| format!("scale {}: {what}", scale.name)));
        let mut text = format!("{head}\n\n{table}");
        for why in failed.iter().flatten() {
            text += &format!("\nLeft out after it failed: {why}.\n");
        }
        let path = torch::folder()?.join(format!("{}.md", scale.name));
        fs::write(&path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        println!("{text}");
        eprintln!("==> Also in {}", path.display());
    }
    if incomparable.is_empty() { Ok(()) } else { Err(incomparable.join("; ")) }
}

/// The order of a round's settings: in each of the first rounds every setting follows another one, so that what a program leaves behind (heat, a
/// clock) falls on none of them alone. Pure.
fn order(settings: usize, round: usize) -> impl Iterator<Item = usize> {
    // A stride without a common divisor passes every place.
    let strides: Vec<usize> = (1..settings.max(2)).filter(|stride| divisor(*stride, settings) == 1).collect();
    let stride = strides[round % strides.len()];
    (1..=settings).map(move |place| (place * stride + round) % settings)
}

/// The greatest common divisor.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// Runs a program and reads the one line of JSON that it prints.
fn answer(title: &str, command: &mut Command) -> Result<Value, String> {
    let text = steps::answer(title, command)?;
    serde_json::from_str(text.trim()).map_err(|error| format!("{title}: {text:?} is no line of JSON: {error}"))
}

fn read(document: &Value) -> Result<Run, String> {
    let number = |key: &str| document[key].as_f64().ok_or_else(|| format!("no number {key} in {document}"));
    Ok(Run {
        tokens_per_second: number("tokens_per_second")?,
        first_step_seconds: number("first_step_seconds")?,
        peak_rss_mb: number("peak_rss_mb")?,
    })
}

/// The middle one, or the mean of the middle two.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => (values[(count - 1) / 2] + values[count / 2]) / 2.0,
    }
}

/// The table with what it comes to, and where nothing is left to compare with.
fn table(all: &[Setting], runs: &[Vec<Run>], tokens_per_step: f64) -> (String, Vec<String>) {
    let speed = |place: usize| median(runs[place].iter().map(|run| run.tokens_per_second));
    let best = |which: &dyn Fn(Who) -> bool| {
        let measured = (0..all.len()).filter(|&place| !runs[place].is_empty());
        measured.filter(|&place| which(all[place].who)).max_by(|&a, &b| speed(a).total_cmp(&speed(b)))
    };
    let mut incomparable = Vec::new();
    let Some(ours) = best(&|who| who == Who::Nocturne) else {
        return (String::new(), vec!["no setting of the trainer was measured".to_owned()]);
    };
    // Of runs of the same round, since those saw the same machine.
    let ratios = |place: usize| -> Vec<f64> {
        let pairs = runs[ours].iter().zip(&runs[place]);
        pairs.map(|(ours, theirs)| ours.tokens_per_second / theirs.tokens_per_second).collect()
    };
    let range = |values: &[f64], digits: usize| {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        format!("{low:.digits$} to {high:.digits$}")
    };
    let mut lines = vec![
        format!(
            "| setting | tokens/s | of the rounds | step, ms | {} times as fast | of the rounds | first step, s: first round, later | peak memory, MiB |",
            all[ours].name()
        ),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for (place, setting) in all.iter().enumerate() {
        if runs[place].is_empty() {
            lines.push(format!("| {} | failed | - | - | - | - | - | - |", setting.name()));
            continue;
        }
        let speeds: Vec<f64> = runs[place].iter().map(|run| run.tokens_per_second).collect();
        let mut firsts = runs[place].iter().map(|run| run.first_step_seconds);
        let first = firsts.next().unwrap_or(f64::NAN);
        let later = median(firsts);
        let later = if later.is_nan() { "-".to_owned() } else { format!("{later:.2}") };
        lines.push(format!(
            "| {} | {:.0} | {} | {:.0} | {:.2} | {} | {first:.2}, {later} | {:.0} |",
            setting.name(),
            speed(place),
            range(&speeds, 0),
            1_000.0 * tokens_per_step / speed(place),
            speed(ours) / speed(place),
            range(&ratios(place), 2),
            median(runs[place].iter().map(|run| run.peak_rss_mb)),
        ));
    }
    lines.push(String::new());
    for (tuned, words) in [(false, "stock malloc"), (true, "tuned malloc")] {
        let of_it = |who| matches!(who, Who::Torch { tuned: is, .. } if is == tuned);
        let Some(theirs) = best(&of_it) else {
            let nothing = format!("every setting of PyTorch with {words} failed");
            lines.push(format!("Nothing to compare with: {nothing}."));
            incomparable.push(nothing);
            continue;
        };
        let without: Vec<String> = (0..all.len())
            .filter(|&place| of_it(all[place].who) && runs[place].is_empty())
            .map(|place| format!("; without {}, which failed", all[place].name()))
            .collect();
        lines.push(format!(
            "{} against the best of PyTorch with {words} ({}{}): {:.2} times as fast by medians of tokens/s, {:.2} by the median of the rounds, {} in \
             single rounds.",
            all[ours].name(),
            all[theirs].name(),
            without.concat(),
            speed(ours) / speed(theirs),
            median(ratios(theirs).into_iter()),
            range(&ratios(theirs), 2)
        ));
    }
    lines.push(String::new());
    (lines.join("\n"), incomparable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tokens_per_second: f64) -> Run {
        Run { tokens_per_second, first_step_seconds: 1.5, peak_rss_mb: 300.0 }
    }

    #[test]
    fn every_ratio_is_of_medians_and_the_best_of_each_malloc_is_named() {
        let all = Setting::all();
        assert_eq!(all.len(), 10);
        // Ours in bf16 is the fastest of ours; theirs grow with their place.
        let runs: Vec<Vec<Run>> = (0..10)
            .map(|place| {
                let speed = if place == 0 { 9_000.0 } else { 1_000.0 * f64::from(place) };
                vec![run(speed), run(speed * 3.0), run(speed * 1.5)]
            })
            .collect();
        let text = table(&all, &runs, 4_096.0).0;
        assert!(
            text.contains(
                "| PyTorch compiled, bf16 | 7500 | 5000 to 15000 | 546 | 1.80 | 1.80 to 1.80 | 1.50, 1.50 | 300 |"
            ),
            "{text}"
        );
        assert!(text.contains("stock malloc (PyTorch compiled, bf16): 1.80 times as fast"), "{text}");
        assert!(text.contains("tuned malloc (PyTorch compiled, bf16, tuned malloc): 1.00 times as fast"), "{text}");
    }

    #[test]
    fn every_round_has_every_setting_and_none_follows_the_same_one_again() {
        let mut followed = std::collections::BTreeSet::new();
        for round in 0..4 {
            let places: Vec<usize> = order(10, round).collect();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>(), "round {round}");
            for pair in places.windows(2) {
                assert!(followed.insert((pair[0], pair[1])), "{pair:?} again in round {round}");
            }
        }
    }

    #[test]
    fn a_setting_that_failed_is_named_and_is_never_the_best() {
        let all = Setting::all();
        // PyTorch compiled in bf16 with stock malloc would be the best of its malloc.
        let runs: Vec<Vec<Run>> = (0..10)
            .map(|place| if place == 5 { Vec::new() } else { vec![run(1_000.0 * f64::from(place + 1))] })
            .collect();
        let text = table(&all, &runs, 4_096.0).0;
        assert!(text.contains("| PyTorch compiled, bf16 | failed | - |"), "{text}");
        let told = "stock malloc (PyTorch compiled, fp32; without PyTorch compiled, bf16, which failed)";
        assert!(text.contains(told), "{text}");
        assert!(!text.contains("NaN"), "{text}");

        // Nothing to compare with is no comparison.
        let none: Vec<Vec<Run>> =
            runs.iter().enumerate().map(|(at, of)| if at < 6 { of.clone() } else { Vec::new() }).collect();
        let (text, missing) = table(&all, &none, 4_096.0);
        assert_eq!(missing, ["every setting of PyTorch with tuned malloc failed"]);
        assert!(text.contains("Nothing to compare with: every setting of PyTorch with tuned malloc failed."), "{text}");
        assert!(text.contains("with stock malloc (PyTorch compiled, fp32"), "{text}");
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        for words in [&["--rounds", "0"][..], &["--scale", "h100"], &["--rounds"], &["fast"]] {
            assert!(Wish::parse(words).is_err(), "{words:?}");
        }
        let wish = Wish::parse(&["--scale", "nanochat", "--rounds", "3", "--steps", "4"]).unwrap();
        assert_eq!((wish.scales.len(), wish.scales[0].name, wish.rounds, wish.steps), (1, "nanochat", 3, Some(4)));
    }
}
