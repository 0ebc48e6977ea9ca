//! Where Hob's data, API and router are, and which token opens them. The environment is read here alone.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hob_core::{Secret, code};

use crate::cli::Global;
use crate::failure::{Exit, Failure};

/// The API and the console.
const API_PORT: u16 = 7070;
/// The router.
const ROUTER_PORT: u16 = 8080;
/// The router's TLS.
const SECURE_PORT: u16 = 8443;
/// The greatest offset at which every port still exists.
pub(crate) const PORT_OFFSET_MAX: u16 = 50_000;
const OFFSET_FILE: &str = "port-offset";

/// A data directory and the ports that go with it.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) port_offset: u16,
    /// Authorities whose certificates are trusted beside the platform's.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Settings {
    /// The settings of a Hob that is to run. A data directory remembers its offset and refuses another.
    pub(crate) fn to_run(global: &Global, port_offset: Option<u16>) -> Result<Self, Failure> {
        let data = std::path::absolute(&global.data).context("find the data directory")?;
        let ca_file = global.ca_file.as_ref().map(std::path::absolute).transpose();
        let ca_file = ca_file.context("find the file of authorities")?;
        fs::create_dir_all(&data).with_context(|| format!("make the data directory {}", data.display()))?;
        let port_offset = match (read_offset(&data), port_offset) {
            (Some(known), Some(asked)) if known != asked => {
                return Err(Failure::with(
                    Exit::Conflict,
                    format!("{} belongs to a Hob with port offset {known}, not {asked}", data.display()),
                )
                .hint("leave --port-offset out, or name another data directory with --data"));
            }
            (Some(known), _) => known,
            (None, asked) => asked.unwrap_or(0),
        };
        Ok(Self { data, port_offset, ca_file })
    }

    /// Has the data directory remember its offset, from the first start whose ports were free on.
    pub(crate) fn remember(&self) -> Result<(), Failure> {
        let text = format!("{}\n", self.port_offset);
        fs::write(self.data.join(OFFSET_FILE), text).context("note the port offset")?;
        Ok(())
    }

    /// The settings of a Hob that runs already.
    pub(crate) fn of_running(data: &Path) -> Self {
        Self { data: data.to_owned(), port_offset: read_offset(data).unwrap_or(0), ca_file: None }
    }

    pub(crate) fn api_port(&self) -> u16 {
        API_PORT + self.port_offset
    }

    pub(crate) fn router_port(&self) -> u16 {
        ROUTER_PORT + self.port_offset
    }

    pub(crate) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port())
    }

    pub(crate) fn router_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.router_port())
    }

    /// Refuses when a port is taken, naming it and the way out.
    pub(crate) fn check_ports(&self) -> Result<(), Failure> {
        for (port, what) in [(self.api_port(), "the API"), (self.router_port(), "the router")] {
            if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
                let message =
                    format!("{}: port {port}, for {what}, cannot be used: {error}", code::PORT.name());
                return Err(Failure::with(Exit::Conflict, message).hint(
                    "stop what listens there (perhaps another hob up), or use other ports with --port-offset",
                ));
            }
        }
        Ok(())
    }

    /// The port of the router's TLS, which is there when the folder of certificates is.
    pub(crate) fn secure_port(&self) -> u16 {
        SECURE_PORT + self.port_offset
    }

    /// Where the router's certificates are, `NAME.crt` beside `NAME.key`.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.data.join("certificates")
    }

    /// The socket at which the keeper of the router takes orders.
    pub(crate) fn orders(&self) -> PathBuf {
        self.data.join("router.sock")
    }

    /// The file of a token: `admin`, `node` or `router`.
    pub(crate) fn token_file(&self, name: &str) -> PathBuf {
        self.data.join(format!("{name}.token"))
    }

    /// The token in a file, made at first use; only its owner may read it.
    pub(crate) fn token(&self, name: &str) -> anyhow::Result<Secret> {
        let path = self.token_file(name);
        if let Ok(text) = fs::read_to_string(&path) {
            return Ok(Secret::new(text.trim()));
        }
        let token = Secret::generate(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("make {}", path.display()))?;
        writeln!(file, "{}", token.expose())?;
        file.sync_all()?;
        Ok(token)
    }
}

fn read_offset(data: &Path) -> Option<u16> {
    fs::read_to_string(data.join(OFFSET_FILE)).ok()?.trim().parse().ok()
}

/// The token with which the command line calls: `HOB_TOKEN`, else the admin's in the data directory.
pub(crate) fn caller_token(data: &Path, from_environment: Option<String>) -> Result<Secret, Failure> {
    if let Some(token) = from_environment.filter(|token| !token.is_empty()) {
        return Ok(Secret::new(token));
    }
    let path = data.join("admin.token");
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::with(Exit::NotAllowed, format!("there is no token: {}: {error}", path.display()))
            .hint("start Hob with `hob up`, name its data directory with --data, or set HOB_TOKEN")
    })?;
    Ok(Secret::new(text.trim()))
}
