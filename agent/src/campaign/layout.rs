//! Which keys stand in which section of a campaign's file. Must not: say what they mean.

use std::borrow::Cow;

/// The keys of every section; the top of the file is the section with the empty name.
pub(super) const LAYOUT: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "title",
            "scale",
            "budget",
            "night",
            "data",
            "machine",
            "sandbox",
            "evaluation",
            "rules",
            "models",
            "spending",
            "coding_agents",
        ],
    ),
    ("budget", &["seconds", "tokens"]),
    ("night", &["experiments", "hours", "proposers"]),
    (
        "data",
        &[
            "embedded",
            "files",
            "hub",
            "text_field",
            "vocabulary",
            "context",
            "search_rows",
            "sealed_rows",
            "max_train_bytes",
            "max_piece_bytes",
            "tokenizer_sample_bytes",
        ],
    ),
    ("data.hub", &["repo", "revision", "files", "prefix", "max_files"]),
    (
        "machine",
        &["device", "devices", "precision", "threads", "grace_seconds", "disk_reserve_gb", "most_foreign_load"],
    ),
    ("sandbox", &["least", "memory_gb"]),
    ("evaluation", &["cuts"]),
    (
        "models",
        &[
            "name",
            "format",
            "endpoint",
            "model",
            "key_env",
            "key_file",
            "context_tokens",
            "answer_tokens",
            "tools",
            "temperature",
            "timeout_seconds",
            "longest_seconds",
            "input_price",
            "cached_input_price",
            "output_price",
        ],
    ),
    ("spending", &["dollars", "tokens", "calls"]),
    ("coding_agents", &["name", "command", "minutes"]),
    (
        "rules",
        &[
            "decision",
            "repair_rounds",
            "champion_seeds",
            "most_trials",
            "false_keep",
            "least_effect",
            "least_effect_per_line",
            "margin",
            "drift_every",
            "early_stop",
            "combine",
            "own_spread",
            "early_spare",
            "morning_pairs",
            "expected_run_sd",
        ],
    ),
];

/// Sections that may stand there several times.
const LISTS: &[&str] = &["models", "coding_agents"];

/// What people call a key of a server: never in this file. Lower case.
pub(super) const SECRETS: &[&str] =
    &["key", "api_key", "apikey", "api-key", "access_key", "secret", "secret_key", "password"];

/// A section's name as it is written in the file.
pub(super) fn written(name: &str) -> Cow<'static, str> {
    match name {
        "" => Cow::Borrowed("the top of the file"),
        list if LISTS.contains(&list) => Cow::Owned(format!("[[{list}]]")),
        section => Cow::Owned(format!("[{section}]")),
    }
}

/// The sections that have a key of this name.
pub(super) fn sections_with(key: &str) -> Vec<&'static str> {
    LAYOUT.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name).collect()
}
