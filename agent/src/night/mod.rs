//! The loop: a pure state machine ([`machine`]) and one driver ([`driver`]) that performs what the machine asks for.
//!
//! The machine knows nothing of files, processes, clocks or SQL: events and a time in seconds go in, effects come out. Every
//! decision of a night can therefore be tested without a night.

pub mod context;
pub mod device;
pub mod driver;
mod evaluate;
pub mod live;
mod lock;
pub mod machine;
pub mod messages;
pub mod open;
mod perform;
pub mod ready;
pub mod redteam;
pub mod resume;
pub mod workbench;

pub use context::Context;
pub use driver::{DriverError, Outcome, drive};
pub use live::{Unwatched, Watcher};
pub use lock::{Lock, is_running};
pub use machine::Machine;
pub use messages::{Ending, Limits};
pub use open::{CutOff, OpenError, Opened, Wishes, open};
pub use perform::{MOST_START_SECONDS, MOST_TRIAL_SECONDS};
