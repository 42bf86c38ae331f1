//! The chapters of the book as documentation, so that `cargo test` compiles and runs their Rust.
//! The chapters mark blocks that mdBook includes from other files as `rs`: these are tested in
//! their own file.

#[cfg(doctest)]
mod chapters {
    macro_rules! chapters {
        ($($name:ident: $file:literal),+ $(,)?) => {
            $(#[doc = include_str!(concat!("../../../docs/src/", $file))] mod $name {})+
        };
    }

    chapters! {
        quick_start: "quick-start.md",
        stores: "stores.md",
        operations: "operations.md",
        cached: "cached.md",
        deletes: "deletes.md",
        locks: "locks.md",
        sessions: "sessions.md",
        rate_limits: "rate-limits.md",
        idempotency: "idempotency.md",
        near: "near.md",
        near_scale: "near-scale.md",
        bus: "bus.md",
        settings: "settings.md",
        redis: "redis.md",
        memcached: "memcached.md",
        db: "db.md",
        file: "file.md",
        keys: "keys.md",
        timeouts: "timeouts.md",
        failing: "failing.md",
        http: "http.md",
        observing: "observing.md",
        testing: "testing.md",
        reading_through: "reading-through.md",
        recipes: "recipes.md",
        writing_a_store: "writing-a-store.md",
        django: "django.md",
        performance: "performance.md",
    }
}
