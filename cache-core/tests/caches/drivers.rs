//! Drivers: linked ones, and those that are passed to the builder.

use std::sync::Arc;

use cache_core::{Caches, Driver, ErrorKind, store::Inline, testing::Model};

use crate::{MEMORY, refused};

#[test]
fn explicit_driver_replaces_the_linked_driver() {
    let explicit = Driver::new("memory", |_| Ok(Arc::new(Inline::new(Model::default()))));
    let caches = Caches::builder().driver(explicit).toml(MEMORY).unwrap().build().unwrap();
    assert_eq!(caches.get("default").unwrap().backend().name(), "model");
}

mod linked_twice {
    //! Two crates that register one name.
    use super::*;

    pub(crate) const ONE: Driver =
        Driver::new("twice", |_| Ok(Arc::new(Inline::new(Model::default()))));
    pub(crate) const TWO: Driver =
        Driver::new("twice", |_| Ok(Arc::new(Inline::new(Model::default()))));
    cache_core::register_driver!(ONE);
    cache_core::register_driver!(TWO);
}

#[test]
fn two_linked_drivers_with_one_name_are_refused_until_one_is_chosen() {
    let text = "[caches.default]\nbackend = 'twice'";
    refused(text, ErrorKind::Config, &["`twice`", "several", ".driver("]);
    let chosen = Caches::builder().driver(linked_twice::ONE).toml(text).unwrap().build();
    assert!(chosen.is_ok());
}
