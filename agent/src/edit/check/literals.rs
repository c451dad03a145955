//! How much may be written out in numbers and texts: enough for coefficients and messages, not for weights learnt earlier.

use super::super::tokens::Spot;

/// Bytes of one text or byte string, as written.
pub(super) const TEXT_BYTES: usize = 1024;
/// Elements of one array, tuple or `vec!`, with those of whatever it holds in turn. Not numbers alone: a name can stand for
/// one.
pub(super) const TABLE_ELEMENTS: usize = 256;
/// Bytes of literals in the same.
pub(super) const TABLE_BYTES: usize = 4 * 1024;
/// Numbers in a file.
pub(super) const FILE_NUMBERS: usize = 1_000;
/// Bytes of literals in a file.
pub(super) const FILE_BYTES: usize = 8 * 1024;

/// Counts literals as they are met.
#[derive(Debug, Default)]
pub(super) struct Tally {
    file: Count,
    /// The outermost table that is being read, with what it held so far.
    table: Option<Table>,
    tables_around: usize,
    file_reported: bool,
}

#[derive(Debug, Default)]
struct Count {
    numbers: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Table {
    spot: Spot,
    elements: usize,
    bytes: usize,
}

impl Tally {
    /// A table of so many elements begins.
    pub fn enter(&mut self, spot: Spot, elements: usize) {
        let table = self.table.get_or_insert(Table { spot, elements: 0, bytes: 0 });
        table.elements += elements;
        self.tables_around += 1;
    }

    /// A table ends. Returns what is wrong with the outermost one and where it began.
    pub fn leave(&mut self) -> Option<(Spot, String)> {
        self.tables_around = self.tables_around.saturating_sub(1);
        if self.tables_around > 0 {
            return None;
        }
        let Table { spot, elements, bytes } = self.table.take()?;
        if elements > TABLE_ELEMENTS {
            return Some((spot, format!("a table of {elements} elements, at most {TABLE_ELEMENTS}")));
        }
        (bytes > TABLE_BYTES).then(|| (spot, format!("a table of {bytes} bytes of literals, at most {TABLE_BYTES}")))
    }

    /// A literal, as long as it is written. Returns what is wrong with it.
    pub fn add(&mut self, number: bool, bytes: usize) -> Option<String> {
        self.file.numbers += usize::from(number);
        self.file.bytes += bytes;
        if let Some(table) = &mut self.table {
            table.bytes += bytes;
        }
        if !number && bytes > TEXT_BYTES {
            return Some(format!("a literal of {bytes} bytes, at most {TEXT_BYTES}"));
        }
        if self.file_reported {
            return None;
        }
        let Count { numbers, bytes } = self.file;
        self.file_reported = numbers > FILE_NUMBERS || bytes > FILE_BYTES;
        self.file_reported.then(|| {
            format!(
                "literal number {numbers} or byte {bytes} of literals in the file, at most {FILE_NUMBERS} and {FILE_BYTES}"
            )
        })
    }
}
