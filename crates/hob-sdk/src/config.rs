//! What Hob tells an instance through its environment, read once at the start: the one place of a service that reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use hob_core::{Name, Scope, Secret};

const HOB_URL_DEFAULT: &str = "http://127.0.0.1:7070";
const ROUTER_URL_DEFAULT: &str = "http://127.0.0.1:8080";
const STATSD_PORT_DEFAULT: u16 = 8125;

/// What is wrong with the environment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable is not there.
    #[error("read the variable {name}, which is not set: {advice}")]
    Missing {
        /// Which.
        name: String,
        /// How to get it.
        advice: String,
    },
    /// A variable is there, but makes no sense.
    #[error("read the variable {name}, which is {value:?}: {reason}")]
    Wrong {
        /// Which.
        name: String,
        /// What it says.
        value: String,
        /// Why that cannot be.
        reason: String,
    },
}

/// An instance's configuration. Cheap enough to clone at the start; share it afterwards.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port to listen on (`PORT`); none for workers.
    pub port: Option<u16>,
    /// Origin of Hob's API (`HOB_URL`), without a slash at the end.
    pub hob_url: String,
    /// Origin of the scope's hrefs (`HOB_PUBLIC_URL`), without a slash at the end.
    pub public_url: String,
    /// Where requests to [`Config::public_url`] are really sent (`HOB_ROUTER_URL`).
    pub router_url: String,
    /// The instance's token (`HOB_TOKEN`).
    pub token: Secret,
    /// Authorities whose certificates are believed beside the platform's, a PEM file (`HOB_CA_FILE`).
    pub ca_file: Option<PathBuf>,
    /// The service (`HOB_SERVICE`).
    pub service: Name,
    /// Which of its processes this is (`HOB_PROCESS`).
    pub process: Name,
    /// Where and for whom it runs (`HOB_ENVIRONMENT`, `HOB_TENANT`).
    pub scope: Scope,
    /// The release's number (`HOB_RELEASE`); 0 outside Hob.
    pub release: u64,
    /// The instance's id (`HOB_INSTANCE`).
    pub instance: String,
    /// The folder that outlives releases and that the service's instances share (`DATA_DIR`).
    pub data_dir: PathBuf,
    /// Host and port of the instance's own statsd socket (`STATSD_HOST`, `STATSD_PORT`).
    pub statsd: Option<(String, u16)>,
    settings: BTreeMap<String, String>,
}

impl Config {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// Names the first variable that is missing or wrong, and how to get it.
    pub fn from_env() -> Result<Self, Error> {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::from_vars(std::env::vars_os().filter_map(unicode))
    }

    /// Reads variables that came from elsewhere, for tests and for programs that start instances themselves.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let settings: BTreeMap<String, String> = vars.into_iter().collect();
        let vars = Vars(&settings);
        let public_url = vars.origin("HOB_PUBLIC_URL")?;
        let router_url = vars.origin("HOB_ROUTER_URL")?;
        let router_url = router_url.unwrap_or_else(|| default_router(public_url.as_deref()));
        let statsd_port = vars.optional("STATSD_PORT")?.unwrap_or(STATSD_PORT_DEFAULT);
        Ok(Self {
            port: vars.optional("PORT")?,
            hob_url: vars.origin("HOB_URL")?.unwrap_or_else(|| HOB_URL_DEFAULT.to_owned()),
            public_url: public_url.unwrap_or_else(|| router_url.clone()),
            router_url,
            token: Secret::new(vars.required::<String>("HOB_TOKEN")?),
            ca_file: vars.optional("HOB_CA_FILE")?,
            service: vars.required("HOB_SERVICE")?,
            process: vars.optional("HOB_PROCESS")?.unwrap_or_else(|| "web".parse().expect("web is a name")),
            scope: Scope {
                environment: vars.required("HOB_ENVIRONMENT")?,
                tenant: vars.required("HOB_TENANT")?,
            },
            release: vars.optional("HOB_RELEASE")?.unwrap_or(0),
            instance: vars.optional("HOB_INSTANCE")?.unwrap_or_else(|| "local".to_owned()),
            data_dir: vars.required("DATA_DIR")?,
            statsd: vars.optional("STATSD_HOST")?.map(|host: String| (host, statsd_port)),
            settings,
        })
    }

    /// A setting of the service's own, from `env:` in its descriptor; `None` when it is not set or empty.
    ///
    /// # Errors
    /// When it is set and cannot be read.
    pub fn setting<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Error> {
        Vars(&self.settings).optional(name)
    }

    /// The port to listen on.
    ///
    /// # Errors
    /// When `PORT` is not set.
    pub fn required_port(&self) -> Result<u16, Error> {
        self.port.ok_or_else(|| missing("PORT"))
    }
}

/// A public origin on this machine needs no other way in; any other is reached through the router's usual port.
fn default_router(public_url: Option<&str>) -> String {
    let local = |url: &&str| {
        let host = url.trim_start_matches("http://");
        host.starts_with("127.0.0.1") || host.starts_with("localhost")
    };
    public_url.filter(local).unwrap_or(ROUTER_URL_DEFAULT).to_owned()
}

fn missing(name: &str) -> Error {
    let advice = match name {
        "HOB_TOKEN" => "Hob gives each instance one; by hand, take the one in <data directory>/admin.token",
        "DATA_DIR" => "Hob gives each service a folder; by hand, name an empty one",
        "PORT" => "Hob gives one to processes with `port: http`; by hand, choose a free one",
        "HOB_SERVICE" | "HOB_ENVIRONMENT" | "HOB_TENANT" => {
            "Hob sets it for its instances; by hand, use the names in hob.yml and service.yml"
        }
        _ => "set it under `env:` in service.yml",
    };
    Error::Missing { name: name.to_owned(), advice: advice.to_owned() }
}

struct Vars<'a>(&'a BTreeMap<String, String>);

impl Vars<'_> {
    fn optional<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        value.parse().map(Some).map_err(|reason: T::Err| wrong(name, value, &reason))
    }

    fn required<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, Error> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    fn origin(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(text) = self.optional::<String>(name)? else { return Ok(None) };
        let origin = text.trim_end_matches('/');
        match origin.parse::<http::Uri>() {
            Ok(uri) if uri.scheme().is_some() && uri.authority().is_some() && uri.path() == "/" => {
                Ok(Some(origin.to_owned()))
            }
            _ => Err(wrong(name, &text, &"write scheme, host and port, for example http://127.0.0.1:7070")),
        }
    }
}

fn wrong(name: &str, value: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Wrong {
        name: name.to_owned(),
        value: value.chars().take(80).collect(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(more: &[(&str, &str)]) -> Vec<(String, String)> {
        let least = [
            ("HOB_TOKEN", "t"),
            ("HOB_SERVICE", "orders"),
            ("HOB_ENVIRONMENT", "demo"),
            ("HOB_TENANT", "uk"),
            ("DATA_DIR", "/tmp/orders"),
        ];
        least.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_hob_gives_is_enough_and_the_rest_has_defaults() {
        let config = Config::from_vars(vars(&[("PORT", "4100"), ("SPEED", "60")])).unwrap();
        assert_eq!(config.port, Some(4100));
        assert_eq!(config.hob_url, "http://127.0.0.1:7070");
        assert_eq!(config.public_url, "http://127.0.0.1:8080");
        assert_eq!(config.setting::<f64>("SPEED").unwrap(), Some(60.0));
        assert_eq!(config.setting::<f64>("FAULTS").unwrap(), None);
    }

    #[test]
    fn the_router_stands_where_a_local_public_url_points() {
        let local = Config::from_vars(vars(&[("HOB_PUBLIC_URL", "http://127.0.0.1:8090/")])).unwrap();
        assert_eq!(local.router_url, "http://127.0.0.1:8090");
        let public = Config::from_vars(vars(&[("HOB_PUBLIC_URL", "http://uk.takeaway.test")])).unwrap();
        assert_eq!(
            (public.public_url.as_str(), public.router_url.as_str()),
            ("http://uk.takeaway.test", ROUTER_URL_DEFAULT)
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_the_way_out() {
        let text = Config::from_vars([]).unwrap_err().to_string();
        assert!(text.contains("HOB_TOKEN") && text.contains("admin.token"), "{text}");
        let text = Config::from_vars(vars(&[("PORT", "http")])).unwrap_err().to_string();
        assert!(text.contains("PORT") && text.contains("\"http\""), "{text}");
        let text = Config::from_vars(vars(&[("HOB_URL", "localhost")])).unwrap_err().to_string();
        assert!(text.contains("HOB_URL") && text.contains("http://127.0.0.1:7070"), "{text}");
    }
}
