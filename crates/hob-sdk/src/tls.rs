//! TLS: one provider of cryptography and one set of roots for every HTTP client of Hob and of its services.
//!
//! Trusted are the roots in the platform's store and those in a file that an operator names, for authorities of a company's
//! own. Both are read once: who changes them starts the process again. No certificate is ever taken unchecked.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

/// Causes of causes that are looked through.
const CAUSES_MAX: usize = 32;
/// What to do about an authority that is not known.
const ADD_AUTHORITY: &str = "add the authority's certificate to the system's store, or name a PEM file that has it with \
     HOB_CA_FILE, and start again";

/// A file of authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("read the certificates of authorities in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// There is none in it.
    #[error(
        "find a certificate in {}: write authorities' certificates in PEM, from BEGIN CERTIFICATE to END CERTIFICATE",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of them is no root.
    #[error("use a certificate in {} as an authority's", path.display())]
    NoRoot {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// Whose certificates are believed. Clones share everything.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Trust {
    /// The platform's roots.
    pub fn platform() -> Self {
        static PLATFORM: OnceLock<Trust> = OnceLock::new();
        PLATFORM.get_or_init(|| Self::of(platform_roots())).clone()
    }

    /// The platform's roots and, when a file is named, the authorities in it (PEM).
    ///
    /// # Errors
    /// When the file cannot be read, or holds something else.
    pub fn with_ca_file(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::platform()) };
        let mut roots = platform_roots();
        let before = roots.len();
        let named = || path.to_owned();
        let certificates = CertificateDer::pem_file_iter(path)
            .map_err(|source| Error::Unreadable { path: named(), source })?;
        for certificate in certificates {
            let certificate = certificate.map_err(|source| Error::Unreadable { path: named(), source })?;
            roots.add(certificate).map_err(|source| Error::NoRoot { path: named(), source })?;
        }
        if roots.len() == before {
            return Err(Error::Empty { path: named() });
        }
        Ok(Self::of(roots))
    }

    fn of(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS 1.2 and 1.3 ask for")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    /// What every HTTP client of Hob begins with: this trust, no proxy, no redirect followed.
    pub fn client_builder(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&self.0))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
    }
}

/// The one provider of cryptography, for both sides of a connection. It is the process's default, too: a client that
/// a service builds for itself finds it.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| {
        // Refused when the service has chosen another one: then that is the default, and ours serves our clients.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Arc::new(rustls::crypto::ring::default_provider())
    });
    Arc::clone(provider)
}

fn platform_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "failed to read some of the platform's certificates");
    }
    // Stores hold some that are older than the rules of today; those are left out.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        tracing::warn!(
            "the platform has no certificates of authorities: https addresses cannot be called; install ca-certificates"
        );
    }
    roots
}

/// What was wrong with TLS, and how to mend it, when that is why a request failed.
pub fn flaw(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
    for _ in 0..CAUSES_MAX {
        let here = cause?;
        // An I/O error hides its inner one from `source`.
        let inner = here.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = here.downcast_ref().or_else(|| inner?.downcast_ref::<rustls::Error>());
        if let Some(error) = found {
            return Some(explain(error));
        }
        cause = inner.map_or_else(|| here.source(), |inner| Some(inner as &(dyn StdError + 'static)));
    }
    None
}

fn explain(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage, PeerIncompatible};
    match error {
        InvalidCertificate(flaw) => explain_certificate(flaw),
        InvalidMessage(_) => {
            "it does not speak TLS on this port; write http:// instead, or name the port that does".to_owned()
        }
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::BadCertificate) => {
            "it wants a certificate of the caller, and Hob has none; let it check the signature instead"
                .to_owned()
        }
        PeerIncompatible(_)
        | AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure) => {
            format!("it offers no TLS 1.2 or 1.3 with a cipher in use today ({error}); update its TLS")
        }
        other => format!("TLS failed: {other}"),
    }
}

fn explain_certificate(flaw: &CertificateError) -> String {
    match flaw {
        CertificateError::UnknownIssuer => {
            format!("its certificate is signed by nobody who is trusted here; {ADD_AUTHORITY}")
        }
        CertificateError::BadSignature => format!(
            "its certificate names an authority that is trusted here, but is signed with another key; {ADD_AUTHORITY}"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired; renew it".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet; compare the clocks of both machines".to_owned()
        }
        CertificateError::NotValidForName => {
            "its certificate is for another name; call it by a name in its certificate, or have one made for this name"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            // Each as `DnsName("…")`.
            let plain = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
            let presented: Vec<String> = presented.iter().map(plain).collect();
            let presented = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!(
                "its certificate is for {presented}, not for {}; call it by a name in its certificate, or have one made \
                 for this name",
                expected.to_str()
            )
        }
        CertificateError::Revoked => "its certificate was revoked; have a new one made".to_owned(),
        // Among them that an authority's own certificate stands where the endpoint's should.
        other => format!(
            "its certificate cannot be used ({other}); have one made for it by an authority, with its name as subjectAltName"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flaw_is_found_however_deep_it_lies() {
        let flawed = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let nested = std::io::Error::other(std::io::Error::other(flawed()));
        assert!(flaw(&flawed()).unwrap().contains("signed by nobody"));
        assert_eq!(flaw(&nested), flaw(&flawed()));
        assert_eq!(flaw(&std::io::Error::other("refused")), None);
    }

    #[test]
    fn a_file_without_authorities_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = Trust::with_ca_file(Some(file.path())).unwrap_err();
        assert!(matches!(&refused, Error::Empty { path } if path == file.path()), "{refused}");
        let nowhere = file.path().join("ca.pem");
        let refused = Trust::with_ca_file(Some(&nowhere)).unwrap_err();
        assert!(refused.to_string().contains(&nowhere.display().to_string()), "{refused}");
        let text = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(file.path(), text).unwrap();
        assert!(matches!(Trust::with_ca_file(Some(file.path())), Err(Error::NoRoot { .. })));
    }

    #[test]
    fn there_is_one_provider() {
        assert!(Arc::ptr_eq(&provider(), &provider()));
        assert!(CryptoProvider::get_default().is_some());
    }
}
