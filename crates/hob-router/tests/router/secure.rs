//! TLS with the certificate of the name that was asked for, and both versions of HTTP within it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hob_router::{Doors, Limits, Router, Stop};
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::client::TlsStream;

use crate::harness::{Core, PATIENCE, Server, config, reply, snapshot, text};

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/router/certificates").join(name)
}

fn place(folder: &Path, from: &str, to: &str) {
    for extension in ["key", "crt"] {
        let target = folder.join(format!("{to}.{extension}"));
        std::fs::copy(fixture(&format!("{from}.{extension}")), target).unwrap();
    }
}

/// Connects as a client that believes in one certificate alone.
async fn connect(
    address: std::net::SocketAddr,
    name: &'static str,
    trusted: &str,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture(&format!("{trusted}.crt"))).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from(name).unwrap(), stream).await
}

fn asked(host: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://{host}/")).header("host", host).body(Full::new(Bytes::new())).unwrap()
}

#[tokio::test]
async fn each_name_has_its_certificate_and_both_protocols_pass() {
    let instance = Server::start(|request| {
        let header =
            |name| request.headers().get(name).map(|value: &http::HeaderValue| value.to_str().unwrap());
        let proto = header("x-forwarded-proto").unwrap_or_default();
        reply(text(format!("{proto} {} {:?}", header("host").unwrap_or_default(), request.version())))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    place(folder.path(), "shop.example", "shop.example");
    std::fs::write(folder.path().join("broken.crt"), "no certificate").unwrap();
    let core = Core::start(snapshot(1, &[instance.address])).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = secure.local_addr().unwrap();
    let doors = Doors { plain, secure: Some((secure, folder.path().to_owned())) };
    let router = Router::behind(config(core.address, Limits::default()), doors).unwrap();
    let (hand_over, told) = oneshot::channel::<()>();
    let stop = async {
        _ = told.await;
        Stop::HandOver
    };
    let running = tokio::spawn(router.run_until(|| (), stop));
    core.hears("the first generation", |report| report.generation == 1).await;

    let stream = connect(address, "shop.example", "shop.example", b"http/1.1").await.unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver);
    let body = sender.send_request(asked("shop.example")).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "https shop.example HTTP/1.1");

    let stream = connect(address, "shop.example", "shop.example", b"h2").await.unwrap();
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(driver);
    for _ in 0..3 {
        let answer = sender.send_request(asked("shop.example")).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "https shop.example HTTP/1.1");
    }

    assert!(connect(address, "other.example", "other.example", b"h2").await.is_err(), "there is none yet");
    place(folder.path(), "other.example", "other.example");
    let is_there = || async { connect(address, "other.example", "other.example", b"h2").await.ok() };
    crate::harness::eventually("the new certificate", is_there).await;

    hand_over.send(()).unwrap();
    let ended = tokio::time::timeout(PATIENCE, driver).await.expect("the connection is told to go away");
    assert!(ended.unwrap().is_ok(), "by GOAWAY");
    drop(sender);
    tokio::time::timeout(PATIENCE, running).await.expect("the router ends").unwrap();
}
