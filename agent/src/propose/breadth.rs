//! How far to look: the longer the champion has not moved, the broader. Narrow search near what is known is cheap and safe while
//! it pays; when it no longer does, its ideas are used up, and only other ones can help.

use crate::flow::Brief;

/// Experiments without a new champion from which on a search is wide, and those from which on it is widest. A night that keeps one
/// idea in ten waits longer than the first by luck about once in four times, longer than the second once in twelve.
const WIDE: u32 = 12;
const WIDEST: u32 = 24;

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breadth {
    /// Close to what is known to be good.
    Usual,
    /// Further.
    Wide,
    /// As far as makes sense.
    Widest,
}

impl Breadth {
    /// For this brief.
    pub fn of(brief: &Brief) -> Self {
        match brief.stagnation {
            ..WIDE => Breadth::Usual,
            WIDE..WIDEST => Breadth::Wide,
            WIDEST.. => Breadth::Widest,
        }
    }

    /// What beliefs are widened by.
    pub fn factor(self) -> f64 {
        match self {
            Breadth::Usual => 1.0,
            Breadth::Wide => 1.5,
            Breadth::Widest => 2.0,
        }
    }

    /// `hypothesis`, with the reason for looking further before it; `so` says what is done about it.
    pub fn tell(self, brief: &Brief, hypothesis: &str, so: &str) -> String {
        if self == Breadth::Usual {
            return hypothesis.to_owned();
        }
        format!("The champion has stood for {} experiments, so {so}. {hypothesis}", brief.stagnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propose::fixture::brief;

    #[test]
    fn the_longer_the_broader() {
        let mut brief = brief(Vec::new());
        let expected = [(0, Breadth::Usual), (11, Breadth::Usual), (12, Breadth::Wide), (24, Breadth::Widest)];
        for (stagnation, breadth) in expected {
            brief.stagnation = stagnation;
            assert_eq!(Breadth::of(&brief), breadth, "{stagnation}");
        }
        assert!(Breadth::Usual < Breadth::Wide && Breadth::Wide.factor() < Breadth::Widest.factor());
        assert_eq!(Breadth::Usual.tell(&brief, "Why.", "it goes far"), "Why.");
        let told = Breadth::Widest.tell(&brief, "Why.", "it goes far");
        assert_eq!(told, "The champion has stood for 24 experiments, so it goes far. Why.");
    }
}
