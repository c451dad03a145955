//! Opening the database: the connection's settings, the migrations, and what to say of a file that is not as it should be.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqliteConnection, SqlitePool};

use super::error::{Context, StoreError};
use crate::files;

/// The schema; `build.rs` watches the folder.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// How long a connection waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

/// `PRAGMA application_id` of the first migration.
const APPLICATION_ID: i64 = 0x4e6f_6374;

/// Where sqlx notes the applied migrations.
const VERSIONS_TABLE: &str = "_sqlx_migrations";

/// How much of the file is looked at before it is used. Looking at all of it takes a second where there are ten thousand experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// All of it: what hours are going to be written to must not turn out to be damaged in the morning.
    Whole,
    /// What is read anyway. SQLite says so where that is damaged, and what is written is in the JSON files as well.
    AsItComes,
}

fn settings(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

/// The one connection that writes. FULL, because with NORMAL a power cut may undo commits that were reported as done.
pub(super) async fn open_writer(path: &Path, care: Care) -> Result<SqlitePool, StoreError> {
    let context = Context::new(path);
    if let Some(folder) = path.parent() {
        files::create_folder(folder)?;
    }
    // Two processes that open a new database at once: the second waits here and finds the work done. SQLite's own locks do
    // not help, because each migration is a transaction of its own and the change to WAL does not wait.
    let _lock = opening_lock(path).await?;
    let options = settings(path).create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(context.sql("open a connection"))?;
    if care == Care::Whole {
        check(&mut connection, &context).await?;
    }
    let lacking = pending(&mut connection, &context).await?;
    if !lacking.is_empty() {
        // A change of the schema rewrites tables.
        if care != Care::Whole {
            check(&mut connection, &context).await?;
        }
        let failed = |error| migration_error(error, &context);
        connection.ensure_migrations_table(VERSIONS_TABLE).await.map_err(failed)?;
        for migration in MIGRATIONS.iter().filter(|migration| lacking.contains(&migration.version)) {
            connection.apply(VERSIONS_TABLE, migration).await.map_err(failed)?;
        }
    }
    connection.close().await.map_err(context.sql("close a connection"))?;
    // a pool of one is a queue for whoever wants to write, and rolls back what is dropped half-way
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    pool_of(1).connect_with(options).await.map_err(context.sql("open a connection"))
}

/// Moves what the write-ahead log holds into the database. What readers of other processes still look at stays in the log.
pub(super) async fn fold_log(writer: &SqlitePool, context: &Context) -> Result<(), StoreError> {
    let fold = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await;
    fold.map(drop).map_err(context.sql("fold the log into the database"))
}

/// Leaves a database that is one single file: no log beside it, nor the need for one to be opened.
pub(super) async fn single_file(writer: &SqlitePool, context: &Context) -> Result<(), StoreError> {
    let doing = "fold the log into the database";
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(writer).await.map_err(context.sql(doing))?;
    if mode == "delete" { Ok(()) } else { Err(StoreError::Busy { path: context.path.clone(), doing }) }
}

/// Held until dropped.
async fn opening_lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-opening");
    let lock_path = PathBuf::from(name);
    let failed = |source| files::FileError::Io { action: "lock", path: lock_path.clone(), source };
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(failed)?;
    let locked = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    Ok(locked.map_err(|stopped| failed(io::Error::other(stopped)))?.map_err(failed)?)
}

/// Connections that cannot write. A database that an older version made is brought up to date first, or, where nothing is to be written at
/// all (`as_it_is`), is an error.
pub(super) async fn open_readers(path: &Path, as_it_is: bool) -> Result<SqlitePool, StoreError> {
    let context = Context::new(path);
    if !path.exists() {
        return Err(StoreError::NoDatabase { path: path.to_owned() });
    }
    let options = settings(path).read_only(true);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(context.sql("open a connection"))?;
    let behind = !pending(&mut connection, &context).await?.is_empty();
    connection.close().await.map_err(context.sql("close a connection"))?;
    if behind && as_it_is {
        return Err(StoreError::Older { path: path.to_owned() });
    }
    if behind {
        open_writer(path, Care::AsItComes).await?.close().await;
    }
    pool_of(4).connect_with(options).await.map_err(context.sql("open a connection"))
}

fn pool_of(connections: u32) -> PoolOptions<Sqlite> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(120))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Reads the whole file, and says so where it is damaged.
pub(super) async fn check(connection: &mut SqliteConnection, context: &Context) -> Result<(), StoreError> {
    let found: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(3)")
        .fetch_all(connection)
        .await
        .map_err(context.sql("check the file"))?;
    if found == ["ok"] {
        return Ok(());
    }
    Err(StoreError::Corrupt { path: context.path.clone(), detail: found.join("; ") })
}

/// Versions of the migrations that the database lacks; an error when it is not one that this program can bring up to date.
async fn pending(connection: &mut SqliteConnection, context: &Context) -> Result<Vec<i64>, StoreError> {
    let doing = "read the schema's version";
    let application: i64 =
        sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(context.sql(doing))?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE tbl_name <> ?")
        .bind(VERSIONS_TABLE)
        .fetch_one(&mut *connection)
        .await
        .map_err(context.sql(doing))?;
    if tables == 0 {
        return Ok(MIGRATIONS.iter().map(|migration| migration.version).collect());
    }
    if application != APPLICATION_ID {
        return Err(StoreError::Foreign { path: context.path.clone() });
    }
    let applied =
        connection.list_applied_migrations(VERSIONS_TABLE).await.map_err(|error| migration_error(error, context))?;
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    for migration in &applied {
        match MIGRATIONS.iter().find(|ours| ours.version == migration.version) {
            None => {
                return Err(StoreError::Newer { path: context.path.clone(), found: migration.version, known });
            }
            Some(ours) if ours.checksum != migration.checksum => {
                return Err(StoreError::Altered { path: context.path.clone(), version: migration.version });
            }
            Some(_) => {}
        }
    }
    let lacking = |version: &i64| !applied.iter().any(|migration| migration.version == *version);
    Ok(MIGRATIONS.iter().map(|migration| migration.version).filter(lacking).collect())
}

fn migration_error(error: sqlx::migrate::MigrateError, context: &Context) -> StoreError {
    use sqlx::migrate::MigrateError;
    let doing = "bring the schema up to date";
    match error {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => context.sql(doing)(source),
        other => {
            StoreError::Database { path: context.path.clone(), doing, source: sqlx::Error::Migrate(Box::new(other)) }
        }
    }
}
