//! Hob's core by itself, called as services call it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Places, Running, Watch, Way};
use crate::cells::Cell;
use crate::load::{Consuming, Open, Publishing};
use crate::server::{Server, fresh_folder};
use crate::wire::http::{Door, Follower, Publisher, Puller, Sink, answer};

/// The API's port when the offset is 0.
const API_PORT: u16 = 7070;
/// Who publishes.
const OWNER: &str = "shop";
/// Who consumes.
const CONSUMER: &str = "kitchen";
/// Subscriptions that one service may have.
const SUBSCRIPTIONS_PER_SERVICE: usize = 50;

pub struct Hob {
    server: Server,
    offset: u16,
    places: Places,
    sink: Option<TcpListener>,
}

impl Hob {
    pub fn start(places: &Places) -> Result<Self> {
        let folder = fresh_folder(&places.work, "hob")?;
        let offset = free_offset()?;
        let server = Server::start(command(places, &folder, offset), folder)?;
        let mut hob = Self { server, offset, places: places.clone(), sink: None };
        hob.wait()?;
        hob.apply()?;
        Ok(hob)
    }

    fn port(&self) -> u16 {
        API_PORT + self.offset
    }

    fn wait(&mut self) -> Result<()> {
        let port = self.port();
        self.server.wait_for(port)?;
        for _ in 0..600 {
            if self.call("GET", "/health/ready", "").is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("hob is not ready: {}", self.server.said())
    }

    /// Declares a platform of one scope without services: what a topic needs.
    fn apply(&self) -> Result<()> {
        let folder = self.server.folder.join("platform");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("hob.yml"), "platform: bench\nenvironments: [bench]\ntenants: [one]\n")?;
        let mut command = Command::new(&self.places.hob);
        command.arg("apply").arg(&folder).arg("--data").arg(self.data());
        command.args(["--url", &format!("http://127.0.0.1:{}", self.port())]);
        let output =
            command.env_remove("HOB_URL").env_remove("HOB_TOKEN").output().context("run hob apply")?;
        if !output.status.success() {
            bail!("hob apply failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn data(&self) -> std::path::PathBuf {
        self.server.folder.join("data")
    }

    fn door(&self) -> Result<Door> {
        let token =
            std::fs::read_to_string(self.data().join("admin.token")).context("read the admin's token")?;
        Ok(Door { address: format!("127.0.0.1:{}", self.port()), token: token.trim().to_owned() })
    }

    fn open(&self) -> Result<Open> {
        Ok(Open { stream: TcpStream::connect(("127.0.0.1", self.port()))?, input: Vec::new() })
    }

    fn call(&self, method: &str, path: &str, body: &str) -> Result<Value> {
        let mut stream = self.open()?.stream;
        stream.write_all(self.door()?.request(method, path, body).as_bytes())?;
        let (mut input, mut piece) = (Vec::new(), [0; 65_536]);
        loop {
            let count = stream.read(&mut piece)?;
            input.extend_from_slice(&piece[..count]);
            if let Some((status, body, _)) = answer(&input)? {
                if !(200..300).contains(&status) {
                    bail!("{method} {path} was answered {status}: {}", String::from_utf8_lossy(body));
                }
                return Ok(serde_json::from_slice(body).unwrap_or_default());
            }
            if count == 0 {
                bail!("{method} {path} was not answered");
            }
        }
    }
}

/// A topic of notices, or one that takes payloads.
fn topic(cell: &Cell) -> &'static str {
    if cell.bytes > 200 { "bench-data" } else { "bench" }
}

fn consumer(nth: usize) -> String {
    format!("{CONSUMER}-{}", nth / SUBSCRIPTIONS_PER_SERVICE)
}

fn free_offset() -> Result<u16> {
    for _ in 0..100 {
        let port = crate::server::free_port()?;
        let offset = port.saturating_sub(API_PORT);
        if (1..50_000).contains(&offset) {
            return Ok(offset);
        }
    }
    bail!("no free port was found")
}

fn command(places: &Places, folder: &Path, offset: u16) -> Command {
    let mut command = places.command(&places.hob, folder);
    command.args(["core", "--port-offset", &offset.to_string(), "--data"]).arg(folder.join("data"));
    command.env_remove("HOB_URL").env_remove("HOB_TOKEN");
    command
}

impl Running for Hob {
    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn prepare(&mut self, cell: &Cell) -> Result<()> {
        for (name, kind) in [("bench", "notify"), ("bench-data", "stream")] {
            let body = format!("{{\"kind\":\"{kind}\"}}");
            self.call("PUT", &format!("/v1/topics/{name}?service={OWNER}"), &body)?;
        }
        let mut sink = String::new();
        if cell.way == Way::Push {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            sink = format!(",\"sink\":\"http://{}/events\"", listener.local_addr()?);
            self.sink = Some(listener);
        }
        // A filter that every event passes, and that looks at each: about entities, as consumers filter.
        let filter =
            if cell.filtered { ",\"filters\":[{\"prefix\":{\"subject\":\"http://t\"}}]" } else { "" };
        for nth in 0..cell.subscribers {
            let body = format!("{{\"topics\":[\"{}\"],\"from\":\"start\"{sink}{filter}}}", topic(cell));
            self.call("PUT", &format!("/v1/subscriptions/s{nth}?service={}", consumer(nth)), &body)?;
        }
        Ok(())
    }

    fn publishers(&self, cell: &Cell) -> Result<Vec<Publishing>> {
        let door = self.door()?;
        let one = |_| {
            let wire = Box::new(Publisher::new(&door, topic(cell), cell.batch));
            Ok(Publishing { open: self.open()?, wire, window: 1 })
        };
        (0..cell.in_flight).map(one).collect()
    }

    fn consumers(&self, cell: &Cell) -> Result<Consuming> {
        if let Some(sink) = &self.sink {
            return Ok(Consuming::Endpoint(sink.try_clone()?, || Box::new(Sink)));
        }
        let door = self.door()?;
        let one = |nth| -> Result<(Open, Box<dyn crate::wire::Consume>)> {
            let (service, name) = (consumer(nth), format!("s{nth}"));
            let path = format!("/v1/subscriptions/{name}/events?service={service}");
            Ok(match cell.way {
                Way::Pull => (self.open()?, Box::new(Puller::new(&door, &service, &name))),
                _ => (self.open()?, Box::new(Follower::new(&door, &path))),
            })
        };
        Ok(Consuming::Connections((0..cell.subscribers).map(one).collect::<Result<_>>()?))
    }

    fn restart(&mut self) -> Result<()> {
        let command = command(&self.places, &self.server.folder.clone(), self.offset);
        self.server.restart(command)?;
        self.wait()
    }

    fn unwatch(&mut self) {
        self.places.watch = Watch::Nothing;
    }
}
