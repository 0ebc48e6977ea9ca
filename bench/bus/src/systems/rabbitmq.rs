//! RabbitMQ: a quorum queue for each subscriber (one, when there is none) behind a fan-out exchange.

use std::process::Command;

use anyhow::Result;

use super::{Places, Running, Watch};
use crate::cells::Cell;
use crate::load::{Consuming, Open, Publishing};
use crate::server::{Server, free_port, fresh_folder};
use crate::wire::amqp::{Arguments, Calls, Consumer, Publisher};

const EXCHANGE: &str = "bench";
/// Units that one connection carries; more are spread over several.
const WINDOW_MAX: usize = 500;

pub struct Rabbitmq {
    server: Server,
    ports: [u16; 3],
    places: Places,
}

impl Rabbitmq {
    pub fn start(places: &Places) -> Result<Self> {
        let folder = fresh_folder(&places.work, "rabbitmq")?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let mut server = Server::start(command(places, &folder, ports), folder)?;
        server.wait_for(ports[0])?;
        wait_for_amqp(ports[0])?;
        Ok(Self { server, ports, places: places.clone() })
    }

    fn open(&self) -> Result<Calls> {
        Calls::open(self.ports[0])
    }
}

/// Its port answers a little before it does.
fn wait_for_amqp(port: u16) -> Result<()> {
    let mut last = Calls::open(port);
    for _ in 0..100 {
        if last.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        last = Calls::open(port);
    }
    last.map(drop)
}

fn command(places: &Places, folder: &std::path::Path, ports: [u16; 3]) -> Command {
    let mut command = places.command(places.scripts.join("rabbitmq"), folder);
    command.arg(&places.peers).arg(folder).args(ports.map(|port| port.to_string()));
    command
}

impl Running for Rabbitmq {
    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn prepare(&mut self, cell: &Cell) -> Result<()> {
        let mut calls = self.open()?;
        let exchange = Arguments::method(40, 10).u16(0).short(EXCHANGE).short("fanout").u8(0b10).table(&[]);
        calls.call(exchange, 1, 40, 11)?;
        for nth in 0..cell.subscribers.max(1) {
            let queue = format!("q{nth}");
            let declare = Arguments::method(50, 10).u16(0).short(&queue).u8(0b10);
            calls.call(declare.table(&[("x-queue-type", "quorum")]), 1, 50, 11)?;
            let bind = Arguments::method(50, 20).u16(0).short(&queue).short(EXCHANGE).short("").u8(0);
            calls.call(bind.table(&[]), 1, 50, 21)?;
        }
        Ok(())
    }

    fn publishers(&self, cell: &Cell) -> Result<Vec<Publishing>> {
        let connections = cell.in_flight.div_ceil(WINDOW_MAX);
        let one = || {
            let mut calls = self.open()?;
            calls.call(Arguments::method(85, 10).u8(0), 1, 85, 11)?;
            let wire = Box::new(Publisher::new(cell.batch, EXCHANGE));
            let open = Open { stream: calls.stream, input: calls.input };
            Ok(Publishing { open, wire, window: cell.in_flight / connections })
        };
        (0..connections).map(|_| one()).collect()
    }

    fn consumers(&self, cell: &Cell) -> Result<Consuming> {
        let one = |nth| -> Result<(Open, Box<dyn crate::wire::Consume>)> {
            let calls = self.open()?;
            let open = Open { stream: calls.stream, input: calls.input };
            Ok((open, Box::new(Consumer::new(format!("q{nth}")))))
        };
        Ok(Consuming::Connections((0..cell.subscribers).map(one).collect::<Result<_>>()?))
    }

    fn restart(&mut self) -> Result<()> {
        // Its data knows it by the name, and so by the port, that it had.
        let command = command(&self.places, &self.server.folder.clone(), self.ports);
        self.server.restart(command)?;
        self.server.wait_for(self.ports[0])?;
        wait_for_amqp(self.ports[0])
    }

    fn unwatch(&mut self) {
        self.places.watch = Watch::Nothing;
    }
}
