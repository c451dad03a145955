//! A person's coding agent (`claude`, `codex`, `aider`, any command) as a source of ideas.
//!
//! - `words` the brief that it finds in its folder;
//! - `workplace` its folder: a copy of the champion's files, and what was changed in it;
//! - `answer` from there to a proposal, or to what is to be mended;
//! - `process` the program itself, its time and its end;
//! - `record` what came of it, as it is put on record before it is used;
//! - `secrets` the person's keys, taken out of what is kept.
//!
//! An agent is a program of the person's. It runs as the person, with the person's environment, network and keys, and is *not* confined:
//! what it may do is between the person and it. What it is handed holds nothing of a night's but a copy of committed files and the brief: no
//! seeds, no held-out text, no way into the person's repository. And what is taken from it is the candidate files alone, as text, through
//! the same policy as everybody's.

pub(super) mod answer;
pub(super) mod process;
pub(super) mod record;
pub(super) mod secrets;
pub(super) mod words;
pub(super) mod workplace;
