//! One file per group of verbs; here each finds its own.

mod actions;
mod agent;
mod apply;
mod deploy;
mod doctor;
mod entities;
mod events;
mod issues;
mod list;
mod logs;
mod metrics;
mod nodes;
mod routers;
mod rules;
mod scale;
mod shields;
mod subscriptions;
mod topics;
mod up;

use std::process::ExitCode;

use hob_core::Secret;

use crate::cli::{Arguments, Global, InstanceVerb, TopicVerb, Verb};
use crate::failure::{Exit, Failure};
use crate::remote::Remote;
use crate::settings::{Settings, caller_token};
use crate::{core, doorkeeper, screen};

/// Runs what the arguments ask for.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let global = arguments.global;
    match arguments.verb {
        Verb::Shim { folder } => Ok(hob_agent::run_shim(&[folder.into_os_string()])),
        Verb::Agent(agent) => agent::run(&global, agent),
        Verb::Explain { code } => explain(&global, &code),
        Verb::Openapi => {
            screen::line(hob_api::document().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Core(arguments) => core::run_core(&global, &arguments),
        Verb::Router(router) if router.upgrade => doorkeeper::ask(&global),
        Verb::Router(router) => core::run_router(&global, &router),
        Verb::Open => open(&global),
        verb => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(remote_verb(&global, verb))
        }
    }
}

async fn remote_verb(global: &Global, verb: Verb) -> Result<ExitCode, Failure> {
    if let Verb::Up(up) = verb {
        return up::up(global, up).await;
    }
    if let Verb::Doctor = verb {
        return doctor::doctor(global).await;
    }
    let remote = Remote::new(global)?;
    match verb {
        Verb::Apply(arguments) => apply::apply(&remote, global, &arguments).await?,
        Verb::Deploy(arguments) => deploy::deploy(&remote, global, &arguments).await?,
        Verb::Rollback(arguments) => deploy::rollback(&remote, global, &arguments).await?,
        Verb::Rollout(arguments) => deploy::rollout(&remote, global, &arguments).await?,
        Verb::Releases(arguments) => list::releases(&remote, global, &arguments).await?,
        Verb::Services => list::services(&remote, global).await?,
        Verb::Instances { verb: Some(InstanceVerb::Show { instance }), .. } => {
            list::instance(&remote, global, &instance).await?;
        }
        Verb::Instances { service, verb: None } => list::instances(&remote, global, service.as_ref()).await?,
        Verb::Nodes { verb } => nodes::nodes(&remote, global, verb).await?,
        Verb::Routers => routers::routers(&remote, global).await?,
        Verb::Routes => routers::routes(&remote, global).await?,
        Verb::Scale(arguments) => scale::scale(&remote, global, &arguments).await?,
        Verb::Hold(arguments) => shields::hold(&remote, global, arguments).await?,
        Verb::Maintenance { verb } => shields::maintenance(&remote, global, verb).await?,
        Verb::Shoot { instance } => list::shoot(&remote, &instance).await?,
        Verb::Status => list::status(&remote, global).await?,
        Verb::Logs(arguments) => logs::logs(&remote, global, &arguments).await?,
        Verb::Metrics(arguments) => metrics::metrics(&remote, global, &arguments).await?,
        Verb::Events(arguments) => events::events(&remote, global, &arguments).await?,
        Verb::Entities(arguments) => entities::entities(&remote, global, &arguments).await?,
        Verb::Topics { verb: None } => topics::topics(&remote, global).await?,
        Verb::Topics { verb: Some(TopicVerb::Show { name }) } => topics::show(&remote, global, &name).await?,
        Verb::Subscriptions(arguments) => subscriptions::subscriptions(&remote, global, arguments).await?,
        Verb::Issues(arguments) => issues::issues(&remote, global, arguments).await?,
        Verb::Actions(arguments) => actions::actions(&remote, global, arguments).await?,
        Verb::Rules => rules::rules(&remote, global).await?,
        Verb::Up(_) | Verb::Doctor | Verb::Open | Verb::Openapi | Verb::Explain { .. } => {}
        Verb::Core(_) | Verb::Router(_) | Verb::Agent(_) | Verb::Shim { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(global: &Global, code: &str) -> Result<ExitCode, Failure> {
    let page = hob_api::explain(code).ok_or_else(|| {
        Failure::with(Exit::NotFound, format!("there is no error {code}"))
            .hint("write it as it was told: HOB-0050")
    })?;
    if global.json {
        screen::json(&Explained::read(&page));
    } else {
        screen::line(page.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// An error's page, for programs.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
struct Explained<'a> {
    code: &'a str,
    title: &'a str,
    /// In Markdown.
    text: &'a str,
}

impl<'a> Explained<'a> {
    fn read(page: &'a str) -> Self {
        let (head, text) = page.split_once('\n').unwrap_or((page, ""));
        let (code, title) = head.trim_start_matches("# ").split_once(": ").unwrap_or((head, ""));
        Self { code, title, text: text.trim() }
    }
}

/// The console's address with the token behind `#`, where browsers keep it to themselves.
pub(crate) fn console_url(api_url: &str, token: &Secret) -> String {
    format!("{api_url}/#token={}", token.expose())
}

fn open(global: &Global) -> Result<ExitCode, Failure> {
    let token = caller_token(&global.data, global.token.clone())?;
    let url = global.url.clone().unwrap_or_else(|| Settings::of_running(&global.data).api_url());
    let address = console_url(&url, &token);
    if global.json {
        // Whoever asks for data opens it by itself.
        screen::json(&serde_json::json!({ "url": address }));
        return Ok(ExitCode::SUCCESS);
    }
    screen::line(&address);
    // A machine without a desktop has no such program; the address on the screen is enough there.
    let _ = std::process::Command::new("xdg-open")
        .arg(&address)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_taken_apart_for_programs() {
        let page = hob_api::explain("50").unwrap();
        let explained = Explained::read(&page);
        assert_eq!((explained.code, explained.title), ("HOB-0050", "A port is in use"));
        assert!(!explained.text.is_empty() && !explained.text.starts_with('#'));
    }
}
