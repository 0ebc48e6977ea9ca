//! TLS towards clients: certificates from a folder, chosen by the name that the client asks for, and read again when a
//! file changes. `NAME.crt` and `NAME.key` belong together; NAME is a host, `*.` and a domain, or `default`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Whoever asks for a name that is not there gets this one's certificate.
const DEFAULT: &str = "default";

/// Why a pair of files is of no use.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read the certificate: {0}")]
    Certificate(pem::Error),
    #[error("read the key: {0}")]
    Key(pem::Error),
    #[error("use the pair: {0}")]
    Pair(#[from] rustls::Error),
}

type ByName = HashMap<String, Arc<CertifiedKey>>;

/// When the files of a folder were changed, and their sizes.
type Marks = BTreeMap<PathBuf, (SystemTime, u64)>;

/// A folder of certificates.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
    by_name: ArcSwap<ByName>,
}

impl Certificates {
    /// Reads a folder. Pairs that cannot be used are told in the log.
    pub(crate) fn read(folder: PathBuf) -> Arc<Self> {
        let certificates = Self { folder, by_name: ArcSwap::default() };
        certificates.reload();
        Arc::new(certificates)
    }

    /// What servers use: TLS 1.3 and 1.2, HTTP/2 before HTTP/1.1.
    pub(crate) fn config(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(self) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = ring::Ticketer::new()?;
        Ok(config)
    }

    /// Reads the folder again whenever a file of it has changed. Never returns.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut known = marks(&self.folder).unwrap_or_default();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let here = Arc::clone(&self);
            let before = known.clone();
            let looked = tokio::task::spawn_blocking(move || {
                let found = marks(&here.folder).unwrap_or_default();
                if found != before {
                    here.reload();
                }
                found
            });
            known = looked.await.unwrap_or(known);
        }
    }

    fn reload(&self) {
        let before = self.by_name.load();
        let mut by_name = ByName::new();
        for path in marks(&self.folder).unwrap_or_default().into_keys() {
            let is_certificate = path.extension().is_some_and(|extension| extension == "crt");
            let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|_| is_certificate)
            else {
                continue;
            };
            let name = name.to_ascii_lowercase();
            match read_pair(&path) {
                Ok(pair) => _ = by_name.insert(name, Arc::new(pair)),
                Err(error) => {
                    let code = hob_core::code::CERTIFICATE.name();
                    tracing::error!(path = %path.display(), %error, code, "a certificate cannot be used");
                    by_name.extend(before.get(&name).map(|pair| (name, Arc::clone(pair))));
                }
            }
        }
        tracing::info!(names = by_name.len(), "certificates were read");
        self.by_name.store(Arc::new(by_name));
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let by_name = self.by_name.load();
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| by_name.get(name));
        let wildcard = || by_name.get(&format!("*.{}", name.as_ref()?.split_once('.')?.1));
        exact.or_else(wildcard).or_else(|| by_name.get(DEFAULT)).map(Arc::clone)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}

fn marks(folder: &Path) -> io::Result<Marks> {
    let mut marks = Marks::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = fs::metadata(entry.path())?;
        marks.insert(entry.path(), (metadata.modified()?, metadata.len()));
    }
    Ok(marks)
}

fn read_pair(path: &Path) -> Result<CertifiedKey, Error> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(Error::Certificate)?.collect();
    let key = PrivateKeyDer::from_pem_file(path.with_extension("key")).map_err(Error::Key)?;
    Ok(CertifiedKey::from_der(chain.map_err(Error::Certificate)?, key, &ring::default_provider())?)
}
