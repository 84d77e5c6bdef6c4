use std::path::{Path, PathBuf};

use super::*;

fn error(text: &str) -> PolicyError {
    Policy::from_toml(text).unwrap_err()
}

#[test]
fn an_empty_file_is_the_built_in_policy() {
    let (read, builtin) = (Policy::from_toml("").unwrap(), Policy::builtin());
    assert_eq!(format!("{read:?}"), format!("{builtin:?}"));
}

#[test]
fn every_key_takes_effect() {
    let policy = Policy::from_toml(
        r#"
version = 1
profile = "team"
[runtime]
binary = "/usr/sbin/runc"
deadline = 90
[audit]
path = "/srv/audit.jsonl"
max_bytes = "1MiB"
keep = 9
sink = "both"
chain = true
sync = true
attested = true
[node]
containerd_roots = ["/srv/containerd"]
kubelet_roots = []
[seccomp]
report = false
records = "/srv/calls"
[profiles.team]
extends = "baseline"
learn = true
[profiles.team.rules."user.non-root"]
action = "mutate"
uid = 1000
gid = 1001
[profiles.team.rules."res.memory"]
action = "mutate"
default = "512MiB"
max = "1GiB"
[profiles.team.rules."res.cpu"]
max = "1500m"
[profiles.team.rules."res.pids"]
default = 100
[profiles.team.rules."linux.seccomp"]
profile = "strict"
[profiles.team.rules."caps.allow-list"]
capabilities = []
"#,
    )
    .unwrap();
    assert_eq!(policy.runtime(), &RuntimeChoice::Binary("/usr/sbin/runc".into()));
    assert_eq!(policy.runtime_deadline(), Duration::from_secs(90));
    assert_eq!((policy.audit().path(), policy.audit().max_bytes()), (Path::new("/srv/audit.jsonl"), 1 << 20));
    let audit = policy.audit();
    assert_eq!((audit.keep(), audit.sink()), (9, crate::AuditSink::Both));
    assert!(audit.is_chained() && audit.is_synced() && audit.records_attested());
    assert_eq!(policy.profile(), "team");
    assert_eq!((policy.seccomp.report, policy.call_records()), (false, Path::new("/srv/calls")));
    assert!(policy.selected().learns());
    let settings = &policy.selected().settings;
    assert_eq!((settings.user.uid, settings.user.gid), (1000, 1001));
    assert_eq!(settings.memory, Ceiling { default: 512 << 20, max: 1 << 30 });
    assert_eq!(settings.cpu, Ceiling { default: 1500, max: 1500 });
    assert_eq!(settings.pids, Ceiling { default: 100, max: 4096 });
    assert!(settings.capabilities.is_empty());
    assert!(policy.watched_host_paths().contains(&PathBuf::from("/srv/containerd")));
}

#[test]
fn an_error_names_line_key_and_mend() {
    for (text, line, parts) in [
        ("profle = \"x\"", 1, ["unknown field `profle`", "expected one of", "remove the key"]),
        ("\n\nprofile = \"x\"", 3, ["profile", "names no profile", "choose one of restricted, baseline, privileged"]),
        ("version = 2", 1, ["version", "another format", "set version = 1"]),
        ("[runtime]\nbinary = \"runc\"", 2, ["runtime.binary", "not an absolute path", "write it from /"]),
        ("[runtime]\ndeadline = 601", 2, ["runtime.deadline", "not a time for a call", "write seconds, 1 to 600"]),
        ("[profiles.x]\n", 1, ["profiles.x", "not built in", "add extends"]),
        (
            "[profiles.baseline]\nextends = \"restricted\"",
            2,
            ["profiles.baseline", "extends nothing", "remove extends"],
        ),
        ("[profiles.restricted.rules.\"user.nonroot\"]\n", 1, ["user.nonroot", "is no rule", "user.non-root"]),
        ("[profiles.restricted.rules.nosuch]\n", 1, ["nosuch", "is no rule", "see docs/policy.md"]),
        ("[profiles.restricted.rules.\".user\"]\n", 1, [".user", "is no rule", "see docs/policy.md"]),
        (
            "[profiles.restricted.rules.hooks]\naction = \"mutate\"",
            2,
            ["hooks", "no change that helps", "set deny, audit or off"],
        ),
        (
            "[profiles.restricted.rules.\"root.path\"]\naction = \"off\"",
            2,
            ["root.path", "cannot be changed", "remove it"],
        ),
        (
            "[profiles.restricted.rules.hooks]\nmax = 1",
            2,
            ["hooks", "does not belong", "this rule takes action, allow"],
        ),
        ("[audit]\nkeep = 0", 2, ["audit.keep", "not a number of files", "from 1 to 100"]),
        ("[audit]\nsink = \"syslog\"", 2, ["unknown variant `syslog`", "file", "journald"]),
        ("[audit]\nsink = \"journald\"\nchain = true", 3, ["audit.chain", "needs a file", "set sink to \"both\""]),
        ("[profiles.restricted.rules.\"user.non-root\"]\nuid = 0", 2, ["uid", "not an ordinary user", "from 1 to"]),
        (
            "[profiles.restricted.rules.\"user.non-root\"]\nuid = 2147483648",
            2,
            ["uid", "not an ordinary user", "to 2147483647"],
        ),
        ("[profiles.restricted.rules.\"res.memory\"]\nmax = \"1GB\"", 2, ["res.memory", "not an amount", "512MiB"]),
        ("[profiles.restricted.rules.\"res.memory\"]\nhigh = \"0%\"", 2, ["high", "is no share", "1% to 100%"]),
        ("[profiles.restricted.rules.\"res.memory\"]\nhigh = \"1GB\"", 2, ["high", "not an amount", "512MiB"]),
        ("[profiles.restricted.rules.\"res.cpuset\"]\ncpus = \"3-0\"", 2, ["cpus", "no list of numbers", "0-3,8"]),
        ("[profiles.restricted.rules.\"res.cpuset\"]\nmems = \"x\"", 2, ["mems", "no list of numbers", "0-3,8"]),
        (
            "[profiles.restricted.rules.\"res.hugepages\"]\nmax = 1\ndefault = 2",
            3,
            ["default", "above max", "raise max"],
        ),
        ("[profiles.restricted.rules.\"res.io\"]\nlimits = [\"sda rbps=1\"]", 2, ["limits", "no disk", "major:minor"]),
        ("[profiles.restricted.rules.\"res.io\"]\nlimits = [\"8:0 rbps=0\"]", 2, ["limits", "no rate", "major:minor"]),
        (
            "[profiles.restricted.rules.\"res.io\"]\nlimits = [\"8:0 rbps=1\", \"8:0 rbps=2\"]",
            2,
            ["limits", "a rate twice", "major:minor"],
        ),
        ("[profiles.restricted.rules.\"res.io\"]\nweight = 9", 2, ["weight", "is no weight", "10 to 1000"]),
        ("[profiles.restricted.rules.\"res.pids\"]\nmax = 0", 2, ["res.pids", "not an amount", "above 0"]),
        ("[profiles.restricted.rules.\"res.pids\"]\nmax = 5\ndefault = 6", 3, ["default", "above max", "raise max"]),
        (
            "[profiles.restricted.rules.\"caps.allow-list\"]\ncapabilities = [\n\"CAP_KILL\",\n\"KILL\"]",
            4,
            ["capabilities", "no capability name", "CAP_NET_BIND_SERVICE"],
        ),
        (
            "[profiles.restricted.rules.\"mount.host-path\"]\nallow = [\"/\"]",
            2,
            ["allow", "not an absolute path", "write it from /"],
        ),
        ("[profiles.restricted.rules.annotations]\nallow = [\"*\"]", 2, ["allow", "unbounded", "name what is to pass"]),
        ("[profiles.restricted.rules.hooks]\naction = \"warn\"", 2, ["unknown variant `warn`", "deny", "mutate"]),
        (
            "[profiles.restricted.rules.\"linux.seccomp\"]\nprofile = \"x\"",
            2,
            ["profile", "no system call profile", "choose one of web-service, strict, runtime-default"],
        ),
    ] {
        let error = error(text);
        let line_text = error.to_string();
        assert_eq!(error.line(), line, "{line_text}");
        assert!(!line_text.contains('\n'), "{line_text}");
        for part in parts {
            assert!(line_text.contains(part), "{part:?} in {line_text}");
        }
    }
}

#[test]
fn the_largest_ordinary_user_is_one() {
    let policy = Policy::from_toml("[profiles.restricted.rules.\"user.non-root\"]\nuid = 2147483647").unwrap();
    assert_eq!(policy.selected().settings.user.uid, 2_147_483_647);
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    assert_eq!(error("version = 1\nprofile = ").line(), 2);
    assert_eq!(error("version = 1\nversion = 1").line(), 2);
    assert_eq!(error("[runtime]\nbinary = 5").line(), 2);
}
