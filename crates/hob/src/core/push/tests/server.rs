//! An endpoint on a port of its own that does what a test tells it, well or badly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hob_wire::Event;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn events(&self) -> Vec<Event> {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether it carries an event about this order.
    pub(super) fn has(&self, order: u32) -> bool {
        self.events().iter().any(|event| event.subject == Some(format!("http://t/orders/{order}")))
    }
}

/// What the endpoint does about a request.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Answers with a status, headers and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Writes half of an answer and closes.
    HalfWay,
    /// Answers, and then never stops talking.
    Endless(u16),
    /// Says nothing.
    Hang,
    /// Answers like this once the gate opens.
    Gated(watch::Receiver<bool>, u16),
}

/// Answers with this status and nothing else.
pub(super) fn status(status: u16) -> Deed {
    Deed::Answer(status, Vec::new(), String::new())
}

type Script = dyn Fn(&Seen) -> Deed + Send + Sync;
type Known = Arc<Mutex<Vec<(Seen, u16)>>>;

/// An endpoint. It ends when dropped: its port is then free and refuses connections.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    known: Known,
    listening: tokio::task::JoinHandle<()>,
}

impl Server {
    /// An endpoint on a free port.
    pub(super) async fn start(script: impl Fn(&Seen) -> Deed + Send + Sync + 'static) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), script).await
    }

    pub(super) async fn start_on(
        address: SocketAddr,
        script: impl Fn(&Seen) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(address, None, script).await
    }

    /// One that speaks TLS.
    pub(super) async fn start_tls(
        tls: TlsAcceptor,
        script: impl Fn(&Seen) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::start_tls_on(SocketAddr::from(([127, 0, 0, 1], 0)), tls, script).await
    }

    pub(super) async fn start_tls_on(
        address: SocketAddr,
        tls: TlsAcceptor,
        script: impl Fn(&Seen) -> Deed + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(address, Some(tls), script).await
    }

    async fn start_with(
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Seen) -> Deed + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (known, script): (Known, Arc<Script>) = (Known::default(), Arc::new(script));
        let noted = Arc::clone(&known);
        let listening = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, noted) = (Arc::clone(&script), Arc::clone(&noted));
                match tls.clone() {
                    None => connections.spawn(serve(BufReader::new(stream), script, noted)),
                    Some(tls) => connections.spawn(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(BufReader::new(stream), script, noted).await;
                        }
                    }),
                };
            }
        });
        Self { address, known, listening }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// Requests that came, whatever became of them.
    pub(super) fn requests(&self) -> Vec<Seen> {
        self.known.lock().unwrap().iter().map(|(seen, _)| seen.clone()).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.known.lock().unwrap().len()
    }

    /// Events in the order in which they were taken with a 2xx.
    pub(super) fn taken(&self) -> Vec<Event> {
        let known = self.known.lock().unwrap();
        let taken = known.iter().filter(|(_, status)| (200..300).contains(status));
        taken.flat_map(|(seen, _)| seen.events()).collect()
    }

    /// Ends it, and waits until connections are refused.
    pub(super) async fn end(self) -> SocketAddr {
        let address = self.address;
        drop(self);
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// What a request comes on, be it safe or plain.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

async fn serve(mut stream: BufReader<impl Wire>, script: Arc<Script>, known: Known) {
    while let Some(seen) = read_request(&mut stream).await {
        let deed = script(&seen);
        let place = {
            let mut known = known.lock().unwrap();
            known.push((seen, 0));
            known.len() - 1
        };
        let note = |status: u16| known.lock().unwrap()[place].1 = status;
        let is_answered = match deed {
            Deed::Answer(status, headers, body) => {
                note(status);
                write_answer(&mut stream, status, &headers, &body).await
            }
            Deed::HalfWay => {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await;
                let _ = stream.flush().await;
                None
            }
            Deed::Endless(status) => {
                note(status);
                talk(&mut stream, status).await
            }
            Deed::Hang => std::future::pending().await,
            Deed::Gated(mut gate, status) => {
                let _ = gate.wait_for(|is_open| *is_open).await;
                note(status);
                write_answer(&mut stream, status, &[], "").await
            }
        };
        if is_answered.is_none() {
            return;
        }
    }
}

async fn write_answer(
    stream: &mut BufReader<impl Wire>,
    status: u16,
    headers: &[(&'static str, String)],
    body: &str,
) -> Option<()> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    // Neither has a body, nor its length.
    let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let text = format!("HTTP/1.1 {status} X\r\n{headers}{length}\r\n{body}");
    stream.write_all(text.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}

async fn talk(stream: &mut BufReader<impl Wire>, status: u16) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    loop {
        stream.write_all(b"400\r\n").await.ok()?;
        stream.write_all(&[b'x'; 1024]).await.ok()?;
        stream.write_all(b"\r\n").await.ok()?;
        stream.flush().await.ok()?;
        tokio::task::yield_now().await;
    }
}

async fn read_request(stream: &mut BufReader<impl Wire>) -> Option<Seen> {
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
    let path = line.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|bytes| *bytes > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { path, headers, body })
}
