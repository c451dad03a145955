use std::fs;
use std::path::Path;

use sandbox::Level;

use super::*;

mod any_text;
mod models;

const GOOD: &str = r#"title = "Test"
scale = "cpu"
[budget]
seconds = 20
[night]
experiments = 8
[data]
embedded = "libtorch-python"
"#;

fn parse(text: &str) -> Result<Campaign, Problems> {
    Campaign::parse("test".parse().unwrap(), text, "# Goal\n", "experiments/test/campaign.toml")
}

/// Changes of [`GOOD`] (what, by what) that a person might make, and what they are told.
const BAD: &[(&str, &str, &str)] = &[
    ("a key with a typo", "seconds = 20", "secnds = 20"),
    ("a section with a typo", "[night]", "[nights]"),
    ("a key nobody knows", "experiments = 8", "experiments = 8\nbananas = 3"),
    ("a key of another section", "experiments = 8", "experiments = 8\nvocabulary = 300"),
    ("a key of the top in a section", "seconds = 20", "seconds = 20\nscale = \"gpu\""),
    ("a number in quotes", "seconds = 20", "seconds = \"20\""),
    ("a text without quotes", "title = \"Test\"", "title = 7"),
    ("not TOML: a bare word", "scale = \"cpu\"", "scale = cpu"),
    ("not TOML: a quote that never closes", "title = \"Test\"", "title = \"Test"),
    ("a key twice", "seconds = 20", "seconds = 20\nseconds = 30"),
    ("both budgets", "seconds = 20", "seconds = 20\ntokens = 1_000_000"),
    ("no budget", "[budget]\nseconds = 20\n", ""),
    ("seconds that are nothing", "seconds = 20", "seconds = 0"),
    ("seconds that are not a number", "seconds = 20", "seconds = nan"),
    ("seconds without end", "seconds = 20", "seconds = inf"),
    ("tokens with a fraction", "seconds = 20", "tokens = 1e6"),
    ("no limit for the night", "experiments = 8\n", ""),
    ("a night shorter than its trials", "experiments = 8", "hours = 0.01"),
    ("an unknown proposer", "experiments = 8", "experiments = 8\nproposers = [\"playbok\", \"tuner\"]"),
    ("a proposer alone", "experiments = 8", "experiments = 8\nproposers = \"tuner\""),
    ("no proposer", "experiments = 8", "experiments = 8\nproposers = []"),
    ("an unknown scale", "scale = \"cpu\"", "scale = \"H100\""),
    ("too small a vocabulary", "[data]", "[data]\nvocabulary = 256"),
    ("too large a vocabulary", "[data]", "[data]\nvocabulary = 65_537"),
    ("no context", "[data]", "[data]\ncontext = 0"),
    ("no rows", "[data]", "[data]\nsearch_rows = 0\nsealed_rows = -1"),
    ("a sample larger than the text", "[data]", "[data]\nmax_train_bytes = 1000\ntokenizer_sample_bytes = 2000"),
    ("pieces too small", "[data]", "[data]\nmax_piece_bytes = 15"),
    ("two sources", "[data]", "[data]\nfiles = [\"a.txt\"]"),
    ("no source", "embedded = \"libtorch-python\"\n", ""),
    ("a file of an unknown kind", "embedded = \"libtorch-python\"", "files = [\"a.txt\", \"b.pdf\", \"a.txt\"]"),
    (
        "a hub without a commit",
        "embedded = \"libtorch-python\"",
        "hub = { repo = \"a\", revision = \"main\", prefix = \"../x\" }",
    ),
    ("a hub with everything", "embedded = \"libtorch-python\"", "[data.hub]\nfiles = [\"x.parquet\"]\nprefix = \"x\""),
    ("a field in the embedded corpus", "[data]", "[data]\ntext_field = \"text\""),
    ("a device without a number", "[data]", "[machine]\ndevice = \"cuda\"\n[data]"),
    ("an unknown precision", "[data]", "[machine]\nprecision = \"fp16\"\n[data]"),
    ("an unknown sandbox", "[data]", "[sandbox]\nleast = \"namespace\"\n[data]"),
    ("a sandbox by a word of another kind", "[data]", "[sandbox]\nleast = true\n[data]"),
    ("memory in bytes", "[data]", "[sandbox]\nmemory_gb = 16_000_000_000\n[data]"),
    ("memory that holds no trial", "[data]", "[sandbox]\nmemory_gb = 0\n[data]"),
    ("a key of the sandbox elsewhere", "[data]", "[machine]\nmemory_gb = 16\n[data]"),
    ("too few cuts", "[data]", "[evaluation]\ncuts = 31\n[data]"),
    ("too many cuts", "[data]", "[evaluation]\ncuts = 8_193\n[data]"),
    ("cuts with a fraction", "[data]", "[evaluation]\ncuts = 256.0\n[data]"),
    ("a section that is a number", "[data]", "[data]\nhub = 3"),
    ("a rule that was replaced", "[data]", "[rules]\ndecision = \"lower-is-kept\"\n[data]"),
    (
        "rules out of range",
        "[data]",
        "[rules]\nchampion_seeds = 17\nmost_trials = 1\nfalse_keep = 0\nleast_effect = -0.1\nleast_effect_per_line = nan\nmargin = 2\n\
         drift_every = -1\nearly_spare = 1.5\nmorning_pairs = 17\nexpected_run_sd = 0\n[data]",
    ),
    (
        "rules of another type",
        "[data]",
        "[rules]\nearly_stop = \"true\"\nearly_spare = true\nfalse_keep = \"0.05\"\nmost_trials = 4.0\n[data]",
    ),
    ("a flag that is a number", "[data]", "[rules]\nearly_stop = 1\n[data]"),
    ("a rule with a typo", "[data]", "[rules]\nchampion_seed = 4\n[data]"),
    ("load in percent", "[data]", "[machine]\nmost_foreign_load = 25\n[data]"),
    (
        "many mistakes",
        "seconds = 20",
        "Seconds = 20\n[machine]\nthreads = 1.5\n[rules]\ndecision = \"lower\"\nrepair_rounds = 99",
    ),
    ("control characters", "title = \"Test\"", "title = \"Te\u{1b}[31mst\"\n\"\\u001b[2Jx\" = 1"),
    ("nothing at all", GOOD, ""),
];

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_do() {
    let mut told = String::new();
    for (what, from, to) in BAD {
        assert!(GOOD.contains(from), "{what}: {from:?} is not in the good campaign");
        let text = GOOD.replacen(from, to, 1);
        let problems = parse(&text).expect_err(what);
        assert!(!problems.list.is_empty(), "{what}: refused without a problem");
        told += &format!("--- {what}\n{problems}\n\n");
    }
    assert!(!told.contains('\u{1b}'), "an escape sequence got through");
    insta::assert_snapshot!(told);
}

#[test]
fn miette_shows_labels_and_all_problems() {
    let text = GOOD.replace("seconds", "secnds").replace("[data]", "[data]\ncontext = 0");
    let report = Report::from(parse(&text).unwrap_err());
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut shown = String::new();
    handler.render_report(&mut shown, &report).unwrap();
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_left_out_follows_the_scale() {
    let campaign = parse(GOOD).unwrap();
    assert_eq!(campaign.budget(), Budget::Seconds(20.0));
    assert_eq!(campaign.night.proposers, ProposerName::USUAL);
    assert_eq!((campaign.data.vocabulary, campaign.data.context, campaign.data.search_rows), (2_048, 256, 512));
    assert_eq!(campaign.rules, Rules::default());
    assert_eq!((campaign.machine.devices, campaign.machine.most_foreign_load), (1, 0.25));
    assert_eq!((campaign.machine.device, campaign.machine.precision), (Device::Auto, PrecisionChoice::Auto));
    // A night that began before these sections were there goes on under the same defaults.
    assert_eq!(campaign.sandbox, Sandbox { least: Level::Landlock, memory_gb: None });
    assert_eq!((campaign.sandbox.memory_bytes(), campaign.evaluation), (None, Evaluation { cuts: 256 }));
    let setting = campaign.setting(2, "cpu");
    assert_eq!((setting.scale, setting.vocabulary, setting.threads), (Scale::Cpu, 2_048, 2));
    let large = parse(&GOOD.replace("\"cpu\"", "\"h100\"")).unwrap();
    assert_eq!((large.data.vocabulary, large.data.context, large.data.search_rows), (8_192, 2_048, 4_096));
}

#[test]
fn what_is_written_is_what_is_read() {
    let text = r#"
title = "All keys"
scale = "gpu"
[budget]
tokens = 5_000_000
[night]
experiments = 3
hours = 1
proposers = ["tuner"]
[data]
text_field = "body"
vocabulary = 0x200
context = 64
search_rows = 5
sealed_rows = 6
max_train_bytes = 1_000
max_piece_bytes = 800
tokenizer_sample_bytes = 999
hub = { repo = "o-w.n_er/na.me", revision = "0123456789abcdef0123456789abcdef01234567", prefix = "data/", max_files = 2 }
[machine]
device = "cuda:1"
devices = 3
precision = "fp32"
threads = 4
grace_seconds = 0
disk_reserve_gb = 1.5
most_foreign_load = 1
[sandbox]
least = "namespaces"
memory_gb = 1.5
[evaluation]
cuts = 8_192
[rules]
decision = "race"
repair_rounds = 0
champion_seeds = 16
most_trials = 2
false_keep = 0.01
least_effect = 0
least_effect_per_line = 0.001
margin = 0.002
drift_every = 0
early_stop = false
early_spare = 1
morning_pairs = 16
expected_run_sd = 0.02
"#;
    let campaign = parse(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(campaign.budget, Budget::Tokens(5_000_000));
    assert_eq!(campaign.night, Night { experiments: Some(3), hours: Some(1.0), proposers: vec![ProposerName::Tuner] });
    let source = DataSource::Hub {
        repo: "o-w.n_er/na.me".to_owned(),
        revision: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        files: HubFiles::Prefix { prefix: "data/".to_owned(), max_files: Some(2) },
        text_field: "body".to_owned(),
    };
    let data = Data {
        source,
        vocabulary: 512,
        context: 64,
        search_rows: 5,
        sealed_rows: 6,
        max_train_bytes: Some(1_000),
        max_piece_bytes: Some(800),
        tokenizer_sample_bytes: 999,
    };
    assert_eq!(campaign.data, data);
    let machine = Machine {
        device: Device::Cuda(1),
        devices: 3,
        precision: PrecisionChoice::Fp32,
        threads: 4,
        grace_seconds: 0.0,
        disk_reserve_gb: 1.5,
        most_foreign_load: 1.0,
    };
    assert_eq!(campaign.machine, machine);
    assert_eq!(campaign.sandbox, Sandbox { least: Level::Namespaces, memory_gb: Some(1.5) });
    assert_eq!(campaign.sandbox.memory_bytes(), Some(1_500_000_000));
    assert_eq!(campaign.evaluation, Evaluation { cuts: 8_192 });
    let rules = Rules {
        decision: crate::stats::Method::Race,
        repair_rounds: 0,
        champion_seeds: 16,
        most_trials: 2,
        false_keep: 0.01,
        least_effect: 0.0,
        least_effect_per_line: 0.001,
        margin: 0.002,
        combine: true,
        own_spread: true,
        drift_every: 0,
        early_stop: false,
        early_spare: 1.0,
        morning_pairs: 16,
        expected_run_sd: 0.02,
    };
    assert_eq!(campaign.rules, rules);
    // `printf '# Goal\n' | sha256sum`
    assert_eq!(campaign.program_sha256, "1bc47f0ed5e7efcc3bcdf3124580d2d484516e284654baf63f8951f45f38adf0");
    let changed = parse(&text.replace("All keys", "All the keys")).unwrap();
    assert_ne!(campaign.campaign_sha256, changed.campaign_sha256);
    assert_eq!(campaign.program_sha256, changed.program_sha256);
    let json = serde_json::to_string(&campaign).unwrap();
    assert_eq!(serde_json::from_str::<Campaign>(&json).unwrap(), campaign);
}

#[test]
fn a_recorded_campaign_may_name_the_rule_that_there_was() {
    let text = format!("{GOOD}[rules]\ndecision = \"lower-is-kept\"\nrepair_rounds = 1\n");
    assert!(parse(&text).is_err());
    let name = || "test".parse().unwrap();
    let campaign = Campaign::parse_recorded(name(), &text, "# Goal\n", "experiments/test/campaign.toml").unwrap();
    assert_eq!(campaign.rules, Rules { repair_rounds: 1, ..Rules::default() });
    let other = text.replace("lower-is-kept", "higher-is-kept");
    assert!(Campaign::parse_recorded(name(), &other, "# Goal\n", "experiments/test/campaign.toml").is_err());
}

#[test]
fn local_files_are_looked_for_beside_the_campaign() {
    let campaign = parse(
        &GOOD.replace("embedded = \"libtorch-python\"", "files = [\"a.txt\", \"/b/c.jsonl\", \"more\", \"v1.2/\"]"),
    )
    .unwrap();
    let DataSource::Files { files, text_field } = campaign.data_source() else { panic!("not files") };
    assert_eq!(
        files,
        ["experiments/test/a.txt", "/b/c.jsonl", "experiments/test/more", "experiments/test/v1.2/"].map(Path::new)
    );
    assert_eq!(text_field, "text");
}

#[test]
fn the_words_for_the_sandbox_are_those_of_its_levels() {
    for (word, level) in [("off", Level::Off), ("landlock", Level::Landlock), ("namespaces", Level::Namespaces)] {
        let campaign = parse(&format!("{GOOD}[sandbox]\nleast = \"{word}\"\n")).unwrap();
        assert_eq!(campaign.sandbox.least, level);
    }
}

#[test]
fn names_that_cannot_name_branches_are_refused() {
    for (bad, like) in [
        ("", None),
        ("-a", Some("a")),
        ("My Campaign!", Some("my-campaign")),
        ("a..b", Some("a-b")),
        ("a/b", Some("a-b")),
        ("a.lock", Some("a-lock")),
        ("été", Some("t")),
        ("@{", None),
        (&"a".repeat(41), Some("a".repeat(40).as_str())),
    ] {
        assert!(bad.parse::<CampaignName>().is_err(), "{bad:?} was taken for a campaign");
        assert_eq!(CampaignName::like(bad).map(String::from).as_deref(), like, "like {bad:?}");
    }
    assert!("quickstart-2".parse::<CampaignName>().is_ok());
}

#[test]
fn the_campaigns_of_this_repository_load() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, scale, seconds) in
        [("quickstart", Scale::Cpu, 20.0), ("gpu", Scale::Gpu, 300.0), ("h100", Scale::H100, 300.0)]
    {
        let folder = locate(&root, Path::new(name)).unwrap();
        let campaign = load(&folder).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((campaign.name.as_str(), campaign.scale, campaign.budget), (name, scale, Budget::Seconds(seconds)));
        assert!(campaign.goal.contains("## Off limits") && campaign.goal.contains("## Taste"), "{name}'s program.md");
    }
    assert_eq!(load(&root.join("experiments/quickstart")).unwrap().night.experiments, Some(8));
}

#[test]
fn a_new_campaign_loads_and_shows_true_defaults() {
    let root = tempfile::tempdir().unwrap();
    for scale in Scale::ALL {
        let name = format!("new-{scale}");
        let folder = scaffold(root.path(), &name, scale).unwrap();
        let campaign = load(&folder).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((campaign.name.as_str(), campaign.scale), (name.as_str(), scale));
        let text = fs::read_to_string(folder.join("campaign.toml")).unwrap();
        assert!(!text.contains('@'), "a placeholder was left in {text}");
    }
    // A commented key that is uncommented must change nothing: at the scale whose defaults the template shows.
    let text = fs::read_to_string(root.path().join("experiments/new-cpu/campaign.toml")).unwrap();
    let mut tried = 0;
    for line in text.lines().filter(|line| line.starts_with("# ") && line.contains(" = ") && !line.contains('{')) {
        let no_default = line.contains("tokens =") && line.contains("1_000_000") || line.contains("memory_gb =");
        if no_default || line.contains('"') && line.contains("files") {
            continue;
        }
        let Some((key, _)) = line[2..].split_once(" = ") else { continue };
        if key.contains(' ') {
            continue;
        }
        let changed = parse(&text.replacen(line, &line[2..], 1)).unwrap_or_else(|problems| panic!("{problems}"));
        let before = parse(&text).unwrap();
        assert_eq!(
            Campaign { campaign_sha256: String::new(), ..changed },
            Campaign { campaign_sha256: String::new(), ..before },
            "{line}"
        );
        tried += 1;
    }
    assert!(tried >= 24, "only {tried} commented keys were found");
}

#[test]
fn a_new_campaign_overwrites_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("experiments/mine");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("program.md"), "mine").unwrap();
    scaffold(root.path(), "mine", Scale::Cpu).unwrap();
    assert_eq!(fs::read_to_string(folder.join("program.md")).unwrap(), "mine");
    let error = scaffold(root.path(), "mine", Scale::Gpu).unwrap_err();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    let error = scaffold(root.path(), "../Mine", Scale::Gpu).unwrap_err();
    assert!(error.to_string().contains("`mine` would do"), "{error}");
    assert!(!root.path().join("Mine").exists());
}

#[test]
fn a_campaign_that_cannot_be_read_says_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let experiments = root.path().join("experiments");
    let folder = scaffold(root.path(), "quick", Scale::Cpu).unwrap();
    let told = |error: CampaignError| {
        let root = root.path().display().to_string();
        format!("{error}\n  help: {}\n\n", error.help().unwrap_or_default()).replace(&root, "ROOT")
    };
    let mut all = String::new();
    all += &told(locate(root.path(), Path::new("quikc")).unwrap_err());
    all += &told(locate(root.path(), Path::new("nowhere/bananas")).unwrap_err());
    all += &told(load(&experiments.join("none")).unwrap_err());
    fs::remove_file(folder.join("program.md")).unwrap();
    all += &told(load(&folder).unwrap_err());
    fs::write(folder.join("program.md"), " \n").unwrap();
    all += &told(load(&folder).unwrap_err());
    fs::write(folder.join("program.md"), b"# Goal\n\xc3\xa4\xff").unwrap();
    all += &told(load(&folder).unwrap_err());
    fs::write(folder.join("program.md"), vec![b'x'; (1 << 20) + 1]).unwrap();
    all += &told(load(&folder).unwrap_err());
    fs::write(folder.join("program.md"), "# Goal\n").unwrap();
    let renamed = experiments.join("My Quick");
    fs::rename(&folder, &renamed).unwrap();
    all += &told(load(&renamed).unwrap_err());
    insta::assert_snapshot!(all);
}

#[test]
fn a_campaign_is_found_by_path_and_by_name() {
    let root = tempfile::tempdir().unwrap();
    let folder = scaffold(root.path(), "mine", Scale::Cpu).unwrap();
    for named in ["mine", "experiments/mine", "experiments/mine/", "experiments/mine/campaign.toml"] {
        let found = locate(root.path(), Path::new(named)).unwrap();
        assert_eq!(found.canonicalize().unwrap(), folder.canonicalize().unwrap(), "{named}");
    }
    assert_eq!(locate(Path::new("/nowhere"), &folder).unwrap(), folder);
}
