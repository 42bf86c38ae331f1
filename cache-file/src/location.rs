//! Whether the directory is a good place for a cache.

use std::path::Path;

use cache_core::Result;

use crate::directory::Directory;

/// `Unsupported` on a network file system: its locks may hold on one machine only, and what one machine writes, another may see
/// late or in parts.
#[cfg(target_os = "linux")]
pub(crate) fn check(directory: &Directory) -> Result<()> {
    use cache_core::{Error, ErrorKind};

    let Ok(stat) = rustix::fs::fstatfs(directory.fd()) else { return Ok(()) };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "32 bits count, and the type differs by platform"
    )]
    let kind = stat.f_type as u32;
    match NETWORK.iter().find(|(it, _)| *it == kind) {
        None => Ok(()),
        Some((_, name)) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the directory is on a network file system ({name}), where locks and reads do not hold what this store \
                 promises; name one on a local disk, or use redis, memcached or db"
            ),
        )),
    }
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unnecessary_wraps, reason = "it tells on Linux")]
pub(crate) fn check(_: &Directory) -> Result<()> {
    Ok(())
}

/// By the kernel's numbers for them.
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

/// A warning through `tracing` if a web server may serve the directory. Many programs live under `/var/www` and serve only a part of
/// it, so it is no error.
pub(crate) fn warn_of_web_root(path: &Path) {
    if is_under_web_root(path) {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            target: "cache_file",
            "the cache's directory is under what looks like the root of a web server, which may serve it; move it elsewhere"
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
    fn web_roots_are_known_by_their_names() {
        for path in ["/var/www/app/cache", "/home/a/public_html/cache", "/opt/x/htdocs/c"] {
            assert!(is_under_web_root(Path::new(path)), "{path}");
        }
        for path in ["/var/cache/app", "/var/wwwx/cache", "/home/a/my_html/cache"] {
            assert!(!is_under_web_root(Path::new(path)), "{path}");
        }
    }
}
