//! Bringing reports home, and back: who does it, when it may be done, and how nothing is lost on the way.
//!
//! [`leadership`] picks one controller, [`roster`] knows who takes part, [`Gate`] says whether all of them can find what is moved. A [`Mover`]
//! then takes reports from one [`Depot`] to another: read, write with the sequence that they have, read back and compare, confirm the
//! lead, remove by compare-and-swap. A [`Migrator`] does so again and again; [`Upkeep`] keeps the index of findings beside it.

pub mod leadership;
pub mod roster;

mod decision;
mod depot;
mod depots;
mod evacuate;
mod gate;
mod mover;
mod progress;
mod scheduler;
mod times;
mod traffic;
mod upkeep;

pub use decision::{Because, Decision, Offer, Skip, There, decide};
pub use depot::{
    Arrival, Depot, DepotError, Found, Grave, Graves, Holding, Page, Parcel, Standing, Tombstone, Written,
};
pub use evacuate::{Departure, Evacuation};
pub use gate::{Gate, GateState, Obstacle, Rules};
pub use leadership::{Leader, Leadership, NotLeading};
pub use mover::{Halt, Mover, Outcome, Pace};
pub use progress::{Phase, Progress, Skipped, Totals};
pub use scheduler::Migrator;
pub use times::Times;
pub use traffic::{Call, Traffic};
pub use upkeep::Upkeep;
