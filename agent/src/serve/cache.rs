//! What took long to make and is asked for again: pictures of curves, and which branches come of what is accepted. Each entry's key has in it
//! whatever would make it another, so nothing here is ever out of date; what is asked for least goes when there is too much.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Bytes that are kept at most; a picture has some 60,000.
const MOST_BYTES: usize = 24 << 20;

/// Things by key.
#[derive(Debug)]
pub struct Cache<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    entries: HashMap<String, Entry<T>>,
    bytes: usize,
    /// Counts what was asked for.
    clock: u64,
}

#[derive(Debug)]
struct Entry<T> {
    thing: T,
    bytes: usize,
    asked: u64,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { entries: HashMap::new(), bytes: 0, clock: 0 }) }
    }
}

impl<T: Clone> Cache<T> {
    /// What is kept under that key.
    pub fn get(&self, key: &str) -> Option<T> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.clock += 1;
        let now = inner.clock;
        let entry = inner.entries.get_mut(key)?;
        entry.asked = now;
        Some(entry.thing.clone())
    }

    /// Keeps a thing of so many bytes. One that is a large part of all that may be kept is not.
    pub fn put(&self, key: String, thing: T, bytes: usize) {
        let bytes = bytes + key.len();
        if bytes > MOST_BYTES / 4 {
            return;
        }
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        inner.clock += 1;
        let entry = Entry { thing, bytes, asked: inner.clock };
        inner.bytes += bytes;
        if let Some(before) = inner.entries.insert(key, entry) {
            inner.bytes -= before.bytes;
        }
        if inner.bytes <= MOST_BYTES {
            return;
        }
        // Half of it at once, so that this is seldom done.
        let mut oldest: Vec<(u64, String)> =
            inner.entries.iter().map(|(key, entry)| (entry.asked, key.clone())).collect();
        oldest.sort_unstable();
        for (_, key) in oldest {
            if inner.bytes <= MOST_BYTES / 2 {
                break;
            }
            if let Some(entry) = inner.entries.remove(&key) {
                inner.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_least_goes_first_and_the_rest_is_bounded() {
        let cache = Cache::default();
        let large = 1 << 20;
        cache.put("often".into(), 7, large);
        for number in 0..60 {
            cache.put(number.to_string(), number, large);
            assert_eq!(cache.get("often"), Some(7), "{number}");
            let inner = cache.inner.lock().unwrap();
            assert!(inner.bytes <= MOST_BYTES);
            assert_eq!(inner.bytes, inner.entries.values().map(|entry| entry.bytes).sum::<usize>());
        }
        assert_eq!((cache.get("0"), cache.get("59")), (None, Some(59)));
        cache.put("59".into(), 1, 5);
        assert_eq!(cache.get("59"), Some(1));
        cache.put("huge".into(), 1, MOST_BYTES / 2);
        assert!(cache.get("huge").is_none());
    }
}
