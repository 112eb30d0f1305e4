//! What listing must do.
