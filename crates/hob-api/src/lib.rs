//! The HTTP API: resources, OpenAPI, live updates, who may do what, the console.
