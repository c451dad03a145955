//! The sealed text: held-out rows that nothing during the night sees, so that the morning's claim rests on text by which nothing was
//! chosen.
//!
//! Until the morning only its place is known. Opening it is a decision of its own, taken where a trial of the morning is evaluated and
//! nowhere else.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use data::{Manifest, files};

use crate::prepare::DataError;
use crate::verify::HeldOut;

/// Where the sealed rows lie, and the rows once they were wanted.
#[derive(Debug)]
pub struct Sealed {
    folder: PathBuf,
    manifest: Manifest,
    opened: Mutex<Option<Arc<HeldOut>>>,
}

impl Sealed {
    /// Knows the rows of a folder of prepared data and leaves them alone.
    pub fn new(folder: PathBuf, manifest: Manifest) -> Sealed {
        Sealed { folder, manifest, opened: Mutex::new(None) }
    }

    /// Whether they were read.
    pub fn is_opened(&self) -> bool {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Reads the rows, once, and sees that they are those of the manifest. Blocks; some seconds where they are many.
    ///
    /// # Errors
    /// When they are not there, cannot be read or are not those that were prepared.
    pub fn open(&self) -> Result<Arc<HeldOut>, DataError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = &*opened {
            return Ok(Arc::clone(rows));
        }
        let rows = self.manifest.sealed_rows(&self.folder)?;
        let bytes = self.manifest.token_bytes(&self.folder)?.scored(&rows)?;
        let held_out = Arc::new(HeldOut::new(rows, bytes)?);
        let path = self.folder.join(files::SEALED_ROWS);
        let prepared = self.manifest.files.get(files::SEALED_ROWS).map(|record| record.sha256.as_str());
        if prepared != Some(held_out.sha256()) {
            let (found, prepared) = (held_out.sha256(), prepared.unwrap_or("nothing of it"));
            let reason = format!("its content has SHA-256 {found}, and the manifest says {prepared}");
            return Err(data::DataError::Damaged { path, reason }.into());
        }
        *opened = Some(Arc::clone(&held_out));
        Ok(held_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use crate::layout::Layout;
    use data::prepare::{Options, Source, prepare};

    /// A folder of prepared data, made from a few hundred little documents.
    fn prepared(root: &Path) -> Sealed {
        let text = root.join("text");
        fs::create_dir_all(&text).unwrap();
        for number in 0..300 {
            let words: Vec<String> = (0..40).map(|i| format!("word{}", (number * 31 + i * i * 7) % 97)).collect();
            fs::write(text.join(format!("{number:03}.txt")), format!("{} {number}\n", words.join(" "))).unwrap();
        }
        let source = Source::files(&[text], "text").unwrap();
        let mut options = Options::for_source(&source, 300, 16);
        (options.search_rows, options.sealed_rows) = (4, 4);
        let folder = Layout::new(root).data().join("k");
        let manifest = prepare(&source, &options, &folder, &mut |_| {}).unwrap();
        Sealed::new(folder, manifest)
    }

    #[test]
    fn sealed_rows_are_read_when_they_are_wanted_and_are_those_that_were_prepared() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = prepared(folder.path());
        assert!(!sealed.is_opened());
        let rows = sealed.open().unwrap();
        assert_eq!((rows.rows().len(), rows.rows().context()), (4, 16));
        assert!(sealed.is_opened());
        assert!(Arc::ptr_eq(&rows, &sealed.open().unwrap()));

        let path = sealed.folder.join(files::SEALED_ROWS);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let again = Sealed::new(sealed.folder.clone(), sealed.manifest.clone());
        let error = again.open().unwrap_err().to_string();
        assert!(error.contains("sealed.rows") && error.contains("the manifest says"), "{error}");
        assert!(!again.is_opened());
    }
}
