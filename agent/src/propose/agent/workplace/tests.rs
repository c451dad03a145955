//! What an agent may have done to its folder.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::propose::fixture::baseline;

const RECIPE: &str = "trainer/src/candidate/recipe.rs";

/// A folder with the candidate files, some of the harness and of the person's own.
fn export(folder: &Path) -> Result<(), String> {
    for file in baseline() {
        write(folder, &file.path, file.text.as_bytes());
    }
    write(folder, "trainer/src/main.rs", b"fn main() {}\n");
    write(folder, "trainer/src/candidate/mod.rs", b"mod recipe;\n");
    write(folder, ".cargo/config.toml", b"[net]\n");
    write(folder, "Cargo.toml", b"[workspace]\n");
    Ok(())
}

fn write(folder: &Path, path: &str, content: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What an agent does in its folder.
type Work = fn(&Path);

/// What is taken from a folder that somebody has worked in.
fn after(work: impl FnOnce(&Path)) -> Result<Vec<SourceFile>, String> {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("work");
    let workplace = Workplace::lay_out(&folder, export, &baseline(), &baseline()).unwrap();
    workplace.write_brief("brief").unwrap();
    work(&folder);
    workplace.changed(&Policy::default()).unwrap().map_err(|complaints| complaints.join("\n"))
}

#[test]
fn nothing_done_is_nothing_changed() {
    assert_eq!(after(|_| {}).unwrap(), baseline());
}

#[test]
fn candidate_files_are_taken_and_litter_is_left() {
    let files = after(|folder| {
        write(folder, RECIPE, b"fn recipe() {}\n");
        for litter in [
            "NOCTURNE_PROPOSAL.md",
            "scratch/notes/deep.md",
            "target/debug/x",
            ".aider.history",
            ".claude/state.json",
            ".git/hooks/post-commit",
        ] {
            write(folder, litter, b"x");
        }
    })
    .unwrap();
    let recipe = files.iter().find(|file| file.path == RECIPE).unwrap();
    assert_eq!(recipe.text, "fn recipe() {}\n");
    assert_eq!(files.len(), baseline().len());
}

#[test]
fn whatever_else_was_touched_is_told() {
    let cases: [(&str, Work); 15] = [
        ("`trainer/src/main.rs` was changed", |folder| write(folder, "trainer/src/main.rs", b"fn mine() {}\n")),
        ("`trainer/src/main.rs` was changed", |folder| write(folder, "trainer/src/main.rs", b"fn main() {\t\n")),
        ("`.cargo/config.toml` was changed", |folder| write(folder, ".cargo/config.toml", b"[build]\n")),
        ("`.cargo/more.toml` is new", |folder| write(folder, ".cargo/more.toml", b"")),
        ("`trainer/src/candidate/extra.rs` is new", |folder| write(folder, "trainer/src/candidate/extra.rs", b"")),
        ("`trainer/target/x` is new", |folder| write(folder, "trainer/target/x", b"")),
        ("`notes.md` is new", |folder| write(folder, "notes.md", b"")),
        ("`Cargo.toml` was deleted", |folder| fs::remove_file(folder.join("Cargo.toml")).unwrap()),
        ("`trainer/src/candidate/recipe.rs` was deleted", |folder| fs::remove_file(folder.join(RECIPE)).unwrap()),
        ("`trainer/src/candidate/recipe.rs` is a symbolic link", |folder| {
            fs::remove_file(folder.join(RECIPE)).unwrap();
            symlink("/etc/passwd", folder.join(RECIPE)).unwrap();
        }),
        ("`trainer/src/candidate` is a symbolic link", |folder| {
            fs::rename(folder.join("trainer/src/candidate"), folder.join("scratch")).unwrap();
            symlink("../../scratch", folder.join("trainer/src/candidate")).unwrap();
        }),
        ("recipe.rs` has 70000 bytes, at most 65536 are taken", |folder| write(folder, RECIPE, &[b'x'; 70_000])),
        ("recipe.rs` is no text in UTF-8", |folder| write(folder, RECIPE, &[0xff, 0xfe, b'\n'])),
        ("recipe.rs` is no text in UTF-8", |folder| write(folder, RECIPE, b"fn a() {}\0\n")),
        ("`trainer/src/candidate/pipe` is neither file nor folder", |folder| {
            let pipe = rustix::fs::FileType::Fifo;
            let path = folder.join("trainer/src/candidate/pipe");
            rustix::fs::mknodat(rustix::fs::CWD, path, pipe, Mode::RUSR, 0).unwrap();
        }),
    ];
    for (expected, work) in cases {
        let complaints = after(work).unwrap_err();
        assert!(complaints.contains(expected), "expected {expected}: {complaints}");
    }
}

#[test]
fn names_that_it_made_up_are_only_shown() {
    let complaints = after(|folder| write(folder, "a`b\n# Obey\u{202e}.rs", b"")).unwrap_err();
    assert_eq!(complaints.lines().count(), 1, "{complaints}");
    assert!(complaints.starts_with("`a b # Obey\\u{202e}.rs` is new"), "{complaints}");
    let many = after(|folder| (0..50).for_each(|n| write(folder, &format!("f{n}"), b""))).unwrap_err();
    assert!(many.lines().count() == 13 && many.ends_with("and 38 more"), "{many}");
}

#[test]
fn a_folder_is_laid_out_afresh_with_a_repository_of_its_own() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("work");
    write(&folder, "left/behind", b"poison");
    symlink("/etc", folder.join("trainer")).unwrap();
    let mut mended = baseline();
    mended[0].text.push_str("// mended\n");
    let workplace = Workplace::lay_out(&folder, export, &baseline(), &mended).unwrap();
    assert!(!folder.join("left").exists() && folder.join("trainer").symlink_metadata().unwrap().is_dir());
    let git = git2::Repository::open(&folder).unwrap();
    let dirty: Vec<String> = git.statuses(None).unwrap().iter().map(|entry| entry.path().unwrap().to_owned()).collect();
    assert_eq!(dirty, [mended[0].path.clone()]);
    assert!(git.remotes().unwrap().is_empty() && git.head().unwrap().peel_to_commit().unwrap().parent_count() == 0);
    workplace.write_brief("b").unwrap();
    write(&folder, PROPOSAL_FILE, b"Title: x\n");
    write(&folder, "scratch/notes", b"");
    // Agents go by what git leaves out: aider writes no such file, searches of others find none.
    for (path, ignored) in [(BRIEF_FILE, false), (PROPOSAL_FILE, false), ("scratch/notes", true), (".aider.tags", true)]
    {
        assert_eq!(git.is_path_ignored(path).unwrap(), ignored, "{path}");
    }
    assert_eq!(workplace.changed(&Policy::default()).unwrap().unwrap(), mended);
}

#[test]
fn the_lines_about_an_idea_are_read_with_care() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("work");
    let workplace = Workplace::lay_out(&folder, export, &baseline(), &baseline()).unwrap();
    let path = folder.join(PROPOSAL_FILE);
    assert!(workplace.proposal().unwrap_err().contains("is missing"));
    fs::write(&path, "Title: x\n").unwrap();
    assert_eq!(workplace.proposal().unwrap(), "Title: x\n");
    fs::write(&path, "x".repeat(70_000)).unwrap();
    assert!(workplace.proposal().unwrap_err().contains("has 70000 bytes"));
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    assert!(workplace.proposal().unwrap_err().contains("is no plain file"));
}

#[test]
fn a_folder_that_cannot_be_looked_through_is_given_up() {
    // Root sees everything; then there is nothing to test.
    if rustix::process::getuid().is_root() {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("work");
    let workplace = Workplace::lay_out(&folder, export, &baseline(), &baseline()).unwrap();
    fs::set_permissions(folder.join("trainer/src"), fs::Permissions::from_mode(0o000)).unwrap();
    let failed = workplace.changed(&Policy::default()).unwrap_err();
    fs::set_permissions(folder.join("trainer/src"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(failed.contains("cannot look through"), "{failed}");
}
