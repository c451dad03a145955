//! Documents of a Parquet file: one text column, batch by batch.

use std::fs::File;
use std::path::Path;

use parquet::basic::Type;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;

use super::PrepareError;
use super::read::{Each, utf8};

/// Rows decoded at a time.
const BATCH: usize = 256;

/// Hands on the text of every row; a null is an empty document.
pub(crate) fn read_parquet(path: &Path, column: &str, each: Each<'_>) -> Result<(), PrepareError> {
    let broken = |error: ParquetError| PrepareError::Parquet { path: path.to_path_buf(), reason: error.to_string() };
    let file = File::open(path).map_err(PrepareError::read("open", path))?;
    let bytes = file.metadata().map_err(PrepareError::read("inspect", path))?.len();
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let index = find_column(schema, column).ok_or_else(|| PrepareError::MissingColumn {
        path: path.to_path_buf(),
        column: column.to_string(),
        present: text_columns(schema).join(", "),
    })?;
    let optional = schema.column(index).max_def_level() > 0;
    let rows = reader.metadata().file_metadata().num_rows().max(1) as u64;
    let mut row = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(broken)?;
        let expected = group.metadata().num_rows() as u64;
        let end = row + expected;
        let ColumnReader::ByteArrayColumnReader(mut values) = group.get_column_reader(index).map_err(broken)? else {
            return Err(broken(ParquetError::General(format!("column `{column}` changes its type"))));
        };
        while row < end {
            let (mut batch, mut levels): (Vec<ByteArray>, Vec<i16>) = (Vec::new(), Vec::new());
            let (records, _, _) =
                values.read_records(BATCH, optional.then_some(&mut levels), None, &mut batch).map_err(broken)?;
            if records == 0 {
                return Err(broken(ParquetError::General(format!("it ends at row {row} of {rows}"))));
            }
            let mut present = batch.into_iter();
            for record in 0..records {
                let is_null = optional && levels.get(record).is_none_or(|&level| level == 0);
                let text = if is_null { None } else { present.next() };
                let content = text.map_or(Vec::new(), |value| value.data().to_vec());
                row += 1;
                each(
                    utf8(path, content, |offset| format!("row {}, byte {offset}", row - 1))?,
                    bytes * row.min(rows) / rows,
                )?;
            }
        }
    }
    Ok(())
}

/// A top-level or nested column of that name that holds one string a row.
fn find_column(schema: &SchemaDescriptor, name: &str) -> Option<usize> {
    (0..schema.num_columns()).find(|&i| is_text(schema, i) && schema.column(i).path().string() == name)
}

fn text_columns(schema: &SchemaDescriptor) -> Vec<String> {
    (0..schema.num_columns()).filter(|&i| is_text(schema, i)).map(|i| schema.column(i).path().string()).collect()
}

fn is_text(schema: &SchemaDescriptor, i: usize) -> bool {
    let column = schema.column(i);
    column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0 && column.max_def_level() <= 1
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::ByteArrayType;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    /// Writes a file with an integer column and an optional text column, in row groups of `group` rows.
    pub(crate) fn write(path: &Path, texts: &[Option<&str>], group: usize, compression: Compression) {
        let schema = "message m { required int32 id; optional binary text (UTF8); }";
        let properties = WriterProperties::builder().set_compression(compression).build();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
        for rows in texts.chunks(group) {
            let mut group = writer.next_row_group().unwrap();
            let mut ids = group.next_column().unwrap().unwrap();
            let numbers: Vec<i32> = (0..rows.len() as i32).collect();
            ids.typed::<parquet::data_type::Int32Type>().write_batch(&numbers, None, None).unwrap();
            ids.close().unwrap();
            let mut text = group.next_column().unwrap().unwrap();
            let values: Vec<ByteArray> = rows.iter().flatten().map(|&t| ByteArray::from(t)).collect();
            let levels: Vec<i16> = rows.iter().map(|t| i16::from(t.is_some())).collect();
            text.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
            text.close().unwrap();
            group.close().unwrap();
        }
        writer.close().unwrap();
    }

    fn read(path: &Path, column: &str) -> Result<Vec<String>, PrepareError> {
        let mut documents = Vec::new();
        read_parquet(path, column, &mut |text, _| {
            documents.push(text);
            Ok(())
        })?;
        Ok(documents)
    }

    #[test]
    fn rows_come_back_in_order_in_every_compression() {
        let dir = tempfile::tempdir().unwrap();
        let texts: Vec<String> = (0..1_000).map(|i| format!("document {} é", i * i)).collect();
        let rows: Vec<Option<&str>> =
            texts.iter().enumerate().map(|(i, t)| (i % 7 != 3).then_some(t.as_str())).collect();
        let expected: Vec<&str> = rows.iter().map(|t| t.unwrap_or("")).collect();
        let zstd = Compression::ZSTD(ZstdLevel::default());
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(Default::default()), zstd]
        {
            let path = dir.path().join("a.parquet");
            write(&path, &rows, 300, compression);
            assert_eq!(read(&path, "text").unwrap(), expected);
        }
    }

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let texts: Vec<String> = (0..500).map(|i| format!("some text {i}")).collect();
        let rows: Vec<Option<&str>> = texts.iter().map(|t| Some(t.as_str())).collect();
        write(&path, &rows, 100, Compression::SNAPPY);
        let whole = fs::read(&path).unwrap();
        for keep in [0, 3, 4, 20, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..keep]).unwrap();
            let error = read(&path, "text").unwrap_err().to_string();
            assert!(error.contains("a.parquet is not a whole Parquet file"), "{keep}: {error}");
        }
        // A hole in the middle, as a broken download leaves it.
        let mut hole = whole.clone();
        hole[whole.len() / 4..whole.len() / 2].fill(0);
        fs::write(&path, &hole).unwrap();
        assert!(read(&path, "text").unwrap_err().to_string().contains("a.parquet"));
    }

    #[test]
    fn a_missing_column_lists_those_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(&path, &[Some("x")], 1, Compression::UNCOMPRESSED);
        for column in ["body", "id"] {
            let error = read(&path, column).unwrap_err().to_string();
            assert!(error.contains(&format!("no text column `{column}`")) && error.contains("are: text"), "{error}");
        }
    }
}
