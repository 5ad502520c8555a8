//! Where the lab's processes are started: they die with the thread that started them, so that none is left over when a
//! test is killed, and this thread lives as long as the process.

use std::{
    io,
    process::{Child, Command},
    sync::{OnceLock, mpsc},
    thread,
};

type Order = (Command, mpsc::SyncSender<io::Result<Child>>);

static ORDERS: OnceLock<mpsc::SyncSender<Order>> = OnceLock::new();

/// Starts a command that was made to die with its parent.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    let orders = ORDERS.get_or_init(|| {
        let (orders, ordered) = mpsc::sync_channel::<Order>(0);
        thread::spawn(move || {
            for (mut command, answer) in ordered {
                // Whoever ordered it waits.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, answered) = mpsc::sync_channel(1);
    orders.send((command, answer)).expect("the nursery never ends");
    answered.recv().expect("the nursery answers")
}
