//! What is sent as it is stored: pictures from the blob store, style sheet and icon from the binary.

pub(crate) mod assets;
pub(crate) mod pictures;
