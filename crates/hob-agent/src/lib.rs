//! One node: starts, probes, watches and stops instances as intended.
