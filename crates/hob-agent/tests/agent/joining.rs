//! A machine that becomes a node.

use hob_agent::{Join, Shutdown};
use hob_core::{Clock, Secret};
use hob_wire::InstanceState;

use crate::fake_core::FakeCore;
use crate::node::{block_on, instance};

pub(crate) fn joins() {
    block_on(async {
        let (core, folder) = (FakeCore::start().await, tempfile::tempdir().unwrap());
        let join = |token: Option<&str>| Join {
            core_url: core.url.clone(),
            token: token.map(Secret::new),
            name: "local".parse().unwrap(),
            data_dir: folder.path().join("data"),
            clock: Clock::system(),
            exec: std::env::current_exe().unwrap(),
        };
        let refused = hob_agent::join(join(Some("wrong"))).await.unwrap_err().to_string();
        assert!(refused.starts_with("join the platform: it answered 401"), "{refused}");
        assert!(hob_agent::join(join(None)).await.unwrap_err().to_string().contains("no join token"));
        // It waits for a platform that is away.
        core.go_away(true);
        let joining = tokio::spawn(hob_agent::join(join(Some("join-me"))));
        core.go_away(false);
        let config = joining.await.unwrap().unwrap();
        assert_eq!((config.node.as_str(), config.token.expose()), ("local", "node-token"));
        // From then on it needs no join token.
        let config = hob_agent::join(join(None)).await.unwrap();
        assert_eq!(config.token.expose(), "node-token");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let agent = tokio::spawn(hob_agent::run(config, async move {
            let _ = stopped.await;
            Shutdown::StopInstances
        }));
        let spec = instance(&core, "orders-web-1", "exec sleep 1000");
        core.intend(|intended| intended.instances.push(spec));
        core.wait_instance("orders-web-1", "ready", |r| r.state == InstanceState::Ready).await;
        drop(stop);
        agent.await.unwrap().unwrap();
    });
}
