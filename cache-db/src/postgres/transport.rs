//! With TLS or without.

use cache_core::{BuildContext, Result};
use cache_net::TlsFiles;
use tokio_postgres::{Client, Config, Error, config::SslMode};

/// How bytes get to the server.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Plain,
    #[cfg(feature = "postgres-tls")]
    Tls(super::tls::Tls),
}

impl Transport {
    /// TLS if the URL requires it, or files for it are named. The crate's default, `sslmode=prefer`, trusts nobody in
    /// particular, so it is no more than none.
    #[cfg(feature = "postgres-tls")]
    pub(crate) fn new(
        context: &BuildContext<'_>,
        mut config: Config,
        files: Option<&TlsFiles>,
    ) -> Result<(Config, Self)> {
        if config.get_ssl_mode() == SslMode::Require || files.is_some() {
            config.ssl_mode(SslMode::Require);
            let tls = cache_net::Tls::new(context, &files.cloned().unwrap_or_default())?;
            return Ok((config, Self::Tls(super::tls::Tls(tls))));
        }
        config.ssl_mode(SslMode::Disable);
        Ok((config, Self::Plain))
    }

    /// None, and an error if it is asked for.
    #[cfg(not(feature = "postgres-tls"))]
    pub(crate) fn new(
        context: &BuildContext<'_>,
        mut config: Config,
        files: Option<&TlsFiles>,
    ) -> Result<(Config, Self)> {
        if config.get_ssl_mode() == SslMode::Require || files.is_some() {
            let what = "asks for TLS, which is behind a feature: cache-db = { …, features = [\"postgres-tls\"] } in Cargo.toml";
            let setting = if files.is_some() { "options.tls" } else { "location" };
            return Err(context.error(setting, what));
        }
        config.ssl_mode(SslMode::Disable);
        Ok((config, Self::Plain))
    }

    /// A client, and the task that moves its bytes until it ends.
    pub(crate) async fn connect(&self, config: &Config) -> Result<(Client, Moving), Error> {
        match self {
            Self::Plain => {
                let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
                Ok((client, Box::pin(async move { drop(connection.await) })))
            }
            #[cfg(feature = "postgres-tls")]
            Self::Tls(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                Ok((client, Box::pin(async move { drop(connection.await) })))
            }
        }
    }
}

/// What moves the bytes of a connection.
pub(crate) type Moving = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
