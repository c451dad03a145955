//! The state of a night that begins, or goes on after it was cut off. Nothing that follows from what happened is stored: `replay` takes
//! the night's trials and decisions in again, in order and through the functions that took them in the first time.

use std::collections::{BTreeSet, HashMap};

use super::contest::Contest;
use super::knowledge::Knowledge;
use super::making::Making;
use super::morning::Morning;
use super::reign::Reign;
use super::replay::History;
use super::testing::Testing;
use super::trial::Executable;
use super::{LeftOver, Machine, Phase};
use crate::flow::Purpose;
use crate::night::messages::{Champion, Effect, Ending, Limits, Start, Without};
use crate::stats::Rules;
use crate::stats::reference::Reference;

impl Machine {
    /// A night about to begin or to go on.
    pub fn new(limits: Limits, rules: Rules, start: Start) -> Self {
        let knowledge = Knowledge::new(&rules, &start);
        let baseline = Executable::of(start.baseline, None);
        let champion = Champion { number: 0, commit: baseline.candidate().commit.clone(), val_bpb: None };
        let mut machine = Self {
            limits,
            lot: start.lot,
            night: start.night,
            baseline,
            baseline_settled: false,
            crowned: None,
            champion,
            reign: Reign::default(),
            kept: Vec::new(),
            combined: HashMap::new(),
            searched: BTreeSet::new(),
            era: 0,
            since_drift_watch: 0.0,
            knowledge,
            reference: Reference::new(),
            hopes: HashMap::new(),
            expected_gain: 0.0,
            ordinals: HashMap::new(),
            next_number: start.next_number,
            turn: start.turn,
            settled: 0,
            fruitless: 0,
            faults: 0,
            left_alone: 0,
            making_faults: 0,
            making: Making::Idle,
            testing: Testing::Idle,
            contest: None,
            phase: Phase::Search,
            unmasked: None,
            cheat: None,
            left_over: None,
            stopping: false,
            finished: false,
            rules,
        };
        let in_hand = start.unsettled.as_ref().and_then(|unsettled| unsettled.without);
        let claimed = start.claimed || in_hand.is_some() || !start.tested_without.is_empty();
        let morning =
            claimed || start.ending.is_some() || start.trials.iter().any(|trial| trial.purpose == Purpose::Morning);
        let ending = start.ending.unwrap_or_else(|| machine.ending_before_the_morning(start.settled));
        let mut history =
            History::new(start.decisions, start.unsettled, start.baseline_settled, ending.clone(), claimed);
        let told = machine.replay(&start.trials, &mut history);
        machine.settled = start.settled;
        // The making lane begins anew: what it had in hand was on no record.
        machine.fruitless = 0;
        if let Some(unsettled) = history.unsettled.take() {
            let contest = Contest::resumed(unsettled);
            machine.contest = Some(Box::new(machine.with_parts(contest)));
        }
        if morning {
            machine.begin_morning(ending, claimed);
        }
        machine.resume_morning(in_hand, &start.tested_without);
        if machine.left_over.is_none() && !told.is_empty() {
            machine.left_over = Some(LeftOver::Told(told));
        }
        machine
    }

    /// Why the search had ended, where that is not on record.
    fn ending_before_the_morning(&self, settled: u32) -> Ending {
        if self.limits.experiments.is_some_and(|most| settled >= most) {
            Ending::ExperimentsDone
        } else if self.limits.seconds.is_some() {
            Ending::Deadline
        } else {
            Ending::NothingLeft
        }
    }

    /// Sealed text is spent once in a night: a morning that has begun goes on, whatever time there is now. `claimed`: its claim is on record
    /// already, or could not be made, in an earlier part of the night.
    pub(super) fn begin_morning(&mut self, ending: Ending, claimed: bool) {
        if matches!(self.phase, Phase::Search) && self.champion.number > 0 {
            let morning = Morning { claimed, ..Morning::new(ending, &self.kept, &self.combined) };
            self.phase = Phase::Morning(Box::new(morning));
        }
    }

    /// What has been left out, or is being tested, is not left out again.
    fn resume_morning(&mut self, in_hand: Option<Without>, tested_without: &[Without]) {
        let Phase::Morning(morning) = &mut self.phase else { return };
        morning.to_leave_out.retain(|one| Some(*one) != in_hand && !tested_without.contains(one));
    }

    /// What an earlier part of the night had still to do first.
    pub(super) fn begin(&mut self, effects: &mut Vec<Effect>) {
        match self.left_over.take() {
            Some(LeftOver::Evaluation(trial)) => self.evaluate(*trial, effects),
            Some(LeftOver::Told(told)) => {
                self.finished = told.iter().any(|effect| matches!(effect, Effect::Finish(_)));
                effects.extend(told);
            }
            None => {}
        }
    }
}
