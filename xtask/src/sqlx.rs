//! `cargo xtask prepare-sql [--check]`: writes `.sqlx/`, what the checked SQL macros know of the database when they are
//! compiled without one. Run it after every change of a statement or a migration; continuous integration runs it with
//! `--check`, which changes nothing and fails when the folder is not what it would write.
//!
//! It does what `cargo sqlx prepare` does, without that tool: a database made from `migrations/` (by the SQLite in Python's
//! standard library, or by `sqlite3`), and one check of the `nocturne` library with the variables that make the macros ask
//! it and write down the answers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::steps;

/// Applies the files named after the database, in order.
const APPLY_WITH_PYTHON: &str = "\
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
for name in sys.argv[2:]:
    with open(name, encoding='utf-8') as file:
        database.executescript(file.read())
database.close()
";

/// Writes `.sqlx/`, or with `check` only compares. The error is what to tell the person.
pub fn prepare(check: bool) -> Result<(), String> {
    compare(check, |asking| {
        let mut library = steps::cargo()?;
        library.args(["rustc", "--quiet", "--package", "nocturne", "--lib", "--profile", "check", "--"]);
        steps::run("Ask the database", asking.told_to(&mut library))
    })
}

/// What the macros have to be told to ask the database and to write down its answers.
pub struct Asking {
    database: String,
    folder: PathBuf,
    flag: String,
}

impl Asking {
    /// Tells it to a command that checks `nocturne` and ends in arguments of the compiler.
    pub fn told_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .args(["--cfg", &self.flag])
            .env("DATABASE_URL", &self.database)
            .env("SQLX_OFFLINE", "false")
            .env("SQLX_OFFLINE_DIR", &self.folder)
            .env("CARGO_INCREMENTAL", "0")
    }
}

/// Has `nocturne` checked by `compile` beside a fresh database, then does what [`prepare`] does.
pub fn compare(check: bool, compile: impl FnOnce(&Asking) -> Result<(), String>) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask lies in no workspace")?;
    let committed = root.join(".sqlx");
    let scratch = Scratch::new()?;
    let database = scratch.0.join("schema.db");
    let fresh = scratch.0.join("sqlx");
    fs::create_dir(&fresh).map_err(failed("create", &fresh))?;

    apply(&migrations(root)?, &database)?;
    // The macros' files are not among what cargo watches: a flag that is never the same makes it compile the crate again.
    let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let flag = format!("sqlx_prepare_run=\"{moment}\"");
    compile(&Asking { database: url(&database), folder: fresh.clone(), flag })
        .map_err(|why| format!("{why}; .sqlx is left as it was"))?;

    let (old, new) = (contents(&committed)?, contents(&fresh)?);
    if new.is_empty() {
        return Err("the check of `nocturne` wrote down no statement at all; .sqlx is left as it was".into());
    }
    if old == new {
        println!(".sqlx is up to date: {} statements", new.len());
        return Ok(());
    }
    let lacking = new.iter().filter(|(name, text)| old.get(*name) != Some(text)).count();
    let left_over = old.keys().filter(|name| !new.contains_key(*name)).count();
    if check {
        return Err(format!(
            ".sqlx does not fit the SQL in agent/src/store and migrations/: {lacking} statements are missing or changed, \
             {left_over} are left over; run `cargo xtask prepare-sql` and commit the folder"
        ));
    }
    fs::create_dir_all(&committed).map_err(failed("create", &committed))?;
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        let path = committed.join(name);
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    for (name, text) in &new {
        let path = committed.join(name);
        fs::write(&path, text).map_err(failed("write", &path))?;
    }
    println!(".sqlx: {} statements, {lacking} written, {left_over} removed", new.len());
    Ok(())
}

/// A folder of its own that is removed however this ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("nocturne-prepare-sql-{}", std::process::id()));
        fs::create_dir(&path).map_err(failed("create", &path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// The numbered files in order.
fn migrations(root: &Path) -> Result<Vec<PathBuf>, String> {
    let folder = root.join("migrations");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed("read", &folder))? {
        let path = entry.map_err(failed("read", &folder))?.path();
        if path.extension() == Some(OsStr::new("sql")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Makes the database. Python first, because setting up libtorch needs it anyway; its SQLite may be too old for STRICT tables.
fn apply(migrations: &[PathBuf], database: &Path) -> Result<(), String> {
    let python = Command::new("python3").args(["-c", APPLY_WITH_PYTHON]).arg(database).args(migrations).output();
    let complaint = match python {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => format!("python3: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => format!("python3: {error}"),
    };
    if database.exists() {
        fs::remove_file(database).map_err(failed("remove", database))?;
    }
    for migration in migrations {
        let read = format!(".read '{}'", migration.display());
        match Command::new("sqlite3").arg("-bail").arg(database).arg(read).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                return Err(format!("{}: {}", migration.display(), String::from_utf8_lossy(&output.stderr).trim()));
            }
            Err(error) => {
                return Err(format!(
                    "no database could be made from migrations/, which takes python3 with SQLite 3.37 or newer, or the \
                     program sqlite3 ({complaint}; sqlite3: {error})"
                ));
            }
        }
    }
    Ok(())
}

/// A path as a URL that SQLite's driver reads back as the same path.
fn url(database: &Path) -> String {
    let path = database.to_string_lossy();
    let escaped: String = path
        .chars()
        .map(|c| match c {
            '%' => "%25".to_owned(),
            '?' => "%3F".to_owned(),
            '#' => "%23".to_owned(),
            ' ' => "%20".to_owned(),
            c => c.to_string(),
        })
        .collect();
    format!("sqlite://{escaped}")
}

/// Name and text of every prepared statement in a folder; none when there is no folder.
fn contents(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut statements = BTreeMap::new();
    if !folder.exists() {
        return Ok(statements);
    }
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        if path.extension() == Some(OsStr::new("json")) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            statements.insert(name, fs::read_to_string(&path).map_err(failed("read", &path))?);
        }
    }
    Ok(statements)
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> String + 'a {
    move |error| format!("cannot {action} {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_what_a_url_would_take_for_its_own() {
        assert_eq!(url(Path::new("/a b/c?d#e%f.db")), "sqlite:///a%20b/c%3Fd%23e%25f.db");
    }
}
