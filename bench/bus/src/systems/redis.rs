//! Redis Streams: one stream, a group for each subscriber, one connection for each unit under way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use anyhow::Result;

use super::{Places, Running, Watch};
use crate::cells::Cell;
use crate::load::{Consuming, Open, Publishing};
use crate::server::{Server, free_port, fresh_folder};
use crate::wire::resp;

pub struct Redis {
    server: Server,
    port: u16,
    places: Places,
    fsync: &'static str,
}

impl Redis {
    pub fn start(places: &Places, fsync: &'static str) -> Result<Self> {
        let folder = fresh_folder(&places.work, "redis")?;
        let port = free_port()?;
        let mut server = Server::start(command(places, fsync, port, &folder), folder)?;
        server.wait_for(port)?;
        Ok(Self { server, port, places: places.clone(), fsync })
    }

    fn open(&self) -> Result<Open> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        Ok(Open { stream, input: Vec::new() })
    }

    fn call(&self, words: &[&[u8]]) -> Result<Vec<u8>> {
        let (mut stream, mut out) = (self.open()?.stream, Vec::new());
        resp::command(&mut out, words);
        stream.write_all(&out)?;
        let (mut input, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = stream.read(&mut piece)?;
            input.extend_from_slice(&piece[..count]);
            if count == 0 || resp::value(&input, &mut Vec::new())?.is_some() {
                return Ok(input);
            }
        }
    }
}

fn command(places: &Places, fsync: &str, port: u16, folder: &std::path::Path) -> Command {
    let own = places.peers.join("root/usr/bin/redis-server");
    let program = if own.is_file() { own } else { "redis-server".into() };
    let mut command = places.command(program, folder);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", fsync, "--dir"]).arg(folder);
    command
}

impl Running for Redis {
    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn prepare(&mut self, cell: &Cell) -> Result<()> {
        for nth in 0..cell.subscribers {
            let group = format!("g{nth}");
            self.call(&[b"XGROUP", b"CREATE", b"bench", group.as_bytes(), b"$", b"MKSTREAM"])?;
        }
        Ok(())
    }

    fn publishers(&self, cell: &Cell) -> Result<Vec<Publishing>> {
        let one = || {
            let wire = Box::new(resp::Publisher::new(cell.batch));
            Ok(Publishing { open: self.open()?, wire, window: 1 })
        };
        (0..cell.in_flight).map(|_| one()).collect()
    }

    fn consumers(&self, cell: &Cell) -> Result<Consuming> {
        let one = |nth| -> Result<(Open, Box<dyn crate::wire::Consume>)> {
            Ok((self.open()?, Box::new(resp::Consumer::new(format!("g{nth}")))))
        };
        Ok(Consuming::Connections((0..cell.subscribers).map(one).collect::<Result<_>>()?))
    }

    fn restart(&mut self) -> Result<()> {
        self.port = free_port()?;
        let command = command(&self.places, self.fsync, self.port, &self.server.folder.clone());
        self.server.restart(command)?;
        self.server.wait_for(self.port)?;
        // It answers before its log is loaded.
        for _ in 0..600 {
            if self.call(&[b"PING"]).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(())
    }

    fn unwatch(&mut self) {
        self.places.watch = Watch::Nothing;
    }
}
