//! What the takeaway's three domain services have in common: each owns one kind of entity in a SQLite file of its own,
//! serves it with links and ETags, changes it only by transitions, and tells of each change by a notice that is
//! committed together with it.
//!
//! Start at [`serve()`], which is a service's whole `main`. What the services send each other is here too: [`Transitions`]
//! and [`Decision`].

mod decision;
mod page;
mod routes;
mod serve;
mod store;
mod transition;

pub use decision::{Decided, Decision, Job};
pub use routes::{Shared, router};
pub use serve::{Error, serve};
pub use store::Store;
pub use transition::{Outcome, Refused, Transition, Transitions};
