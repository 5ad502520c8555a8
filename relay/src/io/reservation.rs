//! Reservations at a relay, from both sides of the stream.
//!
//! Who needs a relay calls [`Endpoint::reserve`](super::endpoint::Endpoint::reserve) and reads the [`Reservation`]'s events; it
//! renews itself and answers the relay's questions about the address, and ends when it is dropped. Who is a relay calls
//! [`serve`] for each stream that opens with such a request.

mod client;
mod proofs;
mod server;

use std::time::Duration;

pub use client::{Promise, Reservation, ReservationEnd, ReservationEvent};
pub use proofs::Proofs;
pub use server::{BadRequest, serve};

/// How long the other side may take to read what was written (guess: an idle connection is dead by then).
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
