//! One file per resource: its endpoints and their handlers.

pub(crate) mod actions;
pub(crate) mod declarations;
pub(crate) mod entities;
pub(crate) mod events;
pub(crate) mod instances;
pub(crate) mod issues;
pub(crate) mod joining;
pub(crate) mod logs;
pub(crate) mod map;
pub(crate) mod metrics;
pub(crate) mod nodes;
pub(crate) mod packages;
pub(crate) mod routing;
pub(crate) mod rules;
pub(crate) mod scale;
pub(crate) mod services;
pub(crate) mod shields;
pub(crate) mod status;
pub(crate) mod subscriptions;
pub(crate) mod topics;
