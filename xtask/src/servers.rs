//! `cargo xtask servers`: the servers of the tests, to try things with by hand.

use anyhow::Result;

#[cfg(target_os = "linux")]
pub(crate) fn run(args: &[&str]) -> Result<()> {
    test_servers::command::run(args)
}

/// Installs what is missing.
#[cfg(target_os = "linux")]
pub(crate) fn install() -> Result<()> {
    run(&["--install"])
}

/// Installs the compiler for C++ that libFuzzer is built with, unless there is one.
#[cfg(target_os = "linux")]
pub(crate) fn install_cxx() -> Result<()> {
    // One that somebody chose is not looked for.
    if std::env::var_os("CXX").is_none() {
        test_servers::install::ensure(&[test_servers::Package::Cxx])?;
    }
    Ok(())
}

/// Elsewhere it comes with the linker that Rust needs.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn install_cxx() -> Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_args: &[&str]) -> Result<()> {
    anyhow::bail!("the servers for tests run on Linux only")
}

/// Nothing is needed: without servers there are no tests of them.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn install() -> Result<()> {
    println!("none: the tests with servers run on Linux only");
    Ok(())
}
