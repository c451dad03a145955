//! Whole nights with a pretended trainer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nocturne::flow::Purpose;
use nocturne::layout::Layout;
use nocturne::records::{HeldOut, LookRecord};
use nocturne::store::Reader;
use sqlx::Connection;
use support::Fixture;

/// Everything of a checkout that belongs to the person: files, index, HEAD, references that are not ours.
fn belongings(fixture: &Fixture) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if name == ".git" || name == ".nocturne" || name.ends_with("/nights") {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    let root = fixture.root();
    walk(&root, &root, &mut found);
    found.insert("HEAD".to_owned(), fs::read(root.join(".git/HEAD")).unwrap());
    found.insert("index".to_owned(), fs::read(root.join(".git/index")).unwrap());
    let references = fixture.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
    let theirs: Vec<&str> = references.lines().filter(|line| !line.contains("nocturne")).collect();
    found.insert("references".to_owned(), theirs.join("\n").into_bytes());
    found.insert("status".to_owned(), fixture.git(&["status", "--porcelain"]).into_bytes());
    found
}

#[test]
fn a_night_leaves_branches_notes_records_plots_and_nothing_else() {
    let fixture = Fixture::new();
    // Staged, unstaged and untracked changes, in the trainer too.
    fixture.write("staged.txt", "staged\n");
    fixture.git(&["add", "staged.txt"]);
    fixture.write("experiments/pretend/program.md", "Pretend to lower the loss. Unstaged.\n");
    fixture.write("untracked.txt", "untracked\n");
    fixture.replace("trainer/src/candidate/recipe.rs", "softcap: 15.0", "softcap: 99.0");
    let before = belongings(&fixture);

    let night = fixture.json(&["night", "experiments/pretend", "--json"]);
    let after = belongings(&fixture);
    for (name, content) in &before {
        assert!(after.get(name) == Some(content), "{name} was changed");
    }
    assert_eq!(before.len(), after.len(), "files appeared");
    fixture.assert_no_process_left();

    let all = night["experiments"].as_array().unwrap();
    // Where several were kept, the morning leaves each out once.
    let (left_out, experiments): (Vec<_>, Vec<_>) = all.iter().partition(|experiment| {
        let commit = experiment["commit"].as_str().unwrap();
        fixture.git(&["show", "--no-patch", "--format=%B", commit]).contains("Nocturne-Proposer: leave-one-out")
    });
    assert_eq!(experiments.len(), 3);
    let kept = experiments.iter().filter(|experiment| experiment["verdict"] == "kept").count();
    assert!(left_out.len() <= if kept > 1 { kept } else { 0 }, "{left_out:?}");
    assert_eq!(night["ended"], "experiments-done");
    let baseline = night["baseline"]["val_bpb"].as_f64().unwrap();
    let champion = night["champion"]["val_bpb"].as_f64().unwrap();
    assert!(champion <= baseline);
    assert!(night["seconds"]["training"].as_f64().unwrap() >= 4.0 * 0.3);

    // The night started from the commit, not from the uncommitted softcap.
    let head = fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
    assert_eq!(night["baseline"]["commit"], head.as_str());
    assert!(fixture.git(&["show", &format!("{head}:trainer/src/candidate/recipe.rs")]).contains("softcap: 15.0"));

    let name = night["night"].as_str().unwrap();
    let champion_branch = format!("nocturne/pretend/{name}/champion");
    assert_eq!(fixture.git(&["rev-parse", &champion_branch]).trim(), night["champion"]["commit"].as_str().unwrap());
    let mut best = (head, baseline);
    for experiment in &experiments {
        let branch = experiment["branch"].as_str().unwrap();
        let commit = experiment["commit"].as_str().unwrap();
        assert_eq!(fixture.git(&["rev-parse", branch]).trim(), commit);
        assert!(branch.starts_with(&format!("nocturne/pretend/{name}/00")), "{branch}");
        // One commit on top of the champion of its time, with the trailers.
        assert_eq!(fixture.git(&["rev-parse", &format!("{commit}^")]).trim(), best.0);
        let message = fixture.git(&["show", "--no-patch", "--format=%B", commit]);
        assert!(message.contains(&format!("Nocturne-Experiment: {}", experiment["id"].as_str().unwrap())), "{message}");
        assert!(message.contains("Nocturne-Proposer: tuner"), "{message}");
        let verdict = experiment["verdict"].as_str().unwrap();
        assert!(["kept", "discarded", "inconclusive"].contains(&verdict), "{experiment}");
        let note = fixture.git(&["notes", "--ref", "nocturne", "show", commit]);
        assert!(note.contains(&format!("Verdict: {verdict}")), "{note}");
        // None is there for what was stopped early.
        let val_bpb = experiment["val_bpb"].as_f64().unwrap_or(f64::INFINITY);
        if verdict == "kept" {
            assert!(val_bpb < best.1, "{experiment}");
            best = (commit.to_owned(), val_bpb);
        }
    }

    let reports = fixture.root().join(format!("experiments/pretend/nights/{name}"));
    for file in
        ["report.html", "progress.svg", "progress.png", "loss-tokens.svg", "loss-time.png", "experiment-001.svg"]
    {
        assert!(fs::metadata(reports.join(file)).unwrap().len() > 1_000, "{file} is all but empty");
    }
    let table = fs::read_to_string(reports.join("results.tsv")).unwrap();
    assert_eq!(table.lines().count(), 2 + all.len(), "{table}");

    // What the reading commands say agrees.
    let status = fixture.json(&["status", "--json"]);
    assert_eq!((status["running"].as_bool(), status["night"].as_str()), (Some(false), Some(name)));
    assert_eq!(fixture.json(&["list", "--json"]).as_array().unwrap().len(), 1);
    let shown = fixture.json(&["show", "1", "--json"]);
    assert!(shown["diff"].as_str().unwrap().contains("trainer/src/candidate/recipe.rs"), "{shown}");
    assert_eq!(shown["trials"][0]["trained"]["end"], "finished");

    // Every figure has its certificate, which names what lies there.
    let trial = &shown["trials"][0];
    let certificate = &trial["certificate"];
    assert_eq!(certificate["trainer_sha256"], trial["artifact_sha256"]);
    assert_eq!(certificate["checkpoint_sha256"], trial["trained"]["checkpoint_sha256"]);
    assert!(certificate["checks"].as_array().unwrap().iter().all(|check| check["passed"] == true), "{certificate}");
    let text = String::from_utf8(fixture.run(&["show", "1"]).stdout).unwrap();
    let evaluator = certificate["evaluator"].as_str().unwrap();
    for words in [&format!("certificate of {evaluator}"), "passed      audit-largest", "confined by", "sha256"] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    assert!(!text.contains("FAILED") && !text.contains("which is not"), "{text}");
    let page = fs::read_to_string(reports.join("report.html")).unwrap();
    assert!(page.contains(&format!("audited by the evaluator {evaluator}")), "the page does not say what verified it");

    // A lost database comes back from the files.
    let database = fixture.root().join(".nocturne/nocturne.db");
    let listed = fixture.json(&["list", name, "--json"]);
    for suffix in ["", "-wal", "-shm"] {
        let file = database.with_file_name(format!("nocturne.db{suffix}"));
        if file.exists() {
            fs::remove_file(file).unwrap();
        }
    }
    fixture.json(&["rebuild", "--json"]);
    assert_eq!(fixture.json(&["list", name, "--json"]), listed);

    // Replayed under its seed, the pretended trainer claims the very same; the audit, whose cuts are drawn anew, corrects both
    // by no more than rounding.
    let replayed = fixture.json(&["replay", "1", "--json"]);
    let claimed = &replayed["certificate"]["audit"]["claimed_bpb"];
    assert!(claimed.is_number() && *claimed == shown["trials"][0]["certificate"]["audit"]["claimed_bpb"], "{replayed}");
    let (then, now) = (replayed["then"].as_f64().unwrap(), replayed["now"].as_f64().unwrap());
    assert!((then - now).abs() < 1e-6, "{then} and {now}");

    // A second night goes on where ideas are left and never runs the same edit again.
    let second = fixture.json(&["night", "experiments/pretend", "--experiments", "2", "--json"]);
    for experiment in second["experiments"].as_array().unwrap() {
        let title = &experiment["title"];
        assert!(experiments.iter().all(|earlier| earlier["title"] != *title), "{title} was run twice");
    }
}

/// Under a budget in seconds a build beside a trial would take its steps; the campaign trains on all cores, so that they take turns.
#[test]
fn no_candidate_is_built_while_a_trial_trains() {
    /// Times are on record in milliseconds.
    const ROUNDING: f64 = 0.002;
    let fixture = Fixture::new();
    let night = fixture.json(&["night", "experiments/pretend", "--json"]);
    let name = night["night"].as_str().unwrap();
    let seconds = |at: jiff::Timestamp| at.as_millisecond() as f64 / 1e3;
    let (mut builds, mut trials) = (Vec::new(), Vec::new());
    for folder in fs::read_dir(fixture.root().join(".nocturne/nights").join(name)).unwrap() {
        let folder = folder.unwrap().path();
        let Ok(text) = fs::read_to_string(folder.join("experiment.json")) else { continue };
        let experiment: serde_json::Value = serde_json::from_str(&text).unwrap();
        let executable = folder.join("trainer");
        if let (Some(build), Ok(facts)) =
            (experiment["experiment"]["artifact"]["build_seconds"].as_f64(), fs::metadata(executable))
        {
            let end = seconds(jiff::Timestamp::try_from(facts.modified().unwrap()).unwrap());
            builds.push((end - build, end));
        }
        for trial in fs::read_dir(&folder).unwrap() {
            let Ok(text) = fs::read_to_string(trial.unwrap().path().join("trial.json")) else { continue };
            let trial: serde_json::Value = serde_json::from_str(&text).unwrap();
            let at = |key: &str| seconds(trial["trial"][key].as_str().unwrap().parse().unwrap());
            trials.push((at("started_at"), at("ended_at")));
        }
    }
    assert!(builds.len() >= 3 && trials.len() > 3, "{builds:?} {trials:?}");
    for (began, ended) in &builds {
        let beside = trials.iter().find(|(from, to)| from + ROUNDING < *ended && began + ROUNDING < *to);
        assert_eq!(beside, None, "beside the build from {began} to {ended}");
    }
}

/// Where a trial leaves a core, the next one is under way before the one before it is judged; what is on record is of those that were asked
/// for alone.
#[tokio::test]
async fn where_there_is_room_a_trial_begins_while_the_one_before_it_is_evaluated() {
    let fixture = Fixture::new();
    fixture.replace("experiments/pretend/campaign.toml", "device = \"cpu\"", "device = \"cpu\"\nthreads = 1");
    let night = fixture.json(&["night", "experiments/pretend", "--experiments", "5", "--json"]);
    fixture.assert_no_process_left();
    let name: nocturne::flow::NightId = night["night"].as_str().unwrap().parse().unwrap();
    let layout = Layout::new(fixture.root());
    let reader = Reader::open(&layout.database()).await.unwrap();
    let effects = reader.effects(&name).await.unwrap();
    let of = |kind: &str| effects.iter().filter(move |effect| effect.kind == kind).collect::<Vec<_>>();
    let (trains, evaluations) = (of("train"), of("evaluate"));
    assert!(trains.len() >= 7 && evaluations.len() >= 6, "{} {}", trains.len(), evaluations.len());
    let began_before = |train: &&&nocturne::records::EffectRecord| {
        let before = evaluations.iter().rfind(|evaluation| evaluation.ordinal < train.ordinal);
        before.is_some_and(|evaluation| evaluation.ended_at.is_some_and(|ended| train.begun_at < ended))
    };
    let ahead = trains.iter().filter(began_before).count();
    let room = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    assert_eq!(ahead > 0, room, "{ahead} of {} trials began ahead", trains.len());

    // One folder for each trial on record, and a record of each folder.
    for experiment in reader.experiments(&name).await.unwrap() {
        let trials = reader.trials(&experiment.id).await.unwrap();
        let recorded: BTreeSet<String> = trials.iter().map(|trial| format!("trial-{}", trial.ordinal)).collect();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(layout.experiment(&experiment.id)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            found.extend(name.starts_with("trial-").then_some(name));
        }
        assert_eq!(found, recorded, "experiment {}", experiment.id);
    }
    // And nothing of a trial in folders of what was never an experiment.
    assert_eq!(fixture.nocturne(&["doctor"]).output().unwrap().status.code(), Some(0));
}

/// Two groups of cores are two devices: while the night's start trains on one, its run under the next seed trains on the other. What is
/// decided does not depend on it: the planted gain is kept and claimed, as on one device.
#[tokio::test]
async fn several_devices_train_several_trials_at_a_time_and_decide_the_same() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut decided, mut overlaps) = (Vec::new(), Vec::new());
    for devices in [1, 2] {
        let fixture = Fixture::new();
        let keys = format!("device = \"cpu\"\nthreads = 1\ndevices = {devices}");
        fixture.replace("experiments/pretend/campaign.toml", "device = \"cpu\"", &keys);
        // However slow the machine is, no trial is to be too late.
        fixture.replace("experiments/pretend/campaign.toml", "grace_seconds = 2", "grace_seconds = 120");
        fixture.plant_gains();
        if cores < devices {
            let output = fixture.run(&["night", "experiments/pretend", "--json"]);
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(3) && errors.contains("need 2 cores of their own"), "{errors}");
            return;
        }
        let night = fixture.json(&GAINING);
        fixture.assert_no_process_left();
        let experiment = &night["experiments"][0];
        decided.push(format!("{} {}", experiment["verdict"], night["champion"]["number"]));
        assert_eq!(experiment["verdict"], "kept", "{devices} devices: {experiment}");
        let name: nocturne::flow::NightId = night["night"].as_str().unwrap().parse().unwrap();
        let reader = Reader::open(&Layout::new(fixture.root()).database()).await.unwrap();
        let mut trials = reader.night_trials(&name).await.unwrap();
        trials.sort_by_key(|trial| trial.started_at);
        let claim = reader.claim(&name).await.unwrap().unwrap();
        assert!(claim.holds && claim.pairs == 2, "{devices} devices: {claim:?}");
        overlaps.push(
            trials.windows(2).filter(|pair| pair[0].ended_at.is_some_and(|end| pair[1].started_at < end)).count(),
        );
        let on: BTreeSet<String> = trials.iter().map(|trial| trial.device.clone().unwrap()).collect();
        assert_eq!(
            on,
            if devices == 1 { ["cpu"].map(str::to_owned).into() } else { ["cpu:0", "cpu:1"].map(str::to_owned).into() }
        );
        let account = printed(&fixture, &["show", "night"]);
        assert_eq!(account.contains("Trained on each device: cpu:0 "), devices == 2, "{account}");
        reader.close().await;
        // What the files say is what the database said.
        let shown = fixture.json(&["show", "1", "--json"])["trials"].clone();
        fs::remove_file(fixture.root().join(".nocturne/nocturne.db")).unwrap();
        fixture.json(&["rebuild", "--json"]);
        assert_eq!(fixture.json(&["show", "1", "--json"])["trials"], shown);
        assert_eq!(fixture.nocturne(&["doctor"]).output().unwrap().status.code(), Some(0));
    }
    assert_eq!(decided[0], decided[1]);
    assert!(overlaps[0] == 0 && overlaps[1] > 0, "{overlaps:?}");
}

#[test]
fn bad_experiments_are_recorded_with_their_evidence_and_the_night_goes_on() {
    // What every experiment of the night does, and what must be said of it.
    for (name, code, verdict, reason) in [
        ("crash", "std::process::abort()", "crashed", "signal 6"),
        ("exit", "std::process::exit(0)", "crashed", "exit code 0"),
        ("panic", "panic!(\"so sorry\")", "crashed", "so sorry"),
        (
            "hang",
            "loop { std::thread::sleep(std::time::Duration::from_secs(1)) }",
            "crashed",
            "still running after its budget",
        ),
    ] {
        let fixture = Fixture::new();
        // The start is good; whatever changes the recipe is bad.
        fixture.write(
            "trainer/src/candidate/training.rs",
            &format!(
                "//! Bad.\n\n/// Bad where the recipe was edited.\npub fn misbehave() {{\n    let start = super::recipe::Recipe::of(\"cpu\");\n    \
                 if (start.loss() - 2.0 - {START}).abs() > 1e-9 {{\n        {code};\n    }}\n}}\n"
            ),
        );
        fixture.commit("Plant a fault");
        let night = fixture.json(&["night", "experiments/pretend", "--experiments", "1", "--json"]);
        let experiment = &night["experiments"][0];
        assert_eq!(experiment["verdict"], verdict, "{name}: {experiment}");
        assert!(experiment["reason"].as_str().unwrap().contains(reason), "{name}: {experiment}");
        assert_eq!(night["champion"]["number"], 0, "{name}");
        let shown = fixture.json(&["show", "1", "--json"]);
        assert_eq!(shown["trials"].as_array().unwrap().len(), 1, "{name}");
        fixture.assert_no_process_left();
    }
}

/// What the pretended recipe adds to its floor of 2.0, as committed.
const START: &str = "((0.04_f64 / 0.06).ln().powi(2) + (0.6_f64 / 0.4).ln().powi(2) + (15.0_f64 / 20.0).ln().powi(2) \
                     + (0.5_f64 / 0.6).ln().powi(2))";

#[test]
fn a_start_that_does_not_build_ends_the_night_with_the_compilers_words() {
    let fixture = Fixture::new();
    fixture.write("trainer/src/candidate/model.rs", "this is not Rust\n");
    fixture.commit("Break it");
    let output = fixture.run(&["night", "experiments/pretend", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("does not build") && errors.contains("error"), "{errors}");
    assert_eq!(fixture.git(&["branch", "--list", "nocturne/*"]), "");
}

#[test]
fn what_cannot_work_is_said_before_anything_is_done() {
    let fixture = Fixture::new();
    let refused = |fixture: &Fixture, arguments: &[&str], code: i32, words: &[&str]| {
        let output = fixture.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        for word in words {
            assert!(errors.contains(word), "{arguments:?} does not say {word:?}: {errors}");
        }
        assert!(!fixture.root().join(".nocturne").exists(), "{arguments:?} left something behind");
    };
    refused(&fixture, &["night", "experiments/pretnd"], 2, &["did you mean", "pretend"]);
    refused(&fixture, &["night", "experiments/pretend", "--proposer", "oracle"], 2, &["oracle", "playbook", "tuner"]);
    refused(&fixture, &["night", "experiments/pretend", "--hours", "0"], 2, &["--hours"]);

    fixture.replace("experiments/pretend/campaign.toml", "seconds = 0.3", "secnds = 0.3");
    refused(&fixture, &["night", "experiments/pretend"], 2, &["campaign.toml:5:1", "secnds", "seconds"]);
    fixture.replace("experiments/pretend/campaign.toml", "secnds = 0.3", "seconds = 0.3");

    fixture.replace("experiments/pretend/campaign.toml", "disk_reserve_gb = 0.1", "disk_reserve_gb = 900000");
    refused(&fixture, &["night", "experiments/pretend"], 3, &["not enough disk"]);
    fixture.replace("experiments/pretend/campaign.toml", "disk_reserve_gb = 900000", "disk_reserve_gb = 0.1");

    fixture.git(&["checkout", "--quiet", "--detach"]);
    refused(&fixture, &["night", "experiments/pretend"], 2, &["detached", "git switch"]);
    fixture.git(&["switch", "--quiet", "main"]);

    fixture.write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"torch-sys\"\nversion = \"0.24.0\"\n\n[[package]]\nname = \"trainer\"\nversion = \"0.1.0\"\n");
    let output = fixture.nocturne(&["night", "experiments/pretend"]).env("LIBTORCH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere"));
    fixture.git(&["checkout", "--quiet", "--", "Cargo.lock"]);

    let output = fixture.nocturne(&["night", "experiments/pretend"]).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!fixture.root().join(".nocturne").exists());
}

#[test]
fn checkpoints_of_what_was_not_kept_are_removed_and_those_of_the_kept_stay() {
    let fixture = Fixture::new();
    let night = fixture.json(&["night", "experiments/pretend", "--experiments", "4", "--json"]);
    let folder = fixture.root().join(".nocturne/nights").join(night["night"].as_str().unwrap());
    for experiment in night["experiments"].as_array().unwrap() {
        let trials = folder.join(experiment["number"].to_string());
        assert!(trials.join("trial-1/curve.jsonl").exists());
        assert_eq!(checkpoints(&trials).len(), usize::from(experiment["verdict"] == "kept"), "{experiment}");
    }
    // Of several trials the last one's stays.
    let start = folder.join("0");
    let trials = fs::read_dir(&start).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert!(trials >= 2);
    assert_eq!(checkpoints(&start), [format!("trial-{trials}")]);
}

/// The trials of an experiment whose checkpoints are there.
fn checkpoints(experiment: &Path) -> Vec<String> {
    let trials = fs::read_dir(experiment).unwrap().map(|entry| entry.unwrap().path());
    let there = trials.filter(|trial| trial.join("checkpoint.safetensors").exists());
    there.map(|trial| trial.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn the_sealed_text_is_opened_for_the_morning_and_for_nothing_else() {
    let fixture = Fixture::new();
    fixture.plant_gains();
    let idle = ["night", "experiments/pretend", "--proposer", "identical", "--experiments", "1", "--json"];
    assert_eq!(fixture.json(&idle)["champion"]["number"], 0);
    let data = fs::read_dir(fixture.root().join(".nocturne/data")).unwrap().next().unwrap().unwrap().path();
    let sealed = data.join("sealed.rows");
    let rows = fs::read(&sealed).unwrap();
    fs::write(&sealed, vec![0xff; rows.len()]).unwrap();

    // A night that keeps nothing does not see what became of it, one that keeps something does.
    assert_eq!(fixture.json(&idle)["ended"], "experiments-done");
    let gaining = ["night", "experiments/pretend", "--experiments", "1", "--json"];
    let output = fixture.run(&gaining);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("sealed.rows"), "{errors}");
    fs::write(&sealed, &rows).unwrap();
    let night = fixture.json(&gaining);
    assert_eq!(night["champion"]["number"], 1, "{night}");

    let reader = Reader::open(&Layout::new(fixture.root()).database()).await.unwrap();
    let nights = reader.nights().await.unwrap();
    assert_eq!(nights.len(), 3, "the night was not gone on with");
    let sealed_looks = |looks: Vec<LookRecord>| -> u32 {
        looks.iter().filter(|look| look.part == HeldOut::Sealed).map(|look| look.evaluations).sum()
    };
    for idle in &nights[..2] {
        assert_eq!(sealed_looks(reader.looks(&idle.id).await.unwrap()), 0);
        assert_eq!(reader.claim(&idle.id).await.unwrap(), None);
    }
    let last = &nights[2];
    assert_eq!(sealed_looks(reader.looks(&last.id).await.unwrap()), 4);
    let claim = reader.claim(&last.id).await.unwrap().unwrap();
    assert!(claim.holds && claim.pairs == 2, "{claim:?}");
    let (search, fresh) = last.seeds.split_at(last.seeds.len() / 2);
    let mut texts = [BTreeSet::new(), BTreeSet::new()];
    for trial in reader.night_trials(&last.id).await.unwrap() {
        let morning = trial.purpose == Purpose::Morning;
        assert!(if morning { fresh } else { search }.contains(&trial.seed), "{trial:?}");
        texts[usize::from(morning)].extend(trial.certificate.map(|certificate| certificate.data_sha256));
    }
    assert_eq!(texts.each_ref().map(BTreeSet::len), [1, 1]);
    assert_ne!(texts[0], texts[1]);
    reader.close().await;
    let note = fixture.git(&["notes", "--ref", "nocturne", "show", night["champion"]["commit"].as_str().unwrap()]);
    assert!(note.contains("Morning-Claim: holds"), "{note}");
}

/// A night that kept experiment 1 and claimed it, as if it had been cut off just after a further trial of that champion was rejected:
/// one that cheats under one seed in many is found out late. Its name, its start's commit and the cheat's.
fn cut_off_when_found_out(fixture: &Fixture) -> (String, String, String) {
    fixture.plant_gains();
    let night = fixture.json(&GAINING);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (name, start) = (text(&night["night"]), text(&night["baseline"]["commit"]));
    let cheat = text(&night["champion"]["commit"]);
    assert_eq!(night["champion"]["number"], 1, "{night}");
    assert_eq!(champion_of(fixture, &name), cheat);

    let folder = fixture.root().join(".nocturne/nights").join(&name);
    let read = |path: &Path| -> serde_json::Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let mut file = read(&folder.join("night.json"));
    file["night"]["end"] = serde_json::Value::Null;
    let seeds = file["night"]["seeds"].as_array().unwrap();
    let seed = seeds[seeds.len() / 2 - 1].clone();
    fs::write(folder.join("night.json"), file.to_string()).unwrap();
    let mut trial = read(&folder.join("1/trial-1/trial.json"));
    trial["trial"]["ordinal"] = 99.into();
    trial["trial"]["folder"] = format!("nights/{name}/1/trial-99").into();
    (trial["trial"]["seed"], trial["trial"]["trained"]["seed"]) = (seed.clone(), seed);
    trial["trial"]["started_at"] = jiff::Timestamp::now().to_string().into();
    let rejected = serde_json::json!({ "rejected": { "check": "causality", "evidence": "it looked ahead" } });
    trial["trial"]["evaluation"] = rejected;
    trial["trial"]["certificate"] = serde_json::Value::Null;
    fs::create_dir_all(folder.join("1/trial-99")).unwrap();
    fs::write(folder.join("1/trial-99/trial.json"), trial.to_string()).unwrap();
    fixture.json(&["rebuild", "--json"]);
    (name, start, cheat)
}

const GAINING: [&str; 5] = ["night", "experiments/pretend", "--experiments", "1", "--json"];

fn champion_of(fixture: &Fixture, night: &str) -> String {
    fixture.git(&["rev-parse", &format!("nocturne/pretend/{night}/champion")]).trim().to_owned()
}

fn printed(fixture: &Fixture, arguments: &[&str]) -> String {
    String::from_utf8(fixture.run(arguments).stdout).unwrap()
}

#[test]
fn a_champion_that_is_found_out_after_the_claim_takes_claim_and_name_back() {
    let fixture = Fixture::new();
    let (name, start, cheat) = cut_off_when_found_out(&fixture);
    let name = name.as_str();
    fixture.run(&GAINING);
    let shown = fixture.json(&["show", name, "--json"]);
    assert_eq!(shown["champion"]["number"], 0, "{shown}");
    assert!(shown["withdrawal"]["words"].as_str().unwrap().contains("it looked ahead"), "{shown}");
    assert_eq!(shown["claim"]["holds"], false, "{shown}");
    assert_eq!(shown["experiments"][0]["stands"], false, "{shown}");
    assert_eq!(champion_of(&fixture, name), start, "the champion's branch is still the cheat's");
    let text = printed(&fixture, &["show", name]);
    assert!(
        text.contains("The morning's claim is withdrawn") && text.contains("Nothing that was kept stands"),
        "{text}"
    );
    let text = printed(&fixture, &["show", &format!("{name}/1")]);
    assert!(text.contains("does not stand: the champion, experiment 1, was rejected"), "{text}");
    let listed = printed(&fixture, &["list"]);
    let row = listed.lines().find(|line| line.contains(name)).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    let campaign = cells.iter().position(|cell| *cell == "pretend").unwrap();
    // Night, campaign, the day, the time and its zone; then experiments and kept ones.
    assert!(matches!(cells[campaign + 5].parse::<u32>(), Ok(0)), "{row}");
    let note = fixture.git(&["notes", "--ref", "nocturne", "show", &cheat]);
    assert!(note.contains("Morning-Claim: withdrawn") && note.contains("Withdrawn: the champion"), "{note}");
    let reports = fixture.root().join(format!("experiments/pretend/nights/{name}"));
    let page = fs::read_to_string(reports.join("report.html")).unwrap();
    assert!(page.contains("claim is withdrawn") && page.contains("it looked ahead"), "the page does not say so");
    assert!(
        page.contains("; it kept 0 of ") && !page.contains("Waiting for your decision:"),
        "the page counts it as kept"
    );
    let table = fs::read_to_string(reports.join("results.tsv")).unwrap();
    assert!(table.lines().nth(2).unwrap().contains("does not stand"), "{table}");
    // It is over, and stays so.
    assert_ne!(fixture.json(&GAINING)["night"], name);
}

#[tokio::test]
async fn what_could_not_be_taken_back_is_taken_back_when_the_night_goes_on() {
    let fixture = Fixture::new();
    let (name, start, cheat) = cut_off_when_found_out(&fixture);
    // The record of the withdrawal cannot be written, as on a full disk.
    let path = Layout::new(fixture.root()).database();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut database = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON withdrawals BEGIN SELECT RAISE(ABORT, 'no space'); END";
    sqlx::query(full).execute(&mut database).await.unwrap();
    let output = fixture.run(&GAINING);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && errors.contains("no space"), "{errors}");
    let status = fixture.json(&["status", "--json"]);
    assert!(status["state"].as_str().unwrap().starts_with("cut off"), "the night is over: {status}");
    assert_eq!(champion_of(&fixture, &name), cheat);

    sqlx::query("DROP TRIGGER full").execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    fixture.run(&GAINING);
    let shown = fixture.json(&["show", &name, "--json"]);
    assert!(shown["withdrawal"]["words"].as_str().unwrap().contains("it looked ahead"), "{shown}");
    assert_eq!(champion_of(&fixture, &name), start);
}

/// A branch that somebody has checked out is never moved; the nights that follow do not forget it.
#[test]
fn a_checked_out_branch_of_a_champion_that_does_not_stand_is_moved_back_later() {
    let fixture = Fixture::new();
    let (name, start, cheat) = cut_off_when_found_out(&fixture);
    let branch = format!("nocturne/pretend/{name}/champion");
    let elsewhere = fixture.root().join(".nocturne/elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    fixture.git(&["worktree", "add", "--quiet", elsewhere, &branch]);
    fixture.run(&GAINING);
    assert_eq!(champion_of(&fixture, &name), cheat, "a checked-out branch was moved");
    let idle = ["night", "experiments/pretend", "--proposer", "identical", "--experiments", "1", "--json"];
    let output = fixture.run(&idle);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains(&format!("git branch --force {branch} {start}")), "{errors}");
    assert_eq!(champion_of(&fixture, &name), cheat, "a checked-out branch was moved");
    fixture.git(&["worktree", "remove", "--force", elsewhere]);
    let output = fixture.run(&idle);
    assert_eq!(champion_of(&fixture, &name), start);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("git branch --force"), "{errors}");
}
