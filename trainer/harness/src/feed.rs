//! Batches of training rows from prepared data, and the place in the data that a checkpoint remembers.
//!
//! Rows are drawn on a thread of their own, a few batches ahead of the step, so that no step waits for them. Which rows come in which order
//! follows from the data and the run's data seed alone, whether they are drawn ahead or not.

use std::any::Any;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use data::{Packer, PackerPosition, Shards};
use tch::{Device, Kind, Tensor};

use crate::candidate::Batch;
use crate::checkpoint::Checkpoint;
use crate::stop::{Stop, guarded, words};

/// Where the next row comes from.
pub type Place = PackerPosition;

/// Batches that wait for their step, at most.
const AHEAD: usize = 2;

/// The batches of a run.
pub struct Feed {
    drawn: Receiver<Result<Drawn, Stop>>,
    /// After the last batch that was handed out.
    place: Place,
    rows: usize,
    context: usize,
    device: Device,
}

/// A batch as the thread leaves it.
struct Drawn {
    /// [rows, context], row after row.
    inputs: Vec<i64>,
    /// [rows, context]: the token after each.
    targets: Vec<i64>,
    /// After it.
    place: Place,
}

impl Feed {
    /// Has `train` use the batches of `rows` rows that follow the run's place in the data, or the beginning of an order that follows from the
    /// run's data seed. The thread that draws them ends with this call.
    ///
    /// # Errors
    /// When the run's place is not one in this data, when the thread cannot be started or broke down, or whatever `train` returns.
    pub fn with<T>(
        shards: &Shards,
        run: &Checkpoint,
        rows: usize,
        device: Device,
        train: impl FnOnce(&mut Feed) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let (context, vocabulary) = (run.setting.context, run.setting.vocabulary);
        let packer = match run.place.clone() {
            Some(place) if place.context == context => {
                Packer::resume(shards, place).map_err(|error| Stop::bad_request(error.to_string()))?
            }
            Some(place) => {
                let was = place.context;
                return Err(Stop::bad_request(format!(
                    "the checkpoint's rows have context {was}, asked for {context}"
                )));
            }
            None => Packer::new(shards, context, run.order_seed()),
        };
        let place = packer.position();
        let (hand_over, drawn) = sync_channel(AHEAD);
        thread::scope(|scope| {
            let drawing = thread::Builder::new()
                .name("batches".to_owned())
                .spawn_scoped(scope, move || draw(packer, rows, vocabulary, &hand_over))
                .map_err(|error| Stop::harness(format!("cannot start the thread that draws batches: {error}")))?;
            let mut feed = Feed { drawn, place, rows, context, device };
            let trained = train(&mut feed);
            // Nobody takes batches any more, which ends the thread.
            drop(feed);
            match drawing.join() {
                Ok(()) => trained,
                Err(panic) => Err(broke_down(&*panic)),
            }
        })
    }

    /// The next batch.
    ///
    /// # Errors
    /// When the data holds a token outside the vocabulary, the device refuses, or the thread broke down.
    pub fn next_batch(&mut self) -> Result<Batch, Stop> {
        let drawn = self.drawn.recv().map_err(|_| Stop::harness("the thread that draws batches is gone"))??;
        let shape = [self.rows as i64, self.context as i64];
        let batch = guarded("moving a batch to the device", || {
            let side = |tokens: &[i64]| to_device(&Tensor::from_slice(tokens).view(shape), self.device);
            Batch { inputs: side(&drawn.inputs), targets: side(&drawn.targets) }
        })?;
        self.place = drawn.place;
        Ok(batch)
    }

    /// Rows of a batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Where batches are put.
    pub fn device(&self) -> Device {
        self.device
    }

    /// What a checkpoint needs to go on after the last batch that was handed out.
    pub fn place(&self) -> Place {
        self.place.clone()
    }
}

/// Copies a batch's half to the device. A copy to a GPU leaves from pinned memory: it waits in the device's queue for its turn, and this process
/// goes on; one from ordinary memory would wait for all that is queued.
fn to_device(tokens: &Tensor, device: Device) -> Tensor {
    match device {
        // Not `pin_memory(device)`, which warns on standard error each time that its argument is out of date.
        Device::Cuda(_) => tokens.internal_pin_memory(device).to_device_(device, Kind::Int64, true, false),
        _ => tokens.to_device(device),
    }
}

/// Draws batches until nobody takes them any more, or one is not fit to be trained on. Nothing of torch's in here: its operations would start
/// threads of their own beside those of the step.
fn draw(mut packer: Packer<'_>, rows: usize, vocabulary: usize, hand_over: &SyncSender<Result<Drawn, Stop>>) {
    let mut row: Vec<u16> = Vec::with_capacity(packer.row_tokens());
    loop {
        let tokens = rows * (packer.row_tokens() - 1);
        let (mut inputs, mut targets) = (Vec::with_capacity(tokens), Vec::with_capacity(tokens));
        let mut stranger = None;
        for _ in 0..rows {
            row.clear();
            packer.next_row(&mut row);
            stranger = stranger.or_else(|| row.iter().copied().find(|&token| usize::from(token) >= vocabulary));
            let tokens = || row.iter().map(|&token| i64::from(token));
            inputs.extend(tokens().take(row.len() - 1));
            targets.extend(tokens().skip(1));
        }
        let drawn = match stranger {
            None => Ok(Drawn { inputs, targets, place: packer.position() }),
            Some(token) => {
                Err(Stop::bad_request(format!("training token {token} is outside the vocabulary of {vocabulary}")))
            }
        };
        let fit = drawn.is_ok();
        if hand_over.send(drawn).is_err() || !fit {
            return;
        }
    }
}

fn broke_down(panic: &(dyn Any + Send)) -> Stop {
    Stop::harness(format!("the thread that draws batches broke down: {}", words(panic)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use protocol::{Precision, Scale, Setting};

    use super::*;

    const CONTEXT: usize = 6;

    fn setting(vocabulary: usize) -> Setting {
        Setting {
            scale: Scale::Cpu,
            vocabulary,
            context: CONTEXT,
            device: "cpu".to_owned(),
            precision: Precision::Fp32,
            threads: 1,
        }
    }

    /// 40 documents of 1 to 8 tokens, the number of each in it.
    fn shards(folder: &std::path::Path) -> Shards {
        let (mut tokens, mut index) = (Vec::<u16>::new(), vec![0_u64]);
        for document in 0..40_u16 {
            tokens.push(data::BOS);
            tokens.extend((0..document % 8).map(|_| document + 1));
            index.push(tokens.len() as u64);
        }
        let tokens: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        let index: Vec<u8> = index.iter().flat_map(|offset| offset.to_le_bytes()).collect();
        fs::write(folder.join(data::files::TRAIN_TOKENS), tokens).unwrap();
        fs::write(folder.join(data::files::TRAIN_INDEX), index).unwrap();
        Shards::open(folder).unwrap()
    }

    /// Inputs and targets of a batch.
    type Halves = (Vec<i64>, Vec<i64>);

    /// Some batches, and the place after them.
    fn some(shards: &Shards, run: &Checkpoint, batches: usize) -> (Vec<Halves>, Place) {
        Feed::with(shards, run, 3, Device::Cpu, |feed| {
            let mut taken = Vec::new();
            for _ in 0..batches {
                let batch = feed.next_batch()?;
                assert_eq!((batch.inputs.size(), batch.targets.size()), (vec![3, 6], vec![3, 6]));
                let values = |tensor: &Tensor| Vec::<i64>::try_from(tensor.view(-1)).unwrap();
                taken.push((values(&batch.inputs), values(&batch.targets)));
            }
            Ok((taken, feed.place()))
        })
        .unwrap()
    }

    #[test]
    fn batches_are_the_packers_rows_and_the_place_is_that_of_the_last_one_used() {
        let folder = tempfile::tempdir().unwrap();
        let shards = shards(folder.path());
        let run = Checkpoint::start(&setting(64), 7);
        let (batches, place) = some(&shards, &run, 5);
        let mut packer = Packer::new(&shards, CONTEXT, run.order_seed());
        for (inputs, targets) in &batches {
            for (inputs, targets) in inputs.chunks(CONTEXT).zip(targets.chunks(CONTEXT)) {
                let mut row = Vec::new();
                packer.next_row(&mut row);
                let row: Vec<i64> = row.into_iter().map(i64::from).collect();
                assert_eq!((inputs, targets), (&row[..CONTEXT], &row[1..]));
            }
        }
        // Two more were drawn by then, and count for nothing.
        assert_eq!(place, packer.position());
        let (first, place) = some(&shards, &run, 2);
        let (rest, _) = some(&shards, &Checkpoint { place: Some(place), ..Checkpoint::start(&setting(64), 7) }, 3);
        assert_eq!([first, rest].concat(), batches);
        assert_eq!(some(&shards, &run, 0).1.rows, 0);
    }

    #[test]
    fn a_token_outside_the_vocabulary_comes_when_its_batch_does() {
        let folder = tempfile::tempdir().unwrap();
        let shards = shards(folder.path());
        let run = Checkpoint::start(&setting(20), 7);
        let (mut good, mut said) = (0, String::new());
        let stop = Feed::with(&shards, &run, 1, Device::Cpu, |feed| {
            loop {
                match feed.next_batch() {
                    Ok(batch) => {
                        assert!(batch.inputs.max().int64_value(&[]) < 20 && batch.targets.max().int64_value(&[]) < 20);
                        good += 1;
                    }
                    Err(stop) => {
                        said = stop.message.clone();
                        return Err::<(), Stop>(stop);
                    }
                }
            }
        });
        assert!(good > 0 && said.contains("is outside the vocabulary of 20"), "{good} {said}");
        assert_eq!(stop.unwrap_err().kind, protocol::Failure::BadRequest);
    }

    #[test]
    fn what_training_returns_is_returned_while_batches_wait() {
        let folder = tempfile::tempdir().unwrap();
        let shards = shards(folder.path());
        let run = Checkpoint::start(&setting(64), 7);
        let stop = Feed::with(&shards, &run, 2, Device::Cpu, |_| Err::<(), Stop>(Stop::candidate("gave up")));
        assert_eq!(stop.unwrap_err().message, "gave up");
        let other = Place { context: CONTEXT + 1, ..some(&shards, &run, 1).1 };
        let run = Checkpoint { place: Some(other), ..run };
        let stop = Feed::with(&shards, &run, 2, Device::Cpu, |_| Ok(()));
        assert!(stop.unwrap_err().message.contains("have context 7, asked for 6"));
    }
}
