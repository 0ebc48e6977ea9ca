//! The HTTP API: resources, OpenAPI, live updates, who may do what, the console.
//!
//! Each endpoint is declared once, in the file of its resource; the router, the OpenAPI document and the checks are
//! derived from the list. Nothing is decided here: a handler reads the request, asks the floor below, and writes the
//! answer. Start at [`Api`] and [`app()`].

mod app;
mod auth;
mod console;
mod endpoint;
mod error;
mod extract;
mod guard;
mod live;
mod openapi;
mod pages;
mod pieces;
mod resource;
mod serve;
mod shortcut;
mod sse;
mod state;
mod traffic;

pub use app::{app, document, doors};
pub use auth::{Caller, Instances, JoinError, Joins, Tokens, Who};
pub use error::{ApiError, chain};
pub use pages::explain;
pub use serve::serve;
pub use shortcut::App;
pub use state::{Api, Facts, Intake, Parts};
