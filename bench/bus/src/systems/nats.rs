//! NATS JetStream: one stream on disk, a push consumer for each subscriber, one connection that publishes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use anyhow::{Result, bail};
use memchr::memmem;

use super::{Places, Running, Watch};
use crate::cells::Cell;
use crate::load::{Consuming, Open, Publishing};
use crate::server::{Server, free_port, fresh_folder};
use crate::wire::nats::{self, Said};

/// Units that one connection carries; more are spread over several.
const WINDOW_MAX: usize = 500;

pub struct Nats {
    server: Server,
    port: u16,
    places: Places,
    sync: Option<&'static str>,
}

impl Nats {
    pub fn start(places: &Places, sync: Option<&'static str>) -> Result<Self> {
        let folder = fresh_folder(&places.work, "nats")?;
        let port = free_port()?;
        let mut server = Server::start(command(places, sync, port, &folder)?, folder)?;
        server.wait_for(port)?;
        Ok(Self { server, port, places: places.clone(), sync })
    }

    fn open(&self) -> Result<Open> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.write_all(nats::CONNECT.as_bytes())?;
        let mut input = Vec::new();
        read_until(&mut stream, &mut input, |input| memmem::find(input, b"PONG\r\n").is_some())?;
        Ok(Open { stream, input: Vec::new() })
    }

    fn call(&self, subject: &str, body: &str) -> Result<serde_json::Value> {
        let mut stream = self.open()?.stream;
        let text = format!("SUB _INBOX.call 1\r\nPUB {subject} _INBOX.call {}\r\n{body}\r\n", body.len());
        stream.write_all(text.as_bytes())?;
        let mut input = Vec::new();
        let is_whole = |input: &[u8]| matches!(nats::said(input), Ok(Some((Said::Message { .. }, _))));
        read_until(&mut stream, &mut input, is_whole)?;
        let Some((Said::Message { payload, .. }, _)) = nats::said(&input)? else {
            bail!("nats says nothing")
        };
        let answer: serde_json::Value = serde_json::from_slice(payload)?;
        if let Some(error) = answer.get("error") {
            bail!("nats says {error}");
        }
        Ok(answer)
    }
}

fn read_until(stream: &mut TcpStream, input: &mut Vec<u8>, is_whole: impl Fn(&[u8]) -> bool) -> Result<()> {
    let mut piece = [0; 16_384];
    while !is_whole(input) {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            bail!("nats hung up");
        }
        input.extend_from_slice(&piece[..count]);
    }
    Ok(())
}

fn command(places: &Places, sync: Option<&str>, port: u16, folder: &std::path::Path) -> Result<Command> {
    let sync = sync.map(|sync| format!("  sync_interval: {sync}\n")).unwrap_or_default();
    let store = folder.join("store");
    let text = format!("jetstream {{\n  store_dir: \"{}\"\n{sync}}}\n", store.display());
    let path = folder.join("nats.conf");
    std::fs::write(&path, text)?;
    let own = places.peers.join("root/usr/sbin/nats-server");
    let mut command = places.command(own, folder);
    command.args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"]).arg(path);
    Ok(command)
}

impl Running for Nats {
    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn prepare(&mut self, cell: &Cell) -> Result<()> {
        let stream =
            r#"{"name":"BENCH","subjects":["bench"],"storage":"file","retention":"limits","num_replicas":1}"#;
        self.call("$JS.API.STREAM.CREATE.BENCH", stream)?;
        for nth in 0..cell.subscribers {
            let body = format!(
                r#"{{"stream_name":"BENCH","config":{{"durable_name":"c{nth}","deliver_subject":"deliver.{nth}",
                "ack_policy":"all","deliver_policy":"all","max_ack_pending":20000}}}}"#
            );
            self.call(&format!("$JS.API.CONSUMER.DURABLE.CREATE.BENCH.c{nth}"), &body)?;
        }
        Ok(())
    }

    fn publishers(&self, cell: &Cell) -> Result<Vec<Publishing>> {
        let connections = cell.in_flight.div_ceil(WINDOW_MAX);
        let one = |nth| {
            let wire = nats::Publisher::new(cell.batch, nth);
            let mut open = self.open()?;
            open.stream.write_all(wire.begin().as_bytes())?;
            Ok(Publishing { open, wire: Box::new(wire), window: cell.in_flight / connections })
        };
        (0..connections).map(one).collect()
    }

    fn consumers(&self, cell: &Cell) -> Result<Consuming> {
        let one = |nth| -> Result<(Open, Box<dyn crate::wire::Consume>)> {
            Ok((self.open()?, Box::new(nats::Consumer::new(format!("deliver.{nth}")))))
        };
        Ok(Consuming::Connections((0..cell.subscribers).map(one).collect::<Result<_>>()?))
    }

    fn restart(&mut self) -> Result<()> {
        self.port = free_port()?;
        let command = command(&self.places, self.sync, self.port, &self.server.folder.clone())?;
        self.server.restart(command)?;
        self.server.wait_for(self.port)
    }

    fn unwatch(&mut self) {
        self.places.watch = Watch::Nothing;
    }
}
