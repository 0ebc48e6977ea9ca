//! The takeaway city as a pure state machine.
