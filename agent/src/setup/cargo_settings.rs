//! Cargo's settings without the secrets in them. Pure, but for reading the files.

use std::fs;
use std::path::{Path, PathBuf};

/// Where cargo looks for settings when it works below a folder.
pub(super) fn settings_above(root: &Path) -> Vec<PathBuf> {
    root.ancestors().flat_map(|folder| ["config.toml", "config"].map(|name| folder.join(".cargo").join(name))).collect()
}

/// Whether a file of cargo's settings can be shown to edited code as it is.
pub(super) fn has_no_secrets(file: &Path) -> bool {
    let Ok(text) = fs::read_to_string(file) else { return false };
    match text.parse::<toml::Table>() {
        Ok(table) => !holds_secrets(&table),
        Err(_) => false,
    }
}

/// Names under which cargo's settings can hold a secret or run a program that knows one.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "passw", "credential", "auth", "key"].iter().any(|word| name.contains(word))
}

fn holds_secrets(table: &toml::Table) -> bool {
    table.iter().any(|(name, value)| {
        is_secret(name)
            || match value {
                toml::Value::Table(inner) => holds_secrets(inner),
                toml::Value::String(text) => is_url_with_login(text),
                toml::Value::Array(values) => values.iter().any(|value| match value {
                    toml::Value::Table(inner) => holds_secrets(inner),
                    toml::Value::String(text) => is_url_with_login(text),
                    _ => false,
                }),
                _ => false,
            }
    })
}

/// `https://user:password@host/`.
fn is_url_with_login(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')))
}

/// The parts of cargo's settings that decide how dependencies are found and built, secrets left out.
pub(super) fn without_secrets(text: &str) -> Result<String, toml::de::Error> {
    let table: toml::Table = text.parse()?;
    let kept: toml::Table = table
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "source" | "registries" | "registry" | "target" | "build"))
        .map(|(name, value)| (name, clean(value)))
        .collect();
    Ok(kept.to_string())
}

fn clean(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::Table(table) => toml::Value::Table(
            table
                .into_iter()
                .filter(|(name, value)| {
                    let login = value.as_str().is_some_and(is_url_with_login);
                    // A wrapper around the compiler or a folder elsewhere is not there in the sandbox.
                    let elsewhere = matches!(
                        name.as_str(),
                        "rustc-wrapper" | "rustc-workspace-wrapper" | "target-dir" | "build-dir"
                    );
                    !is_secret(name) && !login && !elsewhere
                })
                .map(|(name, value)| (name, clean(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_lose_their_secrets_and_keep_what_finds_crates() {
        let text = r#"
            [registries.mine]
            index = "sparse+https://crates.example.org/"
            token = "cio-secret"
            [registries.other]
            index = "https://me:pass@crates.example.org/index"
            [source.crates-io]
            replace-with = "mirror"
            [source.mirror]
            registry = "sparse+https://mirror.example.org/"
            [build]
            rustc-wrapper = "sccache"
            jobs = 2
            [net]
            offline = true
            [alias]
            x = "run"
        "#;
        let kept = without_secrets(text).unwrap();
        for gone in ["secret", "token", "pass", "sccache", "alias", "offline"] {
            assert!(!kept.contains(gone), "{gone} in {kept}");
        }
        let table: toml::Table = kept.parse().unwrap();
        assert_eq!(table["registries"]["mine"]["index"].as_str(), Some("sparse+https://crates.example.org/"));
        assert_eq!(table["source"]["crates-io"]["replace-with"].as_str(), Some("mirror"));
        assert_eq!(table["source"]["mirror"]["registry"].as_str(), Some("sparse+https://mirror.example.org/"));
        assert_eq!(table["build"]["jobs"].as_integer(), Some(2));
        assert!(without_secrets("not toml [").is_err());
    }

    #[test]
    fn a_file_of_settings_is_shown_only_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        for (text, harmless) in [
            ("[alias]\nxtask = \"run\"\n", true),
            ("[registry]\ntoken = \"x\"\n", false),
            ("[registries.a]\ncredential-provider = \"y\"\n", false),
            ("[source.a]\nregistry = \"https://me:pw@host/\"\n", false),
            ("broken [", false),
        ] {
            let file = folder.path().join("config.toml");
            fs::write(&file, text).unwrap();
            assert_eq!(has_no_secrets(&file), harmless, "{text}");
        }
        assert!(!has_no_secrets(&folder.path().join("missing")));
    }
}
