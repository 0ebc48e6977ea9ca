//! A connection in the poll loop: bytes that wait to be written, bytes that are not understood yet.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Result, bail};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// A non-blocking connection.
pub struct Link {
    stream: TcpStream,
    /// To be written, from `written` on.
    pub out: Vec<u8>,
    written: usize,
    /// Read and not yet understood.
    pub input: Vec<u8>,
}

impl Link {
    /// Takes over a connected stream, with what was read of it already.
    pub fn new(
        stream: std::net::TcpStream,
        input: Vec<u8>,
        registry: &Registry,
        token: Token,
    ) -> Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, out: Vec::new(), written: 0, input })
    }

    /// Writes what waits, as far as the socket takes it.
    pub fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what is there, up to a limit, and says whether there may be more.
    pub fn fill(&mut self, piece: &mut Piece) -> Result<bool> {
        loop {
            match self.stream.read(&mut piece.0) {
                Ok(0) => bail!("the server hung up"),
                Ok(count) => {
                    self.input.extend_from_slice(&piece.0[..count]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A buffer to read into.
pub struct Piece(Vec<u8>);

impl Default for Piece {
    fn default() -> Self {
        Self(vec![0; READ_BYTES])
    }
}
