//! What visitors send: forms, read within limits, and what is done with them.

mod body;
mod counted;
pub(crate) mod deleting;
mod files;
mod form;
mod multipart;
mod pace;
pub(crate) mod posting;
mod reader;
mod texts;

pub(crate) use body::close_if_unread;
