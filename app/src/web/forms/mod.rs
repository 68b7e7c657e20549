//! What visitors send: forms, read within limits, and what is done with them.

pub(crate) mod deleting;
pub(crate) mod posting;
mod reader;
