//! What is shipped in `deploy/` is what the program understands.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser;
use nearmesh::{
    cli::Cli,
    config::{Config, Overrides, Promote},
    profile::Profile,
};

fn shipped(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// `key=value` lines of one section, in order; comments and empty lines left out.
fn section(unit: &str, name: &str) -> Vec<(String, String)> {
    unit.lines()
        .skip_while(|line| *line != format!("[{name}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('=').expect("every line of a unit is key=value"))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn value(unit: &str, key: &str) -> String {
    let mut service = section(unit, "Service").into_iter();
    service.find(|(found, _)| found == key).unwrap_or_else(|| panic!("the unit has no {key}")).1
}

#[test]
fn the_shipped_configuration_sets_every_key_that_the_node_knows() {
    let (path, text) = shipped("nearmesh.toml");
    let config = Config::parse(&text, &path).unwrap();
    assert!(config.listen.is_some() && config.capacity.is_some() && config.upload_slots.is_some());
    assert!(config.inbox.is_some() && config.downloads.is_some() && config.log.is_some());
    assert_eq!(config.promote, Some(Promote::Auto));
    assert_eq!(config.share.len(), 1);

    // The parser itself says which keys there are.
    let refusal = Config::parse("no_such_key = 1", &path).unwrap_err().to_string();
    let known = refusal.split("expected one of").nth(1).unwrap_or_else(|| panic!("no keys in: {refusal}"));
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let table: toml::Table = text.parse().unwrap();
    assert!(known.len() >= 8, "{known:?}");
    for key in known {
        assert!(table.contains_key(key), "nearmesh.toml does not show `{key}`");
    }
}

#[test]
fn what_the_shipped_configuration_calls_the_default_is_the_default() {
    let (path, text) = shipped("nearmesh.toml");
    let profile = Profile::locate(Some(Path::new("/var/lib/nearmesh"))).unwrap();
    let shown = Config::parse(&text, &path).unwrap().settle(Overrides::default(), &profile);
    let default = Config::default().settle(Overrides::default(), &profile);
    assert_eq!((shown.promote, shown.capacity), (default.promote, default.capacity));
    assert_eq!((shown.upload_slots, shown.relay), (default.upload_slots, default.relay));
    assert_eq!((shown.inbox, shown.downloads), (default.inbox, default.downloads));
}

#[test]
fn the_shipped_unit_starts_the_program_with_a_command_line_that_it_understands() {
    let (_, unit) = shipped("nearmesh.service");
    let exec = value(&unit, "ExecStart");
    let words: Vec<&str> = exec.split_whitespace().collect();
    Cli::try_parse_from(&words).unwrap();
    let profile = words.iter().position(|word| *word == "--profile").expect("the unit names the profile");
    let state = format!("/var/lib/{}", value(&unit, "StateDirectory"));
    assert_eq!(words[profile + 1], state, "the profile is the only place where the service may write");
    assert_eq!(value(&unit, "StateDirectoryMode"), "0700");
    assert_eq!(value(&unit, "Type"), "notify");
}

#[test]
fn the_shipped_unit_gives_the_service_nothing_that_it_does_not_need() {
    let (_, unit) = shipped("nearmesh.service");
    for (key, expected) in [
        ("DynamicUser", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX AF_NETLINK"),
        ("SystemCallFilter", "@system-service"),
        ("MemoryDenyWriteExecute", "yes"),
    ] {
        assert_eq!(value(&unit, key), expected, "{key}");
    }
    assert!(!value(&unit, "MemoryMax").is_empty());
}

#[test]
fn systemd_itself_finds_no_fault_in_the_shipped_unit() {
    let (_, unit) = shipped("nearmesh.service");
    let program = env!("CARGO_BIN_EXE_nearmesh");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nearmesh.service");
    // It wants the program to be there, and on this machine it is elsewhere.
    fs::write(&path, unit.replace("/usr/local/bin/nearmesh --profile", &format!("{program} --profile")))
        .unwrap();
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&path).output() else {
        eprintln!("SKIPPED: systemd-analyze is not installed here, so it could not verify the unit");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("nearmesh.service")).collect();
    assert!(output.status.success() && about_us.is_empty(), "{said}");
}
