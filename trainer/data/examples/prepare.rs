//! Prepares a folder of Python sources with the quickstart's options and says how long each stage took:
//! `cargo run --release -p data --features prepare --example prepare -- FOLDER OUT`.

use std::path::Path;
use std::time::Instant;

use data::prepare::{Options, Source, key, prepare};
use data::{Packer, Shards};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, numbers @ ..] = &arguments[..] else {
        return Err("usage: prepare FOLDER OUT [VOCABULARY CONTEXT MAX_TRAIN_BYTES]".into());
    };
    let number = |i: usize, default: usize| numbers.get(i).map_or(Ok(default), |n: &String| n.parse());
    let start = Instant::now();
    let source = Source::python(Path::new(folder))?;
    let mut options = Options::for_source(&source, number(0, 2_048)?, number(1, 256)?);
    options.max_train_bytes = Some(number(2, usize::MAX)? as u64);
    println!("hashed {} files, {} bytes: {:?}", source.files_read().len(), source.bytes(), start.elapsed());
    let mut last = None;
    let out = Path::new(out).join(key(&source, &options));
    let manifest = prepare(&source, &options, &out, &mut |progress| {
        if last != Some(progress.stage) {
            println!("{:>8.2?} {}", start.elapsed(), progress.stage.name());
            last = Some(progress.stage);
        }
    })?;
    println!("{:>8.2?} done: {}", start.elapsed(), out.display());
    println!("{:#?}", manifest.splits);
    let (empty, copies, unused) = (manifest.empty_documents, manifest.duplicate_documents, manifest.unused_documents);
    println!("{empty} empty, {copies} copies, {unused} unused");
    let shards = Shards::open(&out)?;
    let mut packer = Packer::new(&shards, options.context, 1);
    let (packing, mut rows, mut row) = (Instant::now(), 0u64, Vec::new());
    while packer.position().epoch == 0 {
        row.clear();
        packer.next_row(&mut row);
        rows += 1;
    }
    let kept = (rows * packer.row_tokens() as u64) as f64 / manifest.splits.train.tokens as f64;
    println!("one epoch: {rows} rows, {:.1} % of the tokens, packed in {:?}", 100.0 * kept, packing.elapsed());
    Ok(())
}
