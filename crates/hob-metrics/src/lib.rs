//! Series of samples: append, roll up, read back.
