//! The loop: a pure state machine ([`machine`]) and one driver ([`driver`]) that performs what the machine asks for.
//!
//! The machine knows nothing of files, processes, clocks or SQL: events and a time in seconds go in, effects come out. Every
//! decision of a night can therefore be tested without a night.

mod ahead;
mod asking;
mod begin;
mod briefing;
mod claim;
pub mod context;
mod cores;
pub mod device;
pub mod driver;
mod earlier;
mod enlist;
mod evaluate;
mod journal;
pub mod kernels;
pub mod live;
mod lock;
mod looks;
pub mod machine;
mod making;
pub mod messages;
pub mod open;
mod open_error;
mod opening;
mod perform;
mod queue;
pub mod ready;
pub mod redteam;
pub mod replaying;
mod resume;
mod retreat;
mod settle;
mod smoke;
mod starting;
mod telling;
mod trial;
pub(crate) mod try_outs;
pub mod workbench;

pub use context::Context;
pub use driver::{DriverError, Outcome, drive};
pub use live::{Unwatched, Watcher};
pub use lock::{Lock, is_running};
pub use machine::{Foreseen, Machine};
pub(crate) use making::MOST_BUILD_SECONDS;
pub use making::MOST_START_SECONDS;
pub use messages::{Ending, Limits};
pub use open::{CutOff, OpenError, Opened, Wishes, open};
pub use trial::MOST_TRIAL_SECONDS;
