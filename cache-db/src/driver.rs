//! `backend = "db"` in the settings.

use std::{path::Path, sync::Arc};

use cache_core::{
    Driver, Result,
    store::{Backend, BuildContext},
};

use crate::{
    location::Location,
    options::{self, Options, SqlitePlan},
    sqlite::SqliteStore,
};

/// `backend = "db"`, or `"sqlite"`, or `"postgres"`. Found by itself in a program that says `use cache_db as _;`.
///
/// ```
/// assert_eq!(cache_db::DRIVER.name(), "db");
/// ```
pub const DRIVER: Driver = Driver::new("db", build).with_other_names(&["sqlite", "postgres"]);

cache_core::register_driver!(DRIVER);

fn build(context: &BuildContext<'_>) -> Result<Arc<dyn Backend>> {
    let options = Options::read(context)?;
    let location = options::location(context)?;
    agrees(context, &location)?;
    match location {
        Location::Memory => {
            let plan = options.sqlite(context)?;
            Ok(Arc::new(SqliteStore::new(None, plan, context.clock().clone())))
        }
        Location::File(path) => {
            let plan = options.sqlite(context)?;
            let path = absolute(&path);
            // `Cache` and `cache` are one table to SQLite.
            let table = plan.plan.table.quoted().to_ascii_lowercase();
            let place = format!("{} {table}", path.display());
            let store = context.shared_store(&place, &plan, SqlitePlan::difference, || {
                Ok(SqliteStore::new(Some(path), plan.clone(), context.clock().clone()))
            })?;
            Ok(store)
        }
        #[cfg(feature = "postgres")]
        Location::Postgres(url) => crate::postgres::open(context, options, &url),
        #[cfg(not(feature = "postgres"))]
        Location::Postgres(_) => Err(context.error(
            "location",
            "is a PostgreSQL server, for which this program has no driver; add the feature `postgres` of cache-db",
        )),
    }
}

/// Who asks for one database by name must not get the other.
fn agrees(context: &BuildContext<'_>, location: &Location) -> Result<()> {
    let is_postgres = matches!(location, Location::Postgres(_));
    let what = match context.settings().backend.as_str() {
        "sqlite" if is_postgres => "is a PostgreSQL server, and the backend is \"sqlite\"",
        "postgres" if !is_postgres => "is a SQLite database, and the backend is \"postgres\"",
        _ => return Ok(()),
    };
    Err(context.error("location", format!("{what}; \"db\" takes either")))
}

/// One file has one name, whatever the program does to its working directory later.
fn absolute(path: &Path) -> std::path::PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // The file itself may not be there yet.
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path,
    }
}
