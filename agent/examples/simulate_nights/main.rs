mod night;
mod tally;
mod world;
use world::*;
use tally::*;
fn main() {
    let nights: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let few = std::env::args().nth(2).is_some();
    let m = |run_sd: f64, correlation: f64, heavy_tails: bool, interaction: f64| Spec { effects: Effects::Mixed, run_sd, correlation, heavy_tails, interaction };
    let mut cells = vec![("mixed 0", m(0.0015, 0.0, false, 0.0)), ("mixed .5", m(0.0015, 0.5, false, 0.0)), ("mixed .9", m(0.0015, 0.9, false, 0.0)), ("mixed 2.2", m(0.0022, 0.0, false, 0.0))];
    if !few { cells.extend([("0 i.3", m(0.0015, 0.0, false, 0.3)), ("0 t", m(0.0015, 0.0, true, 0.0)), ("0 sd1", m(0.001, 0.0, false, 0.0)), (".5 i.3", m(0.0015, 0.5, false, 0.3)),
     ("null 0", Spec { effects: Effects::Nothing, ..m(0.0015, 0.0, false, 0.0) }), ("nullharm .5", Spec { effects: Effects::NothingOrHarm, ..m(0.0015, 0.5, false, 0.0) })]); }
    println!("{:12} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6}", "cell", "keeps", "false", "share", "ishare", "gain", "se", "claim", "wrong", "cov", "kcov", "ccov", "saved", "fstop", "skept", "exps", "champ");
    let rules = nocturne::stats::Rules::default();
    for (name, spec) in cells {
        let began = std::time::Instant::now();
        let all: Vec<Night> = std::thread::scope(|s| { let hs: Vec<_> = (0..2u64).map(|h| { let rules = &rules; s.spawn(move || (h..nights).step_by(2).map(|n| night::night(&mut World::new(spec, n + 1), rules)).collect::<Vec<_>>()) }).collect(); hs.into_iter().flat_map(|h| h.join().unwrap()).collect() });
        let a = &all[..];
        let g = mean(a, |n| 1000.0 * n.gain);
        let r = |x: Figure| x.value;
        println!("{:12} {:6.2} {:6.3} {:6.3} {:6.3} {:6.2} {:6.2} {:6.3} {:6.4} {:6.3} {:6.3} {:6.3} {:6.3} {:6.4} {:6.4} {:6.1} {:6.1} {:.1?} drift {:.1} morning {:.1} stops {:.1}", name, r(mean(a, |n| n.keeps)), r(mean(a, |n| n.false_keeps)), r(ratio(a, |n| n.false_keeps, |n| n.keeps)), r(ratio(a, |n| n.false_ideas, |n| n.ideas)), g.value, g.standard_error, r(mean(a, |n| n.claims)), r(mean(a, |n| n.wrong_claims)), r(ratio(a, |n| n.covered, |n| n.intervals)), r(ratio(a, |n| n.kept_covered, |n| n.kept_intervals)), r(ratio(a, |n| n.claim_covered, |n| n.claim_intervals)), 1.0 - r(ratio(a, |n| n.bad_time, |n| n.bad_whole)), r(ratio(a, |n| n.false_stops, |n| n.stops)), r(ratio(a, |n| n.spared_kept, |n| n.spared)), r(mean(a, |n| n.experiments)), r(mean(a, |n| n.champion_time)), began.elapsed(), r(mean(a, |n| n.drift_time)), r(mean(a, |n| n.morning_time)), r(mean(a, |n| n.stops)));
    }
}
