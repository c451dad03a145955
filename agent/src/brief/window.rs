//! Sections of a brief, put together within a model's context window by what they are worth.
//!
//! Every section says how much of it must be there (its head) and what more there is, most valuable first. Heads are taken first, in
//! the order of their worth; then what is left of the window goes to the rest, piece by piece, always to the section whose next piece is
//! worth most for its length. What does not fit is counted, and its section says so, because a model that knows of a gap asks for it.

use crate::llm::spend::estimated_tokens;

/// A part of a brief under a heading of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Section {
    /// Its heading; ours, never anybody else's words.
    pub title: String,
    /// What must be there if the section is there at all; may be empty.
    pub head: String,
    /// What more there is, most valuable first.
    pub pieces: Vec<Piece>,
    /// What leaving the head out would cost; sections without which a brief makes no sense have infinity.
    pub worth: f64,
    /// What the pieces are, in the plural, for saying how many were left out.
    pub what: &'static str,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Its text, whole lines.
    pub text: String,
    /// What it is worth, in the same unit as all others.
    pub worth: f64,
}

/// A window that is too small for what a brief cannot do without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a brief needs {needed} tokens at least (by estimate) and has {window}; raise `context_tokens`, or use a model with a larger window"
)]
pub struct TooSmall {
    /// Estimated tokens of what cannot be left out.
    pub needed: u64,
    /// The window.
    pub window: u64,
}

/// Puts sections together in their order, within so many tokens by estimate.
///
/// # Errors
/// When the heads that cannot be left out do not fit.
pub fn fill(sections: &[Section], tokens: u64) -> Result<String, TooSmall> {
    let mut chosen: Vec<Option<usize>> = vec![None; sections.len()];
    let mut left = tokens;
    let mut by_worth: Vec<usize> = (0..sections.len()).collect();
    by_worth.sort_by(|a, b| sections[*b].worth.total_cmp(&sections[*a].worth));
    for index in by_worth {
        let section = &sections[index];
        let cost = estimated_tokens(&rendered(section, 0));
        if cost <= left {
            left -= cost;
            chosen[index] = Some(0);
        } else if section.worth.is_infinite() {
            let must = sections.iter().filter(|section| section.worth.is_infinite());
            let needed = must.map(|section| estimated_tokens(&rendered(section, 0))).sum();
            return Err(TooSmall { needed, window: tokens });
        }
    }
    // The pieces of a section are taken in order, so that a long one that does not fit ends its section.
    let mut open: Vec<bool> = chosen.iter().map(Option::is_some).collect();
    loop {
        let next = (0..sections.len())
            .filter(|index| open[*index])
            .filter_map(|index| {
                let piece = sections[index].pieces.get(chosen[index]?)?;
                Some((index, piece.worth / estimated_tokens(&piece.text).max(1) as f64))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some((index, _)) = next else { break };
        let taken = chosen[index].unwrap_or_default();
        let cost = estimated_tokens(&sections[index].pieces[taken].text);
        if cost <= left {
            left -= cost;
            chosen[index] = Some(taken + 1);
        } else {
            open[index] = false;
        }
    }
    let parts = sections.iter().zip(chosen).filter_map(|(section, taken)| Some(rendered(section, taken?)));
    Ok(parts.collect::<Vec<_>>().join("\n"))
}

/// A section with its first pieces. The line on what is left out is counted with the head, so that it always fits.
fn rendered(section: &Section, taken: usize) -> String {
    let mut text = format!("## {}\n\n{}", section.title, section.head);
    if !section.head.is_empty() && !section.head.ends_with('\n') {
        text.push('\n');
    }
    for piece in &section.pieces[..taken] {
        text.push_str(&piece.text);
        if !piece.text.ends_with('\n') {
            text.push('\n');
        }
    }
    let missing = section.pieces.len() - taken;
    if missing > 0 {
        text.push_str(&format!("({missing} more {} left out for want of room)\n", section.what));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn section(title: &str, worth: f64, pieces: &[(usize, f64)]) -> Section {
        let pieces = pieces.iter().map(|&(length, worth)| Piece { text: "x".repeat(length) + "\n", worth }).collect();
        Section { title: title.to_owned(), head: format!("{title}'s head"), pieces, worth, what: "lines" }
    }

    #[test]
    fn everything_is_there_where_there_is_room() {
        let text = fill(&[section("A", 1.0, &[(3, 1.0)]), section("B", 2.0, &[])], 1_000).unwrap();
        assert_eq!(text, "## A\n\nA's head\nxxx\n\n## B\n\nB's head\n");
    }

    #[test]
    fn what_is_worth_most_for_its_length_goes_first() {
        let sections = [
            section("Rules", f64::INFINITY, &[]),
            section("History", 5.0, &[(30, 9.0), (30, 8.0), (30, 0.1)]),
            section("Curves", 4.0, &[(60, 4.0)]),
        ];
        let text = fill(&sections, 75).unwrap();
        assert!(text.contains("## Rules") && text.contains("(1 more lines left out for want of room)"), "{text}");
        assert!(text.matches("xxx").count() >= 2, "{text}");
        // Less room: the least valuable section goes, the rules never.
        let small = fill(&sections, 35).unwrap();
        assert!(small.contains("## Rules") && !small.contains("## Curves"), "{small}");
        let error = fill(&sections, 3).unwrap_err();
        assert!(error.to_string().contains("raise `context_tokens`"), "{error}");
    }

    proptest! {
        #[test]
        fn the_window_is_never_passed(
            shapes in prop::collection::vec((0.0..9.0_f64, prop::collection::vec((0..80_usize, 0.0..9.0_f64), 0..6)), 0..6),
            window in 0..400_u64,
        ) {
            let sections: Vec<Section> =
                shapes.iter().enumerate().map(|(i, (worth, pieces))| section(&format!("S{i}"), *worth, pieces)).collect();
            let text = fill(&sections, window).unwrap();
            // Estimates round up piece by piece; the whole is never more.
            prop_assert!(estimated_tokens(&text) <= window + sections.len() as u64, "{}", estimated_tokens(&text));
        }
    }
}
