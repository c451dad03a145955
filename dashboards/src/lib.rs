//! View models in, pictures and pages out.
//!
//! This crate draws what a night found: the progress of the night, its loss curves, one picture per experiment, and a simple
//! page. It does no IO, knows no SQL and no clock, and never panics on what it is given: every text is escaped, every number
//! may be missing or absurd. The fonts are in the binary, so it draws on a machine without any.

mod axis;
mod canvas;
#[cfg(test)]
mod contrast;
mod curve;
mod diff;
mod importance;
mod labels;
mod legend;
mod page;
mod picture;
mod plots;
pub mod site;
mod text;
mod verification;
mod view;

pub use diff::{DIFF_CSS, diff, diff_up_to};
pub use page::{ARTICLE_CSS, NightPicture, NightPictures, page};
pub use picture::{Picture, PictureError};
pub use plots::calibration::calibration;
pub use plots::drift::{drift, drift_warning};
pub use plots::effects::effects;
pub use plots::experiment::experiment;
pub use plots::importance::importance;
pub use plots::losses::losses;
pub use plots::parallel::parallel;
pub use plots::progress::progress;
pub use plots::timeline::timeline;
pub use view::{
    BookedView, CalibrationView, CertificateView, Choice, ClaimView, CurveAxis, CurvePoint, CurveView, EarlyView,
    EvidenceView, ExperimentView, GapView, LeftOutView, LooksView, MachineView, ModelView, NightView, NoiseView,
    RecipeView, ReviewView, RunView, SpanView, Stage, TrialView, Verdict, VerificationView,
};
