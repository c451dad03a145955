use std::collections::HashSet;

use super::*;
use crate::conditions::cpu::Cores;
use crate::conditions::gpu::Gpu;
use crate::conditions::xid::Xid;

const LIMITS: Limits = Limits { most_foreign_load: 0.25, cores: 2.0, pinned: false, memory_bytes: Some(1_000_000_000) };

const SECONDS: Budget = Budget::Seconds(20.0);
const TOKENS: Budget = Budget::Tokens(1_000_000);

/// At a time, on a machine of `count` cores that were busy for so many of the jiffies until then, `own` of them with our work.
fn at(at: f64, count: u32, busy: u64, own: u64) -> Reading {
    let all = (at * 100.0) as u64 * u64::from(count);
    let cores = Cores { count, busy, all };
    let cpu = Some(Cpu { cores, own: (own, own), own_bytes: 100_000_000 });
    let (stalled_micros, swapped_pages) = (Some(0), Some(0));
    Reading { at, cpu, stalled_micros, swapped_pages, throttled_millis: vec![0, 0], ..Reading::default() }
}

/// A trial of 20 seconds on two cores that were ours alone.
fn calm() -> (Reading, Reading) {
    (at(100.0, 2, 1_000, 500), at(120.0, 2, 4_900, 4_400))
}

fn with_gpu(reading: Reading, lowered: u64, uncorrected: u64) -> Reading {
    let gpu = Gpu {
        uuid: "GPU-1".to_owned(),
        bus: "00000000:01:00.0".to_owned(),
        lowered: Some(lowered),
        uncorrected: Some(uncorrected),
        ..Gpu::default()
    };
    Reading { gpu: Some(Ok(gpu)), ..reading }
}

fn stranger() -> Vec<Computing> {
    vec![Computing { pid: 77, memory_mib: Some(500), name: "python".to_owned() }]
}

fn causes(found: &[Disturbance]) -> Vec<Cause> {
    found.iter().map(|found| found.cause).collect()
}

#[test]
fn foreign_load_is_what_others_take_of_the_cores_that_a_trial_uses() {
    for (what, count, wanted, busy, own, load) in [
        ("all ours", 2, 2.0, 4_000, 4_000, Some(0.0)),
        ("idle", 2, 2.0, 0, 0, Some(0.0)),
        ("half of it others'", 2, 2.0, 4_000, 2_000, Some(0.5)),
        ("all others'", 2, 2.0, 4_000, 0, Some(1.0)),
        ("others on cores that are left over", 16, 2.0, 24_000 + 4_000, 4_000, Some(0.0)),
        ("others on all cores but one", 16, 2.0, 30_000, 0, Some(0.5)),
        ("all cores wanted, more than there are", 4, 64.0, 8_000, 6_000, Some(0.25)),
        ("counted twice", 2, 2.0, 4_000, 9_000, Some(0.0)),
    ] {
        let found =
            foreign_load(&at(100.0, count, 1_000, 500), &at(120.0, count, 1_000 + busy, 500 + own), wanted, false);
        assert_eq!(found, load, "{what}");
    }
    // Two whole cores of sixteen may be the two that the trial keeps to.
    let (before, after) = (at(100.0, 16, 1_000, 500), at(120.0, 16, 5_000, 500));
    assert_eq!(foreign_load(&before, &after, 2.0, false), Some(0.0));
    assert_eq!(foreign_load(&before, &after, 4.0, true), Some(0.5));
    let (before, after) = calm();
    for (what, before, after) in [
        ("too short", before.clone(), at(100.9, 2, 2_000, 500)),
        ("backwards", after.clone(), before.clone()),
        ("other cores", before.clone(), at(120.0, 4, 2_000, 500)),
        ("unknown", Reading { cpu: None, ..before.clone() }, after.clone()),
    ] {
        assert_eq!(foreign_load(&before, &after, 2.0, false), None, "{what}");
    }
    // Between the least and the most that may be ours, the doubt is ours.
    let mut doubtful = after;
    if let Some(cpu) = &mut doubtful.cpu {
        cpu.own = (600, 4_400);
    }
    assert_eq!(foreign_load(&before, &doubtful, 2.0, false), Some(0.0));
}

#[test]
fn what_disturbs_a_trial() {
    let (before, after) = calm();
    let loaded = at(120.0, 2, 4_900, 2_000);
    let gpu = |reading: &Reading, lowered, uncorrected| with_gpu(reading.clone(), lowered, uncorrected);
    let hot = Reading { throttled_millis: vec![0, 11_000], ..after.clone() };
    let stalled = Reading { stalled_micros: Some(2_100_000), ..after.clone() };
    let mut own_fault = stalled.clone();
    if let Some(cpu) = &mut own_fault.cpu {
        cpu.own_bytes = 600_000_000;
    }
    let told = |number| Reading { xids: vec![Xid { place: (0, 1, 0), number }], ..gpu(&after, 0, 0) };
    let elsewhere = Reading { xids: vec![Xid { place: (0, 2, 0), number: 79 }], ..gpu(&after, 0, 0) };
    let lost = Reading { gpu: Some(Err("GPU is lost".to_owned())), ..after.clone() };
    let with_stranger = |reading: &Reading| Reading { foreign: stranger(), ..gpu(reading, 0, 0) };
    let old_xid = Reading { xids: told(79).xids, ..gpu(&before, 0, 0) };
    let masks = |masks: &[u64]| masks.iter().map(|mask| gpu(&before, *mask, 0)).collect::<Vec<_>>();
    use Cause::*;
    let crashed = || TrialEnd::Crashed { message: String::new() };
    let no_memory = || TrialEnd::OutOfMemory { message: String::new() };
    let done = || TrialEnd::Finished;
    // What, before, during, after, how it ended, causes under a budget in seconds, and in tokens.
    type Case = (&'static str, Reading, Vec<Reading>, Reading, TrialEnd, &'static [Cause], &'static [Cause]);
    let cases: Vec<Case> = vec![
        ("nothing", before.clone(), vec![], after.clone(), done(), &[], &[]),
        ("others on the processors", before.clone(), vec![], loaded.clone(), done(), &[ForeignLoad], &[]),
        ("which made it late", before.clone(), vec![], loaded.clone(), TrialEnd::TimedOut, &[ForeignLoad], &[]),
        ("but did not make it crash", before.clone(), vec![], loaded.clone(), crashed(), &[], &[]),
        ("nor its loss infinite", before.clone(), vec![], loaded.clone(), TrialEnd::NotFinite, &[], &[]),
        ("stopped", before.clone(), vec![], loaded.clone(), TrialEnd::Stopped, &[], &[]),
        ("a hot processor", before.clone(), vec![], hot, done(), &[HotProcessor], &[]),
        ("memory that others took", before.clone(), vec![], stalled, done(), &[Memory], &[]),
        ("memory that the trial took", before.clone(), vec![], own_fault, done(), &[], &[]),
        ("a quiet GPU", gpu(&before, 1, 0), masks(&[4, 4, 0]), gpu(&after, 1, 0), done(), &[], &[]),
        ("hardware", gpu(&before, 1, 0), masks(&[4, 0x48, 0x8]), gpu(&after, 1, 0), done(), &[GpuHardware], &[]),
        ("hardware, for a moment", gpu(&before, 1, 0), masks(&[4, 0x48, 4]), gpu(&after, 1, 0), done(), &[], &[]),
        ("heat", gpu(&before, 1, 0), masks(&[0x20, 0x24, 4]), gpu(&after, 1, 0), done(), &[HotGpu], &[]),
        (
            "rare heat",
            gpu(&before, 1, 0),
            masks(&[[4; 28].as_slice(), &[0x20; 2]].concat()),
            gpu(&after, 1, 0),
            done(),
            &[],
            &[],
        ),
        ("a stranger before", with_stranger(&before), vec![], gpu(&after, 0, 0), done(), &[ForeignGpu], &[]),
        (
            "one meanwhile",
            gpu(&before, 0, 0),
            vec![with_stranger(&before)],
            gpu(&after, 0, 0),
            done(),
            &[ForeignGpu],
            &[],
        ),
        (
            "one with memory",
            gpu(&before, 0, 0),
            vec![with_stranger(&before)],
            gpu(&after, 0, 0),
            no_memory(),
            &[ForeignGpu],
            &[ForeignGpu],
        ),
        ("no memory, and nobody", gpu(&before, 0, 0), vec![], gpu(&after, 0, 0), no_memory(), &[], &[]),
        ("a bad memory", gpu(&before, 0, 1), vec![], gpu(&after, 0, 3), done(), &[GpuError], &[GpuError]),
        ("an old error", gpu(&before, 0, 3), vec![], gpu(&after, 0, 3), done(), &[], &[]),
        ("off the bus", gpu(&before, 0, 0), vec![], told(79), crashed(), &[GpuError], &[GpuError]),
        ("off the bus, earlier", old_xid, vec![], told(79), crashed(), &[], &[]),
        ("off the bus, another", gpu(&before, 0, 0), vec![], elsewhere, crashed(), &[], &[]),
        ("a wrong program", gpu(&before, 0, 0), vec![], told(31), crashed(), &[], &[]),
        ("lost", gpu(&before, 0, 0), vec![], lost.clone(), crashed(), &[GpuError], &[GpuError]),
        ("lost after the end", gpu(&before, 0, 0), vec![], lost, done(), &[], &[]),
    ];
    for (what, before, during, after, end, seconds, tokens) in cases {
        for (budget, expected) in [(SECONDS, seconds), (TOKENS, tokens)] {
            let found = judge(&before, &during, &after, budget, &end, &LIMITS);
            assert_eq!(causes(&found), expected, "{what}, {budget:?}");
            assert!(found.iter().all(|found| found.words.len() > 20), "{what}: {found:?}");
        }
    }
}

#[test]
fn one_who_looks_away_sees_no_other_programs() {
    let blind = Limits { most_foreign_load: 1.0, ..LIMITS };
    let (before, _) = calm();
    let before = Reading { foreign: stranger(), ..with_gpu(before, 0, 0) };
    let mut after = with_gpu(at(120.0, 2, 5_000, 500), 0, 1);
    after.stalled_micros = Some(20_000_000);
    // Errors of the hardware remain.
    let found = judge(&before, &[], &after, SECONDS, &TrialEnd::Finished, &blind);
    assert_eq!(causes(&found), [Cause::GpuError]);
    assert_eq!(judge_pause(&before, &Reading { foreign: stranger(), ..after }, SECONDS, &blind), []);
}

#[test]
fn between_trials_only_what_is_now_counts() {
    let (before, after) = calm();
    let loaded = at(120.0, 2, 4_900, 2_000);
    let lost = Reading { gpu: Some(Err("GPU is lost".to_owned())), ..after.clone() };
    for (what, after, seconds, tokens) in [
        ("nothing", after.clone(), &[][..], &[][..]),
        ("load", loaded, &[Cause::ForeignLoad], &[]),
        ("a power cap", with_gpu(after.clone(), 4, 9), &[], &[]),
        ("a power brake", with_gpu(after.clone(), 0x80, 9), &[Cause::GpuHardware], &[]),
        ("a stranger", Reading { foreign: stranger(), ..with_gpu(after, 0, 0) }, &[Cause::ForeignGpu], &[]),
        ("lost", lost, &[Cause::GpuError], &[Cause::GpuError]),
    ] {
        assert_eq!(causes(&judge_pause(&before, &after, SECONDS, &LIMITS)), seconds, "{what}");
        assert_eq!(causes(&judge_pause(&before, &after, TOKENS, &LIMITS)), tokens, "{what}");
    }
}

#[test]
fn every_cause_has_words_of_its_own() {
    let masks = [0x8, 0x40, 0x80];
    let words: HashSet<String> = masks.into_iter().map(hardware_words).collect();
    assert_eq!(words.len(), masks.len());
}
