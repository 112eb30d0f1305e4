//! What a transform does to rows, through the public door.

mod crossing;
mod moments;
mod plans;
mod rows;
mod sql;
