//! The data plane: brings each request to an instance, loses none.
