//! Rules that open issues: entities, observations, conditions, timers.
