//! What a service links: HTTP client with the RESN cache, events, outbox, server layer.
