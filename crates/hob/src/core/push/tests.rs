//! Pushes to real endpoints that misbehave: nothing is lost, entities keep their order, and who fails slows nobody.

mod behaviour;
mod certificates;
mod failures;
mod safety;
mod server;
mod world;
