//! Every format, right and wrong.
