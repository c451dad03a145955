//! Batches of training rows from prepared data, and the place in the data that a checkpoint remembers.

use data::{Packer, PackerPosition, Shards};
use tch::{Device, Tensor};

use crate::candidate::Batch;
use crate::checkpoint::Checkpoint;
use crate::stop::{Stop, guarded};

/// Where the next row comes from.
pub type Place = PackerPosition;

/// Draws rows and moves them to the device.
pub struct Feed<'a> {
    packer: Packer<'a>,
    rows: usize,
    context: usize,
    vocabulary: usize,
    device: Device,
    row: Vec<u16>,
}

impl<'a> Feed<'a> {
    /// Starts at the run's place in the data, or at the beginning of an order that follows from the run's data seed.
    ///
    /// # Errors
    /// When the run's place is not one in this data.
    pub fn new(shards: &'a Shards, run: &Checkpoint, rows: usize, device: Device) -> Result<Feed<'a>, Stop> {
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
        Ok(Feed { packer, rows, context, vocabulary, device, row: Vec::new() })
    }

    /// The next batch.
    ///
    /// # Errors
    /// When the data holds a token outside the vocabulary, or the device refuses.
    pub fn next_batch(&mut self) -> Result<Batch, Stop> {
        let width = self.context + 1;
        let mut tokens: Vec<i64> = Vec::with_capacity(self.rows * width);
        for _ in 0..self.rows {
            self.row.clear();
            self.packer.next_row(&mut self.row);
            tokens.extend(self.row.iter().map(|&token| i64::from(token)));
        }
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= self.vocabulary) {
            let vocabulary = self.vocabulary;
            return Err(Stop::bad_request(format!("training token {token} is outside the vocabulary of {vocabulary}")));
        }
        guarded("moving a batch to the device", || {
            let rows = Tensor::from_slice(&tokens).view([-1, width as i64]).to_device(self.device);
            let side = |start| rows.narrow(1, start, self.context as i64).contiguous();
            Batch { inputs: side(0), targets: side(1) }
        })
    }

    /// What a checkpoint needs to go on from here.
    pub fn place(&self) -> Place {
        self.packer.position()
    }
}
