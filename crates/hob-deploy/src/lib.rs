//! Packages, releases, rollouts: which instances of which release are intended where.
