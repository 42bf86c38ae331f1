//! The driver: `backend = "db"` in the settings.

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

/// The driver for `backend = "db"`, `"sqlite"` and `"postgres"`. A program that contains `use
/// cache_db as _;` finds it by itself.
///
/// ```
/// assert_eq!(cache_db::DRIVER.name(), "db");
/// ```
pub const DRIVER: Driver = Driver::new("db", build)
    .with_other_names(&["sqlite", "postgres"])
    .with_schemes(&["postgres", "postgresql", "sqlite"]);

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
            // SQLite ignores the case of table names.
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
            "is a PostgreSQL server, which needs the feature `postgres` of cache-db",
        )),
    }
}

/// The names `sqlite` and `postgres` must not select the other database.
fn agrees(context: &BuildContext<'_>, location: &Location) -> Result<()> {
    let is_postgres = matches!(location, Location::Postgres(_));
    let what = match context.settings().backend.as_str() {
        "sqlite" if is_postgres => "is a PostgreSQL server, and the backend is \"sqlite\"",
        "postgres" if !is_postgres => "is a SQLite database, and the backend is \"postgres\"",
        _ => return Ok(()),
    };
    Err(context.error("location", format!("{what}; the backend \"db\" accepts both")))
}

/// Makes the path absolute, so that a later change of the working directory does not matter.
fn absolute(path: &Path) -> std::path::PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // The file itself may not exist yet.
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path,
    }
}
