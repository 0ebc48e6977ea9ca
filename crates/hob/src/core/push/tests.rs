//! Pushes to real endpoints that misbehave: nothing is lost, entities keep their order, and who fails slows nobody.

mod behaviour;
mod failures;
mod server;
mod world;
