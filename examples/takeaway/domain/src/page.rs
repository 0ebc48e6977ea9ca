//! Lists, a page at a time: `?state=accepted,placed&limit=100&cursor=…`.

use hob_sdk::core::limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX};
use hob_sdk::server::{Failure, Representation, bad_request};
use serde::Deserialize;

use crate::store::{Filter, Row};

/// What a list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl Query {
    /// One row more than the page has, to know whether there is a next page.
    pub(crate) fn filter(&self) -> Result<Filter, Failure> {
        let after = match &self.cursor {
            None => 0,
            Some(cursor) => {
                cursor.parse().map_err(|_| bad_request("the cursor is none that a page here named"))?
            }
        };
        let states = self.state.iter().flat_map(|states| states.split(',')).map(str::to_owned).collect();
        Ok(Filter { states, after, limit: self.items_max() + 1 })
    }

    fn items_max(&self) -> usize {
        self.limit.unwrap_or(PAGE_ITEMS_DEFAULT).clamp(1, PAGE_ITEMS_MAX)
    }

    /// The page, and the target of the next one when there is one.
    pub(crate) fn page(&self, collection: &str, mut rows: Vec<Row>) -> (Representation, Option<String>) {
        let has_more = rows.len() > self.items_max();
        rows.truncate(self.items_max());
        let target = |cursor: Option<&str>| {
            let state = self.state.as_ref().map(|state| format!("&state={state}")).unwrap_or_default();
            let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            format!("/{collection}?limit={}{state}{cursor}", self.items_max())
        };
        let next = rows.last().filter(|_| has_more).map(|row| target(Some(&row.number.to_string())));
        let mut links = serde_json::json!({ "self": { "href": target(self.cursor.as_deref()) } });
        if let Some(next) = &next {
            links["next"] = serde_json::json!({ "href": next });
        }
        // The rows are JSON already; reading them only to write them again would be most of the work.
        let items: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
        let body = format!("{{\"items\":[{}],\"_links\":{links}}}", items.join(","));
        (Representation::new(body, "application/hal+json"), next)
    }
}
