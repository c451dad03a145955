//! The pages of `nocturne serve`: view models in, HTML out.
//!
//! Every page works without its scripts, by links and forms, and has neither a script nor a style of its own in it: the server's content
//! policy forbids both. Whatever a model, a log or a person wrote is escaped here, and made one line where it stands in one; addresses are made
//! by [`url`], which encodes what it is given. Scripts add the keyboard and what is live.
//!
//! Must not: read anything, know the time, or decide.

pub mod assets;
mod campaign;
mod compare;
mod drawing;
mod experiment;
mod experiments;
mod layout;
mod now;
mod parts;
mod pictures;
mod problem;
mod query;
mod review;
mod tree;
pub mod url;

pub use campaign::{AccumulatedRow, CampaignView, NightClaim, NightRow, campaign, nights};
pub use compare::{CompareView, Compared, PairedView, compare};
pub use drawing::{Drawing, LossNow, Tick, drawing};
pub use experiment::{AttemptView, ExperimentPage, Told, experiment};
pub use experiments::{ExperimentRow, ExperimentsView, experiments};
pub use layout::{Frame, Tab, frame};
pub use now::{EventLine, Fact, Line, NowView, TrialNow, now};
pub use parts::{NightHead, Outcome};
pub use pictures::{MOST_COMPARED, overlay, progress_of_nights};
pub use problem::{ProblemView, problem};
pub use query::{BadParameter, ExperimentsQuery, ROWS, Sort};
pub use review::{DecidedRow, PlanView, ReviewPage, review};
pub use tree::{TreeNode, TreeView, tree};

#[cfg(test)]
mod tests {
    use crate::contrast::unreadable;

    #[test]
    fn every_colour_of_the_pages_can_be_read_on_every_ground() {
        let texts = ["ink", "muted", "link", "kept", "bad", "doubt"];
        let css = include_str!("static/site.css");
        assert_eq!(unreadable(css, &texts, &["paper", "shade", "chosen"]), Vec::<String>::new());
        // Words on the button that accepts, and on what is said below.
        assert_eq!(unreadable(css, &["paper"], &["kept", "bad", "ink"]), Vec::<String>::new());
    }
}
