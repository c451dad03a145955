//! From a model's answers to a proposal: what an answer lacks goes back to its author, round by round, until it fits or is given up.
//!
//! Pure: a text goes in, and out comes a proposal, the next question, or a reason to give up. Nothing is ever applied by half: blocks that
//! fit wait until all do.

use super::answer::{self, AnswerError, Idea};
use super::{habits, mending};
use crate::brief::quote::{inline, quote};
use crate::edit::{CheckedPatch, EditError, Policy, apply, blocks};
use crate::flow::{Author, Brief, Edit, Proposal, SourceFile, Wish};
use crate::propose::alike;

/// Rounds in which an answer may be mended, block by block.
pub const MOST_ROUNDS: u32 = 3;

/// The round in which whole files are asked for; the last.
const WHOLE_FILE_ROUND: u32 = MOST_ROUNDS + 1;

/// Lines of an error that are shown.
const MOST_LINES: usize = 80;

/// What is to be done with an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is a proposal.
    Done(Box<Proposal>),
    /// Its author is asked this.
    Ask(String),
    /// It comes to nothing.
    GiveUp(String),
}

/// What is known of a model's idea so far.
pub struct Draft<'a> {
    brief: &'a Brief,
    policy: Policy,
    /// Edits of the proposal that is being repaired; new ones go on top.
    base: Vec<Edit>,
    /// The files that new edits are written for.
    files: Vec<SourceFile>,
    /// What the model said of its idea.
    idea: Option<Idea>,
    /// Places in the idea's edits that do not fit.
    failed: Vec<usize>,
    round: u32,
    last_problem: String,
    shown_alike: bool,
    author: Author,
    /// Names the proposal, and makes it one particular idea; `None`: any idea will do, and its code names it.
    key: Option<String>,
}

impl<'a> Draft<'a> {
    /// Nothing yet, for the champion's files.
    pub fn fresh(brief: &'a Brief, author: Author, key: Option<String>) -> Self {
        Self {
            brief,
            policy: Policy::default(),
            base: Vec::new(),
            files: brief.champion_files.clone(),
            idea: None,
            failed: Vec::new(),
            round: 0,
            last_problem: String::new(),
            // What is being repaired was shown already.
            shown_alike: key.is_some() && brief.details.asked.is_none(),
            author,
            key,
        }
    }

    /// A proposal that does not build, whose edits stay and are mended by more; `None` where they no longer fit the champion.
    pub fn on_top_of(brief: &'a Brief, proposal: &Proposal, author: Author) -> Option<Self> {
        let files = apply(&brief.champion_files, &proposal.edits).ok()?;
        let idea = Idea {
            title: proposal.title.clone(),
            hypothesis: proposal.hypothesis.clone(),
            family: proposal.family.clone(),
            predicted: proposal.predicted_effect.unwrap_or_default(),
            confidence: proposal.confidence.unwrap_or_default(),
            edits: Vec::new(),
        };
        let fresh = Self::fresh(brief, author, Some(proposal.key.clone()));
        Some(Self { base: proposal.edits.clone(), files, idea: Some(idea), ..fresh })
    }

    /// The files that new edits are written for.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Adds to what the proposal cost.
    pub fn paid(&mut self, dollars: f64) {
        self.author.cost_usd += dollars;
    }

    /// Takes an answer in.
    pub fn take(&mut self, text: &str) -> Step {
        let read = match &self.idea {
            // Blocks without lines mend the idea that is there.
            Some(idea) if !answer::has_title(text) => self.mended(idea, text),
            _ => answer::read(text).map_err(|error| self.unreadable(&error)),
        };
        let idea = match read.and_then(|idea| self.beyond_the_base(idea)) {
            Ok(idea) => idea,
            Err(question) => return self.next_round(question),
        };
        self.failed.clear();
        let misfits = self.misfits(&idea.edits);
        if !misfits.is_empty() {
            let question = self.about_misfits(&idea, &misfits);
            self.failed = misfits.into_iter().map(|(place, _)| place).collect();
            self.idea = Some(idea);
            return self.next_round(question);
        }
        let mut proposal = self.proposal(&idea);
        self.idea = Some(idea);
        let patch = match CheckedPatch::check(&proposal, &self.brief.champion_files, &self.policy) {
            Ok(patch) => patch,
            Err(error) => return self.next_round(self.about_refusal(&error)),
        };
        let digest = patch.digest();
        let tried = self.brief.history.iter().find(|past| past.digest == digest);
        if let Some(past) = tried
            && self.key.is_none()
        {
            let question = format!(
                "Experiment {} tried exactly this code (`{}`): {}. The same code is never run twice. Send another idea, whole, with its lines.\n",
                past.id,
                inline(&past.proposal.title, 80),
                past.verdict.map_or("it is still being tested", |verdict| verdict.name())
            );
            self.idea = None;
            return self.next_round((question, format!("the same code as experiment {}", past.id)));
        }
        // An idea that has a name (the person's, or one that is being repaired) is not replaced by another under that name: where its code
        // was tried, the night refuses it and says as which experiment.
        if tried.is_some() {
            return Step::Done(Box::new(proposal));
        }
        if !self.shown_alike {
            self.shown_alike = true;
            let alike = alike::alike(&proposal.title, Some(&proposal.family), &self.brief.history);
            if !alike.is_empty() {
                // What comes next may be another idea, so it has to bring its own lines.
                self.idea = None;
                // Not a fault of the answer, and no round of it.
                return Step::Ask(alike::question(&alike, self.brief.details.asked.is_some()));
            }
        }
        if proposal.key.is_empty() {
            proposal.key = digest.chars().take(16).collect();
        }
        Step::Done(Box::new(proposal))
    }

    /// The answer was cut off for its length.
    pub fn cut_off(&mut self, tokens: u32) -> Step {
        let question = format!(
            "Your answer was cut off: it had used up all {tokens} tokens that it may have. Nothing of it was taken. Answer again, shorter: think \
             less, choose a smaller change, and quote no more lines than it takes.\n"
        );
        self.next_round((question, "the answer was cut off for its length".to_owned()))
    }

    /// Tools were called where there are none (any more).
    pub fn called(&mut self, why: &str) -> Step {
        self.next_round((format!("{why}. Answer now, in the form that you were told.\n"), why.to_owned()))
    }

    fn next_round(&mut self, (question, problem): (String, String)) -> Step {
        self.round += 1;
        self.last_problem = problem;
        match self.round {
            1..=MOST_ROUNDS => Step::Ask(question),
            WHOLE_FILE_ROUND => {
                self.idea = self.idea.take().filter(|_| !self.base.is_empty());
                self.failed.clear();
                Step::Ask(format!(
                    "{question}\nThis is the last try. Send the whole answer anew, its lines first, and instead of quoting lines replace whole \
                     files: for each file that you change its path, then a block with nothing between `<<<<<<< SEARCH` and `=======`, and the \
                     whole new file before `>>>>>>> REPLACE`.\n"
                ))
            }
            _ => Step::GiveUp(format!(
                "given up after {MOST_ROUNDS} rounds and a try with whole files: {}",
                self.last_problem
            )),
        }
    }

    /// The idea without the blocks of what it repairs, which are in the files already.
    fn beyond_the_base(&self, idea: Idea) -> Result<Idea, (String, String)> {
        if self.base.is_empty() {
            return Ok(idea);
        }
        let fits = |edit: &Edit| apply(&self.files, std::slice::from_ref(edit)).is_ok();
        let edits = mending::added(&self.base, idea.edits, fits).map_err(|unclear| unclear.question())?;
        Ok(Idea { edits, ..idea })
    }

    /// The idea with the blocks of a text in place of those that do not fit, or as more edits of a proposal that is repaired.
    fn mended(&self, idea: &Idea, text: &str) -> Result<Idea, (String, String)> {
        let sent = blocks::parse(answer::behind_thought(text)).map_err(|error| self.unreadable(&error.into()))?;
        // A repair's blocks of a round are all sent again; those of an answer take the place of the ones that did not fit.
        let edits = match self.failed.is_empty() && !self.base.is_empty() {
            true => sent,
            false => mending::mend(&idea.edits, &self.failed, sent).map_err(|unclear| unclear.question())?,
        };
        // Seen together: a whole file in place of one block undoes the others.
        let complaints = habits::complaints(&edits);
        if !complaints.is_empty() {
            return Err(self.unreadable(&AnswerError::Habits(complaints)));
        }
        Ok(Idea { edits, ..idea.clone() })
    }

    fn unreadable(&self, error: &AnswerError) -> (String, String) {
        let words = error.to_string();
        let again = match (&self.idea, self.failed.is_empty()) {
            (Some(_), false) => "Send the blocks that did not fit again, or the whole answer anew, with its lines",
            (Some(_), true) if !self.base.is_empty() => "Send the blocks again",
            _ => "Send the whole answer again",
        };
        let problem = beginning(&words);
        (format!("Your answer cannot be taken:\n\n{}\n{again}.\n", quote(&words, MOST_LINES)), problem)
    }

    /// Edits that do not fit, each with the reason. Those that do are applied, so that later ones find what they build on.
    fn misfits(&self, edits: &[Edit]) -> Vec<(usize, EditError)> {
        let mut files = self.files.clone();
        let mut misfits = Vec::new();
        for (place, edit) in edits.iter().enumerate() {
            // An absurd length is the policy's to refuse, before anything searches for it.
            if edit.search.len() > self.policy.max_file_bytes {
                continue;
            }
            match apply(&files, std::slice::from_ref(edit)) {
                Ok(after) => files = after,
                Err(error) => misfits.push((place, error)),
            }
        }
        misfits
    }

    fn about_misfits(&self, idea: &Idea, misfits: &[(usize, EditError)]) -> (String, String) {
        let (all, wrong) = (idea.edits.len(), misfits.len());
        let mut question = format!("{} of your {all} blocks fit and are kept. ", all - wrong);
        question.push_str(match wrong {
            1 => "This one does not:\n",
            _ => "These do not:\n",
        });
        let mut problem = String::new();
        for (place, error) in misfits {
            // An edit is tried by itself, so that its error counts one of one.
            let words = error.to_string().replacen("edit 1 of 1", &format!("block {} of {all}", place + 1), 1);
            if problem.is_empty() {
                problem = beginning(&words);
            }
            question.push_str(&format!("\n{}", quote(&words, MOST_LINES)));
        }
        question.push_str(match wrong {
            1 => "\nSend only that block again, mended, under its path and without the lines.\n",
            _ => {
                "\nSend only those blocks again, mended, in their order, each under its path, and without the lines.\n"
            }
        });
        (question, problem)
    }

    fn about_refusal(&self, error: &EditError) -> (String, String) {
        let words = error.to_string();
        let again = match self.base.is_empty() {
            true => "Send the whole answer again, mended, with its lines",
            false => "Send all blocks of this round again, mended",
        };
        let question =
            format!("All blocks fit, but the result is refused:\n\n{}\n{again}.\n", quote(&words, MOST_LINES));
        (question, beginning(&words))
    }

    fn proposal(&self, idea: &Idea) -> Proposal {
        let model = self.author.model.as_deref().unwrap_or_default();
        let source = match &self.brief.details.asked {
            Some(Wish { id, by: None, .. }) => {
                format!("the person's queue, entry {id}; worked out by the model {model}")
            }
            Some(Wish { id, by: Some(by), .. }) => {
                format!("the person's queue, entry {id}, from an agent outside ({by}); worked out by the model {model}")
            }
            None => format!("the model {model}"),
        };
        Proposal {
            key: self.key.clone().unwrap_or_default(),
            title: idea.title.clone(),
            hypothesis: idea.hypothesis.clone(),
            source,
            family: idea.family.clone(),
            predicted_effect: Some(idea.predicted),
            confidence: Some(idea.confidence),
            edits: self.base.iter().chain(&idea.edits).cloned().collect(),
            author: self.author.clone(),
        }
    }
}

/// What words begin with: their first line, and the next where that only announces it.
fn beginning(words: &str) -> String {
    let mut lines = words.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(first), Some(second)) if first.ends_with(':') => inline(&format!("{first} {second}"), 300),
        (first, _) => inline(first.unwrap_or(words), 300),
    }
}
