//! `[[models]]`, `[spending]` and `[[coding_agents]]`.

use super::*;
use crate::llm::client::Format;
use crate::llm::key::KeySource;
use crate::llm::spend::Price;

const ALL: &str = r#"
[[models]]
name = "sonnet-4.5"
format = "anthropic"
endpoint = "https://api.anthropic.com"
model = "claude-sonnet-4-5"
key_env = "ANTHROPIC_API_KEY"
context_tokens = 200_000
answer_tokens = 16_000
tools = false
temperature = 0
timeout_seconds = 60
input_price = 3
cached_input_price = 0.3
output_price = 15
[[models]]
name = "local"
format = "openai"
endpoint = "http://localhost:8080/v1"
model = "smol"
context_tokens = 2_048
[spending]
dollars = 5.5
tokens = 1_000_000
calls = 300
[[coding_agents]]
name = "claude-code"
command = ["claude", "-p", "-p", ""]
minutes = 0.5
[[coding_agents]]
name = "other"
command = ["aider"]
"#;

/// Changes of [`GOOD`] and [`ALL`] together (what, by what) that a person might make, and what they are told.
const BAD: &[(&str, &str, &str)] = &[
    ("a key in the file", "key_env = \"ANTHROPIC_API_KEY\"", "api_key = \"sk-ant-sesame\""),
    ("a key in place of a variable", "\"ANTHROPIC_API_KEY\"", "\"sk-ant-sesame\""),
    ("a key in an address", "http://localhost:8080/v1", "http://localhost:8080/v1?key=sesame"),
    ("a name in an address", "http://localhost:8080/v1", "http://me:sesame@localhost:8080/v1"),
    ("a key file in the repository", "key_env = \"ANTHROPIC_API_KEY\"", "key_file = \"sesame.txt\""),
    ("two keys", "tools = false", "key_file = \"~/key\""),
    ("a typo in one model does not excuse another", "format = \"anthropic\"", "fromat = \"anthropic\""),
    ("a model without anything", "[[models]]\nname = \"local\"", "[[models]]\n[[models]]\nname = \"local\""),
    ("a key of another section", "tools = false", "minutes = 3"),
    ("a key of two other sections", "tools = false", "tokens = 3"),
    ("an unknown format", "\"openai\"", "\"OpenAI\""),
    ("no address", "http://localhost:8080/v1", "localhost:8080"),
    ("a name with a space", "\"local\"", "\"my model\""),
    ("a name twice", "\"local\"", "\"sonnet-4.5\""),
    ("an answer as long as the context", "answer_tokens = 16_000", "answer_tokens = 200_000"),
    ("a temperature too hot", "temperature = 0", "temperature = 2.1"),
    ("tools that are a text", "tools = false", "tools = \"false\""),
    ("half a price", "output_price = 15\n", ""),
    (
        "a cached price alone",
        "input_price = 3\ncached_input_price = 0.3\noutput_price = 15",
        "cached_input_price = 0.3",
    ),
    ("dollars without a price", "input_price = 3\ncached_input_price = 0.3\noutput_price = 15\n", ""),
    ("a price without a limit", "[spending]\ndollars = 5.5\ntokens = 1_000_000\ncalls = 300\n", ""),
    ("a limit of nothing", "dollars = 5.5", "dollars = 0"),
    ("a command in one text", "[\"aider\"]", "\"aider --yes\""),
    ("a command without a program", "[\"aider\"]", "[\" \"]"),
    ("no command", "command = [\"aider\"]\n", ""),
    ("a model in a list", "[spending]", "[[data.more]]\n[spending]"),
];

/// Changes of [`GOOD`] alone.
const BAD_ALONE: &[(&str, &str, &str)] = &[
    (
        "proposers that nobody describes",
        "experiments = 8",
        "experiments = 8\nproposers = [\"models\", \"agents\", \"modles\"]",
    ),
    ("one bracket", "[data]", "[models]\nname = \"a\"\n[data]"),
    ("a model that is a text", "scale =", "models = \"gpt\"\nscale ="),
    ("models that are texts", "scale =", "models = [\"gpt\"]\nscale ="),
    ("models elsewhere", "[data]", "[machine]\nmodels = []\n[data]"),
    ("a list with a typo", "[data]", "[[model]]\nname = \"a\"\n[data]"),
];

fn whole() -> String {
    format!("{GOOD}{ALL}")
}

#[test]
fn every_mistake_in_a_model_is_told_and_no_key_is_shown() {
    let mut told = String::new();
    let with_all = BAD.iter().map(|bad| (whole(), bad));
    for (text, (what, from, to)) in with_all.chain(BAD_ALONE.iter().map(|bad| (GOOD.to_owned(), bad))) {
        assert!(text.contains(from), "{what}: {from:?} is not in the good campaign");
        let problems = parse(&text.replacen(from, to, 1)).expect_err(what);
        assert!(!problems.list.is_empty(), "{what}: refused without a problem");
        told += &format!("--- {what}\n{problems}\n\n");
    }
    assert!(!told.contains("sesame"), "a key was shown");
    insta::assert_snapshot!(told);
}

#[test]
fn models_and_agents_are_read_as_they_are_written() {
    let campaign = parse(&whole()).unwrap_or_else(|problems| panic!("{problems}"));
    let sonnet = Model {
        name: "sonnet-4.5".to_owned(),
        format: Format::Anthropic,
        endpoint: "https://api.anthropic.com".to_owned(),
        model: "claude-sonnet-4-5".to_owned(),
        key: Some(KeySource::Variable("ANTHROPIC_API_KEY".to_owned())),
        context_tokens: 200_000,
        answer_tokens: 16_000,
        tools: false,
        temperature: Some(0.0),
        timeout_seconds: 60,
        longest_seconds: 360,
        price: Price { input: 3.0, cached: 0.3, output: 15.0 },
    };
    let local = Model {
        name: "local".to_owned(),
        format: Format::OpenAi,
        endpoint: "http://localhost:8080/v1".to_owned(),
        model: "smol".to_owned(),
        key: None,
        context_tokens: 2_048,
        answer_tokens: 512,
        tools: true,
        temperature: None,
        timeout_seconds: 300,
        longest_seconds: 1_800,
        price: Price::default(),
    };
    assert_eq!(campaign.models, [sonnet, local]);
    let spending = Spending { dollars: Some(5.5), tokens: Some(1_000_000), calls: Some(300) };
    assert_eq!(campaign.spending, spending);
    let agent = |name: &str, command: &[&str], minutes| CodingAgent {
        name: name.to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        minutes,
    };
    assert_eq!(
        campaign.coding_agents,
        [agent("claude-code", &["claude", "-p", "-p", ""], 0.5), agent("other", &["aider"], 20.0)]
    );
    let usual = [&ProposerName::USUAL[..], &[ProposerName::Models, ProposerName::Agents]].concat();
    assert_eq!(campaign.night.proposers, usual);
    let json = serde_json::to_string(&campaign).unwrap();
    assert_eq!(serde_json::from_str::<Campaign>(&json).unwrap(), campaign);
}

#[test]
fn who_is_named_is_asked_and_nobody_else() {
    for (word, names) in [("models", [ProposerName::Models]), ("agents", [ProposerName::Agents])] {
        let text = whole().replace("experiments = 8", &format!("experiments = 8\nproposers = [\"{word}\"]"));
        assert_eq!(parse(&text).unwrap().night.proposers, names);
    }
    // A model that the cache makes no cheaper, and one that is free although it has a key.
    let text = whole().replace("cached_input_price = 0.3\n", "");
    assert_eq!(parse(&text).unwrap().models[0].price.cached, 3.0);
    let free = whole()
        .replace("price = 15", "price = 0")
        .replace("price = 3", "price = 0")
        .replace("price = 0.3", "price = 0");
    assert_eq!(parse(&free).unwrap().models[0].price, Price::default());
}

#[test]
fn a_model_says_how_it_is_reached() {
    let home = Path::new("/home/me");
    let models = |text: &str| parse(text).unwrap_or_else(|problems| panic!("{problems}")).models;
    let text = whole().replace("key_env = \"ANTHROPIC_API_KEY\"", "key_file = \"~/keys/a\"");
    assert_eq!(models(&text)[0].key_source(Some(home)), Some(KeySource::File("/home/me/keys/a".into())));
    let text = whole().replace("key_env = \"ANTHROPIC_API_KEY\"", "key_file = \"/keys/a\"");
    assert_eq!(models(&text)[0].key_source(Some(home)), Some(KeySource::File("/keys/a".into())));
    assert_eq!(models(&text)[1].key_source(Some(home)), None);
    assert!(!models(&text)[1].endpoint().newest);
    let text = whole().replace("http://localhost:8080/v1", "https://api.openai.com/v1");
    let endpoint = models(&text)[1].endpoint();
    assert!(endpoint.newest && endpoint.silence_seconds == 300 && endpoint.format == Format::OpenAi, "{endpoint:?}");
}

#[test]
fn a_call_is_bounded_as_a_whole() {
    let with = |line: &str| parse(&whole().replace("timeout_seconds = 60", line));
    let longest = |line: &str| with(line).unwrap_or_else(|problems| panic!("{problems}")).models[0].longest_seconds;
    assert_eq!(longest("timeout_seconds = 60\nlongest_seconds = 61"), 61);
    assert_eq!(longest("timeout_seconds = 80_000"), 86_400);
    let problems = with("timeout_seconds = 60\nlongest_seconds = 59").unwrap_err().to_string();
    assert!(problems.contains("shorter than the longest silence"), "{problems}");
    // A night of before that is gone on with.
    let mut kept = serde_json::to_value(&parse(&whole()).unwrap().models[0]).unwrap();
    kept.as_object_mut().unwrap().remove("longest_seconds").unwrap();
    assert_eq!(serde_json::from_value::<Model>(kept).unwrap().longest_seconds, 1_800);
}

#[test]
fn a_key_file_in_the_repository_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = scaffold(root.path(), "mine", Scale::Cpu).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let inside = root.path().canonicalize().unwrap().join("experiments/key");
    fs::write(&inside, "k").unwrap();
    std::os::unix::fs::symlink(&inside, outside.path().join("link")).unwrap();
    for (file, refused) in
        [(inside.clone(), true), (outside.path().join("link"), true), (outside.path().join("other"), false)]
    {
        let models =
            ALL.replace("key_env = \"ANTHROPIC_API_KEY\"", &format!("key_file = {:?}", file.display().to_string()));
        fs::write(folder.join("campaign.toml"), format!("{GOOD}{models}")).unwrap();
        assert!(load(&folder).is_ok(), "there is no repository yet");
        fs::create_dir(root.path().join(".git")).unwrap();
        match load(&folder) {
            Err(error @ CampaignError::KeyInRepository { .. }) => assert!(refused, "{error}"),
            Err(error) => panic!("{error}"),
            Ok(_) => assert!(!refused, "{}", file.display()),
        }
        fs::remove_dir(root.path().join(".git")).unwrap();
    }
}

#[test]
fn the_examples_of_a_new_campaign_are_right() {
    let root = tempfile::tempdir().unwrap();
    let folder = scaffold(root.path(), "mine", Scale::Cpu).unwrap();
    let text = fs::read_to_string(folder.join("campaign.toml")).unwrap();
    let (before, examples) = text.split_once("# Language models that").unwrap();
    let uncommented: Vec<&str> = before
        .lines()
        .chain(["# "])
        .chain(examples.lines().skip(1).map(|line| line.strip_prefix("#   ").unwrap_or(line)))
        .collect();
    let campaign = parse(&uncommented.join("\n")).unwrap_or_else(|problems| panic!("{problems}"));
    let known = parse(&whole()).unwrap();
    assert_eq!((campaign.models.len(), campaign.coding_agents.len()), (1, 1));
    assert!(
        campaign.spending.dollars.is_some() && campaign.spending.tokens.is_some() && campaign.spending.calls.is_some()
    );
    // Every key of the layout is there.
    let shown = uncommented.join("\n");
    for (section, keys) in super::super::layout::LAYOUT {
        for key in keys.iter().filter(|_| ["models", "spending", "coding_agents"].contains(section)) {
            assert!(shown.contains(&format!("{key} = ")), "{key} of {section} is not in the template");
        }
    }
    // What it says of defaults is so.
    let short = uncommented.iter().filter(|line| !line.contains("the default")).copied().collect::<Vec<_>>().join("\n");
    let short = parse(&short).unwrap_or_else(|problems| panic!("{problems}"));
    let price = Price { cached: 3.0, ..campaign.models[0].price };
    assert_eq!(short.models, [Model { price, ..campaign.models[0].clone() }]);
    assert_eq!(short.coding_agents, campaign.coding_agents);
    assert_eq!(known.models[1].timeout_seconds, campaign.models[0].timeout_seconds);
}
