//! Pages of errors: what `HOB-nnnn` means and what to do, for the browser and for `hob explain`.

use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use rust_embed::Embed;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::Path;

#[derive(Embed)]
#[folder = "../../docs/errors"]
struct Errors;

/// The page of an error, in Markdown. Takes `HOB-0042`, `hob-42` and `42`.
pub fn explain(code: &str) -> Option<String> {
    let digits = code.to_ascii_uppercase();
    let number: u16 = digits.trim_start_matches("HOB-").parse().ok()?;
    let page = Errors::get(&format!("HOB-{number:04}.md"))?;
    String::from_utf8(page.data.into_owned()).ok()
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let page = Endpoint::get("/errors/{code}", Who::Public, "What an error means and what to do", get(show));
    vec![page.answers_as(200, "text/markdown")]
}

async fn show(Path(code): Path<String>) -> Result<Response, ApiError> {
    let page = explain(&code).ok_or_else(|| ApiError::not_found(format!("error {code}")))?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], page).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        for code in hob_core::CODES {
            assert!(explain(&code.name()).is_some_and(|page| page.starts_with("# HOB-")), "{}", code.name());
        }
        assert_eq!(explain("3"), explain("HOB-0003"));
        assert_eq!(explain("nonsense"), None);
    }
}
