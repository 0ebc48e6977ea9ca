//! Topics, subscriptions, delivery and the event log.
