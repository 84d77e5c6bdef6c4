//! `palisade monitor` as an admin runs it. As root: it becomes another user.

#[cfg(test)]
mod monitor {
    use std::fs;
    use std::io::{BufRead as _, BufReader, Read, Write};
    use std::mem::MaybeUninit;
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Output, Stdio};
    use std::time::{Duration, Instant};

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use rustix::process::{Pid, Signal, kill_process};
    use serde_json::json;

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
    fn connections_that_say_nothing_keep_nobody_from_the_metrics() {
        let scratch = Scratch::new("silent");
        let running = scratch.start(&["--listen", "127.0.0.1:0"]);
        let silent: Vec<TcpStream> = (0..15).map(|_| TcpStream::connect(running.address()).unwrap()).collect();
        assert!(running.get("/metrics", "").starts_with("HTTP/1.1 200 "));
        // One that is too many is closed at once.
        let more: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(running.address()).unwrap()).collect();
        let read = more.last().unwrap().read(&mut [0]);
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        drop(silent);
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
    }

    #[test]
    fn promtool_has_nothing_to_say_against_the_metrics() {
        let Some(folder) = prometheus() else { return };
        let promtool = folder.join("promtool");
        let scratch = Scratch::new("lint");
        scratch.add(&decision("deny"));
        scratch.add(&json!({"event": "oom", "kills": 2, "profile": "restricted"}));
        scratch.add(&json!({"event": "seccomp", "container": "c", "refusals": [{"syscall": "socket", "number": 41, "count": 3}]}));
        let text = scratch.once();
        assert_eq!(lint(&promtool, &text), "");
        // The control: it does look.
        let wrong = text.replace("palisade_oom_kills_total", "palisade_oom_kills");
        assert!(lint(&promtool, &wrong).contains("palisade_oom_kills"), "{wrong}");
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

    /// A Prometheus that scrapes one address, with the rules of `deploy/monitoring`.
    struct Prometheus {
        child: Child,
        address: String,
    }

    impl Prometheus {
        fn start(folder: &Path, scratch: &Scratch, target: &str) -> Self {
            let rules = deployed("alerts.yml");
            let config = format!(
                "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [{rules:?}]\nscrape_configs:\n- job_name: palisade\n  \
                 static_configs:\n  - targets: [{target:?}]\n"
            );
            fs::write(scratch.path("prometheus.yml"), config).unwrap();
            let mut command = Command::new(folder.join("prometheus"));
            command.arg(format!("--config.file={}", scratch.path("prometheus.yml").display()));
            command.arg(format!("--storage.tsdb.path={}", scratch.path("tsdb").display()));
            let mut child = command.arg("--web.listen-address=127.0.0.1:0").stderr(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
            let mut address = None;
            for line in said.by_ref().map_while(Result::ok) {
                // Older ones name the port only as it was asked for.
                address = address.or_else(|| listening(child.id(), &line));
                if line.contains("Server is ready to receive web requests") {
                    break;
                }
            }
            let address = address.or_else(|| listening(child.id(), "msg=Listening")).expect("it listens");
            // What it says later must not fill the pipe.
            std::thread::spawn(move || said.for_each(drop));
            Self { child, address }
        }

        /// The result of a query.
        fn query(&self, query: &str) -> serde_json::Value {
            let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let answer = ask(
                TcpStream::connect(&self.address).unwrap(),
                &format!("/api/v1/query?query={encoded}"),
                "Connection: close\r\n",
            );
            let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap();
            let body = body.get(body.find('{').unwrap()..=body.rfind('}').unwrap()).unwrap();
            let answer: serde_json::Value = serde_json::from_str(body).expect(body);
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            answer["data"]["result"].clone()
        }

        /// The value of a query, asked again until there is one: scrapes come by the second.
        fn value(&self, query: &str) -> String {
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                let result = self.query(query);
                if let Some(value) = result.pointer("/0/value/1").and_then(serde_json::Value::as_str) {
                    return value.to_owned();
                }
                assert!(Instant::now() < deadline, "{query}: {result}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    impl Drop for Prometheus {
        fn drop(&mut self) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    /// The address on which a process listens, by its descriptors, once it says that it does.
    fn listening(pid: u32, line: &str) -> Option<String> {
        if !line.contains("Listening") {
            return None;
        }
        let links =
            fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        let sockets: Vec<String> = links
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        table.lines().skip(1).find_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // 0A: TCP_LISTEN.
            let found = words[3] == "0A" && sockets.iter().any(|inode| inode == words[9]);
            let port = u16::from_str_radix(words[1].split_once(':')?.1, 16).ok()?;
            found.then(|| format!("127.0.0.1:{port}"))
        })
    }

    fn deployed(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/monitoring").join(name).canonicalize().unwrap()
    }

    /// Every query of the dashboard.
    fn dashboard_queries() -> Vec<String> {
        fn collect(value: &serde_json::Value, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(fields) => {
                    found.extend(fields.get("expr").and_then(serde_json::Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| collect(value, found));
                }
                serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
                _ => {}
            }
        }
        let dashboard = serde_json::from_slice(&fs::read(deployed("dashboard.json")).unwrap()).unwrap();
        let mut found = Vec::new();
        collect(&dashboard, &mut found);
        found
    }

    #[test]
    fn a_prometheus_scrapes_it_and_answers_every_query_of_the_dashboard() {
        let Some(folder) = prometheus() else { return };
        let scratch = Scratch::new("scrape");
        let monitor = scratch.start(&["--listen", "127.0.0.1:0"]);
        let prometheus = Prometheus::start(&folder, &scratch, monitor.address());
        assert_eq!(prometheus.value("up{job=\"palisade\"}"), "1");
        assert_eq!(prometheus.value("palisade_policy_valid"), "1");
        for line in [
            decision("deny"),
            json!({"event": "oom", "kills": 2, "profile": "restricted"}),
            json!({"event": "attestation", "mismatches": [{"check": "caps"}]}),
            json!({"event": "seccomp", "container": "c", "refusals": [{"syscall": "socket", "number": 41, "count": 3}]}),
        ] {
            scratch.add(&line);
        }
        assert_eq!(prometheus.value(&format!("{DENIED} > 0")), "1");
        assert_eq!(prometheus.value("palisade_seccomp_refusals_total{syscall=\"socket\"}"), "3");
        assert_eq!(prometheus.value("histogram_quantile(1, palisade_decision_duration_seconds_bucket) > 0"), "0.001");
        let queries = dashboard_queries();
        assert!(queries.len() > 8, "{queries:?}");
        for query in queries {
            let query = query.replace("$__rate_interval", "1m").replace("$node", ".*");
            prometheus.query(&query);
        }
        // An alert of the rules that are shipped comes up.
        assert_eq!(prometheus.value("ALERTS{alertname=\"PalisadeProcessNotAsDecided\"}"), "1");
        monitor.end();
    }

    #[test]
    fn promtool_takes_the_alert_rules_and_their_tests() {
        let Some(folder) = prometheus() else { return };
        for args in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
            let mut command = Command::new(folder.join("promtool"));
            let output = command.args(args).current_dir(deployed(".")).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }

    /// Prometheus and its own tool, where `scripts/test` has fetched it.
    fn prometheus() -> Option<PathBuf> {
        let folder = std::env::var_os("PALISADE_PROMETHEUS").map(PathBuf::from);
        if folder.is_none() {
            println!("PALISADE_PROMETHEUS names no folder: nothing is shown to Prometheus");
        }
        folder
    }

    fn lint(promtool: &Path, text: &str) -> String {
        let mut command = Command::new(promtool);
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}
