//! `cargo xtask servers`: starts the servers of the tests for use by hand.

use anyhow::Result;

#[cfg(target_os = "linux")]
pub(crate) fn run(args: &[&str]) -> Result<()> {
    test_servers::command::run(args)
}

/// Installs the missing servers.
#[cfg(target_os = "linux")]
pub(crate) fn install() -> Result<()> {
    run(&["--install"])
}

/// Installs the compiler for C++ that libFuzzer is built with, unless there is one.
#[cfg(target_os = "linux")]
pub(crate) fn install_cxx() -> Result<()> {
    // `CXX` names a compiler, so none is installed.
    if std::env::var_os("CXX").is_none() {
        test_servers::install::ensure(&[test_servers::Package::Cxx])?;
    }
    Ok(())
}

/// Other systems have it together with the linker that Rust needs.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn install_cxx() -> Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_args: &[&str]) -> Result<()> {
    anyhow::bail!("the servers for tests run on Linux only")
}

/// Installs nothing: the tests of servers run on Linux only.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(crate) fn install() -> Result<()> {
    println!("none: the tests with servers run on Linux only");
    Ok(())
}
