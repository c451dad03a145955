//! The pages of `nocturne serve`: view models in, HTML out.
//!
//! Every page works without its scripts, by links and forms, and has neither a script nor a style of its own in it: the server's content
//! policy forbids both. Whatever a model, a log or a person wrote is escaped here, and made one line where it stands in one; addresses are made
//! by [`url`], which encodes what it is given. Scripts add the keyboard and what is live.
//!
//! Must not: read anything, know the time, or decide.

mod drawing;
mod layout;
mod now;
mod problem;
pub mod url;

pub use drawing::{Drawing, LossNow, Tick, drawing};
pub use layout::{Frame, Tab, frame};
pub use now::{EventLine, Fact, Line, NowView, TrialNow, now};
pub use problem::{ProblemView, problem};

/// `/static/site.css`, for all pages.
pub const SITE_CSS: &str = include_str!("static/site.css");
/// `/static/keys.js`, for all pages: the keyboard, and deciding by it.
pub const KEYS_JS: &str = include_str!("static/keys.js");
/// `/static/live.js`, for the night now.
pub const LIVE_JS: &str = include_str!("static/live.js");
