//! What every reader must do.
