//! Performing effects: each function of the modules [`making`](super::making), [`enlist`](super::enlist), [`trial`](super::trial),
//! [`evaluate`](super::evaluate) and [`settle`](super::settle) does what one [`Effect`](super::messages::Effect) asks for and answers with the
//! event it calls for. What goes wrong with the machine becomes a [`Fault`]; what goes wrong with an experiment is an answer.
//! This module holds what they share.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::context::Context;
use super::looks::Look;
use crate::records::Level;
use crate::run::trial::TrialProgress;

/// How far the test of an experiment is.
#[derive(Debug)]
pub(super) enum TestProgress {
    /// A step of training.
    Training(TrialProgress),
    /// The machine is not fit for it yet; what is waited for.
    Waiting(String),
    /// A look at its curve.
    Look(Look),
    /// Runs from now on do not compare with earlier ones; why, and during which trial of which experiment that was seen.
    Changed { number: u32, trial: u32, why: String },
    /// All that there is to be told of it was told; is to be answered when it has been heard.
    AllTold(oneshot::Sender<()>),
    /// One that was begun ahead has trained, and its device is free; which of them.
    Ahead { serial: u64 },
    /// So much of the verification, 0 to 1.
    Verifying(f64),
}

/// Anything that stops the night.
pub(super) type Fault = String;

pub(super) fn fault(what: &str) -> impl Fn(&dyn std::fmt::Display) -> Fault + '_ {
    move |error| format!("{what}: {error}")
}

/// Runs blocking work (git, proposers) away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("{what}: {error}"))?
}

/// The present, to the millisecond, as the records keep it.
pub(super) fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}

pub(super) async fn warn(context: &Arc<Context>, stage: &str, text: &str) -> Result<(), Fault> {
    let recorded = context.store.event(&context.night.id, Level::Warning, stage, text).await;
    recorded.map_err(|error| fault("cannot record a warning")(&error))
}
