//! Tables and views whole, for whoever takes everything elsewhere.

use sqlx::{Column, Row, Sqlite, Transaction, TypeInfo, ValueRef};

use super::error::{Context, StoreError};
use super::reader::Reader;

type Result<T> = std::result::Result<T, StoreError>;

/// A table or a view of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    name: &'static str,
    all: &'static str,
}

/// Names a table and asks for all of it.
macro_rules! tables {
    ($($name:literal),+ $(,)?) => {
        &[$(Table { name: $name, all: concat!("SELECT * FROM ", $name) }),+]
    };
}

impl Table {
    /// All of them: tables first, then the views for people.
    pub const ALL: &'static [Table] = tables![
        "nights",
        "experiments",
        "attempts",
        "trials",
        "champion_moves",
        "skips",
        "claims",
        "withdrawals",
        "looks",
        "exchanges",
        "queue",
        "reviews",
        "events",
        "effects",
        "night_results",
        "experiment_results",
        "certificates",
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        self.name
    }
}

/// A cell of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Nothing,
    /// An integer.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A text.
    Text(String),
}

/// Rows of a table or view.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows in the database's order; each has a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// Tables and views of one state of the database, whatever is written meanwhile.
#[derive(Debug)]
pub struct Tables {
    snapshot: Transaction<'static, Sqlite>,
    context: Context,
}

impl Reader {
    /// Tables and views as they stand now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tables(&self) -> Result<Tables> {
        Ok(Tables { snapshot: self.snapshot().await?, context: self.context.clone() })
    }
}

impl Tables {
    /// A table or view, whole.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read(&mut self, table: Table) -> Result<Rows> {
        let (snapshot, context) = (&mut self.snapshot, &self.context);
        let failed = || context.sql("read a table");
        // Columns are asked for on their own: a table without rows has them too.
        let described = sqlx::query("SELECT name FROM pragma_table_info(?1)")
            .bind(table.name)
            .fetch_all(&mut **snapshot)
            .await
            .map_err(failed())?;
        let mut rows = Rows::default();
        for row in described {
            rows.columns.push(row.try_get(0).map_err(failed())?);
        }
        for row in sqlx::query(table.all).fetch_all(&mut **snapshot).await.map_err(failed())? {
            let mut cells = Vec::with_capacity(row.columns().len());
            for column in row.columns() {
                let at = column.ordinal();
                let raw = row.try_get_raw(at).map_err(failed())?;
                let cell = match (raw.is_null(), raw.type_info().name()) {
                    (true, _) => Cell::Nothing,
                    (false, "INTEGER") => Cell::Integer(row.try_get_unchecked(at).map_err(failed())?),
                    (false, "REAL") => Cell::Real(row.try_get_unchecked(at).map_err(failed())?),
                    (false, _) => Cell::Text(row.try_get_unchecked(at).map_err(failed())?),
                };
                cells.push(cell);
            }
            rows.rows.push(cells);
        }
        Ok(rows)
    }
}
