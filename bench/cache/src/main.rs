//! How quick the RESN cache is, with everything real: `hob up` runs this program as a service of one platform, which
//! serves a hundred things through Hob's router, publishes their changes to Hob's bus, follows them and reads them.
//!
//! `cache-bench HOB [ROUNDS]` starts a Hob (the path of its binary) in a temporary folder, waits for the figures, prints
//! them as JSON and stops it. Run by Hob, it is the service itself.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hob_sdk::axum::Router;
use hob_sdk::axum::extract::{Path as Name, State};
use hob_sdk::axum::http::HeaderMap;
use hob_sdk::axum::response::Response;
use hob_sdk::axum::routing::get;
use hob_sdk::events::{Publisher, from_now_on};
use hob_sdk::server::Representation;
use hob_sdk::wire::Notice;
use hob_sdk::{Cache, CacheOptions, Client, Config, Source};
use serde_json::{Value, json};

const THINGS: usize = 100;
const PAGES: usize = 20_000;
const ROUNDS: usize = 1_000;
const WAIT: Duration = Duration::from_secs(300);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

struct Things {
    versions: Vec<AtomicU64>,
    reads: AtomicUsize,
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().ok_or("name the binary of Hob")?;
    if first == "service" {
        let rounds = arguments.next().ok_or("name the rounds")?.parse()?;
        let result = PathBuf::from(arguments.next().ok_or("name the file for the result")?);
        return tokio::runtime::Runtime::new()?.block_on(serve(rounds, result));
    }
    let rounds = arguments.next().map_or(Ok(ROUNDS), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("cache-bench-{}", std::process::id()));
    let outcome = outside(&PathBuf::from(first).canonicalize()?, &folder, rounds);
    let _ = std::fs::remove_dir_all(&folder);
    println!("{}", outcome?);
    Ok(())
}

/// Writes a platform of one service, lets Hob run it, and waits for what it measured.
fn outside(hob: &Path, folder: &Path, rounds: usize) -> Outcome<String> {
    let (service, result) = (folder.join("things"), folder.join("result.json"));
    std::fs::create_dir_all(service.join("bin"))?;
    std::fs::copy(std::env::current_exe()?, service.join("bin/bench"))?;
    std::fs::write(
        folder.join("hob.yml"),
        "platform: bench\nenvironments: [bench]\ntenants: [one]\nservices: [things]\n",
    )?;
    let run = format!("[bin/bench, service, \"{rounds}\", {}]", result.display());
    std::fs::write(
        service.join("service.yml"),
        format!(
            "service: things\nkind: domain\nowner: bench\npackage: {{ include: [bin/bench] }}\n\
             processes:\n  web: {{ run: {run}, port: http, replicas: 1 }}\n\
             health:\n  readiness: {{ http: /health/ready, every: 250ms, timeout: 1s }}\n\
             routes:\n  - {{ path: /things }}\ntopics:\n  - {{ name: things, kind: notify }}\n"
        ),
    )?;
    let log = std::fs::File::create(folder.join("hob.log"))?;
    let mut hob = Command::new(hob)
        .args(["up", "--port-offset", "4321", "--data"])
        .arg(folder.join("data"))
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()?;
    let begun = Instant::now();
    let outcome = loop {
        if let Ok(text) = std::fs::read_to_string(&result) {
            break Ok(text);
        }
        if begun.elapsed() > WAIT || hob.try_wait()?.is_some() {
            let log = std::fs::read_to_string(folder.join("hob.log")).unwrap_or_default();
            break Err(format!("no figures came; Hob says:\n{log}").into());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let _ = Command::new("kill").arg("-TERM").arg(hob.id().to_string()).status();
    let _ = hob.wait();
    outcome
}

async fn serve(rounds: usize, result: PathBuf) -> Outcome<()> {
    let config = Config::from_env()?;
    let things = Arc::new(Things {
        versions: (0..THINGS).map(|_| AtomicU64::new(1)).collect(),
        reads: AtomicUsize::new(0),
    });
    let router = Router::new().route("/things/{number}", get(thing)).with_state(Arc::clone(&things));
    let (client, inner) = (Client::new(&config)?, Arc::clone(&things));
    tokio::spawn(async move {
        let text = match measure(&client, &inner, rounds).await {
            Ok(figures) => figures.to_string(),
            Err(error) => json!({ "failed": error.to_string() }).to_string(),
        };
        let draft = result.with_extension("draft");
        let _ = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &result));
    });
    Ok(hob_sdk::server::serve(&config, router).await?)
}

async fn thing(State(things): State<Arc<Things>>, Name(number): Name<usize>, headers: HeaderMap) -> Response {
    things.reads.fetch_add(1, Ordering::SeqCst);
    let version = things.versions.get(number).map_or(0, |version| version.load(Ordering::SeqCst));
    let body = json!({
        "number": number, "version": version, "name": format!("Thing {number}"), "filling": "x".repeat(800),
        "_links": { "self": { "href": format!("/things/{number}") } },
    });
    Representation::hal(&body).expect("JSON can be written").answer(&headers)
}

async fn measure(client: &Client, things: &Things, rounds: usize) -> Outcome<Value> {
    let hrefs: Vec<String> = (0..THINGS).map(|number| client.href(&format!("/things/{number}"))).collect();
    // Until the route stands: what the router says before that is kept as any other answer.
    while !client.get(&hrefs[0]).await.is_ok_and(|answer| answer.status.is_success()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cache = Cache::following(client, "things.cache", from_now_on(&["things"])?, CacheOptions::default());
    let begun = Instant::now();
    // Until events flow and the route stands.
    loop {
        let reads = cache.get_many(&hrefs).await;
        let is_warm = reads.iter().all(|read| read.as_ref().is_ok_and(|read| read.source == Source::Hit));
        if cache.is_live() && is_warm {
            break;
        }
        if begun.elapsed() > WAIT {
            return Err(format!("the cache is not warm: live {}, {:?}", cache.is_live(), reads[0]).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let pages = warm_pages(&cache, things, &hrefs).await?;
    let fresh = freshness(client, &cache, things, &hrefs, rounds).await?;
    let figures = cache.figures();
    Ok(json!({
        "list of 100 from a warm cache": pages,
        "published to fresh": fresh,
        "bytes an entity": figures.bytes / figures.entities.max(1),
        "cache": figures,
    }))
}

async fn warm_pages(cache: &Cache, things: &Things, hrefs: &[String]) -> Outcome<Value> {
    let asked = things.reads.load(Ordering::SeqCst);
    let mut took = Vec::with_capacity(PAGES);
    for _ in 0..PAGES {
        let begun = Instant::now();
        let reads = cache.get_many(hrefs).await;
        took.push(begun.elapsed());
        if reads.iter().any(Result::is_err) {
            return Err("a read failed".into());
        }
        // A page that asks nobody never waits: as a server does between requests, let those run who follow the events.
        tokio::task::yield_now().await;
    }
    let asked = things.reads.load(Ordering::SeqCst) - asked;
    Ok(json!({ "pages": PAGES, "upstream requests": asked, "ms": quantiles(took) }))
}

/// Changes one thing after the other: commit, publish, then read until the new version is there.
async fn freshness(
    client: &Client,
    cache: &Cache,
    things: &Things,
    hrefs: &[String],
    rounds: usize,
) -> Outcome<Value> {
    let publisher = Publisher::new(client);
    let topic = "things".parse()?;
    let (mut acknowledged, mut from_publish, mut from_acknowledged) = (Vec::new(), Vec::new(), Vec::new());
    let reads = things.reads.load(Ordering::SeqCst);
    for round in 0..rounds {
        let number = round % THINGS;
        let version = things.versions[number].fetch_add(1, Ordering::SeqCst) + 1;
        let begun = Instant::now();
        publisher
            .publish(&topic, Notice { href: Some(hrefs[number].clone()), ..Notice::new("update") })
            .await?;
        let told = Instant::now();
        acknowledged.push(told - begun);
        loop {
            let seen: Value = cache.get(&hrefs[number]).await?.json()?;
            if seen["version"].as_u64() == Some(version) {
                break;
            }
            if told.elapsed() > WAIT {
                return Err("a change is never seen".into());
            }
            tokio::task::yield_now().await;
        }
        from_publish.push(begun.elapsed());
        from_acknowledged.push(told.elapsed());
    }
    Ok(json!({
        "rounds": rounds,
        "upstream requests": things.reads.load(Ordering::SeqCst) - reads,
        "publish acknowledged ms": quantiles(acknowledged),
        "fresh after the publish began ms": quantiles(from_publish),
        "fresh after it was acknowledged ms": quantiles(from_acknowledged),
    }))
}

fn quantiles(mut took: Vec<Duration>) -> Value {
    took.sort_unstable();
    let at = |share: f64| {
        let place = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1;
        (took[place].as_secs_f64() * 1_000_000.0).round() / 1000.0
    };
    json!({ "p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999), "max": at(1.0) })
}
