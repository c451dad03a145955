//! Everything on record as CSV (RFC 4180): a file for each table and view of the database, of all nights.

use std::path::Path;

use super::{ExportError, begin};
use crate::files;
use crate::store::{Cell, Reader, Table};

/// Writes `<folder>/<table>.csv` for every table and view, all of one state of the database, and returns how many rows each has. Columns are those of the database; nothing is
/// left out of a text, so a program that takes cells for formulas must be told not to.
///
/// # Errors
/// The folder is not empty, the records cannot be read or a file cannot be written.
pub async fn write(reader: &Reader, folder: &Path) -> Result<Vec<(&'static str, usize)>, ExportError> {
    begin(folder)?;
    let mut tables = reader.tables().await?;
    let mut written = Vec::new();
    for name in Table::ALL {
        let table = tables.read(*name).await?;
        let rows = table.rows.len();
        let path = folder.join(format!("{}.csv", name.name()));
        let text = text_of(&table.columns, &table.rows);
        tokio::task::spawn_blocking(move || files::write_atomically(&path, text.as_bytes())).await??;
        written.push((name.name(), rows));
    }
    Ok(written)
}

fn text_of(columns: &[String], rows: &[Vec<Cell>]) -> String {
    let mut text = String::new();
    line(&mut text, columns.iter().map(|column| quoted(column)));
    for row in rows {
        line(&mut text, row.iter().map(cell));
    }
    text
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    text.push_str(&cells.collect::<Vec<_>>().join(","));
    text.push_str("\r\n");
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Integer(number) => number.to_string(),
        // The shortest text that reads back as the same number.
        Cell::Real(number) => format!("{number:?}"),
        // An empty text is not the same as nothing.
        Cell::Text(text) if text.is_empty() => "\"\"".to_owned(),
        Cell::Text(text) => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) || text.starts_with(' ') || text.ends_with(' ') {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_comes_back_as_it_was() {
        let columns = ["a".to_owned(), "b,c".to_owned()];
        let rows = [
            vec![Cell::Nothing, Cell::Text(String::new())],
            vec![Cell::Integer(-3), Cell::Real(0.1)],
            vec![Cell::Text("say \"hi\",\r\nthen go".to_owned()), Cell::Text(" =1+1".to_owned())],
        ];
        let expected = "a,\"b,c\"\r\n,\"\"\r\n-3,0.1\r\n\"say \"\"hi\"\",\r\nthen go\",\" =1+1\"\r\n";
        assert_eq!(text_of(&columns, &rows), expected);
        assert_eq!(cell(&Cell::Real(1e-7)).parse::<f64>().unwrap(), 1e-7);
    }
}
