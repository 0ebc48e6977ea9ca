//! An endpoint is declared once; the router, the OpenAPI document and the test that tries every door without a token
//! are all derived from the list.

use axum::routing::MethodRouter;
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::auth::Who;
use crate::state::Api;

/// A query parameter of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it means.
    pub(crate) about: &'static str,
}

/// Makes the schema of a body.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One method of one path.
pub(crate) struct Endpoint {
    /// The method.
    pub(crate) method: Method,
    /// The path, with `{parameters}`.
    pub(crate) path: &'static str,
    /// Whom it serves.
    pub(crate) who: Who,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
    /// Its query parameters.
    pub(crate) params: Vec<Param>,
    /// The body that it takes, and the body's media type.
    pub(crate) body: Option<(&'static str, Option<SchemaOf>)>,
    /// The answer of success: status, media type, schema.
    pub(crate) answer: (u16, &'static str, Option<SchemaOf>),
    /// Whether the answer is a stream: such an answer has no ETag and no end.
    pub(crate) streams: bool,
    /// Bytes that its body may have.
    pub(crate) body_bytes_max: usize,
    /// What answers.
    pub(crate) handler: MethodRouter<Api>,
}

const HAL: &str = hob_wire::Hal::<()>::MEDIA_TYPE;

impl Endpoint {
    /// An endpoint that answers 204 until told otherwise.
    pub(crate) fn new(
        method: Method,
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self {
            method,
            path,
            who,
            summary,
            params: Vec::new(),
            body: None,
            answer: (204, HAL, None),
            streams: false,
            body_bytes_max: hob_core::limits::REQUEST_BODY_BYTES_MAX,
            handler,
        }
    }

    /// `GET`.
    pub(crate) fn get(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self::new(Method::GET, path, who, summary, handler)
    }

    /// `PUT`.
    pub(crate) fn put(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self::new(Method::PUT, path, who, summary, handler)
    }

    /// `POST`.
    pub(crate) fn post(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self::new(Method::POST, path, who, summary, handler)
    }

    /// `PATCH`.
    pub(crate) fn patch(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self::new(Method::PATCH, path, who, summary, handler)
    }

    /// `DELETE`.
    pub(crate) fn delete(
        path: &'static str,
        who: Who,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        Self::new(Method::DELETE, path, who, summary, handler)
    }

    /// With these query parameters.
    #[must_use]
    pub(crate) fn params(mut self, params: &[(&'static str, &'static str)]) -> Self {
        self.params.extend(params.iter().map(|(name, about)| Param { name, about }));
        self
    }

    /// With the parameters that choose a scope.
    #[must_use]
    pub(crate) fn scoped(self) -> Self {
        self.params(&[
            ("environment", "where; the first of hob.yml when left out"),
            ("tenant", "for whom; the first of hob.yml when left out"),
        ])
    }

    /// With the parameters of a list.
    #[must_use]
    pub(crate) fn paged(self) -> Self {
        self.params(&[
            ("limit", "items on a page, 1 to 1000"),
            ("cursor", "where to go on, from the link `next`"),
        ])
    }

    /// Takes a JSON body of this shape.
    #[must_use]
    pub(crate) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(("application/json", Some(SchemaGenerator::subschema_for::<T>)));
        self
    }

    /// Takes bytes, up to so many.
    #[must_use]
    pub(crate) fn takes_bytes(mut self, bytes_max: usize) -> Self {
        self.body = Some(("application/octet-stream", None));
        self.body_bytes_max = bytes_max;
        self
    }

    /// Answers with a resource of this shape.
    #[must_use]
    pub(crate) fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.answer = (status, HAL, Some(SchemaGenerator::subschema_for::<T>));
        self
    }

    /// Answers with something that is no resource.
    #[must_use]
    pub(crate) fn answers_as(mut self, status: u16, media_type: &'static str) -> Self {
        self.answer = (status, media_type, None);
        self
    }

    /// Answers with a stream of these.
    #[must_use]
    pub(crate) fn answers_stream<T: JsonSchema>(mut self, media_type: &'static str) -> Self {
        self.answer = (200, media_type, Some(SchemaGenerator::subschema_for::<T>));
        self.streams = true;
        self
    }
}
