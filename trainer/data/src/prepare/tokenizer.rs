//! The byte-level BPE tokenizer: text <-> tokens.
//!
//! `tokenizer.json` is in the format of the `tokenizers` library, which also does the merging inside a word. Words are
//! cut by `words.rs`, and their tokens remembered, as text repeats itself.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::Model;
use tokenizers::models::bpe::BPE;

use super::PrepareError;
use super::bpe::Id;
use super::words::{PATTERN, words};
use crate::{BOS, BOS_TEXT};

/// Ids below this are BOS and the 256 bytes; the first merge makes this one.
const FIRST_MERGE: usize = 257;

/// The least vocabulary: BOS and a token for each byte.
pub const LEAST_VOCABULARY: usize = FIRST_MERGE;

/// The greatest vocabulary whose ids fit into the two bytes that shards have for one.
pub const GREATEST_VOCABULARY: usize = 1 << 16;

/// Words whose tokens an [`Encoder`] remembers. Text has few words that are frequent, and the rest is not worth
/// keeping.
const REMEMBERED: usize = 1 << 18;

/// Longer words are not remembered.
const REMEMBERED_BYTES: usize = 64;

/// Encodes text into tokens and decodes tokens into text.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    model: BPE,
    /// The bytes that each id stands for; none for BOS.
    spelling: Vec<Vec<u8>>,
    json: String,
}

impl Tokenizer {
    /// Makes a tokenizer of merges as `bpe::train` finds them.
    pub(crate) fn from_merges(merges: &[(Id, Id)]) -> Result<Tokenizer, String> {
        let mut names: Vec<String> = (0..=u8::MAX).map(|byte| byte_char(byte).to_string()).collect();
        let mut pairs = Vec::with_capacity(merges.len());
        for &(left, right) in merges {
            let (left, right) = (names[left as usize].clone(), names[right as usize].clone());
            names.push(format!("{left}{right}"));
            pairs.push(json!([left, right]));
        }
        // Token i of training becomes token i + 1: BOS comes first.
        let ids = names.into_iter().enumerate().map(|(i, name)| (name, json!(i + 1)));
        let vocabulary: serde_json::Map<String, Value> =
            [(BOS_TEXT.to_string(), json!(BOS))].into_iter().chain(ids).collect();
        let document = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [{
                "id": BOS, "content": BOS_TEXT, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            }],
            "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
            ]},
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": pairs,
            },
        });
        Tokenizer::parse(serde_json::to_string_pretty(&document).map_err(|error| error.to_string())? + "\n")
    }

    /// Reads `tokenizer.json`. One that this program did not write is refused.
    pub fn load(path: &Path) -> Result<Tokenizer, PrepareError> {
        let text = std::fs::read_to_string(path).map_err(PrepareError::read("read", path))?;
        Tokenizer::parse(text).map_err(|reason| PrepareError::Tokenizer { path: path.to_path_buf(), reason })
    }

    fn parse(json: String) -> Result<Tokenizer, String> {
        let document: Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        if document["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] != PATTERN {
            return Err("it cuts words by another pattern".into());
        }
        // The library reads its model from text only.
        let model = serde_json::from_str(&document["model"].to_string());
        let model: BPE = model.map_err(|error| format!("model: {error}"))?;
        let vocabulary = model.get_vocab_size();
        if !(LEAST_VOCABULARY..=GREATEST_VOCABULARY).contains(&vocabulary) {
            return Err(format!("it has {vocabulary} tokens"));
        }
        if model.token_to_id(BOS_TEXT) != Some(u32::from(BOS)) {
            return Err(format!("token {BOS} is not {BOS_TEXT}"));
        }
        let bytes: HashMap<char, u8> = (0..=u8::MAX).map(|byte| (byte_char(byte), byte)).collect();
        let mut spelling = vec![Vec::new()];
        for id in 1..vocabulary as u32 {
            let name = model.id_to_token(id).ok_or_else(|| format!("there is no token {id}"))?;
            let spelt: Option<Vec<u8>> = name.chars().map(|c| bytes.get(&c).copied()).collect();
            spelling
                .push(spelt.filter(|s| !s.is_empty()).ok_or_else(|| format!("token {id} does not stand for bytes"))?);
        }
        Ok(Tokenizer { model, spelling, json })
    }

    /// The text of `tokenizer.json`.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Tokens in the vocabulary, BOS included.
    pub fn vocabulary(&self) -> usize {
        self.spelling.len()
    }

    /// Bytes of text that each token stands for, by id; 0 for BOS.
    pub fn token_bytes(&self) -> Vec<u16> {
        self.spelling.iter().map(|bytes| bytes.len().min(usize::from(u16::MAX)) as u16).collect()
    }

    /// The tokens of `text`, without BOS. Text that spells a special token is ordinary text.
    pub fn encode(&self, text: &str) -> Result<Vec<u16>, PrepareError> {
        let mut tokens = Vec::new();
        Encoder::new(self).encode(text, &mut tokens)?;
        Ok(tokens)
    }

    /// The bytes that tokens stand for; BOS and ids outside the vocabulary stand for none. A token may end within a
    /// character, so these are bytes: decode a text whole, or keep the end of one part for the next.
    pub fn decode_bytes(&self, tokens: &[u16]) -> Vec<u8> {
        tokens.iter().filter_map(|&token| self.spelling.get(usize::from(token))).flatten().copied().collect()
    }

    /// The text that tokens stand for; what is not UTF-8 becomes U+FFFD.
    pub fn decode(&self, tokens: &[u16]) -> String {
        String::from_utf8_lossy(&self.decode_bytes(tokens)).into_owned()
    }
}

/// Encodes many texts, remembering words. One per thread; what it remembers does not change the result.
pub(crate) struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    remembered: HashMap<Box<str>, Box<[u16]>>,
}

impl<'a> Encoder<'a> {
    pub fn new(tokenizer: &'a Tokenizer) -> Encoder<'a> {
        Encoder { tokenizer, remembered: HashMap::new() }
    }

    /// Appends the tokens of `text` to `out`.
    pub fn encode(&mut self, text: &str, out: &mut Vec<u16>) -> Result<(), PrepareError> {
        for word in words(text) {
            if let Some(tokens) = self.remembered.get(word) {
                out.extend_from_slice(tokens);
                continue;
            }
            let start = out.len();
            let spelt: String = word.bytes().map(byte_char).collect();
            let tokens = self.tokenizer.model.tokenize(&spelt);
            let tokens = tokens.map_err(|error| PrepareError::Options(format!("cannot encode {word:?}: {error}")))?;
            out.extend(tokens.iter().map(|token| token.id as u16));
            if word.len() <= REMEMBERED_BYTES && self.remembered.len() < REMEMBERED {
                self.remembered.insert(word.into(), out[start..].into());
            }
        }
        Ok(())
    }
}

/// The printable character by which GPT-2's convention writes a byte: itself where it is printable, else one from
/// U+0100 on, in order.
fn byte_char(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        0..=0x20 => shifted(u32::from(byte)),
        0x7F..=0xA0 => shifted(u32::from(byte) - 0x7F + 0x21),
        0xAD => shifted(0x43),
    }
}

fn shifted(n: u32) -> char {
    char::from_u32(0x100 + n).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::bpe::train;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::LazyLock;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        let text =
            "fn main() { println!(\"hello, hello world\"); } // the theory of the hello é\n    return 1234\n".repeat(3);
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        words(&text).for_each(|word| *counts.entry(word.as_bytes().to_vec()).or_default() += 1);
        let merges = train(&counts.into_iter().collect::<Vec<_>>(), 48, &mut |_| ());
        assert_eq!(merges.len(), 48);
        Tokenizer::from_merges(&merges).unwrap()
    });

    #[test]
    fn bytes_are_written_as_the_library_does() {
        let ours: std::collections::BTreeSet<char> = (0..=u8::MAX).map(byte_char).collect();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        assert_eq!(byte_char(b' '), '\u{120}');
        assert_eq!(byte_char(b'\n'), '\u{10A}');
    }

    #[test]
    fn special_tokens_in_text_are_text() {
        let text = format!("a{BOS_TEXT}b");
        let tokens = TOKENIZER.encode(&text).unwrap();
        assert!(!tokens.contains(&BOS), "{tokens:?}");
        assert_eq!(TOKENIZER.decode(&tokens), text);
    }

    #[test]
    fn frequent_words_are_one_token() {
        assert_eq!(TOKENIZER.encode(" hello").unwrap().len(), 1);
        let bytes = TOKENIZER.token_bytes();
        assert_eq!(bytes.len(), 257 + 48);
        assert_eq!((bytes[0], bytes[1]), (0, 1));
        let text = "hello, new world";
        let tokens = TOKENIZER.encode(text).unwrap();
        assert_eq!(tokens.iter().map(|&t| usize::from(bytes[usize::from(t)])).sum::<usize>(), text.len());
    }

    #[test]
    fn it_is_read_back_and_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, TOKENIZER.json()).unwrap();
        let read = Tokenizer::load(&path).unwrap();
        assert_eq!(read.encode("the theory").unwrap(), TOKENIZER.encode("the theory").unwrap());
        for (from, to, expected) in [
            ("{1,2}", "{1,3}", "another pattern"),
            ("\"<|bos|>\": 0", "\"<|eos|>\": 0", "token 0 is not"),
            ("\"version\"", "version", "key must be a string"),
        ] {
            std::fs::write(&path, TOKENIZER.json().replace(from, to)).unwrap();
            let error = Tokenizer::load(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("tokenizer.json"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(text in "(?s)(.|hello|the |\n| |1){0,60}") {
            let tokens = TOKENIZER.encode(&text).unwrap();
            prop_assert_eq!(TOKENIZER.decode(&tokens), text);
        }

        #[test]
        fn the_library_reads_our_file_and_agrees(text in "([ -~\n]|hello|the |é|€){0,60}") {
            let mut library = tokenizers::Tokenizer::from_bytes(TOKENIZER.json()).unwrap();
            library.set_encode_special_tokens(true);
            let theirs = library.encode(text.as_str(), false).unwrap();
            let ours: Vec<u32> = TOKENIZER.encode(&text).unwrap().into_iter().map(u32::from).collect();
            prop_assert_eq!(ours, theirs.get_ids());
        }
    }
}
