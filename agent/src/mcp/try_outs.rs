//! Compiling edits for the tool `check` where no night runs: the same build, confined in the same way, in a slot of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::campaign::Campaign;
use crate::edit::CheckedPatch;
use crate::flow::CommitId;
use crate::layout::Layout;
use crate::night::try_outs::{as_told, write_edited};
use crate::night::{Lock, MOST_BUILD_SECONDS, OpenError, Unwatched, is_running, ready};
use crate::prepare;
use crate::propose::tools::Compiled;
use crate::repo::Repo;

/// The slot, the lock on it, and the tag of its processes.
const SLOT: &str = "outside";

/// Seconds for everything, set-up included.
const MOST_SECONDS: f64 = MOST_BUILD_SECONDS + 60.0;

/// How often it is seen whether a night has begun.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// One at a time, of all the calls of a client.
pub(super) type Turn = Arc<Mutex<()>>;

/// Compiles edits of a commit. Says why where that cannot be tried now.
pub(super) async fn compile(
    layout: &Layout,
    campaign: &Campaign,
    turn: &Turn,
    commit: &CommitId,
    patch: &CheckedPatch,
) -> Compiled {
    // Whoever waited here would keep other calls of the client waiting too.
    let Ok(_turn) = turn.try_lock() else {
        return Compiled::NotTried("other edits of yours are being compiled; ask again when that is done".to_owned());
    };
    let tried = tokio::time::timeout(Duration::from_secs_f64(MOST_SECONDS), tried(layout, campaign, commit, patch));
    match tried.await {
        Ok(Ok(compiled)) => compiled,
        Ok(Err(error)) => Compiled::NotTried(error.to_string()),
        Err(_) => Compiled::NotTried(format!("it took longer than {MOST_SECONDS} seconds")),
    }
}

async fn tried(
    layout: &Layout,
    campaign: &Campaign,
    commit: &CommitId,
    patch: &CheckedPatch,
) -> Result<Compiled, OpenError> {
    // Whose turn it is on the machine is known to the night alone.
    if is_running(layout)? {
        let why =
            "a night is running, whose trials a build would disturb; the night compiles these edits when it takes them";
        return Ok(Compiled::NotTried(why.to_owned()));
    }
    if !layout.slot("pristine").join("target").exists() {
        let why = "nothing was built here yet; the first night builds what this needs, so run `nocturne night` once";
        return Ok(Compiled::NotTried(why.to_owned()));
    }
    let lock = layout.slot(&format!("{SLOT}.lock"));
    let Ok(_alone) = Lock::take(&lock) else {
        return Ok(Compiled::NotTried("another client's edits are being compiled; ask again".to_owned()));
    };
    let environment = prepare::environment(layout.root(), campaign, &mut Unwatched).await?;
    let launcher = ready::launcher(lock.clone(), campaign)?;
    launcher.self_check(&layout.state()).await?;
    let builder = ready::builder(layout, campaign, &environment, launcher)?;
    if !builder.has_start() {
        return Ok(Compiled::NotTried("the last night's start was not built to its end".to_owned()));
    }
    let (root, commit, patch) = (layout.root().to_owned(), commit.clone(), patch.clone());
    let export = move |to: &Path| {
        let exported = Repo::discover(&root).and_then(|repo| repo.export(&commit, to));
        exported.map_err(|error| error.to_string()).and_then(|_| write_edited(&patch, to))
    };
    // A night that begins meanwhile has the machine for itself; and the helper ends what runs when this process ends.
    let (stop, signal) = watch::channel(false);
    let build = builder.try_out(SLOT, None, MOST_BUILD_SECONDS, export, signal);
    tokio::pin!(build);
    let mut began = false;
    loop {
        tokio::select! {
            built = &mut build => {
                return Ok(match began {
                    false => as_told(built),
                    true => Compiled::NotTried("a night has begun, which has the machine for itself now".to_owned()),
                });
            }
            () = tokio::time::sleep(BETWEEN_LOOKS) => {
                began = began || is_running(layout)?;
                stop.send_replace(began);
            }
        }
    }
}
