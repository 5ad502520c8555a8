//! What the processes that live through it all take: memory, descriptors, processor time.

use std::{
    fmt, fs,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::cast::Cast;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// By how much a process may have grown over the second half, by the line that fits best: allocators keep what they had, and tables
/// fill (guess).
const GROWTH_KIB: f64 = 1536.0;
/// By how many descriptors: questions under way have some.
const DESCRIPTORS: usize = 8;
/// Ticks in a second of /proc/PID/stat (USER_HZ, the same on every Linux).
const TICKS: f64 = 100.0;

/// What was seen of each.
pub struct Health {
    seen: Vec<Seen>,
    /// Of all processes together, in cores.
    load: f64,
}

struct Seen {
    name: String,
    /// Seconds since the beginning, KiB, descriptors.
    samples: Vec<(f64, f64, usize)>,
}

impl Health {
    /// Looks until then.
    pub async fn watch(cast: Arc<Cast>, until: Instant) -> Self {
        let steady = cast.members.iter().filter(|member| member.steady);
        let mut seen: Vec<(u32, Seen)> = steady
            .map(|member| (member.pid().unwrap(), Seen { name: member.name.clone(), samples: Vec::new() }))
            .collect();
        let begun = Instant::now();
        let before: f64 = seen.iter().map(|(pid, _)| processor_seconds(*pid)).sum();
        while Instant::now() < until {
            for (pid, seen) in &mut seen {
                seen.samples.push((begun.elapsed().as_secs_f64(), resident_kib(*pid), descriptors(*pid)));
            }
            sleep(EVERY).await;
        }
        let after: f64 = seen.iter().map(|(pid, _)| processor_seconds(*pid)).sum();
        let share = cast.members.len() as f64 / seen.len() as f64;
        let load = (after - before) / begun.elapsed().as_secs_f64() * share;
        Self { seen: seen.into_iter().map(|(_, seen)| seen).collect(), load }
    }

    /// Nobody grew.
    pub fn assert_flat(&self) {
        for seen in &self.seen {
            let growth = seen.growth();
            assert!(growth < GROWTH_KIB, "{} grew by {growth:.0} KiB in the second half", seen.name);
            let (middle, end) = seen.descriptors();
            assert!(end <= middle + DESCRIPTORS, "{} had {middle} descriptors and has {end}", seen.name);
        }
    }
}

impl Seen {
    /// By how many KiB the line that fits the second half best rises over it.
    fn growth(&self) -> f64 {
        let half = &self.samples[self.samples.len() / 2..];
        let count = half.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64, usize)) -> f64| half.iter().map(of).sum::<f64>() / count;
        let (time, kib) = (mean(&|sample| sample.0), mean(&|sample| sample.1));
        let joint: f64 = half.iter().map(|sample| (sample.0 - time) * (sample.1 - kib)).sum();
        let spread: f64 = half.iter().map(|sample| (sample.0 - time).powi(2)).sum();
        let lasted = half.last().unwrap().0 - half[0].0;
        joint / spread * lasted
    }

    /// In the middle and at the end, each the least of several looks: who is being asked has some more.
    fn descriptors(&self) -> (usize, usize) {
        let least = |samples: &[(f64, f64, usize)]| samples.iter().map(|sample| sample.2).min().unwrap();
        let half = &self.samples[self.samples.len() / 2..];
        (least(&half[..half.len() / 3]), least(&half[half.len() * 2 / 3..]))
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "all processes together take {:.2} cores or so", self.load)?;
        for seen in &self.seen {
            let (first, last) = (seen.samples[0], seen.samples[seen.samples.len() - 1]);
            let (middle, end) = seen.descriptors();
            writeln!(
                f,
                "{}: {:.1} MiB at first, {:.1} at last, {:+.0} KiB by slope over the second half, descriptors {middle} and {end}",
                seen.name,
                first.1 / 1024.0,
                last.1 / 1024.0,
                seen.growth()
            )?;
        }
        Ok(())
    }
}

fn resident_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // utime and stime are fields 14 and 15, of which two come before the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / TICKS
}
