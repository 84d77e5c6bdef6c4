//! `palisade monitor` as an admin runs it. As root: it becomes another user.

/// What the suite has, whose crate depends on this one.
#[cfg(test)]
#[path = "../../../integration/src/prometheus.rs"]
#[allow(unreachable_pub, reason = "that crate exports it")]
mod prometheus;

#[cfg(test)]
mod monitor {
    use std::fs;
    use std::io::{BufRead as _, BufReader, Read, Write};
    use std::mem::MaybeUninit;
    use std::net::TcpStream;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Output, Stdio};
    use std::time::{Duration, Instant};

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use rustix::process::{Pid, Signal, kill_process};
    use serde_json::json;

    use super::prometheus::{Prometheus, dashboard_queries, deployed, first, folder, lint};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-monitor-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            let scratch = Self(dir);
            let log = scratch.path("log/audit.jsonl");
            fs::create_dir_all(log.parent().unwrap()).unwrap();
            fs::write(scratch.path("policy.toml"), format!("[audit]\npath = {log:?}\n")).unwrap();
            scratch
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn add(&self, line: &serde_json::Value) {
            let mut options = fs::OpenOptions::new();
            let mut file = options.append(true).create(true).open(self.path("log/audit.jsonl")).unwrap();
            fs::set_permissions(self.path("log/audit.jsonl"), fs::Permissions::from_mode(0o600)).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }

        fn command(&self, args: &[&str]) -> Command {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.arg("monitor").args(args).env("PALISADE_CONFIG", self.path("policy.toml"));
            command.arg("--kept").arg(self.path("kept/counters.json")).arg("--state").arg(self.path("state"));
            command.arg("--sync").arg(self.path("sync/status.json"));
            command
        }

        fn once(&self) -> String {
            let output = self.command(&["--once"]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        }

        fn start(&self, args: &[&str]) -> Running {
            let mut child = self.command(args).stderr(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
            Running { child, said }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A monitor that runs, and what it said when it was at work.
    struct Running {
        child: Child,
        said: String,
    }

    impl Running {
        fn address(&self) -> &str {
            self.said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect(&self.said)
        }

        fn get(&self, path: &str, header: &str) -> String {
            ask(TcpStream::connect(self.address()).unwrap(), path, header)
        }

        /// Ends as a service manager ends it.
        fn end(mut self) {
            kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
            assert!(self.child.wait().unwrap().success());
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            // Only where a test has failed it is still there.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    fn ask(mut stream: impl Read + Write, path: &str, header: &str) -> String {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn value(text: &str, series: &str) -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    fn decision(decision: &str) -> serde_json::Value {
        json!({
            "v": 1, "event": "decision", "decision": decision, "duration_us": 650,
            "record": {"operation": "create", "profile": "restricted", "mode": "enforce",
                "findings": [{"rule": "priv.heuristic", "action": "denied"}],
                "exemptions": [{"rule": "linux.sysctl", "entry": "exempt[0]"}]},
        })
    }

    const DENIED: &str =
        r#"palisade_decisions_total{operation="create",decision="deny",mode="enforce",profile="restricted"}"#;

    #[test]
    fn counters_outlive_the_monitor_and_rotations_of_the_log() {
        let scratch = Scratch::new("kept");
        scratch.add(&decision("deny"));
        assert_eq!(value(&scratch.once(), DENIED), Some(1.0));
        assert_eq!(value(&scratch.once(), DENIED), Some(1.0), "a line is counted once");
        scratch.add(&decision("deny"));
        fs::rename(scratch.path("log/audit.jsonl"), scratch.path("log/audit.jsonl.1")).unwrap();
        scratch.add(&decision("deny"));
        let text = scratch.once();
        assert_eq!(value(&text, DENIED), Some(3.0));
        assert_eq!(value(&text, "palisade_audit_gaps_total"), Some(0.0));
        assert_eq!(value(&text, r#"palisade_audit_records_total{event="decision"}"#), Some(3.0));
        // Without what it was at, it says that something may be missing.
        fs::remove_file(scratch.path("log/audit.jsonl.1")).unwrap();
        fs::rename(scratch.path("log/audit.jsonl"), scratch.path("log/away")).unwrap();
        scratch.add(&decision("deny"));
        let text = scratch.once();
        assert_eq!((value(&text, DENIED), value(&text, "palisade_audit_gaps_total")), (Some(4.0), Some(1.0)));
    }

    #[test]
    fn what_is_counted_is_kept_now_and_then_and_at_the_end() {
        let scratch = Scratch::new("paced");
        let kept = scratch.path("kept/counters.json");
        let mut running = scratch.start(&["--listen", "127.0.0.1:0"]);
        let scraped = |running: &Running, denials: f64| {
            // What was gathered is given again for a second.
            let deadline = Instant::now() + Duration::from_secs(10);
            while value(&running.get("/metrics", ""), DENIED) != Some(denials) {
                assert!(Instant::now() < deadline, "{denials} denials");
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        running.get("/metrics", "");
        let first = fs::metadata(&kept).unwrap();
        scratch.add(&decision("deny"));
        scraped(&running, 1.0);
        assert_eq!(fs::metadata(&kept).unwrap().ino(), first.ino(), "not at each scrape");
        // One that is killed counts what it had not kept again, and once.
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        let running = scratch.start(&["--listen", "127.0.0.1:0"]);
        scraped(&running, 1.0);
        scratch.add(&decision("deny"));
        scraped(&running, 2.0);
        running.end();
        let text = fs::read_to_string(&kept).unwrap();
        assert!(text.contains("palisade_decisions") && !text.contains("palisade_shims"), "{text}");
        scratch.add(&json!("no record"));
        assert_eq!(value(&scratch.once(), DENIED), Some(2.0));
    }

    #[test]
    fn the_ends_of_the_policys_exemptions_are_told_also_of_those_that_nobody_uses() {
        let scratch = Scratch::new("exempt");
        let policy = fs::read_to_string(scratch.path("policy.toml")).unwrap();
        let entry = "[[exempt]]\nrule = 'linux.sysctl'\nnamespace = 'db'\nreason = 'T-1'\nexpires = '2027-03-01'\n";
        fs::write(scratch.path("policy.toml"), format!("{policy}{entry}")).unwrap();
        let series = "palisade_exemption_end_timestamp_seconds{rule=\"linux.sysctl\",entry=\"exempt[0]\"}";
        assert_eq!(value(&scratch.once(), series), Some(1_803_859_200.0));
        fs::write(scratch.path("policy.toml"), policy).unwrap();
        assert_eq!(value(&scratch.once(), series), None, "it is taken out of the policy");
    }

    #[test]
    fn it_answers_on_a_loopback_address_as_nobody_in_particular() {
        let scratch = Scratch::new("serve");
        scratch.add(&decision("deny"));
        let running = scratch.start(&["--listen", "127.0.0.1:0"]);
        let again = scratch.command(&["--once", "--listen", running.address()]).output().unwrap();
        assert!(again.status.success(), "printing once takes no address: {again:?}");
        let answer = running.get("/metrics", "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("text/plain; version=0.0.4"), "{answer}");
        assert_eq!(value(&answer, DENIED), Some(1.0));
        assert_eq!(value(&answer, "palisade_policy_valid"), Some(1.0));
        let open = running.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n");
        assert!(open.contains("content-type: application/openmetrics-text") && open.ends_with("# EOF\n"), "{open}");
        assert!(running.get("/etc/passwd", "").starts_with("HTTP/1.1 404 "));
        let mut posted = TcpStream::connect(running.address()).unwrap();
        posted.write_all(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        posted.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");

        let status = fs::read_to_string(format!("/proc/{}/status", running.child.id())).unwrap();
        for line in [
            "Uid:\t64744\t64744\t64744\t64744",
            "Gid:\t64744\t64744\t64744\t64744",
            "Groups:\t ",
            "CapInh:\t0000000000000000",
            // CAP_DAC_READ_SEARCH
            "CapPrm:\t0000000000000004",
            "CapEff:\t0000000000000004",
            "CapBnd:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "Threads:\t1",
        ] {
            assert!(status.lines().any(|found| found == line), "{line} in {status}");
        }
        running.end();
    }

    #[test]
    fn a_policy_that_is_wrong_shows_and_a_log_that_is_unreadable_is_an_error() {
        let scratch = Scratch::new("wrong");
        let log = scratch.path("log/audit.jsonl");
        fs::write(scratch.path("policy.toml"), "profile = 'none'").unwrap();
        let running = scratch.start(&["--listen", "127.0.0.1:0", "--log", log.to_str().unwrap()]);
        assert_eq!(value(&running.get("/metrics", ""), "palisade_policy_valid"), Some(0.0));
        running.end();
        fs::create_dir(&log).unwrap();
        let running = scratch.start(&["--listen", "127.0.0.1:0", "--log", log.to_str().unwrap()]);
        let answer = running.get("/metrics", "");
        assert!(answer.starts_with("HTTP/1.1 500 ") && answer.contains("audit.jsonl"), "{answer}");
        running.end();
    }

    #[test]
    fn what_policy_sync_says_of_the_node_is_told() {
        let scratch = Scratch::new("sync");
        assert!(!scratch.once().contains("palisade_policy_sync"));
        let write = |error: Option<&str>| {
            let outcome = json!({"wanted": "ab", "in_force": "cd", "policy": null, "error": error});
            let status = json!({"looked": 1700000060, "succeeded": 1700000000, "outcome": outcome});
            fs::create_dir_all(scratch.path("sync")).unwrap();
            fs::write(scratch.path("sync/status.json"), status.to_string()).unwrap();
        };
        for (error, current) in [(Some("wrong"), "0"), (None, "1")] {
            write(error);
            let text = scratch.once();
            for line in [
                "palisade_policy_sync_info{wanted=\"ab\",in_force=\"cd\"} 1",
                &format!("palisade_policy_sync_current {current}"),
                "palisade_policy_sync_timestamp_seconds 1700000060",
                "palisade_policy_sync_success_timestamp_seconds 1700000000",
            ] {
                assert!(text.lines().any(|found| found == line), "{line}: {text}");
            }
        }
        // What is no status, or none of ours, is not guessed at.
        fs::write(scratch.path("sync/status.json"), "{}").unwrap();
        assert!(!scratch.once().contains("palisade_policy_sync"));
    }

    #[test]
    fn connections_that_say_nothing_keep_nobody_from_the_metrics() {
        let scratch = Scratch::new("silent");
        let running = scratch.start(&["--listen", "127.0.0.1:0"]);
        let mut silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(running.address()).unwrap()).collect();
        assert!(running.get("/metrics", "").starts_with("HTTP/1.1 200 "));
        // The oldest ones had to go, and the newest ones go by themselves.
        for at in [0, 39] {
            let stream = silent.get_mut(at).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(9))).unwrap();
            let begun = Instant::now();
            let read = stream.read(&mut [0]);
            let ended = match &read {
                Ok(length) => *length == 0,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            };
            assert!(ended, "{at}: {read:?}");
            assert!(begun.elapsed() < Duration::from_secs(if at == 0 { 1 } else { 5 }), "{at}");
        }
        running.end();
    }

    #[test]
    fn a_socket_or_a_file_in_place_of_an_address() {
        let scratch = Scratch::new("socket");
        scratch.add(&decision("deny"));
        let socket = scratch.path("run/monitor.sock");
        for _ in 0..2 {
            let running = scratch.start(&["--socket", socket.to_str().unwrap()]);
            let answer = ask(UnixStream::connect(&socket).unwrap(), "/metrics", "");
            assert_eq!(value(&answer, DENIED), Some(1.0));
            running.end();
        }
        let file = scratch.path("textfile/palisade.prom");
        let running = scratch.start(&["--textfile", file.to_str().unwrap(), "--interval", "1"]);
        let text = wait_for(&file);
        assert_eq!(value(&text, DENIED), Some(1.0));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
        running.end();
    }

    /// A file that is put there as a whole.
    fn wait_for(file: &Path) -> String {
        let watch = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, file.parent().unwrap(), WatchFlags::MOVED_TO).unwrap();
        if !file.exists() {
            let mut space = [MaybeUninit::uninit(); 4096];
            inotify::Reader::new(&watch, &mut space).next().unwrap();
        }
        fs::read_to_string(file).unwrap()
    }

    #[test]
    fn no_other_machine_reaches_it() {
        let scratch = Scratch::new("remote");
        let output: Output = scratch.command(&["--listen", "0.0.0.0:0"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("reached from other machines"), "{output:?}");
        // A pod's, where something else decides who may ask.
        let running = scratch.start(&["--listen", "0.0.0.0:0", "--allow-remote", "--no-doctor"]);
        assert!(running.said.contains("0.0.0.0"), "{}", running.said);
        running.end();
    }

    #[test]
    fn promtool_has_nothing_to_say_against_the_metrics() {
        let Some(folder) = folder() else { return };
        let scratch = Scratch::new("lint");
        scratch.add(&decision("deny"));
        scratch.add(&json!({"event": "oom", "kills": 2, "profile": "restricted"}));
        scratch.add(&json!({"event": "seccomp", "container": "c", "refusals": [{"syscall": "socket", "number": 41, "count": 3}]}));
        let text = scratch.once();
        assert_eq!(lint(&folder, &text).unwrap(), "");
        // The control: it does look.
        let wrong = text.replace("palisade_oom_kills_total", "palisade_oom_kills");
        assert!(lint(&folder, &wrong).unwrap().contains("palisade_oom_kills"), "{wrong}");
    }

    /// The node is looked at before anything is given up: what root alone may read is no unknown.
    #[test]
    fn the_node_is_looked_at_once() {
        let scratch = Scratch::new("node");
        let text = scratch.once();
        let of = |id: &str| -> Vec<&str> {
            let begin = format!("palisade_doctor_check{{check=\"{id}\",");
            text.lines().filter(|line| line.starts_with(&begin)).collect()
        };
        let version = of("host.kernel.version");
        assert!(version.len() == 1 && version[0].ends_with(" 1") && !version[0].contains("unknown"), "{version:?}");
        assert_eq!(
            of("host.policy.valid"),
            ["palisade_doctor_check{check=\"host.policy.valid\",severity=\"critical\",outcome=\"pass\"} 1"]
        );
        assert!(text.lines().any(|line| line.starts_with("palisade_doctor_timestamp_seconds 1")), "{text}");
        // Another start does not keep what was found by the one before it.
        let again = scratch.once();
        let checks = |text: &str| text.lines().filter(|line| line.starts_with("palisade_doctor_check{")).count();
        assert_eq!(checks(&text), checks(&again));
        // A policy that is wrong is told, and the rest all the same.
        fs::write(scratch.path("policy.toml"), "profil = 1").unwrap();
        let log = scratch.path("log/audit.jsonl");
        let output = scratch.command(&["--once", "--log", log.to_str().unwrap()]).output().unwrap();
        let wrong = String::from_utf8(output.stdout).unwrap();
        assert!(wrong.contains("check=\"host.policy.valid\",severity=\"critical\",outcome=\"fail\"} 1"), "{wrong}");
    }

    /// The value of a query, asked again until there is one: scrapes come by the second.
    fn scraped(prometheus: &Prometheus, query: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let result = prometheus.query(query).unwrap();
            if let Some(value) = first(&result) {
                return value.to_owned();
            }
            assert!(Instant::now() < deadline, "{query}: {result}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    #[test]
    fn a_prometheus_scrapes_it_and_answers_every_query_of_the_dashboard() {
        let Some(folder) = folder() else { return };
        let scratch = Scratch::new("scrape");
        let monitor = scratch.start(&["--listen", "127.0.0.1:0"]);
        let prometheus = Prometheus::start(&folder, &scratch.0, monitor.address()).unwrap();
        assert_eq!(scraped(&prometheus, "up{job=\"palisade\"}"), "1");
        assert_eq!(scraped(&prometheus, "palisade_policy_valid"), "1");
        for line in [
            decision("deny"),
            json!({"event": "oom", "kills": 2, "profile": "restricted"}),
            json!({"event": "attestation", "mismatches": [{"check": "caps"}]}),
            json!({"event": "seccomp", "container": "c", "refusals": [{"syscall": "socket", "number": 41, "count": 3}]}),
        ] {
            scratch.add(&line);
        }
        assert_eq!(scraped(&prometheus, &format!("{DENIED} > 0")), "1");
        assert_eq!(scraped(&prometheus, "palisade_seccomp_refusals_total{syscall=\"socket\"}"), "3");
        assert_eq!(
            scraped(&prometheus, "histogram_quantile(1, palisade_decision_duration_seconds_bucket) > 0"),
            "0.001"
        );
        let queries = dashboard_queries().unwrap();
        assert!(queries.len() > 8, "{queries:?}");
        for query in queries {
            prometheus.query(&query).unwrap();
        }
        // An alert of the rules that are shipped comes up.
        assert_eq!(scraped(&prometheus, "ALERTS{alertname=\"PalisadeProcessNotAsDecided\"}"), "1");
        monitor.end();
    }

    #[test]
    fn promtool_takes_the_alert_rules_and_their_tests() {
        let Some(folder) = folder() else { return };
        for args in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
            let mut command = Command::new(folder.join("promtool"));
            let output = command.args(args).current_dir(deployed(".").unwrap()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }
}
