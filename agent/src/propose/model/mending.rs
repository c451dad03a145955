//! Which block of an answer each block that was sent again stands for.
//!
//! Pure. Blocks come without names, so they are told apart by their number and by what they say. Whatever is not clear from that goes back to
//! the model: a block that is applied twice, or lost, would make an experiment that nobody meant.

use crate::flow::Edit;

/// Why blocks cannot be put in the place of those that did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unclear {
    /// More or fewer came than did not fit, blocks that fitted and came again as they were aside.
    Number {
        /// Blocks that did not fit.
        wanted: usize,
        /// Blocks that could stand for them.
        found: usize,
        /// Blocks that fitted and came once more, unchanged.
        again: usize,
    },
    /// A block quotes the very lines of one that fitted, for another replacement.
    Changed {
        /// Which of those that fitted, counted from 0.
        place: usize,
    },
    /// A repair's block quotes lines that the experiment has replaced already, for another replacement.
    InTheFiles {
        /// In which file.
        path: String,
    },
    /// A repair brings nothing that the experiment does not have.
    NothingNew,
    /// All blocks fit, and what came is neither all of them nor a whole answer.
    Part {
        /// How many there are.
        all: usize,
        /// How many came.
        found: usize,
    },
}

/// The edits with those at `failed` replaced by what was sent for them; blocks that fitted and came again unchanged are the ones that are there.
/// Where none failed, all are replaced.
pub(super) fn mend(edits: &[Edit], failed: &[usize], sent: Vec<Edit>) -> Result<Vec<Edit>, Unclear> {
    if failed.is_empty() {
        return match sent.len() == edits.len() {
            true => Ok(sent),
            false => Err(Unclear::Part { all: edits.len(), found: sent.len() }),
        };
    }
    let came = sent.len();
    let mut mended = Vec::with_capacity(came);
    for edit in sent {
        let kept = edits.iter().enumerate().filter(|(place, _)| !failed.contains(place));
        let quotes_same = |(_, kept): &(usize, &Edit)| kept.path == edit.path && alike(&kept.search, &edit.search);
        match kept.into_iter().find(quotes_same) {
            Some((_, kept)) if alike(&kept.replace, &edit.replace) => {}
            Some((place, _)) => return Err(Unclear::Changed { place }),
            None => mended.push(edit),
        }
    }
    if mended.len() != failed.len() {
        let (wanted, found) = (failed.len(), mended.len());
        return Err(Unclear::Number { wanted, found, again: came - found });
    }
    let mut edits = edits.to_vec();
    for (place, edit) in failed.iter().zip(mended) {
        if let Some(old) = edits.get_mut(*place) {
            *old = edit;
        }
    }
    Ok(edits)
}

/// What a repair adds to the blocks of the experiment that it mends, which are in the files already: blocks of it that came again as they were
/// are left out, for one whose lines are still there would be applied twice. `fits`: whether a block fits the files as they stand now; one that
/// does not is a misfit like any other.
pub(super) fn added(base: &[Edit], sent: Vec<Edit>, fits: impl Fn(&Edit) -> bool) -> Result<Vec<Edit>, Unclear> {
    let mut added = Vec::with_capacity(sent.len());
    for edit in sent {
        // A whole file is a whole file, whatever was there.
        let quotes_same =
            |it: &&Edit| !edit.search.trim().is_empty() && it.path == edit.path && alike(&it.search, &edit.search);
        match base.iter().find(quotes_same) {
            Some(there) if alike(&there.replace, &edit.replace) => {}
            Some(_) if fits(&edit) => return Err(Unclear::InTheFiles { path: edit.path }),
            _ => added.push(edit),
        }
    }
    if added.is_empty() { Err(Unclear::NothingNew) } else { Ok(added) }
}

/// Whether two texts are the same but for white space at the ends of lines and a margin before all of them, which models do not copy
/// faithfully.
fn alike(one: &str, other: &str) -> bool {
    let lines = |text: &str| {
        let lines: Vec<&str> = text.lines().map(str::trim_end).skip_while(|line| line.is_empty()).collect();
        let filled = || lines.iter().filter(|line| !line.is_empty());
        let margin = filled().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
        let last = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        // A margin of other white space than spaces is cut between characters too, or not at all.
        lines[..last].iter().map(|line| line.get(margin..).unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    lines(one) == lines(other)
}

impl Unclear {
    /// What the model is asked, and the problem in few words.
    pub(super) fn question(&self) -> (String, String) {
        match self {
            Self::Number { wanted, found, again } => {
                let and_again = match again {
                    0 => String::new(),
                    again => format!(", besides {again} that fitted and are kept already"),
                };
                let (verb, blocks) = match wanted {
                    1 => ("block did not fit", "block that did not fit"),
                    _ => ("blocks did not fit", "blocks that did not fit"),
                };
                let question = format!(
                    "{wanted} {verb}, and you sent {found} without lines{and_again}. Nothing was taken of that. Send exactly the {blocks}, in \
                     their order, or the whole answer anew, with its lines.\n"
                );
                (question, format!("{found} blocks came where {wanted} were asked for"))
            }
            Self::Changed { place } => {
                let question = format!(
                    "Block {} fits and is kept, and you sent another for the very lines that it quotes. Nothing was taken of that. Send only what \
                     did not fit, or the whole answer anew, with its lines, where the other should change too.\n",
                    place + 1
                );
                (question, format!("another block came for the lines of block {}, which fits", place + 1))
            }
            Self::InTheFiles { path } => {
                let question = format!(
                    "Your experiment's blocks are in the files already, and you sent another for the very lines of {path} that one of them \
                     replaced. Nothing was taken of that. Quote the lines as they stand now, with that block in them.\n"
                );
                (question, "a block came for lines that the experiment has replaced already".to_owned())
            }
            Self::NothingNew => {
                let question = "All blocks that you sent are in the files already, so nothing would be mended by them. Send blocks that change \
                                the files as they stand now.\n"
                    .to_owned();
                (question, "only blocks came that the experiment has already".to_owned())
            }
            Self::Part { all, found } => {
                let question = format!(
                    "Your answer has {all} blocks, and you sent {found} without lines. Which of them they stand for cannot be told, and nothing was \
                     taken of that. Send the whole answer again, with its lines and all its blocks.\n"
                );
                (question, format!("{found} blocks came where the whole answer was asked for"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(search: &str, replace: &str) -> Edit {
        Edit { path: "a.rs".to_owned(), search: format!("{search}\n"), replace: format!("{replace}\n") }
    }

    /// What is there, which of it failed, what is sent, and what comes of it: the replacements, or a word of the question.
    #[test]
    fn only_what_is_clear_is_taken() {
        let (a, b, c) = (edit("a", "a\nx"), edit("b", "2"), edit("c", "3"));
        let (new_b, new_c) = (edit("bb", "2"), edit("cc", "3"));
        type Case<'a> = (&'a [&'a Edit], &'a [usize], &'a [&'a Edit], Result<&'a [&'a Edit], &'a str>);
        let spaced = edit("  a ", "  a\n  x  ");
        let cases: &[Case<'_>] = &[
            // The one that did not fit.
            (&[&a, &b], &[1], &[&new_b], Ok(&[&a, &new_b])),
            // With one that fitted, as it was or in other white space, before it or behind.
            (&[&a, &b], &[1], &[&a, &new_b], Ok(&[&a, &new_b])),
            (&[&a, &b], &[1], &[&new_b, &a], Ok(&[&a, &new_b])),
            (&[&a, &b], &[1], &[&spaced, &new_b], Ok(&[&a, &new_b])),
            (&[&a, &b, &c], &[0, 2], &[&a, &b, &new_c], Ok(&[&a, &b, &new_c])),
            // With more than can be told apart.
            (&[&a, &b], &[1], &[&new_c, &new_b], Err("1 block did not fit, and you sent 2 without lines. ")),
            (&[&a, &b], &[1], &[&a], Err("you sent 0 without lines, besides 1 that fitted")),
            (&[&a, &b, &c], &[1, 2], &[&new_b], Err("2 blocks did not fit, and you sent 1 ")),
            (&[&a, &b, &c], &[1, 2], &[&a, &new_b], Err("you sent 1 without lines, besides 1 that fitted")),
            // The lines of a block that fitted, for something else.
            (&[&a, &b], &[1], &[&edit("a", "y")], Err("Block 1 fits and is kept")),
            // Where all fitted and the whole was refused.
            (&[&a, &b], &[], &[&new_b, &new_c], Ok(&[&new_b, &new_c])),
            (&[&a, &b], &[], &[&new_b], Err("Your answer has 2 blocks, and you sent 1 ")),
        ];
        for (edits, failed, sent, expected) in cases {
            let owned = |edits: &[&Edit]| edits.iter().map(|edit| (*edit).clone()).collect::<Vec<_>>();
            let found = mend(&owned(edits), failed, owned(sent));
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, &owned(expected)),
                (Err(unclear), Err(words)) => {
                    let (question, _) = unclear.question();
                    assert!(question.contains(words), "{question}\nshould say: {words}");
                }
                _ => panic!("{sent:?}: {found:?}"),
            }
        }
    }
}
