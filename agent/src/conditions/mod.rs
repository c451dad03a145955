//! The conditions under which a trial ran: who else used the processors or the GPU, whether heat lowered a clock, whether the hardware
//! reported errors. A trial that the machine disturbed is a fault of the machine and is run again; it says nothing about an experiment.
//!
//! [`judge`] decides, purely, from [`Reading`]s; `cpu`, `memory`, `gpu` and `xid` parse what the system says, purely; [`read`] is the
//! thin part that asks it; [`watch`] reads around a trial and waits until a disturbance is over.
//!
//! Nothing here knows what was trained or how good it is: whether a result is welcome must not decide whether it counts.

pub mod cpu;
pub mod gpu;
pub mod judge;
pub mod memory;
pub mod present;
pub mod read;
pub mod watch;
pub mod xid;

pub use judge::{Cause, Disturbance, Limits};
pub use present::present;
pub use watch::{Conditions, Judged, Patience, Settled, Watch};

use cpu::Cores;
use gpu::{Computing, Gpu};
use xid::Xid;

/// What the machine looked like at one moment. Whatever could not be read is left out and judged by nobody.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// Seconds since some moment that is the same for all readings of a process.
    pub at: f64,
    /// What the processors did.
    pub cpu: Option<Cpu>,
    /// Microseconds in which everything waited for memory.
    pub stalled_micros: Option<u64>,
    /// Pages that were swapped in or out.
    pub swapped_pages: Option<u64>,
    /// For each counter of the processors: milliseconds for which heat held a clock down.
    pub throttled_millis: Vec<u64>,
    /// The GPU of the night, or why it cannot be asked about; `None` where the night uses none or cannot ask at all.
    pub gpu: Option<Result<Gpu, String>>,
    /// Who computes on it and is none of ours.
    pub foreign: Vec<Computing>,
    /// Errors that the kernel's log has told of since the readings began.
    pub xids: Vec<Xid>,
}

/// What the processors did until a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// The cores that this program may use.
    pub cores: Cores,
    /// Jiffies that this program and all that it started have taken, at least and at most: processes end while they are counted.
    pub own: (u64, u64),
    /// Bytes of memory that are theirs.
    pub own_bytes: u64,
}
