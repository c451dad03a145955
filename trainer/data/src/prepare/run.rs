//! One run of `prepare`: the passes over the corpus.

use super::encode::{BATCH_BYTES, BatchEncoder, WordCounter};
use super::output::{HeldOut, ShardFiles};
use super::pieces::Cutting;
use super::split::{Part, Survey};
use super::tokenizer::{LEAST_VOCABULARY, Tokenizer};
use super::{Options, PrepareError, Progress, Source, Stage, bpe, read};
use crate::SplitCounts;
use crate::manifest::hash_file;

/// Takes a document's number and text.
type EachDocument<'a> = &'a mut dyn FnMut(usize, String) -> Result<(), PrepareError>;

/// Takes texts and where they go.
type EachBatch<'a> = &'a mut dyn FnMut(&[Part], &[String]) -> Result<(), PrepareError>;

/// What the passes have in common.
pub(crate) struct Run<'a> {
    pub source: &'a Source,
    pub options: &'a Options,
    pub progress: &'a mut dyn FnMut(Progress),
}

impl Run<'_> {
    /// Compares files whose hashes were taken from a list with their content.
    pub fn check_listed(&mut self) -> Result<(), PrepareError> {
        for input in self.source.inputs().iter().filter(|input| input.listed) {
            let (_, found) = hash_file(&input.path).map_err(PrepareError::read("read", &input.path))?;
            if found != input.record.sha256 {
                let (path, listed) = (input.path.clone(), input.record.sha256.clone());
                return Err(PrepareError::NotAsListed { path, listed, found });
            }
        }
        Ok(())
    }

    /// Reads all documents and says where each goes, by its number.
    pub fn deal(&mut self) -> Result<Vec<Part>, PrepareError> {
        let mut survey = Survey::new(self.options);
        self.each_document(Stage::Read, &mut |_, text| {
            survey.add(&text);
            Ok(())
        })?;
        survey.deal(&self.source.to_string())
    }

    /// Reads all documents in order; `each` gets their numbers.
    fn each_document(&mut self, stage: Stage, each: EachDocument<'_>) -> Result<(), PrepareError> {
        let (total, longest) = (self.source.bytes(), read::longest_whole(self.source));
        let (mut ordinal, mut before, mut told) = (0, 0, 0);
        for input in self.source.inputs() {
            read::read_documents(input, self.source.text_field(), longest, &mut |text, reached| {
                each(ordinal, text)?;
                ordinal += 1;
                let done = before + reached.min(input.record.bytes);
                if done - told >= 1 << 20 {
                    told = done;
                    (self.progress)(Progress { stage, done, total });
                }
                Ok(())
            })?;
            before += input.record.bytes;
        }
        (self.progress)(Progress { stage, done: total, total });
        Ok(())
    }

    /// Reads the documents whose part `wanted` accepts, in batches.
    fn each_batch(
        &mut self,
        stage: Stage,
        parts: &[Part],
        wanted: impl Fn(Part) -> bool,
        each: EachBatch<'_>,
    ) -> Result<(), PrepareError> {
        let first = self.source.inputs().first().map(|input| input.path.clone()).unwrap_or_default();
        let changed = || PrepareError::Changed { path: first.clone() };
        let (mut batch_parts, mut batch, mut bytes, mut seen) = (Vec::new(), Vec::new(), 0, 0);
        self.each_document(stage, &mut |ordinal, text| {
            seen = ordinal + 1;
            let part = *parts.get(ordinal).ok_or_else(changed)?;
            if wanted(part) {
                bytes += text.len();
                batch_parts.push(part);
                batch.push(text);
            }
            if bytes >= BATCH_BYTES {
                each(&batch_parts, &batch)?;
                batch_parts.clear();
                batch.clear();
                bytes = 0;
            }
            Ok(())
        })?;
        if seen != parts.len() {
            return Err(changed());
        }
        each(&batch_parts, &batch)
    }

    /// Counts the words of the sample and trains the tokenizer.
    pub fn tokenizer(&mut self, parts: &[Part]) -> Result<Tokenizer, PrepareError> {
        let cutting = Cutting::of(self.options);
        let mut counter = WordCounter::new(self.options.threads());
        self.each_batch(Stage::Count, parts, |part| part == Part::TrainSample, &mut |_, texts| {
            counter.add(texts, cutting);
            Ok(())
        })?;
        let wanted = self.options.vocabulary - LEAST_VOCABULARY;
        let tell =
            |done| (self.progress)(Progress { stage: Stage::Tokenizer, done: done as u64, total: wanted as u64 });
        let mut tell = tell;
        tell(0);
        let merges = bpe::train(&counter.finish(), wanted, &mut tell);
        if merges.len() < wanted {
            let possible = LEAST_VOCABULARY + merges.len();
            let (corpus, asked) = (self.source.to_string(), self.options.vocabulary);
            return Err(PrepareError::Vocabulary { corpus, asked, possible });
        }
        Tokenizer::from_merges(&merges).map_err(PrepareError::Options)
    }

    /// Writes training documents to `shards`, collects held-out ones, and returns what the training split holds.
    pub fn encode(
        &mut self,
        parts: &[Part],
        tokenizer: &Tokenizer,
        shards: &mut ShardFiles,
        held_out: &mut [HeldOut; 2],
    ) -> Result<SplitCounts, PrepareError> {
        let mut encoder = BatchEncoder::new(tokenizer, self.options.threads(), Cutting::of(self.options));
        let mut train = SplitCounts::default();
        let wanted = |part| matches!(part, Part::Train | Part::TrainSample | Part::Search | Part::Sealed);
        self.each_batch(Stage::Encode, parts, wanted, &mut |parts, texts| {
            for ((part, text), pieces) in parts.iter().zip(texts).zip(encoder.encode(texts)?) {
                let counts = match part {
                    Part::Search => &mut held_out[0].counts,
                    Part::Sealed => &mut held_out[1].counts,
                    _ => &mut train,
                };
                counts.documents += 1;
                counts.pieces += pieces.len() as u64;
                counts.bytes += text.len() as u64;
                counts.tokens += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
                match part {
                    Part::Search => held_out[0].documents.extend(pieces),
                    Part::Sealed => held_out[1].documents.extend(pieces),
                    _ => pieces.iter().try_for_each(|piece| shards.push(piece))?,
                }
            }
            Ok(())
        })?;
        Ok(train)
    }

    /// For held-out documents that did not suffice although the estimate said they would.
    pub fn too_small(&self, parts: &[Part]) -> PrepareError {
        let (options, bytes) = (self.options, self.source.bytes());
        let documents = parts.iter().filter(|part| !matches!(part, Part::Empty | Part::Duplicate)).count() as u64;
        PrepareError::TooSmall {
            corpus: self.source.to_string(),
            documents,
            needed_documents: 2 * documents,
            bytes,
            search: options.search_rows,
            sealed: options.sealed_rows,
            row_tokens: options.row_tokens(),
            needed: bytes.saturating_mul(2),
        }
    }
}
