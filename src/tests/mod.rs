//! Tests that belong to no one room.

mod fuzz;
