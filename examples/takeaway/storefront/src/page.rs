//! The page as HTML for customers and as JSON for programs.

use hob_sdk::axum::Json;
use hob_sdk::axum::extract::State;
use hob_sdk::axum::response::Html;
use hob_sdk::{Cache, Cached, Figures, Source};
use serde::Serialize;
use takeaway_world::Restaurant;

use crate::directory::Directory;

/// Open orders from which a kitchen counts as busy.
const BUSY_ORDERS: usize = 4;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) cache: Cache,
    pub(crate) directory: Directory,
}

/// `GET /page`.
#[derive(Debug, Serialize)]
pub(crate) struct Page {
    restaurants: Vec<Card>,
    /// Restaurants that could not be read.
    missing: usize,
    /// How many of this page's restaurants their owner had to be asked for.
    upstream_requests: usize,
    /// Whether events flow, so that nobody need be asked.
    live: bool,
    cache: Figures,
}

/// A restaurant on the page.
#[derive(Debug, Serialize)]
struct Card {
    href: String,
    name: String,
    accepting: bool,
    busy: bool,
    open_orders: usize,
    late_orders: usize,
}

async fn page(shared: &Shared) -> Page {
    let hrefs = shared.directory.shown();
    let reads: Vec<Cached> = shared.cache.get_many(&hrefs).await.into_iter().flatten().collect();
    let asked = |cached: &&Cached| matches!(cached.source, Source::Fetched | Source::Revalidated);
    let upstream_requests = reads.iter().filter(asked).count();
    let restaurants: Vec<Card> = reads.iter().filter_map(card).collect();
    Page {
        missing: hrefs.len() - restaurants.len(),
        restaurants,
        upstream_requests,
        live: shared.cache.is_live(),
        cache: shared.cache.figures(),
    }
}

fn card(cached: &Cached) -> Option<Card> {
    let restaurant: Restaurant = cached.json().ok()?;
    Some(Card {
        href: cached.href().to_owned(),
        name: restaurant.name,
        accepting: restaurant.accepting,
        busy: restaurant.open_orders >= BUSY_ORDERS,
        open_orders: restaurant.open_orders,
        late_orders: restaurant.late_orders,
    })
}

/// The page for programs.
pub(crate) async fn json(State(shared): State<Shared>) -> Json<Page> {
    Json(page(&shared).await)
}

/// The page for customers.
pub(crate) async fn html(State(shared): State<Shared>) -> Html<String> {
    let page = page(&shared).await;
    let cards: String = page.restaurants.iter().map(card_html).collect();
    let (shown, asked, hits) = (page.restaurants.len(), page.upstream_requests, page.cache.hits);
    let (stale, lag) = (page.cache.stale_served, page.cache.lag_ms_p50);
    let empty = if shown == 0 { "<p class=\"empty\">No restaurant has opened yet.</p>" } else { "" };
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Takeaway</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"2\">\
         <style>{STYLE}</style><header><h1>Takeaway</h1><p>{shown} restaurants near you</p></header>\
         <main>{cards}{empty}</main><footer>{asked} requests for this page, {hits} reads from memory so far, {stale} of them stand-ins; \
         a change is known {lag:.0} ms after it was told</footer></html>"
    ))
}

fn card_html(card: &Card) -> String {
    let (class, word) = match (card.accepting, card.busy) {
        (false, _) => ("closed", "Closed for now"),
        (true, true) => ("busy", "Busy"),
        (true, false) => ("open", "Open"),
    };
    let (name, orders) = (escape(&card.name), card.open_orders);
    let orders = if orders == 1 { "1 order".to_owned() } else { format!("{orders} orders") };
    format!(
        "<article class=\"{class}\"><h2>{name}</h2><p><b>{word}</b> · {orders} in the kitchen</p></article>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "
body{margin:0;font:16px/1.45 system-ui,sans-serif;background:#faf7f2;color:#2b2320}
header,footer{padding:1.5rem clamp(1rem,4vw,3rem)}
h1{margin:0;font-size:1.9rem;letter-spacing:-.02em}header p,footer{margin:.2rem 0 0;color:#7a6d64}
main{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));padding:0 clamp(1rem,4vw,3rem)}
article{background:#fff;border-radius:.7rem;padding:.9rem 1.1rem;border-left:.35rem solid #2f9e62;box-shadow:0 1px 3px #0001}
h2{margin:0;font-size:1.05rem}article p{margin:.2rem 0 0;color:#7a6d64;font-size:.9rem}b{color:#2f9e62;font-weight:600}
.busy{border-color:#d08700}.busy b{color:#a86b00}.closed{border-color:#b9aea6;opacity:.75}.closed b{color:#7a6d64}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_page() {
        let card = Card {
            href: String::new(),
            name: "<b>Basil & \"Co\"".to_owned(),
            accepting: true,
            busy: true,
            open_orders: 1,
            late_orders: 0,
        };
        let html = card_html(&card);
        assert!(
            html.contains("&lt;b&gt;Basil &amp; &quot;Co&quot;") && html.contains("Busy</b> · 1 order in")
        );
    }
}
