//! A night's pictures: which there are, what their files are called, and those that go into a page.

use std::collections::BTreeMap;

use crate::picture::Picture;
use crate::view::CurveAxis;

/// Which picture of a night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NightPicture {
    /// From [`crate::progress`].
    Progress,
    /// From [`crate::effects`].
    Effects,
    /// From [`crate::losses`]; against compute only where the number of parameters is known.
    Loss(CurveAxis),
    /// From [`crate::importance`].
    Importance,
    /// From [`crate::parallel`].
    Parallel,
    /// From [`crate::calibration`].
    Calibration,
    /// From [`crate::timeline`].
    Timeline,
    /// From [`crate::drift`].
    Drift,
    /// From [`crate::experiment`], by the experiment's number. Each adds some 30 kB to the page.
    Experiment(u32, CurveAxis),
}

impl NightPicture {
    /// A name fit for a file: `progress`, `experiment-003`.
    pub fn name(self) -> String {
        let axis = |axis| match axis {
            CurveAxis::Tokens => "tokens",
            CurveAxis::Time => "time",
            CurveAxis::Compute => "compute",
        };
        match self {
            NightPicture::Progress => "progress".to_owned(),
            NightPicture::Effects => "effects".to_owned(),
            NightPicture::Loss(of) => format!("loss-{}", axis(of)),
            NightPicture::Importance => "importance".to_owned(),
            NightPicture::Parallel => "parallel".to_owned(),
            NightPicture::Calibration => "calibration".to_owned(),
            NightPicture::Timeline => "timeline".to_owned(),
            NightPicture::Drift => "drift".to_owned(),
            NightPicture::Experiment(number, CurveAxis::Tokens) => format!("experiment-{number:03}"),
            NightPicture::Experiment(number, of) => format!("experiment-{number:03}-{}", axis(of)),
        }
    }
}

/// The pictures that go into a page; each may be missing.
#[derive(Debug, Clone, Default)]
pub struct NightPictures(BTreeMap<NightPicture, Picture>);

impl NightPictures {
    /// That one, where there is one.
    pub fn get(&self, which: NightPicture) -> Option<&Picture> {
        self.0.get(&which)
    }

    /// Those that there are.
    pub fn iter(&self) -> impl Iterator<Item = (NightPicture, &Picture)> {
        self.0.iter().map(|(which, picture)| (*which, picture))
    }
}

impl FromIterator<(NightPicture, Picture)> for NightPictures {
    fn from_iter<I: IntoIterator<Item = (NightPicture, Picture)>>(pictures: I) -> Self {
        Self(pictures.into_iter().collect())
    }
}

/// The pictures of one experiment's curve; each may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Curves<'a> {
    /// Against tokens.
    pub tokens: Option<&'a Picture>,
    /// Against time.
    pub time: Option<&'a Picture>,
    /// Against compute.
    pub compute: Option<&'a Picture>,
}

impl<'a> Curves<'a> {
    pub(super) fn of(pictures: &'a NightPictures, number: u32) -> Self {
        let against = |axis| pictures.get(NightPicture::Experiment(number, axis));
        Self {
            tokens: against(CurveAxis::Tokens),
            time: against(CurveAxis::Time),
            compute: against(CurveAxis::Compute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_ever() {
        let names = [
            NightPicture::Progress,
            NightPicture::Loss(CurveAxis::Time),
            NightPicture::Experiment(3, CurveAxis::Tokens),
            NightPicture::Experiment(12, CurveAxis::Compute),
        ];
        assert_eq!(
            names.map(NightPicture::name),
            ["progress", "loss-time", "experiment-003", "experiment-012-compute"]
        );
    }
}
