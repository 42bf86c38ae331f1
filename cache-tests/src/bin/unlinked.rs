//! A program that depends on the crates of all stores and does not name them: no store is linked.

fn main() {
    let toml = std::env::args().nth(1).unwrap_or_default();
    match cache_core::Caches::from_toml(&toml) {
        Ok(_) => println!("built"),
        Err(error) => println!("{error}"),
    }
}
