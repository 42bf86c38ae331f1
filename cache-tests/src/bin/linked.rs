//! A program that names the crates of all stores and uses no item of them: every store is linked.

use cache_db as _;
use cache_file as _;
use cache_memcached as _;
use cache_memory as _;
use cache_redis as _;

fn main() {
    let toml = std::env::args().nth(1).unwrap_or_default();
    match cache_core::Caches::from_toml(&toml) {
        Ok(_) => println!("built"),
        Err(error) => println!("{error}"),
    }
}
