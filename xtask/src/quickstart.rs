//! Two real nights of the quickstart that show whether "kept" means better: one in which nothing can be better, and one in which
//! something must be.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::night::Clone;
use crate::steps;

const CAMPAIGN: &str = "experiments/quickstart";
const RECIPE: &str = "trainer/src/candidate/recipe.rs";

/// The constant that is made worse, as it stands in the recipe and as it is planted.
const PLANTED: (&str, &str, &str) = ("matrix_rate", "matrix_rate: 0.04,", "matrix_rate: 0.01,");

/// Identical candidates: the programs are the same to the last bit, so nothing may be kept and nothing claimed.
pub fn identical(experiments: &str) -> Result<(), String> {
    let agent = steps::agent()?;
    let clone = Clone::new(steps::root()?, "quickstart-identical")?;
    let document = night(&agent, clone.folder(), "identical", experiments)?;
    let kept = listed(&document)?.iter().filter(|experiment| experiment["verdict"] == "kept").count();
    if kept > 0 || document["champion"]["commit"] != document["baseline"]["commit"] {
        return Err(format!("{kept} identical candidates were kept"));
    }
    eprintln!("==> Nothing was kept, as it must be");
    Ok(())
}

/// A baseline made worse in one constant: the tuner must find it, and the rule must keep it.
pub fn planted(experiments: &str) -> Result<(), String> {
    let agent = steps::agent()?;
    let clone = Clone::new(steps::root()?, "quickstart-planted")?;
    let (name, good, bad) = PLANTED;
    let path = clone.folder().join(RECIPE);
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if text.matches(good).count() != 1 {
        return Err(format!("{RECIPE} does not say {good:?} once"));
    }
    fs::write(&path, text.replace(good, bad)).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let identity = ["-c", "user.name=Nocturne", "-c", "user.email=nocturne@localhost"];
    steps::run(
        "Plant a worse constant",
        Command::new("git")
            .args(identity)
            .args(["commit", "--quiet", "--all", "--message", "Make the baseline worse in one constant"])
            .current_dir(clone.folder()),
    )?;
    let document = night(&agent, clone.folder(), "tuner", experiments)?;
    let raised = format!("Raise {name} ");
    let found = listed(&document)?.iter().any(|experiment| {
        experiment["verdict"] == "kept" && experiment["title"].as_str().is_some_and(|title| title.starts_with(&raised))
    });
    if !found {
        return Err(format!("no experiment that raises {name} was kept"));
    }
    eprintln!("==> The planted gain was found and kept");
    Ok(())
}

fn night(agent: &Path, clone: &Path, proposer: &str, experiments: &str) -> Result<Value, String> {
    let began = Instant::now();
    let said = steps::answer(
        &format!("A night of {experiments} experiments by the proposer {proposer}"),
        Command::new(agent)
            .args(["night", CAMPAIGN, "--experiments", experiments, "--proposer", proposer, "--json"])
            .current_dir(clone),
    )?;
    eprintln!("==> done after {:.0} s", began.elapsed().as_secs_f64());
    // For a person: the same as a table, with the reasons.
    let said: Value = serde_json::from_str(said.trim()).map_err(|error| format!("night --json: {error}"))?;
    let night = said["night"].as_str().ok_or("the night has no name")?;
    for what in [&["list", night][..], &["show", night]] {
        steps::run("What it found", Command::new(agent).args(what).current_dir(clone))?;
    }
    Ok(said)
}

fn listed(document: &Value) -> Result<&Vec<Value>, String> {
    document["experiments"].as_array().ok_or_else(|| "`experiments` is not a list".to_owned())
}
