//! The `check` of the store: whether it can write, and whether the location suits a cache.

use std::path::Path;

use cache_core::Result;

use crate::{error::StepError, root::Root, shared::Shared};

/// Locks a folder and writes its count, then checks the location. Logs a warning if a web server
/// may serve the directory.
///
/// # Errors
/// `Unsupported` on a network file system. Otherwise the error of the directory, its lock or its
/// counters.
pub(crate) fn check(shared: &Shared) -> Result<()> {
    let until = shared.deadline();
    shared.write(until, |directory| {
        let folder = directory.folder(0, true)?.ok_or(StepError::Deleted)?;
        let lock = directory.lock_folder(folder, until)?;
        let count = match directory.counters.read(0) {
            Some(count) => count,
            None => folder.measure()?,
        };
        directory.counters.try_put(0, count)?;
        drop(lock);
        check_file_system(&directory.root)?;
        Ok(())
    })?;
    warn_of_web_root(&shared.plan.path);
    Ok(())
}

/// Returns `Unsupported` on a network file system. Its locks may hold on one machine only, and one
/// machine may see the writes of another late or in parts.
#[cfg(target_os = "linux")]
fn check_file_system(root: &Root) -> Result<()> {
    use cache_core::{Error, ErrorKind};

    let Ok(stat) = rustix::fs::fstatfs(root.fd()) else { return Ok(()) };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the number has 32 bits, and the type differs by platform"
    )]
    let kind = stat.f_type as u32;
    match NETWORK.iter().find(|(it, _)| *it == kind) {
        None => Ok(()),
        Some((_, name)) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the directory is on a network file system ({name}), whose locks and reads do not \
                 keep the promises of this store; choose a location on a local disk, or use redis, \
                 memcached or db"
            ),
        )),
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "on Linux it returns an error")]
fn check_file_system(_: &Root) -> Result<()> {
    Ok(())
}

/// Network file systems by the number that the kernel gives them.
#[cfg(target_os = "linux")]
const NETWORK: &[(u32, &str)] = &[
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x00c3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
];

/// Logs a warning through `tracing` if a web server may serve the directory.
///
/// This is not an error, because many programs live under `/var/www` and serve only a part of it.
fn warn_of_web_root(path: &Path) {
    if is_under_web_root(path) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            target: "cache_file",
            "the directory of the cache is under a web root, so a web server may serve it; choose \
             another location"
        );
    }
}

fn is_under_web_root(path: &Path) -> bool {
    const ROOTS: [&str; 5] =
        ["/var/www", "/srv/www", "/srv/http", "/usr/share/nginx", "/usr/local/www"];
    const NAMES: [&str; 4] = ["public_html", "htdocs", "wwwroot", "html"];
    ROOTS.iter().any(|it| path.starts_with(it))
        || path.components().any(|it| NAMES.iter().any(|name| it.as_os_str() == *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_root_is_recognized_by_its_name() {
        for path in ["/var/www/app/cache", "/home/a/public_html/cache", "/opt/x/htdocs/c"] {
            assert!(is_under_web_root(Path::new(path)), "{path}");
        }
        for path in ["/var/cache/app", "/var/wwwx/cache", "/home/a/my_html/cache"] {
            assert!(!is_under_web_root(Path::new(path)), "{path}");
        }
    }
}
