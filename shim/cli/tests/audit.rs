//! The audit log: what its lines hold, that no secret is among it, and what `palisade events` and `palisade audit` make of it.

#[cfg(test)]
#[path = "../../policy/tests/policy/support/mod.rs"]
#[allow(dead_code, reason = "shared with the policy crate's tests")]
mod support;

#[cfg(test)]
mod audit {
    use std::fs;
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output, Stdio};
    use std::time::Duration;

    use palisade::attest::Stage;
    use palisade::audit::{self, Asked, Chronicle, Subject};
    use palisade::cgroup::LimitHits;
    use palisade_policy::{Identity, Outcome, Patch, Policy, Record, SpecError, judge_unreadable, redact_arguments};
    use serde_json::{Value, json};

    use super::support;

    struct Scratch(PathBuf);

    impl Scratch {
        /// A directory with a policy file whose log is in it.
        fn new(name: &str, audit: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-cli-audit-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            let scratch = Self(dir);
            fs::write(scratch.path("policy.toml"), scratch.policy_text(audit)).unwrap();
            scratch
        }

        fn policy_text(&self, audit: &str) -> String {
            format!("[audit]\npath = {:?}\n{audit}", self.path("audit.jsonl"))
        }

        fn policy(&self) -> Policy {
            Policy::from_toml(&fs::read_to_string(self.path("policy.toml")).unwrap()).unwrap()
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn lines(&self) -> Vec<Value> {
            let text = fs::read_to_string(self.path("audit.jsonl")).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }

        fn command(&self, args: &[&str]) -> Command {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.args(args).env("PALISADE_CONFIG", self.path("policy.toml")).env("NO_COLOR", "1");
            command
        }

        fn run(&self, args: &[&str]) -> Output {
            self.command(args).output().unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn text(output: &Output) -> String {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn identity() -> Identity {
        Identity { pod_namespace: "shop".into(), pod_name: "web".into(), ..Identity::default() }
    }

    fn put(policy: &Policy, record: &Record, decision: &'static str, exec: &str, asked: Option<&Asked>) {
        put_patched(policy, record, decision, exec, asked, None);
    }

    fn put_patched(
        policy: &Policy,
        record: &Record,
        decision: &'static str,
        exec: &str,
        asked: Option<&Asked>,
        patch: Option<&Patch>,
    ) {
        let subject = Subject {
            namespace: "k8s.io",
            id: "c0ffee",
            exec_id: exec,
            identity: &identity(),
            policy: DIGEST,
            asked,
            patch,
            duration: Duration::from_micros(700),
        };
        audit::append(policy.audit(), &subject, record, decision).unwrap();
    }

    /// Every kind of line that does not take a shim.
    fn put_all(policy: &Policy) {
        let mut grant = None;
        for entry in fs::read_dir(support::golden_root()).unwrap() {
            let spec = support::json(&fs::read(entry.unwrap().path().join("config.json")).unwrap());
            let decision = support::create(&spec, policy);
            match decision.outcome {
                Outcome::Admit(hardened) => {
                    let patch = Patch::between(spec.to_string().as_bytes(), hardened.as_bytes()).unwrap();
                    put_patched(policy, &decision.record, "mutate", "", None, patch.as_ref());
                    grant = Some(hardened.grant().clone());
                }
                Outcome::Deny(_) => put(policy, &decision.record, "deny", "", None),
            }
        }
        let grant = grant.unwrap();
        let unreadable = judge_unreadable(&SpecError::TooLarge { size: 1 << 30 }, policy);
        put(policy, &unreadable.record, "deny", "", None);
        let process = json!({"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
        let exec = support::exec(&process, &grant, policy);
        let asked = Asked { args: vec!["sh".to_owned()], terminal: true };
        put(policy, &exec.record, "mutate", "e1", Some(&asked));
        put(policy, &support::update(&json!({"pids": {"limit": 1}}), &grant, policy).record, "allow", "", None);
        let chronicle = Chronicle::new("k8s.io", "c0ffee", &grant, DIGEST, policy.audit());
        chronicle.tell("oom", &json!({"kills": 3}));
        chronicle.tell("limits", &LimitHits { pids_refused: 4, ..LimitHits::default() });
        chronicle.attested("", Stage::Begun).unwrap();
        chronicle.attested("", Stage::Created { embedded: true, before: None }).unwrap();
        chronicle.tell(
            "attestation",
            &json!({"stage": "running", "mismatches": [{"check": "caps", "decided": "a", "seen": "b"}]}),
        );
        chronicle.tell("seccomp", &refusals());
        audit::append_own(policy.audit(), "policy_load", &json!({"policy_sha256": "builtin", "profile": "restricted"}))
            .unwrap();
        audit::append_own(policy.audit(), "policy_load", &json!({"policy_sha256": DIGEST, "error": "wrong"})).unwrap();
    }

    fn refusals() -> Value {
        let time = "2026-11-24T10:00:00.000000Z";
        json!({"refusals": [{
            "syscall": "socket", "number": 41, "architecture": "x86_64", "arguments": {"0": "0x26"}, "errno": 1, "count": 4,
            "first": time, "last": time, "pid": 77, "command": "sh",
        }], "more": 2})
    }

    fn validator() -> jsonschema::Validator {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.schema.json");
        jsonschema::draft202012::new(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).unwrap()
    }

    fn wrong(validator: &jsonschema::Validator, line: &Value) -> Vec<String> {
        validator.iter_errors(line).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    #[test]
    fn every_line_is_as_the_schema_says() {
        for options in ["attested = true\n", "attested = true\nchain = true\n"] {
            let scratch = Scratch::new("schema", options);
            put_all(&scratch.policy());
            let lines = scratch.lines();
            assert!(lines.len() > 20);
            let validator = validator();
            for line in &lines {
                assert_eq!(wrong(&validator, line), Vec::<String>::new(), "{line}");
            }
            // The control: each field counts, and none may be there that is not described.
            for line in &lines {
                for key in line.as_object().unwrap().keys().filter(|key| {
                    !["exec", "process", "more", "since_decision_us", "patch", "patch_withheld"].contains(&key.as_str())
                }) {
                    let mut less = line.clone();
                    less.as_object_mut().unwrap().remove(key);
                    let optional = key == "profile" && line["event"] == "decision";
                    assert!(optional || !validator.is_valid(&less), "without {key}: {line}");
                }
                let mut more = line.clone();
                more["another"] = json!(1);
                assert!(!validator.is_valid(&more), "{line}");
            }
        }
    }

    #[test]
    fn the_program_prints_the_schema() {
        let scratch = Scratch::new("print", "");
        let printed: Value = serde_json::from_slice(&scratch.run(&["audit", "schema"]).stdout).unwrap();
        assert_eq!(printed["$defs"]["oom"]["required"], json!(["kills"]));
    }

    #[test]
    fn a_chain_is_followed_and_a_changed_line_is_told_of() {
        let scratch = Scratch::new("chain", "chain = true\n");
        put_all(&scratch.policy());
        let whole = scratch.run(&["audit", "verify"]);
        assert_eq!(whole.status.code(), Some(0), "{}", text(&whole));
        let head = text(&whole).split_whitespace().last().unwrap().to_owned();
        assert_eq!(scratch.run(&["audit", "verify", "--anchor", &head]).status.code(), Some(0));
        assert_eq!(scratch.run(&["audit", "verify", "--anchor", DIGEST]).status.code(), Some(1));
        let log = scratch.path("audit.jsonl");
        let changed = fs::read_to_string(&log).unwrap().replacen("\"decision\":\"deny\"", "\"decision\":\"allow\"", 1);
        fs::write(&log, changed).unwrap();
        let broken = scratch.run(&["audit", "verify"]);
        assert!(
            broken.status.code() == Some(1) && text(&broken).contains("does not hold the digest"),
            "{}",
            text(&broken)
        );
    }

    #[test]
    fn a_log_without_a_chain_is_not_taken_for_a_whole_one() {
        let scratch = Scratch::new("unchained", "");
        put_all(&scratch.policy());
        let verified = scratch.run(&["audit", "verify"]);
        assert!(
            verified.status.code() == Some(1) && text(&verified).contains("no line of a chain"),
            "{}",
            text(&verified)
        );
    }

    /// Planted where containers have them.
    const PLANTED: &str = "hunter2-planted";

    /// A specification that many rules object to, with the secret in every text that a rule may quote.
    fn planted(name: &str) -> Value {
        let mut spec = support::golden(name);
        spec["process"]["env"] = json!([format!("DB_PASSWORD={PLANTED}"), format!("LD_PRELOAD={PLANTED}")]);
        spec["process"]["args"] = json!(["app", "--token", PLANTED, format!("--db-password={PLANTED}")]);
        spec["annotations"]["example.com/api-token"] = json!(PLANTED);
        let hook = json!({"path": "/bin/h", "args": ["h", "--secret", PLANTED], "env": [format!("A={PLANTED}")]});
        spec["hooks"] = json!({"prestart": [hook]});
        let options = json!(["rbind", format!("password={PLANTED}"), "rw"]);
        spec["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({"destination": "/d", "source": "/etc", "type": "bind", "options": options}));
        spec
    }

    #[test]
    fn no_secret_is_in_any_sink() {
        let scratch = Scratch::new("secrets", "");
        let mut policies = vec![scratch.policy()];
        for profile in ["baseline", "privileged"] {
            let text = format!("profile = \"{profile}\"\n{}", scratch.policy_text(""));
            policies.push(Policy::from_toml(&text).unwrap());
        }
        // What is found where nothing is refused, so that every rule comes to speak.
        policies.push(
            Policy::from_toml(&format!("[profiles.restricted]\nmode = \"audit\"\n{}", scratch.policy_text("")))
                .unwrap(),
        );
        let (mut said, mut patched) = (String::new(), 0);
        for policy in &policies {
            for name in ["ctr-default", "cri-app"] {
                let decision = support::create(&planted(name), policy);
                let patch = match &decision.outcome {
                    Outcome::Admit(hardened) => {
                        Patch::between(planted(name).to_string().as_bytes(), hardened.as_bytes()).unwrap()
                    }
                    Outcome::Deny(_) => None,
                };
                patched += usize::from(patch.is_some());
                put_patched(policy, &decision.record, "mutate", "", None, patch.as_ref());
                said.push_str(&decision.outcome.denial().map(ToString::to_string).unwrap_or_default());
            }
        }
        assert!(patched > 3, "{patched} were admitted with a change");
        // A document that is refused as a whole.
        let mut strange = planted("ctr-default");
        strange["process"]["env"] = json!(PLANTED);
        let error = palisade_policy::ParsedSpec::parse(strange.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(PLANTED), "the reader quotes it: {error}");
        let unread = judge_unreadable(&error, &policies[0]);
        put(&policies[0], &unread.record, "deny", "", None);
        said.push_str(&unread.outcome.denial().unwrap().to_string());
        // A process that is added.
        let plain = support::create(&support::golden("ctr-default"), &policies[0]);
        let Outcome::Admit(hardened) = plain.outcome else { panic!("refused") };
        let process = planted("ctr-default")["process"].clone();
        let exec = support::exec(&process, hardened.grant(), &policies[0]);
        let args: Vec<&str> = process["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let asked = Asked { args: redact_arguments(args), terminal: false };
        put(&policies[0], &exec.record, "mutate", "e1", Some(&asked));

        let log = fs::read_to_string(scratch.path("audit.jsonl")).unwrap();
        assert!(log.contains("/hooks/prestart/0") && log.contains("<redacted>"), "the rules have spoken: {log}");
        let mut sinks = vec![log, said];
        for format in ["text", "json", "falco"] {
            sinks.push(text(&scratch.run(&["events", "--format", format])));
        }
        fs::write(scratch.path("config.json"), planted("ctr-default").to_string()).unwrap();
        for format in ["text", "json", "sarif"] {
            let config = scratch.path("config.json");
            sinks.push(text(&scratch.run(&["check", "--offline", "--format", format, config.to_str().unwrap()])));
        }
        for sink in sinks {
            assert!(!sink.is_empty());
            let around =
                sink.find(PLANTED).map(|at| sink.get(at.saturating_sub(300)..at + 20).unwrap_or_default().to_owned());
            assert_eq!(around, None, "a secret is in a sink");
        }
    }

    #[test]
    fn events_are_told_in_columns_json_and_as_falco_does() {
        let scratch = Scratch::new("events", "attested = true\n");
        put_all(&scratch.policy());
        let shown = text(&scratch.run(&["events"]));
        assert_eq!(shown.lines().count(), scratch.lines().len());
        for part in [
            "exec [sh] ",
            "3 killed for want of memory",
            "socket(a0=0x26) 4x by sh; and 2 others",
            "MISMATCH",
            "4 tasks refused",
            "caps: a decided, b seen",
            "NO POLICY",
            "priv.heuristic at the whole document".get(..14).unwrap(),
        ] {
            assert!(shown.contains(part), "{part:?} in {shown}");
        }
        let deny = shown.lines().find(|line| line.contains("  deny ")).unwrap();
        assert!(deny.contains("  shop/web ") && deny.contains("  restricted "), "{deny}");
        let problems = text(&scratch.run(&["events", "--problems", "shop/web"]));
        assert!(problems.lines().count() > 5 && !problems.contains("  mutate "), "{problems}");
        assert!(problems.lines().all(|line| line.contains("deny") || line.contains("shop/web")), "{problems}");
        let last = text(&scratch.run(&["events", "-n", "1", "--format", "json"]));
        assert_eq!(serde_json::from_str::<Value>(&last).unwrap(), *scratch.lines().last().unwrap());

        for alert in text(&scratch.run(&["events", "--format", "falco"])).lines() {
            let alert: Value = serde_json::from_str(alert).unwrap();
            let priorities = ["Critical", "Error", "Warning", "Notice", "Informational"];
            assert!(priorities.contains(&alert["priority"].as_str().unwrap()), "{alert}");
            assert!(alert["output_fields"].as_object().unwrap().values().all(|value| !value.is_object()), "{alert}");
            for key in ["rule", "time", "output", "hostname", "source"] {
                assert!(alert[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {alert}");
            }
            chrono_like(alert["time"].as_str().unwrap());
        }
    }

    /// RFC 3339 to the microsecond.
    fn chrono_like(time: &str) {
        assert!(time.len() == 27 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }

    #[test]
    fn what_a_workload_names_itself_does_not_steer_the_terminal() {
        let scratch = Scratch::new("steer", "");
        let mut told = refusals();
        told["refusals"][0]["command"] = json!("a\u{1b}[31mb\u{202e}");
        let grant = match support::create(&support::golden("cri-app"), &scratch.policy()).outcome {
            Outcome::Admit(hardened) => hardened.grant().clone(),
            Outcome::Deny(denial) => panic!("{denial}"),
        };
        Chronicle::new("k8s.io", "c0ffee", &grant, DIGEST, scratch.policy().audit()).tell("seccomp", &told);
        for format in ["text", "json", "falco"] {
            let shown = text(&scratch.run(&["events", "--format", format]));
            assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
        }
    }

    #[test]
    fn a_log_that_is_not_there_is_named() {
        let scratch = Scratch::new("absent", "");
        let output = scratch.run(&["events", "--follow", "--log", "/no/such/audit.jsonl"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains("read \"/no/such/audit.jsonl\""), "{}", text(&output));
        assert_eq!(scratch.run(&["events"]).status.code(), Some(0), "nothing was recorded yet");
    }

    #[test]
    fn a_follower_is_told_of_what_comes_over_a_rotation_too() {
        let scratch = Scratch::new("follow", "max_bytes = 1000\nkeep = 50\n");
        let policy = scratch.policy();
        audit::append_own(policy.audit(), "policy_load", &json!({"policy_sha256": DIGEST, "profile": "first"}))
            .unwrap();
        let mut follower =
            scratch.command(&["events", "--follow", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["profile"].clone();
        assert_eq!(next(), "first", "it is at work now");
        for number in 0..20 {
            let told = json!({"policy_sha256": DIGEST, "profile": number.to_string()});
            audit::append_own(policy.audit(), "policy_load", &told).unwrap();
        }
        assert!(audit::files_of(policy.audit().path()).unwrap().len() > 3);
        for number in 0..20 {
            assert_eq!(next(), number.to_string());
        }
        follower.kill().unwrap();
        follower.wait().unwrap();
    }
}
