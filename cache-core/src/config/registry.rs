//! The drivers by name: how a backend crate registers a driver, and how a name in the settings
//! finds it.

use std::collections::BTreeMap;

use super::{Driver, closest, list, shown};
use crate::error::{Error, ErrorKind, Result};

/// A driver that a linked crate registered with [`register_driver!`](crate::register_driver).
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Linked {
    pub driver: Driver,
    pub krate: &'static str,
}

#[cfg(feature = "inventory")]
inventory::collect!(Linked);

/// Registers a [`Driver`] for every program that links the calling crate.
///
/// Rust links a crate only if the program names it, so the program says once `use that_crate as
/// _;`. Without the feature `inventory` this macro does nothing, and programs call
/// `.driver(that_crate::DRIVER)`.
#[macro_export]
macro_rules! register_driver {
    ($driver:expr) => {
        $crate::__submit_driver! { $driver }
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(feature = "inventory")]
macro_rules! __submit_driver {
    ($driver:expr) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Linked { driver: $driver, krate: env!("CARGO_PKG_NAME") }
        }
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "inventory"))]
macro_rules! __submit_driver {
    ($driver:expr) => {};
}

/// The drivers that a builder may use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    explicit: BTreeMap<&'static str, Driver>,
    linked: BTreeMap<&'static str, Vec<Linked>>,
}

impl Registry {
    /// Returns the drivers of this crate and of every linked backend crate.
    pub(crate) fn linked() -> Self {
        let mut res = Self::default();
        res.link(Linked { driver: crate::store::dummy::DRIVER, krate: env!("CARGO_PKG_NAME") });
        #[cfg(feature = "inventory")]
        inventory::iter::<Linked>.into_iter().for_each(|it| res.link(*it));
        res
    }

    fn link(&mut self, linked: Linked) {
        for name in linked.driver.names() {
            self.linked.entry(name).or_default().push(linked);
        }
    }

    /// Adds a driver that replaces linked drivers with its names. The driver that was added last
    /// wins.
    pub(crate) fn add(&mut self, driver: Driver) {
        self.explicit.extend(driver.names().map(|name| (name, driver)));
    }

    /// Returns the driver with that name.
    pub(crate) fn find(&self, name: &str) -> Result<Driver> {
        if let Some(driver) = self.explicit.get(name) {
            return Ok(*driver);
        }
        match self.linked.get(name).map(Vec::as_slice) {
            Some([only]) => Ok(only.driver),
            Some(several) => {
                let crates = list(several.iter().map(|it| it.krate));
                Err(Error::new(
                    ErrorKind::Config,
                    format!(
                        "several linked crates provide the backend `{name}`: {crates}; \
                         choose one with `.driver(that_crate::DRIVER)`"
                    ),
                ))
            }
            None => Err(self.unknown(name)),
        }
    }

    /// Returns the driver of URLs with this scheme.
    pub(crate) fn serving(&self, scheme: &str) -> Result<Driver> {
        let serves = |it: &&Driver| it.schemes().contains(&scheme);
        if let Some(driver) = self.explicit.values().find(serves) {
            return Ok(*driver);
        }
        let mut linked = self.linked.values().flatten().map(|it| &it.driver).filter(serves);
        // It has its own name, and is not replaced.
        linked.next().map_or_else(|| Err(unserved(scheme)), |it| self.find(it.name()))
    }

    fn unknown(&self, name: &str) -> Error {
        let known = self.linked.keys().chain(self.explicit.keys()).copied();
        let known: std::collections::BTreeSet<_> = known.collect();
        let lower = name.to_ascii_lowercase();
        let is_spelling = known.contains(lower.as_str());
        let close = closest(&lower, known.iter().copied());
        let known = list(known);
        let hint = match OUR_CRATES.iter().find(|(names, _)| names.contains(&lower.as_str())) {
            _ if is_spelling => format!("it is spelled `{lower}` here"),
            Some((_, krate)) => line_to_add(krate),
            None if name.contains("://") => {
                "a URL belongs in `location`; `backend` is a short name, such as \"redis\"".to_owned()
            }
            None if name.contains('.') => {
                let ours = DJANGO.iter().find(|(theirs, _)| lower.contains(theirs));
                let ours = ours.map_or("memory", |(_, ours)| ours);
                format!("this looks like a Django class path; here it is a short name, such as \"{ours}\"")
            }
            None if close.is_some() => format!("did you mean `{}`?", close.unwrap_or_default()),
            None => "if a crate provides it, add that crate to Cargo.toml and name it once in the program: \
                `use that_crate as _;`"
                .to_owned(),
        };
        Error::new(
            ErrorKind::Config,
            format!("unknown backend `{}`; this program has {known}; {hint}", shown(name)),
        )
    }
}

/// Creates the error of a URL whose scheme no driver serves.
fn unserved(scheme: &str) -> Error {
    let hint = match SCHEMES.iter().find(|(schemes, _)| schemes.contains(&scheme)) {
        Some((_, krate)) => line_to_add(krate),
        None => "Redis and Valkey have redis://".to_owned(),
    };
    let scheme = shown(scheme);
    Error::new(ErrorKind::Config, format!("no linked driver serves the URL {scheme}://…; {hint}"))
}

fn line_to_add(krate: &str) -> String {
    let module = krate.replace('-', "_");
    format!("add `{krate}` to Cargo.toml and name it once in the program: `use {module} as _;`")
}

/// Parts of Django's class paths, with our names.
const DJANGO: &[(&str, &str)] = &[
    ("locmem", "memory"),
    ("memcached", "memcached"),
    ("redis", "redis"),
    ("filebased", "file"),
    ("dummy", "dummy"),
    ("backends.db", "db"),
];

/// The schemes of the workspace's crates, for the same error.
const SCHEMES: &[(&[&str], &str)] = &[
    (&["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix"], "cache-redis"),
    (&["postgres", "postgresql", "sqlite"], "cache-db"),
    (&["memcached", "memcache"], "cache-memcached"),
];

/// The backends of the workspace's crates, for the error that names the line to add.
const OUR_CRATES: &[(&[&str], &str)] = &[
    (&["memory"], "cache-memory"),
    (&["redis", "valkey"], "cache-redis"),
    (&["memcached"], "cache-memcached"),
    (&["db", "sqlite", "postgres"], "cache-db"),
    (&["file"], "cache-file"),
];
