//! Joins a platform: once, with a join token; from then on with the token that was given for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hob_core::{Clock, Name, Secret};
use hob_wire::{JoinAnswer, JoinRequest};
use serde::{Deserialize, Serialize};

use crate::client::plain_client;
use crate::process::make_private;
use crate::shim::spec::{read_json, write_json};
use crate::{Config, Error, facts};

/// What was given at the first time.
const FILE: &str = "joined.json";
/// One try takes this long at most.
const TRY_MAX: Duration = Duration::from_secs(10);
/// The wait before a core that is away is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// How a machine becomes a node.
#[derive(Clone, Debug)]
pub struct Join {
    /// The core's origin.
    pub core_url: String,
    /// The join token; needed the first time.
    pub token: Option<Secret>,
    /// The name that it wants.
    pub name: Name,
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// The wall clock.
    pub clock: Clock,
    /// As in [`Config`].
    pub exec: PathBuf,
}

/// Kept on disk for its owner alone.
#[derive(Serialize, Deserialize)]
struct Joined {
    core_url: String,
    name: Name,
    token: String,
}

/// Asks the platform to take this machine, and waits while that is away. What it once was given is used again.
pub async fn join(join: Join) -> Result<Config, Error> {
    make_private(&join.data_dir)?;
    let file = join.data_dir.join(FILE);
    let known = read_json::<Joined>(&file).ok();
    let known = known.filter(|known| known.core_url == join.core_url && known.name == join.name);
    let (node, token) = match known {
        Some(known) => (known.name, Secret::new(known.token)),
        None => {
            let answer = ask(&join).await?;
            let core_url = join.core_url.clone();
            let joined = Joined { core_url, name: join.name.clone(), token: answer.token.clone() };
            write_json(&file, &joined).map_err(Error::file("write", &file))?;
            (answer.name, Secret::new(answer.token))
        }
    };
    Ok(config_of(&join, node, token))
}

/// Forgets what was once given, because it is good no more: the next time the machine joins anew.
pub(crate) fn forget(data_dir: &Path) {
    let file = data_dir.join(FILE);
    if let Err(error) = std::fs::remove_file(&file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, file = %file.display(), "the token that is good no more stays");
    }
}

fn config_of(join: &Join, node: Name, token: Secret) -> Config {
    Config {
        node,
        core_url: join.core_url.clone(),
        token,
        work_dir: join.data_dir.join("node"),
        data_dir: join.data_dir.clone(),
        clock: join.clock.clone(),
        exec: join.exec.clone(),
    }
}

async fn ask(join: &Join) -> Result<JoinAnswer, Error> {
    let token = join.token.as_ref().ok_or_else(|| Error::Join("no join token was given".to_owned()))?;
    let config = config_of(join, join.name.clone(), token.clone());
    make_private(&config.work_dir)?;
    let request = JoinRequest { name: join.name.clone(), facts: facts::find(&config).await? };
    let url = format!("{}/v1/nodes", join.core_url.trim_end_matches('/'));
    let client = plain_client()?;
    loop {
        let sent = client.post(&url).bearer_auth(token.expose()).json(&request).timeout(TRY_MAX).send().await;
        match sent {
            Ok(answer) if answer.status().is_success() => {
                return answer.json().await.map_err(|error| Error::Join(crate::error::chain(&error)));
            }
            Ok(answer) if !answer.status().is_server_error() => {
                let status = answer.status();
                let said = answer.text().await.unwrap_or_default();
                return Err(Error::Join(format!("it answered {status}: {}", said.trim())));
            }
            Ok(answer) => tracing::warn!(status = %answer.status(), "the platform is asked again"),
            Err(error) => tracing::warn!(%error, "the platform is asked again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}
