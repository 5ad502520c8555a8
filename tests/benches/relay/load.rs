//! Bytes over one connection, and what they cost.

use std::{
    fmt,
    time::{Duration, Instant},
};

use quinn::Connection;

/// Bytes of one write (measured: larger ones change nothing).
const BLOCK: usize = 64 << 10;

/// One transfer.
pub struct Measured {
    bytes: u64,
    elapsed: Duration,
    /// CPU seconds of who forwarded, if there was one whose process is known.
    middle: Option<f64>,
    /// CPU seconds of both clients.
    clients: f64,
    /// Packets that the sender gave up, and all that it sent.
    lost: (u64, u64),
}

impl Measured {
    /// Sends `bytes` from one end of a connection to the other; `middle` is the process between them.
    pub async fn of(ends: (&Connection, &Connection), bytes: u64, middle: Option<u32>) -> Self {
        // The path's MTU is found, and its window opens.
        send((ends.0, ends.1), 32 << 20).await;
        let clients = cpu_seconds(std::process::id());
        let before = (middle.map(cpu_seconds), ends.0.stats().path);
        let elapsed = send(ends, bytes).await;
        let after = (middle.map(cpu_seconds), ends.0.stats().path);
        Self {
            bytes,
            elapsed,
            middle: before.0.zip(after.0).map(|(before, after)| after - before),
            clients: cpu_seconds(std::process::id()) - clients,
            lost: (
                after.1.lost_packets - before.1.lost_packets,
                after.1.sent_packets - before.1.sent_packets,
            ),
        }
    }

    /// In millions of bytes a second.
    pub fn speed(&self) -> f64 {
        self.bytes as f64 / self.elapsed.as_secs_f64() / 1e6
    }

    /// CPU seconds for each GiB at who forwarded.
    pub fn middle_cost(&self) -> Option<f64> {
        self.middle.map(|seconds| seconds / self.gibibytes())
    }

    fn gibibytes(&self) -> f64 {
        self.bytes as f64 / (1 << 30) as f64
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5.0} MB/s, clients {:4.2} CPU s/GiB", self.speed(), self.clients / self.gibibytes())?;
        if let Some(cost) = self.middle_cost() {
            write!(f, ", in the middle {cost:4.2} CPU s/GiB")?;
        }
        let (lost, sent) = self.lost;
        write!(f, ", {lost} of {sent} packets lost")
    }
}

async fn send((from, to): (&Connection, &Connection), bytes: u64) -> Duration {
    let began = Instant::now();
    let sending = async {
        let (mut send, _) = from.open_bi().await.expect("a stream");
        let block = vec![7; BLOCK];
        for _ in 0..bytes / BLOCK as u64 {
            send.write_all(&block).await.expect("it is sent");
        }
        send.finish().expect("it is finished");
        send.stopped().await.expect("all of it is there");
    };
    let (from_connection, to) = (from.clone(), to.clone());
    let receiving = tokio::spawn(async move {
        let (_, mut receive) = to.accept_bi().await.expect("a stream");
        let (mut buffer, mut received) = (vec![0; 4 * BLOCK], 0);
        while let Some(count) = receive.read(&mut buffer).await.expect("it is read") {
            received += count as u64;
        }
        assert_eq!(received, bytes);
    });
    sending.await;
    receiving.await.expect("all of it");
    drop(from_connection);
    began.elapsed()
}

/// User and system time of a process so far, from /proc, in ticks of 10 ms.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
