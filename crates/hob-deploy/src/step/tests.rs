//! Single walks of the rollout machine, told step by step.
