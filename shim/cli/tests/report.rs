//! `palisade report`: the page, as text and in a browser.

#[cfg(test)]
mod report {
    use std::fs;
    use std::path::PathBuf;
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
    fn what_workloads_call_themselves_is_text_and_nothing_is_loaded() {
        let page = Scratch::new("hostile").page(&lines());
        assert!(page.contains("&lt;script&gt;alert(1)"), "it is shown");
        for part in ["<script", "<img", "onerror='", "\u{202e}", "src=\"", "href=", "url(", "@import"] {
            assert!(!page.contains(part), "{part}");
        }
        assert!(page.contains("default-src 'none'"));
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
        let picture =
            std::env::var_os("PALISADE_SCREENSHOT").map_or_else(|| scratch.0.join("report.png"), PathBuf::from);
        let run = |arguments: &[String]| {
            let mut command = Command::new(&browser);
            command.args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--window-size=1180,1500",
            ]);
            command.arg(format!("--user-data-dir={}", scratch.0.join("profile").display()));
            let output = command.args(arguments).arg(format!("file://{}", page.display())).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        let seen = String::from_utf8(run(&["--dump-dom".to_owned()])).unwrap();
        // As the parser has read it: the rows and bars are elements, the workload's name is not.
        assert_eq!(seen.matches("<rect").count(), 24 + 5 + 1 + 1 + 1 + 1, "{seen}");
        assert!(!seen.contains("<script") && !seen.contains("<img"), "{seen}");
        run(&[format!("--screenshot={}", picture.display())]);
        let bytes = fs::read(&picture).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000, "{} bytes", bytes.len());
    }
}
