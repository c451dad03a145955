//! The pages of `nocturne serve`: view models in, HTML out.
//!
//! Every page works without its scripts, by links and forms, and has neither a script nor a style of its own in it: the server's content
//! policy forbids both. Whatever a model, a log or a person wrote is escaped here, and made one line where it stands in one; addresses are made
//! by [`url`], which encodes what it is given. Scripts add the keyboard and what is live.
//!
//! Must not: read anything, know the time, or decide.

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

/// `/static/site.css`, for all pages.
pub const SITE_CSS: &str =
    concat!(include_str!("../diff.css"), include_str!("../page/article.css"), include_str!("static/site.css"));
/// `/static/keys.js`, for all pages: the keyboard, and deciding by it.
pub const KEYS_JS: &str = include_str!("static/keys.js");
/// `/static/live.js`, for the night now.
pub const LIVE_JS: &str = include_str!("static/live.js");
