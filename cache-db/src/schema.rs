//! Creating the tables before the first call, as Django's `createcachetable` does.

use std::fmt::Write as _;

use cache_core::{
    CacheSettings, Caches, DEFAULT_ALIAS, Error, ErrorKind, Result, Settings, store::BuildContext,
};

#[cfg(feature = "postgres")]
use crate::postgres;
use crate::{
    DRIVER,
    location::Location,
    options::{self, Options},
    sqlite,
    table::Table,
};

/// Creates the table of each cache in the settings whose backend is a database, or upgrades it to
/// the version of this crate.
///
/// Without this function the first call creates the table. Use it for deployments in which the
/// program itself may not create tables; it is Django's `createcachetable`. Existing tables of this
/// version are left unchanged.
///
/// # Errors
///
/// - `Config`: the settings of a cache are invalid.
/// - `Unavailable`, `TimedOut`: the database cannot be reached, is locked or cannot be written.
/// - `Backend`: the server refuses the statement, or another program owns a table of this name.
///
/// # Cancel safety
///
/// Dropping the future may leave some tables created and others not. Each table is complete or
/// absent.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let folder = tempfile::tempdir().unwrap();
/// let file = folder.path().join("cache.db");
/// let settings = cache_core::Settings::from_toml(&format!(
///     "[caches.default]\nbackend = 'db'\nlocation = '{}'", file.display()
/// ))?;
/// cache_db::create_tables(&settings).await?;
/// assert!(file.exists());
/// # Ok::<_, cache_core::Error>(()) }).unwrap();
/// ```
pub async fn create_tables(settings: &Settings) -> Result<()> {
    for (alias, cache) in ours(settings) {
        create_table(alias, cache).await.map_err(|it| it.with_context("alias", alias))?;
    }
    Ok(())
}

async fn create_table(alias: &str, settings: &CacheSettings) -> Result<()> {
    match BuildContext::with(alias, settings, place)? {
        Place::Sqlite(_) => {
            let one = Settings::from_iter([(DEFAULT_ALIAS.to_owned(), settings.clone())]);
            let caches = Caches::builder().driver(DRIVER).settings(one).build()?;
            let store = caches.get(DEFAULT_ALIAS)?.backend();
            store.check().await?;
            store.close().await
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(connector) => connector.make_table().await,
    }
}

/// Where to create a table.
enum Place {
    Sqlite(Table),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Connector>),
}

fn place(context: &BuildContext<'_>) -> Result<Place> {
    let options = Options::read(context)?;
    match options::location(context)? {
        Location::File(_) | Location::Memory => {
            Ok(Place::Sqlite(options.sqlite(context)?.plan.table))
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => {
            Ok(Place::Postgres(Box::new(postgres::connector(context, options, &url)?)))
        }
        #[cfg(not(feature = "postgres"))]
        Location::Postgres(_) => {
            let what = "is a PostgreSQL server, which needs the feature `postgres` of cache-db";
            Err(context.error("location", what))
        }
    }
}

/// Returns the SQL with which [`create_tables`] creates the tables, in the dialect of each
/// database. Connects to nothing.
///
/// # Errors
///
/// `Config` if the settings of a cache are invalid.
///
/// ```
/// let settings = cache_core::Settings::from_toml(r#"
///     [caches.default]
///     backend = "db"
///     location = "cache.db"
///     options = { table = "my cache" }
/// "#)?;
/// assert!(cache_db::create_tables_sql(&settings)?.contains("CREATE TABLE \"my cache\""));
/// # Ok::<_, cache_core::Error>(())
/// ```
pub fn create_tables_sql(settings: &Settings) -> Result<String> {
    let mut res = String::new();
    for (alias, cache) in ours(settings) {
        let sql = match BuildContext::with(alias, cache, place)? {
            Place::Sqlite(table) => sqlite::sql(&table),
            #[cfg(feature = "postgres")]
            Place::Postgres(connector) => connector.create_sql(),
        };
        write!(res, "-- {alias}\n{sql}")
            .map_err(|_| Error::new(ErrorKind::Backend, "the text cannot be written"))?;
    }
    Ok(res)
}

/// Returns the caches whose backend is a database.
fn ours(settings: &Settings) -> impl Iterator<Item = (&str, &CacheSettings)> {
    let names = ["db", "sqlite", "postgres"];
    settings.iter().filter(move |(_, it)| names.contains(&it.backend.as_str()))
}
