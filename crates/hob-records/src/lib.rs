//! Log records: append, search, read back.
