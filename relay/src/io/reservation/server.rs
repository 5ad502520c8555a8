//! The relay's end of the stream.

use std::time::Duration;

use nearmesh_common::{
    NodeId,
    frame::{ReadFrameError, read_frame, write_frame},
    wire::relay::{FromRelay, MAX_RELAY_FRAME, RelayClosed, RelayRequest, ToRelay},
};
use quinn::{Connection, RecvStream, SendStream};
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::WRITE_TIMEOUT;
use crate::{
    io::forward::Forwarding,
    proto::{forward::EndId, path::virtual_addr::VirtualAddr},
};

/// Between two frames that are read from one end: it has a renewal or a proof to say now and then, so fifty a second are plenty.
const FRAME_INTERVAL: Duration = Duration::from_millis(20);

/// The other end said something that is not spoken here.
#[derive(Debug, Error)]
#[error("a reservation's stream: {0}")]
pub struct BadRequest(ReadFrameError);

/// Serves one reservation: `request` was read from `receive`, and `member` is whose certificate `connection` has. Returns when it has
/// ended, for whatever reason.
///
/// # Errors
/// If the member broke the protocol.
pub async fn serve(
    forwarding: &Forwarding,
    connection: &Connection,
    member: NodeId,
    request: RelayRequest,
    mut send: SendStream,
    mut receive: RecvStream,
) -> Result<(), BadRequest> {
    if VirtualAddr::of(connection.remote_address()).is_some() {
        // Packets are forwarded between addresses, and this end has none that stays.
        let refusal = write_frame(&mut send, &FromRelay::Closed(RelayClosed::NoRelay));
        if matches!(timeout(WRITE_TIMEOUT, refusal).await, Ok(Ok(()))) && send.finish().is_ok() {
            let _ = timeout(WRITE_TIMEOUT, send.stopped()).await;
        }
        return Ok(());
    }
    let (end, outbox) = forwarding.ask(connection, member, request);
    let _served = Served { forwarding, end };
    tokio::select! {
        heard = hear(forwarding, connection, end, &mut receive) => heard,
        () = speak(outbox, &mut send) => Ok(()),
    }
}

/// Whatever ends the stream ends the reservation.
struct Served<'a> {
    forwarding: &'a Forwarding,
    end: EndId,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.forwarding.on_gone(self.end);
    }
}

async fn hear(
    forwarding: &Forwarding,
    connection: &Connection,
    end: EndId,
    receive: &mut RecvStream,
) -> Result<(), BadRequest> {
    loop {
        match read_frame::<ToRelay>(receive, MAX_RELAY_FRAME).await {
            Ok(ToRelay::Renew) => forwarding.on_renew(end),
            Ok(ToRelay::Proof(cookie)) => forwarding.on_proof(end, cookie, connection),
            Err(ReadFrameError::Closed | ReadFrameError::Stream(_)) => return Ok(()),
            Err(error) => return Err(BadRequest(error)),
        }
        sleep(FRAME_INTERVAL).await;
    }
}

async fn speak(mut outbox: mpsc::Receiver<FromRelay>, send: &mut SendStream) {
    while let Some(message) = outbox.recv().await {
        if !matches!(timeout(WRITE_TIMEOUT, write_frame(send, &message)).await, Ok(Ok(()))) {
            return;
        }
        if matches!(message, FromRelay::Closed(_)) && send.finish().is_ok() {
            let _ = timeout(WRITE_TIMEOUT, send.stopped()).await;
            return;
        }
    }
}
