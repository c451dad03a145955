//! From a campaign to a machine and data that a night can begin on: set-up, download, token shards. Shows its progress and does
//! nothing twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use data::Manifest;
use data::prepare::{HubFile, Options, PrepareError, Source};

use crate::campaign::{Campaign, DataSource, Device};
use crate::layout::Layout;
use crate::night::Watcher;
use crate::sealed::Sealed;
use crate::setup::hub::{self, DataSet, Hub, HubError};
use crate::setup::{self, Bytes, Environment, GpuWish, SetupError};
use crate::terminal::{Notice, Unit};
use crate::verify::{HeldOut, Mismatch};

/// Why there is no data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The text cannot be made into shards.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Prepared data cannot be read back.
    #[error(transparent)]
    Read(#[from] data::DataError),
    /// The embedded corpus is made from libtorch's wheel, which is not there.
    #[error(
        "the embedded corpus is made from the Python sources of libtorch's wheel, and this repository's trainer needs no \
         libtorch; name text files of your own in campaign.toml ([data] files = [...])"
    )]
    NoCorpus,
    /// The hub's files cannot be had.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A file of the campaign is not there.
    #[error("{} is not there; campaign.toml names it under [data] files", .0.display())]
    NoFile(PathBuf),
    /// A thread of this program was lost.
    #[error("internal error: {0}")]
    Internal(#[from] tokio::task::JoinError),
    /// Held-out rows and their lengths do not belong together.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

impl DataError {
    /// The process's exit code: 2 for input that cannot be used, 3 where the machine is at fault.
    pub fn exit_code(&self) -> u8 {
        match self {
            DataError::Prepare(
                PrepareError::Read { .. }
                | PrepareError::Write { .. }
                | PrepareError::DiskFull { .. }
                | PrepareError::Occupied { .. }
                | PrepareError::NotAsListed { .. }
                | PrepareError::Damaged(_),
            )
            | DataError::Read(_) => 3,
            DataError::Hub(error) => {
                if error.is_of_the_campaign() {
                    2
                } else {
                    3
                }
            }
            DataError::Prepare(_) | DataError::NoCorpus | DataError::NoFile(_) => 2,
            DataError::Internal(_) | DataError::Mismatch(_) => 1,
        }
    }
}

/// Data that is ready.
#[derive(Debug)]
pub struct Prepared {
    /// Folder of the shards.
    pub folder: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
    /// Held-out rows that experiments are measured on.
    pub search_rows: PathBuf,
    /// The same, with the bytes that each target token stands for.
    pub held_out: Arc<HeldOut>,
    /// Those for the morning, unread.
    pub sealed: Arc<Sealed>,
}

/// Whether the local files that a campaign names are there, or the hub's variables usable; what can be said of the text before
/// anything is installed.
///
/// # Errors
/// [`DataError::NoFile`], or [`DataError::Hub`] for unusable variables.
pub fn check_files(campaign: &Campaign) -> Result<(), DataError> {
    check_text(campaign, &Hub::of_process)
}

/// [`check_files`], with the hub that `hub` gives.
fn check_text(campaign: &Campaign, hub: &dyn Fn() -> Result<Hub, HubError>) -> Result<(), DataError> {
    match campaign.data_source() {
        DataSource::Files { files, .. } => {
            files.into_iter().find(|file| !file.exists()).map_or(Ok(()), |file| Err(DataError::NoFile(file)))
        }
        DataSource::Hub { repo, revision, .. } => {
            DataSet::new(&repo, &revision)?;
            hub()?;
            Ok(())
        }
        DataSource::LibtorchPython => Ok(()),
    }
}

/// Makes the machine ready for a campaign.
///
/// # Errors
/// See [`SetupError`].
pub async fn environment(
    root: &Path,
    campaign: &Campaign,
    watcher: &mut dyn Watcher,
) -> Result<Environment, SetupError> {
    let mut options = setup::Options::of_process();
    options.gpu = match campaign.machine.device {
        Device::Cpu => GpuWish::No,
        Device::Auto => GpuWish::IfThere,
        Device::Cuda(_) => GpuWish::Yes,
    };
    options.corpus = campaign.data_source() == DataSource::LibtorchPython;
    options.repository_space = Bytes(setup::REPOSITORY_SPACE.0.max(gigabytes(campaign.machine.disk_reserve_gb)));
    set_up(root, &options, watcher).await
}

fn gigabytes(count: f64) -> u64 {
    // Saturates; campaign files are checked to hold sensible numbers.
    (count * 1e9) as u64
}

/// Runs set-up and shows how far it is.
///
/// # Errors
/// See [`SetupError`].
pub async fn set_up(
    root: &Path,
    options: &setup::Options,
    watcher: &mut dyn Watcher,
) -> Result<Environment, SetupError> {
    setup::ensure(root, options, &mut shown(watcher)).await
}

/// Shows set-up's events to whoever watches.
fn shown(watcher: &mut dyn Watcher) -> impl FnMut(setup::Event) + Send + '_ {
    let mut stage = String::new();
    move |event| match event {
        setup::Event::Stage(text) => {
            stage.clone_from(&text);
            watcher.notice(&Notice::Stage { text });
        }
        setup::Event::Amount { done, expected } => watcher.notice(&Notice::Progress {
            what: stage.clone(),
            done: done.0,
            total: Some(expected.0),
            unit: Unit::Bytes,
        }),
        setup::Event::Note(text) => watcher.notice(&Notice::Warning { text }),
    }
}

/// Makes a campaign's data ready, or finds it ready.
///
/// # Errors
/// See [`DataError`].
pub async fn data(
    layout: &Layout,
    campaign: &Campaign,
    environment: &Environment,
    watcher: &mut dyn Watcher,
) -> Result<Prepared, DataError> {
    let text = text(campaign, environment, watcher).await?;
    let (data, folder) = (campaign.data.clone(), layout.data());

    // The work is on a thread that may block; what it says of its progress comes back here.
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        let source = text.source()?;
        let mut options = Options::for_source(&source, data.vocabulary, data.context);
        options.search_rows = data.search_rows;
        options.sealed_rows = data.sealed_rows;
        options.max_train_bytes = data.max_train_bytes;
        options.tokenizer_bytes = data.tokenizer_sample_bytes;
        if let Some(bytes) = data.max_piece_bytes {
            options = options.cut_at(bytes);
        }
        let folder = folder.join(data::prepare::key(&source, &options));
        let manifest = data::prepare::prepare(&source, &options, &folder, &mut |progress| {
            // Nobody listening is no reason to stop.
            let _unheard = say.send(progress);
        })?;
        let search_rows = folder.join("search.rows");
        let rows = manifest.search_rows(&folder)?;
        let search_bytes = manifest.token_bytes(&folder)?.scored(&rows)?;
        let held_out = HeldOut::new(rows, search_bytes)?;
        let sealed = Arc::new(Sealed::new(folder.clone(), manifest.clone()));
        Ok::<_, DataError>(Prepared { folder, manifest, search_rows, held_out: Arc::new(held_out), sealed })
    });
    while let Some(progress) = said.recv().await {
        let unit = match progress.stage {
            data::prepare::Stage::Tokenizer => Unit::Things("tokens"),
            _ => Unit::Bytes,
        };
        let what = format!("Preparing data: {}", progress.stage.name());
        watcher.notice(&Notice::Progress { what, done: progress.done, total: Some(progress.total), unit });
    }
    work.await?
}

/// A campaign's text, on this machine.
enum Text {
    Python(PathBuf),
    Files { files: Vec<PathBuf>, text_field: String },
    Hub { repo: String, revision: String, files: Vec<HubFile>, text_field: String },
}

impl Text {
    /// Looks at the files; may hash them.
    fn source(&self) -> Result<Source, PrepareError> {
        match self {
            Text::Python(folder) => Source::python(folder),
            Text::Files { files, text_field } => Source::files(files, text_field),
            Text::Hub { repo, revision, files, text_field } => Source::hub(repo, revision, files, text_field),
        }
    }
}

/// Finds the text, or fetches it.
async fn text(campaign: &Campaign, environment: &Environment, watcher: &mut dyn Watcher) -> Result<Text, DataError> {
    Ok(match campaign.data_source() {
        DataSource::LibtorchPython => Text::Python(environment.corpus.clone().ok_or(DataError::NoCorpus)?),
        DataSource::Files { files, text_field } => Text::Files { files, text_field },
        DataSource::Hub { repo, revision, files, text_field } => {
            let data_set = DataSet::new(&repo, &revision)?;
            let files =
                hub::fetch(&Hub::of_process()?, &data_set, &files, &environment.cache, &mut shown(watcher)).await?;
            Text::Hub { repo, revision, files, text_field }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_hub_is_found_before_set_up() {
        let toml = |data: &str| {
            format!("title = \"T\"\nscale = \"cpu\"\n[budget]\nseconds = 1\n[night]\nexperiments = 1\n[data]\n{data}\n")
        };
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let of_hub = toml(&format!("hub = {{ repo = \"o/n\", revision = \"{commit}\", prefix = \"data/\" }}"));
        let check = |text: &str, endpoint: &str| {
            let campaign =
                Campaign::parse("t".parse().unwrap(), text, "# Goal\n", "experiments/t/campaign.toml").unwrap();
            check_text(&campaign, &|| Hub::new(endpoint, None, std::time::Duration::ZERO))
        };
        let error = check(&of_hub, "huggingface.co").unwrap_err();
        assert!(error.to_string().contains("HF_ENDPOINT cannot be used"), "{error}");
        assert_eq!(error.exit_code(), 3);
        check(&of_hub, "https://huggingface.co").unwrap();
        check(&toml("embedded = \"libtorch-python\""), "huggingface.co").unwrap();
        let missing = check(&toml("files = [\"no-such.txt\"]"), "huggingface.co").unwrap_err();
        assert!(matches!(missing, DataError::NoFile(_)) && missing.exit_code() == 2, "{missing}");
    }
}
