//! Moving reports, on doubles of the stores that check the laws at every step: who kills, interrupts or overtakes a mover, and when, changes
//! nothing of what a controller sees, and nothing of where it ends.

#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

mod depots;
mod faults;
mod foreign;
mod membership;
mod real;
mod roles;
mod rules;
mod schedules;
mod upkeep;
mod world;
