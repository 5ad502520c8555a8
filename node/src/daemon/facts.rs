//! What this machine can give to a net, as far as the system tells cheaply.
//!
//! Linux tells memory and limits (`/proc`, `/sys/fs/cgroup`), batteries (`/sys/class/power_supply`) and modems (`/sys/class/net`).
//! Whether a Wi-Fi or a cable is metered only a network manager knows, which is not asked: it counts as unknown, unless the
//! configuration says it. What is not known does not keep a node from serving.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nearmesh_common::nat::Reach;
use rustix::process::{Resource, getrlimit};

use super::whereabouts::Whereabouts;
use crate::proto::promotion::{Facts, Reached};

/// Power supplies and network interfaces that are looked at (guess: more than a machine has).
const MAX_ENTRIES: usize = 64;

/// What holds now. `metered` is what the user says of the line.
pub fn facts(known: &Whereabouts, metered: Option<bool>) -> Facts {
    Facts {
        reached: reached(known),
        memory: memory(Path::new("/")),
        descriptors: getrlimit(Resource::Nofile).current.or(Some(u64::MAX)),
        metered: metered.or_else(|| by_modem(Path::new("/"))),
        on_battery: on_battery(Path::new("/sys/class/power_supply")),
    }
}

fn reached(known: &Whereabouts) -> Reached {
    match known.reach {
        Reach::Unknown => Reached::Unknown,
        Reach::Reachable if known.witnesses >= 2 => Reached::ByTwo,
        Reach::Reachable => Reached::ByOne,
        Reach::Behind(_) | Reach::Blocked => Reached::No,
    }
}

/// Bytes that are available: of the machine, and of the group of processes that this one is confined to.
fn memory(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| available(&text));
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(root.join("sys/fs/cgroup").join(name)).ok()?.trim().parse().ok()
    };
    let group =
        number("memory.max").zip(number("memory.current")).map(|(most, used)| most.saturating_sub(used));
    [machine, group].into_iter().flatten().min()
}

/// `MemAvailable:    12345 kB`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Whether the way out is a modem of a mobile network, which costs by the byte more often than not.
fn by_modem(root: &Path) -> Option<bool> {
    let routes = fs::read_to_string(root.join("proc/net/route")).ok()?;
    let columns = routes.lines().map(|line| line.split_ascii_whitespace());
    let mut default = columns.filter_map(|mut line| Some((line.next()?, line.next()?)));
    let (interface, _) = default.find(|(_, destination)| *destination == "00000000")?;
    let uevent = fs::read_to_string(root.join("sys/class/net").join(interface).join("uevent")).ok()?;
    uevent.lines().any(|line| line == "DEVTYPE=wwan").then_some(true)
}

/// Whether a battery is being used up. Without any supply it is not known.
fn on_battery(supplies: &Path) -> Option<bool> {
    let entries = fs::read_dir(supplies).ok()?.flatten().take(MAX_ENTRIES).map(|entry| entry.path());
    let supplies: Vec<PathBuf> = entries.collect();
    let says = |supply: &Path, file: &str, word: &str| {
        fs::read_to_string(supply.join(file)).is_ok_and(|text| text.trim() == word)
    };
    // A battery of a mouse is none of the machine's.
    let own = |supply: &&PathBuf| !says(supply, "scope", "Device");
    let discharging =
        |supply: &PathBuf| says(supply, "type", "Battery") && says(supply, "status", "Discharging");
    let plugged = |supply: &PathBuf| !says(supply, "type", "Battery") && says(supply, "online", "1");
    let own: Vec<&PathBuf> = supplies.iter().filter(own).collect();
    match own.is_empty() {
        true => None,
        false => {
            Some(own.iter().any(|supply| discharging(supply)) && !own.iter().any(|supply| plugged(supply)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_smaller_of_what_the_machine_and_the_group_have_counts() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(memory(root.path()), None);
        write(root.path(), "proc/meminfo", "MemTotal:  9 kB\nMemAvailable:    2048 kB\n");
        assert_eq!(memory(root.path()), Some(2 << 20));
        write(root.path(), "sys/fs/cgroup/memory.max", "max\n");
        assert_eq!(memory(root.path()), Some(2 << 20));
        write(root.path(), "sys/fs/cgroup/memory.max", "1000000\n");
        write(root.path(), "sys/fs/cgroup/memory.current", "400000\n");
        assert_eq!(memory(root.path()), Some(600_000));
    }

    #[test]
    fn a_laptop_runs_on_its_battery_only_while_it_is_not_plugged_in() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(on_battery(root.path()), None, "a machine without supplies");
        write(root.path(), "mouse/type", "Battery\n");
        write(root.path(), "mouse/scope", "Device\n");
        write(root.path(), "mouse/status", "Discharging\n");
        assert_eq!(on_battery(root.path()), None, "a mouse");
        write(root.path(), "BAT0/type", "Battery\n");
        write(root.path(), "BAT0/status", "Discharging\n");
        write(root.path(), "AC/type", "Mains\n");
        write(root.path(), "AC/online", "0\n");
        assert_eq!(on_battery(root.path()), Some(true));
        write(root.path(), "AC/online", "1\n");
        assert_eq!(on_battery(root.path()), Some(false));
    }

    #[test]
    fn a_mobile_network_counts_as_metered() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/net/route", "Iface\tDestination\twlan0\nwwan0\t00000000\t0102\n");
        assert_eq!(by_modem(root.path()), None);
        write(root.path(), "sys/class/net/wwan0/uevent", "INTERFACE=wwan0\nDEVTYPE=wwan\n");
        assert_eq!(by_modem(root.path()), Some(true));
    }
}
