//! Checkpoints: one safetensors file with every parameter (`model.NAME`), all other state (`state.NAME`) and metadata, so
//! that a run goes on exactly where it stopped. Written beside its place, synced, then renamed: a file under the final
//! name is complete.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use protocol::Setting;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::candidate::Candidate;
use crate::feed::Place;
use crate::stop::{Stop, guarded};

/// Raised when the layout changes.
pub const FORMAT: u32 = 1;

/// The metadata of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What the candidate was built with.
    pub setting: Setting,
    /// The run's seed.
    pub seed: u64,
    /// The seed of the data order, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_seed: Option<u64>,
    /// Optimizer steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Where in the data the next row comes from; `None` before the first.
    pub place: Option<Place>,
}

fn named<C: Candidate>(candidate: &C) -> Result<Vec<(String, Tensor)>, Stop> {
    guarded("listing parameters and state", || {
        let parameters = candidate.parameters().into_iter().map(|(name, tensor)| (format!("model.{name}"), tensor));
        let state = candidate.state().into_iter().map(|(name, tensor)| (format!("state.{name}"), tensor));
        parameters.chain(state).collect()
    })
}

impl Checkpoint {
    /// The beginning of a run.
    pub fn start(setting: &Setting, seed: u64) -> Checkpoint {
        let setting = setting.clone();
        Checkpoint { setting, seed, data_seed: None, step: 0, tokens: 0, seconds: 0.0, place: None }
    }

    /// What the data order follows from.
    pub fn order_seed(&self) -> u64 {
        self.data_seed.unwrap_or(self.seed)
    }

    /// Writes the candidate and this metadata.
    ///
    /// # Errors
    /// When two tensors share a name or the disk refuses.
    pub fn save<C: Candidate>(&self, candidate: &C, path: &Path) -> Result<(), Stop> {
        let mut tensors = Vec::new();
        for (name, tensor) in named(candidate)? {
            tensors.push((name, guarded("copying a tensor", || Bytes::of(&tensor))??));
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Stop::candidate(format!("two tensors are named {:?}", pair[0].0)));
        }
        let mut views = Vec::new();
        for (name, Bytes { dtype, shape, data }) in &tensors {
            let view = TensorView::new(*dtype, shape.clone(), data)
                .map_err(|error| Stop::harness(format!("tensor {name:?}: {error}")))?;
            views.push((name, view));
        }
        let json = serde_json::to_string(self).map_err(|error| Stop::harness(error.to_string()))?;
        let metadata = HashMap::from([
            ("format".to_owned(), "nocturne".to_owned()),
            ("format_version".to_owned(), FORMAT.to_string()),
            ("checkpoint".to_owned(), json),
        ]);
        let disk = |error: &dyn std::fmt::Display| Stop::harness(format!("cannot write {}: {error}", path.display()));
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = Path::new(&partial);
        safetensors::serialize_to_file(views, Some(metadata), partial).map_err(|error| disk(&error))?;
        File::open(partial).and_then(|file| file.sync_all()).map_err(|error| disk(&error))?;
        fs::rename(partial, path).map_err(|error| disk(&error))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| disk(&error))
    }

    /// Reads a checkpoint into a candidate of the same recipe.
    ///
    /// # Errors
    /// When the file is not a checkpoint of this setting and these tensors.
    pub fn load<C: Candidate>(path: &Path, setting: &Setting, candidate: &C) -> Result<Checkpoint, Stop> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| Stop::bad_request(format!("checkpoint {name}: {error}")))?;
        Checkpoint::load_bytes(&bytes, &name, setting, candidate)
    }

    /// Reads a checkpoint from a file that was handed over, wherever its offset stands.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn load_file<C: Candidate>(file: &File, setting: &Setting, candidate: &C) -> Result<Checkpoint, Stop> {
        let name = "that was handed over";
        let read = || {
            let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error: io::Error| Stop::bad_request(format!("checkpoint {name}: {error}")))?;
        Checkpoint::load_bytes(&bytes, name, setting, candidate)
    }

    fn load_bytes<C: Candidate>(
        bytes: &[u8],
        name: &str,
        setting: &Setting,
        candidate: &C,
    ) -> Result<Checkpoint, Stop> {
        let bad = |what: String| Stop::bad_request(format!("checkpoint {name}: {what}"));
        let checkpoint = Checkpoint::of(bytes).map_err(bad)?;
        let (was, is) = (&checkpoint.setting, setting);
        if (was.scale, was.vocabulary, was.context) != (is.scale, is.vocabulary, is.context) {
            return Err(bad(format!(
                "made at scale {} with vocabulary {} and context {}, asked for {}, {} and {}",
                was.scale, was.vocabulary, was.context, is.scale, is.vocabulary, is.context
            )));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|error| bad(error.to_string()))?;
        let tensors = named(candidate)?;
        if let Some(name) = file.names().into_iter().find(|name| tensors.iter().all(|(own, _)| own != name)) {
            return Err(bad(format!("holds a tensor {name:?} that this candidate does not have")));
        }
        for (name, tensor) in tensors {
            let view = file.tensor(&name).map_err(|error| bad(format!("tensor {name:?}: {error}")))?;
            let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
            let kind = kind(view.dtype()).map_err(|error| bad(format!("tensor {name:?}: {error}")))?;
            if shape != tensor.size() || kind != tensor.kind() {
                return Err(bad(format!(
                    "tensor {name:?} is {kind:?} {shape:?}, this candidate's is {:?} {:?}",
                    tensor.kind(),
                    tensor.size()
                )));
            }
            guarded("loading a tensor", || {
                let values = Tensor::from_data_size(view.data(), &shape, kind);
                tch::no_grad(|| tensor.shallow_clone().copy_(&values));
            })?;
        }
        Ok(checkpoint)
    }

    /// The metadata of a checkpoint's bytes.
    fn of(bytes: &[u8]) -> Result<Checkpoint, String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let metadata = header.metadata().as_ref().ok_or("has no metadata")?;
        match metadata.get("format_version").map(String::as_str) {
            Some(version) if version == FORMAT.to_string() => {}
            Some(version) => return Err(format!("has format version {version}, this trainer reads {FORMAT}")),
            None => return Err("was not written by this trainer".to_owned()),
        }
        let json = metadata.get("checkpoint").ok_or("has no entry \"checkpoint\" in its metadata")?;
        serde_json::from_str(json).map_err(|error| format!("has bad metadata: {error}"))
    }
}

/// A tensor's values as the file holds them.
pub struct Bytes {
    dtype: Dtype,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Little-endian, the last dimension fastest.
    pub data: Vec<u8>,
}

impl Bytes {
    /// Copies a tensor from wherever it is.
    ///
    /// # Errors
    /// When its kind is none that a checkpoint can hold.
    pub fn of(tensor: &Tensor) -> Result<Bytes, Stop> {
        let dtype = dtype(tensor.kind())?;
        let shape = tensor.size().iter().map(|&size| size as usize).collect();
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let mut data = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
        tensor.copy_data_u8(&mut data, tensor.numel());
        Ok(Bytes { dtype, shape, data })
    }
}

fn dtype(kind: Kind) -> Result<Dtype, Stop> {
    match kind {
        Kind::Float => Ok(Dtype::F32),
        Kind::BFloat16 => Ok(Dtype::BF16),
        Kind::Double => Ok(Dtype::F64),
        Kind::Int64 => Ok(Dtype::I64),
        other => Err(Stop::candidate(format!("a checkpoint cannot hold tensors of kind {other:?}"))),
    }
}

fn kind(dtype: Dtype) -> Result<Kind, String> {
    match dtype {
        Dtype::F32 => Ok(Kind::Float),
        Dtype::BF16 => Ok(Kind::BFloat16),
        Dtype::F64 => Ok(Kind::Double),
        Dtype::I64 => Ok(Kind::Int64),
        other => Err(format!("kind {other:?} is not used in checkpoints")),
    }
}
