//! Corpus, tokenizer, token shards and packed rows.
