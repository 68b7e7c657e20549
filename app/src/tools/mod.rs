//! Programs of operators that stand beside the board: they know its HTTP or the cluster that it runs on, and nothing of
//! how it works inside.

pub mod credentials;
pub mod smoke;
