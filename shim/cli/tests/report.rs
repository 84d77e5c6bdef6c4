//! `palisade report`: the page, as text and in a browser.

#[cfg(test)]
mod report {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use serde_json::{Value, json};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-report-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn page(&self, lines: &[Value]) -> String {
            let log = self.0.join("audit.jsonl");
            fs::write(&log, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
            let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
                .args(["report", "--no-containers", "--log", log.to_str().unwrap()])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// What a workload may call itself.
    const HOSTILE: &str = "<script>alert(1)</script><img src=http://a/x onerror='x'>\"&\u{202e}";

    fn decision(time: &str, decision: &str, rule: &str, expires: &str) -> Value {
        let action = if decision == "deny" { "denied" } else { "mutated" };
        json!({
            "v": 1, "time": time, "node": "node-7", "event": "decision", "decision": decision, "policy_sha256": "0a".repeat(32),
            "container": "c0ffee", "identity": {"pod_namespace": "shop", "pod_name": HOSTILE},
            "record": {"operation": "create", "profile": "restricted", "mode": "enforce",
                "findings": [{"rule": rule, "action": action, "pointer": "/root", "reason": HOSTILE, "allowed": "less"}],
                "exemptions": [{"entry": "exempt[0]", "rule": "linux.sysctl", "reason": "T-12", "expires": expires}]},
        })
    }

    fn lines() -> Vec<Value> {
        let mut lines = Vec::new();
        for hour in 0..24 {
            for number in 0..=hour % 5 {
                let time = format!("2026-11-24T{hour:02}:0{number}:00.000000Z");
                let word = if number == 3 { "deny" } else { "mutate" };
                lines.push(decision(
                    &time,
                    word,
                    if number == 3 { "priv.heuristic" } else { "user.non-root" },
                    "2020-01-01",
                ));
            }
        }
        let time = "2026-11-24T23:59:00.000000Z";
        lines.push(json!({"time": time, "node": "node-7", "event": "oom", "kills": 3, "profile": "restricted"}));
        lines.push(json!({"time": time, "node": "node-7", "event": "seccomp", "container": "c", "refusals": [
            {"syscall": "socket", "number": 41, "count": 7, "command": HOSTILE},
        ]}));
        lines.push(json!({"time": time, "node": "node-7", "event": "attestation", "stage": "running", "mismatches": [
            {"check": "caps", "decided": "none", "seen": HOSTILE},
        ]}));
        lines
    }

    #[test]
    fn it_shows_what_is_on_record() {
        let page = Scratch::new("shown").page(&lines());
        for part in [
            "<title>palisade: node-7</title>",
            "<b>70</b><span>decisions",
            "<b>9</b><span>refused",
            "<b>3</b><span>OOM kills",
            "<b>7</b><span>system calls refused",
            "<b>1</b><span>processes not as decided",
            "priv.heuristic</th>",
            "user.non-root</th>",
            "has ended",
            "<td>T-12</td>",
            "caps: none decided,",
            "2026-11-24 23:59:00",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let empty = Scratch::new("empty").page(&[]);
        assert!(empty.contains("nothing on record") && empty.matches("class=\"none\"").count() > 5, "{empty}");
    }

    #[test]
    fn it_shows_every_exemption_of_this_nodes_policy() {
        let scratch = Scratch::new("policy");
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).unwrap();
        let (policy, log) = (scratch.0.join("policy.toml"), scratch.0.join("audit.jsonl"));
        let entry = |rule, day| {
            format!("[[exempt]]\nrule = '{rule}'\nnamespace = 'db'\nreason = '<b>T-1'\nexpires = '{day}'\n")
        };
        fs::write(&policy, format!("{}{}", entry("linux.sysctl", "2020-01-01"), entry("hooks", "2126-01-01"))).unwrap();
        fs::write(&log, "").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command
            .arg("report")
            .arg("--policy")
            .arg(&policy)
            .arg("--log")
            .arg(&log)
            .arg("--state")
            .arg(scratch.0.join("state"));
        let page = String::from_utf8(command.output().unwrap().stdout).unwrap();
        for part in [
            "<td>2020-01-01</td><td>linux.sysctl</td><td>exempt[0]</td><td>&lt;b&gt;T-1</td><td>0</td>",
            "has ended",
            "2126-01-01",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_eq!(page.matches("has ended").count(), 1);
    }

    #[test]
    fn what_workloads_call_themselves_is_text_and_nothing_is_loaded() {
        let page = Scratch::new("hostile").page(&lines());
        assert!(page.contains("&lt;script&gt;alert(1)"), "it is shown");
        for part in ["<script", "<img", "onerror='", "\u{202e}", "src=\"", "href=", "url(", "@import"] {
            assert!(!page.contains(part), "{part}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    /// A day of a node, as it may be.
    fn day() -> Vec<Value> {
        let pods = ["shop/web-7d9f", "shop/cart-5c41", "db/postgres-0", "batch/nightly-28", "monitoring/agent-x2k"];
        let changed = [
            "user.non-root",
            "linux.seccomp",
            "caps.allow-list",
            "process.nnp",
            "res.memory",
            "mount.secrets",
            "res.pids",
        ];
        let refused = [
            ("mount.host-path", "/mounts/7/source", "\"/etc\" is a host path", "volumes of the pod"),
            ("linux.ns", "/linux/namespaces", "shares the host's network", "a namespace of the pod"),
            ("linux.devices", "/linux/devices/0", "\"/dev/sda\" is a disk", "devices that the policy lists"),
        ];
        let identity = |pod: &str| {
            let (namespace, name) = pod.split_once('/').unwrap();
            json!({"pod_namespace": namespace, "pod_name": name, "container_name": "main"})
        };
        let mut lines = Vec::new();
        for (number, minute) in (0..23 * 60).step_by(7).enumerate() {
            let time = format!("2026-11-24T{:02}:{:02}:00.000000Z", minute / 60, minute % 60);
            // More by day than by night.
            if (minute / 60 < 7 || minute / 60 > 20) && number % 3 != 0 {
                continue;
            }
            let pod = pods[number % 5];
            let findings: Vec<Value> = changed
                .iter()
                .take(1 + number * 5 % 7)
                .map(|rule| json!({"rule": rule, "action": "mutated"}))
                .collect();
            let (word, findings) = match number % 11 {
                0 => {
                    let (rule, pointer, reason, allowed) = refused[number / 11 % 4 % 3];
                    (
                        "deny",
                        vec![
                            json!({"rule": rule, "action": "denied", "pointer": pointer, "reason": reason, "allowed": allowed}),
                        ],
                    )
                }
                1 | 2 => ("allow", Vec::new()),
                _ => ("mutate", findings),
            };
            let exemptions = if pod.starts_with("db/") {
                json!([{"entry": "exempt[0]", "rule": "linux.sysctl", "reason": "T-117: shared memory of the database", "expires": "2126-12-15"}])
            } else {
                json!([])
            };
            lines.push(json!({
                "time": time, "node": "node-7", "event": "decision", "decision": word, "policy_sha256": "4f".repeat(32), "container": "c0ffee",
                "identity": identity(pod),
                "record": {"operation": "create", "profile": if pod.starts_with("db/") { "database" } else { "restricted" },
                    "mode": "enforce", "findings": findings, "exemptions": exemptions},
            }));
        }
        let time = "2026-11-24T23:13:00.000000Z";
        lines.push(json!({"time": time, "node": "node-7", "event": "oom", "kills": 1, "profile": "restricted", "identity": identity(pods[3])}));
        let calls = [("socket", 212), ("clone3", 96), ("io_uring_setup", 31), ("bpf", 4)];
        let calls: Vec<Value> =
            calls.iter().map(|(name, count)| json!({"syscall": name, "number": count, "count": count})).collect();
        lines.push(
            json!({"time": time, "node": "node-7", "event": "seccomp", "container": "c0ffee", "refusals": calls}),
        );
        lines
    }

    /// The browser's own view: what it made of the page, and a picture.
    #[test]
    fn a_browser_shows_it() {
        let Some(browser) = std::env::var_os("PALISADE_BROWSER") else {
            return println!("PALISADE_BROWSER names no browser: the page is not opened");
        };
        let scratch = Scratch::new("browser");
        let page = scratch.0.join("report.html");
        fs::write(&page, scratch.page(&lines())).unwrap();
        let shown = scratch.0.join("day.html");
        fs::write(&shown, scratch.page(&day()).replace(scratch.0.to_str().unwrap(), "/var/log/palisade")).unwrap();
        let picture =
            std::env::var_os("PALISADE_SCREENSHOT").map_or_else(|| scratch.0.join("report.png"), PathBuf::from);
        let run = |arguments: &[String], page: &Path| {
            let mut command = Command::new(&browser);
            command.args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--window-size=1180,1180",
            ]);
            command.arg(format!("--user-data-dir={}", scratch.0.join("profile").display()));
            let output = command.args(arguments).arg(format!("file://{}", page.display())).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let seen = String::from_utf8(run(&["--dump-dom".to_owned()], &page)).unwrap();
        // As the parser has read it: bars are elements, the workload's name is not. 24 hours, 9 of them with a refusal; and four other plots.
        assert_eq!(seen.matches("<rect").count(), 24 + 9 + 4, "{seen}");
        assert!(!seen.contains("<script") && !seen.contains("<img"), "{seen}");
        run(&[format!("--screenshot={}", picture.display())], &shown);
        let bytes = fs::read(&picture).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{} bytes", bytes.len());
    }
}
