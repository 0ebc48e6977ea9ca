//! How a router marks its own answers (`Proxy-Status`, RFC 9209), so that its "not found" is never taken for that of an
//! entity's owner.

use hob_core::{Code, code};

use crate::Problem;

/// The header, in lower case.
pub const PROXY_STATUS: &str = "proxy-status";

/// What the router says of itself in an answer that no instance gave.
pub fn proxy_status(problem: &Problem) -> String {
    let of = |code: Code| problem.code == code.name();
    let error = match () {
        () if of(code::NO_ROUTE) => "destination_not_found",
        () if of(code::NO_INSTANCE) || of(code::MAINTENANCE) => "destination_unavailable",
        () if of(code::HELD_TOO_LONG) => "connection_timeout",
        () if of(code::TOO_MANY_REQUESTS) => "http_request_denied",
        () if of(code::BAD_INSTANCE) => "http_protocol_error",
        () if of(code::INSTANCE_TIMEOUT) => "http_response_timeout",
        () => "http_request_error",
    };
    format!("hob; error={error}; details=\"{}\"", problem.code)
}

/// Whether a value of the header says that a gateway gave the answer: one of its members names an error. A member
/// without one tells only that a gateway passed the answer on.
pub fn is_gateways_own(value: &str) -> bool {
    let outside_quotes = value.split('"').step_by(2);
    outside_quotes.flat_map(|part| part.split([',', ';'])).any(|part| part.trim_start().starts_with("error="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_gateways_own_when_it_names_an_error() {
        for code in [code::NO_ROUTE, code::NO_INSTANCE, code::BAD_INSTANCE, code::BAD_REQUEST] {
            let problem = Problem::new(code, "");
            assert!(is_gateways_own(&proxy_status(&problem)), "{}", code.name());
        }
        for (value, expect) in [
            ("cdn.example;error=connection_timeout", true),
            ("inner; fwd=uri-miss, outer;  error=dns_error", true),
            ("hob", false),
            ("", false),
            ("hob; details=\"a; error=b\"", false),
            ("hob; received-status=404; no-error=1", false),
        ] {
            assert_eq!(is_gateways_own(value), expect, "{value}");
        }
    }
}
