//! The curve of the run under way: read on from where it was read to, so that a long run costs no more at its end than at its beginning.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use protocol::Budget;

use crate::files::FileError;
use crate::flow::{ExperimentId, Purpose, TrialEnd};
use crate::layout::Layout;
use crate::records::TrialRecord;
use crate::run::{Curve, CurvePoint};
use crate::store::Glance;

/// Bytes that are read at one look: what a run writes in a second is far less.
const MOST_AT_ONCE: u64 = 1 << 20;

/// Bytes of a line.
const MOST_LINE: usize = 256;

/// A run that may have a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Of which experiment.
    pub experiment: ExperimentId,
    /// Counted from 1 within it.
    pub ordinal: u32,
    /// Its budget.
    pub budget: Budget,
    /// Its seed.
    pub seed: u64,
    /// Its era.
    pub era: u32,
    /// What it is for.
    pub purpose: Purpose,
}

impl From<&TrialRecord> for Run {
    fn from(trial: &TrialRecord) -> Self {
        Self {
            experiment: trial.experiment.clone(),
            ordinal: trial.ordinal,
            budget: trial.budget,
            seed: trial.seed,
            era: trial.era,
            purpose: trial.purpose,
        }
    }
}

/// The run of the champion that a run is seen beside.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The run.
    pub run: Run,
    /// Whether it had the same seed.
    pub same_seed: bool,
}

/// The champion's run for the same purpose under the same seed, or else its newest; `None` for the champion's own runs.
pub fn compared(glance: &Glance, run: &Run) -> Option<Compared> {
    let stands = |number| glance.withdrawal.as_ref().is_none_or(|withdrawal| withdrawal.spares(number));
    let champion = glance.champions.iter().rev().map(|champion| champion.experiment).find(|number| stands(*number))?;
    if champion == run.experiment.number {
        return None;
    }
    let finished = |trial: &&TrialRecord| {
        let trained = trial.trained.as_ref().is_some_and(|trained| trained.end == TrialEnd::Finished);
        trial.experiment.number == champion && trained && trial.budget == run.budget
    };
    let runs = || glance.trials.iter().rev().filter(finished);
    let pair = runs().find(|of| (of.seed, of.era, of.purpose) == (run.seed, run.era, run.purpose));
    let other = || runs().find(|of| of.purpose == Purpose::Search);
    pair.or_else(other).map(|trial| Compared { run: trial.into(), same_seed: pair.is_some() })
}

/// A curve that grows.
#[derive(Debug)]
pub struct Follower {
    run: Run,
    path: PathBuf,
    read: u64,
    /// The end of what was read, by which a file is known again.
    tail: Vec<u8>,
    /// The beginning of a line that was not all there.
    rest: Vec<u8>,
    curve: Curve,
    newest: Option<CurvePoint>,
    beside: Option<(Compared, Curve)>,
}

impl Follower {
    /// Begins with a run, and reads the curve that it is seen beside.
    ///
    /// # Errors
    /// When that is there and cannot be read.
    pub fn begin(layout: &Layout, run: Run, compared: Option<Compared>) -> Result<Self, FileError> {
        let beside = match compared {
            None => None,
            Some(compared) => {
                let path = layout.curve(&compared.run.experiment, compared.run.ordinal);
                match Curve::read(&path, compared.run.budget) {
                    Ok(curve) => Some((compared, curve)),
                    Err(error) if error.is_not_found() => None,
                    Err(error) => return Err(error),
                }
            }
        };
        let path = layout.curve(&run.experiment, run.ordinal);
        Ok(Self {
            run,
            path,
            read: 0,
            tail: Vec::new(),
            rest: Vec::new(),
            curve: Curve::default(),
            newest: None,
            beside,
        })
    }

    /// Whether it follows this run.
    pub fn follows(&self, run: &Run) -> bool {
        self.run == *run
    }

    /// The run's budget.
    pub fn budget(&self) -> Budget {
        self.run.budget
    }

    /// The newest step.
    pub fn newest(&self) -> Option<&CurvePoint> {
        self.newest.as_ref()
    }

    /// (part of the budget, loss) so far.
    pub fn points(&self) -> Vec<(f64, f64)> {
        self.curve.points()
    }

    /// The champion's curve, and which run of it that is.
    pub fn beside(&self) -> Option<(&Compared, Vec<(f64, f64)>)> {
        self.beside.as_ref().map(|(compared, curve)| (compared, curve.points()))
    }

    /// Reads what was added. A file that is not there yet has nothing; one in which what was read last does not stand any more is another
    /// run's, and is read from its beginning.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read_on(&mut self) -> Result<(), FileError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed(error)),
        };
        // A trial that is run again writes over its curve, and may soon have written as much as before: the length alone says nothing.
        let known = self.read - self.tail.len() as u64;
        let mut found = self.read_from(&file, known, self.tail.len() as u64)?;
        if found != self.tail {
            (self.read, self.tail, self.rest, self.curve, self.newest) = Default::default();
            found.clear();
        }
        let added = self.read_from(&file, self.read, MOST_AT_ONCE)?;
        self.read += added.len() as u64;
        self.tail = [found, added.clone()].concat();
        self.tail.drain(..self.tail.len().saturating_sub(MOST_LINE));
        let text = [std::mem::take(&mut self.rest), added].concat();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text[..whole].split(|byte| *byte == b'\n') {
            // What is no point is left out: the night itself reads the file, and says what is wrong with it.
            let Ok(point) = serde_json::from_slice::<CurvePoint>(line) else { continue };
            self.curve.push(self.run.budget, &point);
            self.newest = Some(point);
        }
        // A line that never ends is none.
        self.rest = text[whole..].iter().take(MOST_LINE).copied().collect();
        Ok(())
    }

    /// At most so many bytes of the curve from a place on.
    fn read_from(&self, mut file: &File, place: u64, most: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(place)).map_err(|error| self.failed(error))?;
        file.take(most).read_to_end(&mut bytes).map_err(|error| self.failed(error))?;
        Ok(bytes)
    }

    fn failed(&self, source: std::io::Error) -> FileError {
        FileError::Io { action: "read the curve", path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const BUDGET: Budget = Budget::Seconds(10.0);

    fn line(step: u64) -> String {
        format!("{{\"step\":{step},\"tokens\":{},\"seconds\":{},\"loss\":3.5}}\n", 100 * step, step as f64 / 10.0)
    }

    fn follower(layout: &Layout) -> Follower {
        let mut trial = crate::fixture::trial(3, TrialEnd::Finished, None);
        trial.budget = BUDGET;
        Follower::begin(layout, Run::from(&trial), None).unwrap()
    }

    #[test]
    fn a_curve_is_read_on_however_its_lines_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let mut follower = follower(&layout);
        follower.read_on().unwrap();
        assert_eq!((follower.points(), follower.newest()), (vec![], None));
        std::fs::create_dir_all(follower.path.parent().unwrap()).unwrap();
        let text: String = (1..=50).map(line).collect();
        let mut file = File::create(&follower.path).unwrap();
        for piece in text.as_bytes().chunks(37) {
            file.write_all(piece).unwrap();
            follower.read_on().unwrap();
        }
        assert_eq!(follower.points().len(), 50);
        assert_eq!(follower.newest().unwrap().step, 50);
        // Nothing is read twice.
        follower.read_on().unwrap();
        assert_eq!(follower.points().len(), 50);
    }

    #[test]
    fn another_run_in_the_same_place_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let mut follower = follower(&layout);
        std::fs::create_dir_all(follower.path.parent().unwrap()).unwrap();
        std::fs::write(&follower.path, (1..=50).map(line).collect::<String>()).unwrap();
        follower.read_on().unwrap();
        std::fs::write(&follower.path, format!("{}nonsense\n{}", line(1), line(2))).unwrap();
        follower.read_on().unwrap();
        assert_eq!((follower.points().len(), follower.newest().unwrap().step), (2, 2));
        // As long as what was read, or longer: what stood at its end is not there.
        for steps in [2, 60] {
            let other: String = (1..=steps).map(|step| line(step).replace("\"loss\":3.5", "\"loss\":2.5")).collect();
            std::fs::write(&follower.path, format!("nonsense\n{other}")).unwrap();
            follower.read_on().unwrap();
            assert_eq!((follower.points().len() as u64, follower.newest().unwrap().step), (steps, steps));
            assert!(follower.points().iter().all(|(_, loss)| *loss == 2.5));
        }
        // A line without an end is not kept whole.
        std::fs::write(&follower.path, "x".repeat(100_000)).unwrap();
        follower.read_on().unwrap();
        assert!(follower.rest.len() <= MOST_LINE);
    }
}
