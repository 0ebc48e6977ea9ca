//! An authority of a test's own, and the certificates that it signs, good and bad. Written byte by byte (X.509 in DER), so
//! that no key lies in the repository and no certificate grows old.

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hob_sdk::{Trust, tls};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

const SEQUENCE: u8 = 0x30;
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
const SUBJECT_ALT_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];

/// Whether a certificate is of use today.
#[derive(Clone, Copy)]
pub(super) enum Validity {
    Today,
    Past,
    Future,
}

struct Key {
    pkcs8: Vec<u8>,
    pair: Ed25519KeyPair,
}

impl Key {
    fn generate() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self { pkcs8: pkcs8.as_ref().to_vec(), pair }
    }
}

/// Signs certificates.
pub(super) struct Authority {
    name: &'static str,
    key: Key,
    file: tempfile::NamedTempFile,
}

impl Authority {
    pub(super) fn new() -> Self {
        Self::named("authority")
    }

    pub(super) fn named(name: &'static str) -> Self {
        let key = Key::generate();
        let is_authority = &[SEQUENCE, 0x03, 0x01, 0x01, 0xff];
        let own = certificate(name, &key, (name, &key), Validity::Today, BASIC_CONSTRAINTS, is_authority);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "-----BEGIN CERTIFICATE-----").unwrap();
        for line in STANDARD.encode(own).as_bytes().chunks(64) {
            file.write_all(line).unwrap();
            writeln!(file).unwrap();
        }
        writeln!(file, "-----END CERTIFICATE-----").unwrap();
        Self { name, key, file }
    }

    /// Trust in this authority, read from a file as an operator would name it.
    pub(super) fn trust(&self) -> Trust {
        Trust::with_ca_file(Some(self.file.path())).unwrap()
    }

    /// A server's side of TLS with a certificate for a name.
    pub(super) fn server(&self, name: &str, validity: Validity) -> TlsAcceptor {
        let key = Key::generate();
        let names = match name.parse::<std::net::Ipv4Addr>() {
            Ok(address) => der(SEQUENCE, &[&der(0x87, &[&address.octets()])]),
            Err(_) => der(SEQUENCE, &[&der(0x82, &[name.as_bytes()])]),
        };
        let own = certificate(name, &key, (self.name, &self.key), validity, SUBJECT_ALT_NAME, &names);
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(own)], PrivatePkcs8KeyDer::from(key.pkcs8).into());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

/// Tag, length, content.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short @ 0..0x80) => out.push(short),
        Ok(byte) => out.extend([0x81, byte]),
        Err(_) => out.extend([0x82, (length >> 8) as u8, (length & 0xff) as u8]),
    }
    out.extend(content);
    out
}

fn named(name: &str) -> Vec<u8> {
    let pair = der(SEQUENCE, &[COMMON_NAME, &der(0x0c, &[name.as_bytes()])]);
    der(SEQUENCE, &[&der(0x31, &[&pair])])
}

fn certificate(
    name: &str,
    key: &Key,
    (authority, signer): (&str, &Key),
    validity: Validity,
    extension: &[u8],
    value: &[u8],
) -> Vec<u8> {
    let (from, until) = match validity {
        Validity::Today => ("20000101000000Z", "99991231235959Z"),
        Validity::Past => ("20000101000000Z", "20010101000000Z"),
        Validity::Future => ("90000101000000Z", "99991231235959Z"),
    };
    let time = |text: &str| der(0x18, &[text.as_bytes()]);
    let public = der(SEQUENCE, &[ED25519, &der(0x03, &[&[0], key.pair.public_key().as_ref()])]);
    let extension = der(SEQUENCE, &[extension, &der(0x04, &[value])]);
    let told = der(
        SEQUENCE,
        &[
            &der(0xa0, &[&der(0x02, &[&[2]])]),
            &der(0x02, &[&[1]]),
            ED25519,
            &named(authority),
            &der(SEQUENCE, &[&time(from), &time(until)]),
            &named(name),
            &public,
            &der(0xa3, &[&der(SEQUENCE, &[&extension])]),
        ],
    );
    let signature = signer.pair.sign(&told);
    der(SEQUENCE, &[&told, ED25519, &der(0x03, &[&[0], signature.as_ref()])])
}
