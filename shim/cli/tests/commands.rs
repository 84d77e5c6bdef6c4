//! The commands as an admin runs them. As root: a policy file has to be root's.

#[cfg(test)]
mod commands {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output, Stdio};

    use serde_json::{Value, json};

    /// A directory of root's with an empty policy file.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-cli-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
            let scratch = Self(dir);
            scratch.write("policy.toml", "");
            scratch
        }

        fn write(&self, name: &str, text: &str) -> String {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        }

        fn run(&self, args: &[&str]) -> Output {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.args(args).env("PALISADE_CONFIG", self.0.join("policy.toml")).env("NO_COLOR", "1");
            command.output().unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn golden(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name);
        path.to_str().unwrap().to_owned()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn json_of(output: &Output) -> Value {
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[test]
    fn check_tells_by_its_exit_code_and_says_why() {
        let scratch = Scratch::new("check");
        let admitted = scratch.run(&["check", "--offline", &golden("cri-app")]);
        assert_eq!(admitted.status.code(), Some(0), "{}", text(&admitted.stdout));
        let shown = text(&admitted.stdout);
        assert!(shown.contains("changed: linux.seccomp: /linux/seccomp"), "{shown}");
        assert!(shown.contains("admitted under profile restricted (profile)"), "{shown}");
        let refused = scratch.run(&["check", "--offline", &golden("cri-privileged")]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stdout).contains("denied: priv.heuristic"), "{}", text(&refused.stdout));
        let open = scratch.run(&["check", "--offline", "--profile", "privileged", &golden("cri-privileged")]);
        assert_eq!(open.status.code(), Some(0), "{}", text(&open.stdout));
    }

    #[test]
    fn check_takes_many_bundles_and_standard_input() {
        let scratch = Scratch::new("many");
        let all = scratch.run(&["check", "--offline", "--format", "json", &golden("")]);
        assert_eq!(all.status.code(), Some(1), "one of them is refused");
        let results = json_of(&all);
        let cases = fs::read_dir(golden("")).unwrap().count();
        assert_eq!(results.as_array().unwrap().len(), cases);
        for one in results.as_array().unwrap() {
            let bundle = Path::new(one["path"].as_str().unwrap()).parent().unwrap().to_owned();
            assert_eq!(one["decision"] == "deny", one["message"].is_string());
            // The golden files are judged with the same facts, but for those that links and other hosts' files need.
            if bundle.join("hardened.json").exists() {
                assert_eq!(one["decision"], "admit", "{bundle:?}: {}", one["message"]);
            }
        }
        let mut child = Command::new(env!("CARGO_BIN_EXE_palisade"))
            .args(["check", "--offline", "-"])
            .env("PALISADE_CONFIG", scratch.0.join("policy.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"{\"ociVersion\":\"1.3.0\",\"process\":{},\"process\":{}}").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("denied: spec.strict: /process"), "{}", text(&output.stdout));
    }

    #[test]
    fn sarif_has_a_result_for_each_finding_with_a_known_rule() {
        let scratch = Scratch::new("sarif");
        let output = scratch.run(&["check", "--offline", "--format", "sarif", &golden("cri-privileged")]);
        let log = json_of(&output);
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let rules: Vec<&Value> = run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
        let results = run["results"].as_array().unwrap();
        assert!(results.iter().any(|result| result["level"] == "error"));
        for result in results {
            assert!(rules.contains(&&result["ruleId"]), "{result}");
            assert!(result["message"]["text"].as_str().is_some_and(|text| !text.is_empty()));
            assert!(result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"].is_string());
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_verdict() {
        let scratch = Scratch::new("unread");
        for args in [
            vec!["check", "/nonexistent"],
            vec!["check", "--profile", "nosuch", "-"],
            vec!["explain", "nosuch"],
            vec!["policy", "validate", "--policy", "/nonexistent"],
            vec!["replay", "/nonexistent"],
            vec!["check"],
            vec!["nosuch"],
        ] {
            let output = scratch.run(&args);
            assert_eq!(output.status.code(), Some(2), "{args:?}");
            assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
        }
        scratch.write("policy.toml", "profle = \"x\"");
        let wrong = scratch.run(&["policy", "validate"]);
        assert_eq!(wrong.status.code(), Some(2));
        assert!(text(&wrong.stderr).contains("line 1"), "{}", text(&wrong.stderr));
    }

    #[test]
    fn a_policy_can_be_shown_and_compared() {
        let scratch = Scratch::new("policy");
        let shown = text(&scratch.run(&["policy", "show", "--profile", "restricted"]).stdout);
        assert!(shown.starts_with("profile restricted (Enforce, the default)"), "{shown}");
        assert!(shown.contains("uid=65532") && !shown.contains("profile baseline"), "{shown}");
        let old = scratch.write("old.toml", "[profiles.team]\nextends = \"restricted\"\n");
        let tighter = scratch.write(
            "tighter.toml",
            "[profiles.team]\nextends = \"restricted\"\n[profiles.team.rules.\"res.pids\"]\nmax = 9\n",
        );
        let looser = scratch.write(
            "looser.toml",
            "[profiles.team]\nextends = \"restricted\"\n[profiles.team.rules.\"linux.ns\"]\naction = \"off\"\n",
        );
        let output = scratch.run(&["policy", "diff", &old, &tighter]);
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("res.pids.max: 4096 -> 9"), "{}", text(&output.stdout));
        let output = scratch.run(&["policy", "diff", &old, &looser]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stdout).contains("team: LOOSER, rule linux.ns is off"), "{}", text(&output.stdout));
        // Who is judged by which profile counts as well.
        let baseline = scratch.write("baseline.toml", "profile = \"baseline\"\n");
        let restricted = scratch.write("restricted.toml", "");
        let output = scratch.run(&["policy", "diff", &restricted, &baseline]);
        let told = text(&output.stdout);
        assert!(told.starts_with("LOOSER, profile (all others): restricted -> baseline, "), "{told}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(scratch.run(&["policy", "diff", &baseline, &restricted]).status.code(), Some(0));
        let same = scratch.run(&["policy", "diff", &old, &old]);
        assert_eq!((same.status.code(), same.stdout.len()), (Some(0), 0));
    }

    #[test]
    fn a_container_is_explained_by_reasons_diff_and_patch() {
        let scratch = Scratch::new("explain");
        let log = scratch.0.join("audit.jsonl");
        scratch.write("policy.toml", &format!("[audit]\npath = {log:?}\n"));
        let bundle = "state/io.containerd.runtime.v2.task/k8s.io/c1";
        let before = fs::read_to_string(Path::new(&golden("cri-app")).join("config.json")).unwrap();
        let after = fs::read_to_string(Path::new(&golden("cri-app")).join("hardened.json")).unwrap();
        // A secret that became a file, and a variable that stayed.
        let with = |text: &str, entries: [&str; 2]| {
            let mut document: Value = serde_json::from_str(text).unwrap();
            let env = document["process"]["env"].as_array_mut().unwrap();
            env.extend(entries.map(Value::from));
            document.to_string()
        };
        let before = with(&before, ["DB_PASSWORD=hunter2-planted", "OTHER=hunter2-planted"]);
        let after = with(&after, ["DB_PASSWORD_FILE=/run/palisade/secrets/DB_PASSWORD", "OTHER=hunter2-planted"]);
        scratch.write(&format!("{bundle}/config.json"), &before);
        scratch.write(&format!("{bundle}/palisade/config.json"), &after);
        let record = fs::read_to_string(Path::new(&golden("cri-app")).join("record.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        let line = |id: &str, rule: &str| {
            let mut record = record.clone();
            record["findings"][0]["rule"] = json!(rule);
            let line =
                json!({ "time": "T", "decision": "mutate", "namespace": "k8s.io", "container": id, "record": record });
            format!("{line}\n")
        };
        fs::write(&log, line("c1", "rule\u{1b}[31m") + &line("c2", "of-another")).unwrap();
        let state = scratch.0.join("state");
        let args = ["explain", "c1", "--state", state.to_str().unwrap()];
        let shown = text(&scratch.run(&args).stdout);
        assert!(shown.contains("T create mutate, profile restricted (profile)"), "{shown}");
        assert!(!shown.contains("of-another"), "{shown}");
        assert!(!shown.contains("hunter2") && shown.contains("DB_PASSWORD=<redacted>"), "{shown}");
        assert!(shown.contains("DB_PASSWORD_FILE=/run/palisade/secrets/DB_PASSWORD"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "what a record holds does not steer the terminal");
        assert!(shown.contains("\n+    \"rlimits\": [") || shown.contains("RLIMIT_CORE"), "{shown}");
        // Of a container that was refused there is the record alone.
        let refused = scratch.run(&["explain", "c2", "--state", state.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(0));
        assert!(text(&refused.stdout).contains("of-another"), "{}", text(&refused.stdout));
        assert_eq!(scratch.run(&["explain", "c3", "--state", state.to_str().unwrap()]).status.code(), Some(2));
        let patch: json_patch::Patch =
            serde_json::from_slice(&scratch.run(&[&args[..], &["--format", "patch"]].concat()).stdout).unwrap();
        let mut patched: Value = serde_json::from_str(&before).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(patched, serde_json::from_str::<Value>(&after).unwrap());
    }

    #[test]
    fn a_log_is_replayed_against_another_policy() {
        let scratch = Scratch::new("replay");
        let line = |namespace: &str, rule: &str, action: &str| {
            let identity = json!({
                "kind": "container", "sandbox_id": "s", "pod_namespace": namespace, "pod_name": "p", "pod_uid": "u",
                "container_name": "c", "image_name": "i",
            });
            let record =
                json!({ "mode": "enforce", "findings": [{ "rule": rule, "pointer": "/x", "action": action }] });
            let line =
                json!({ "time": "T", "decision": "x", "container": "c1", "identity": identity, "record": record });
            format!("{line}\n")
        };
        let log = scratch.write(
            "audit.jsonl",
            &(line("shop", "user.non-root", "mutated")
                + &line("lab", "user.non-root", "mutated")
                + &line("lab", "linux.sysctl", "denied")),
        );
        let same = scratch.run(&["replay", &log]);
        assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
        // Every golden record, under the policy that made it; a refusal that no change mends is one among them.
        let lines = fs::read_dir(golden("")).unwrap().map(|case| {
            let path = case.unwrap().path().join("record.json");
            let record: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            let identity = palisade_policy::Identity::default();
            format!("{}\n", json!({ "time": "T", "container": "c1", "identity": identity, "record": record }))
        });
        let all = scratch.write("golden.jsonl", &lines.collect::<String>());
        let same = scratch.run(&["replay", &all]);
        assert_eq!(same.status.code(), Some(0), "{}", text(&same.stdout));
        // What an exemption lets pass, it lets pass again.
        let exempt =
            "[[exempt]]\nrule = \"user.non-root\"\nnamespace = \"shop\"\nreason = \"T\"\nexpires = \"2999-01-01\"\n";
        let exempt = scratch.write("exempt.toml", exempt);
        let exempted = scratch.write("exempted.jsonl", &line("shop", "user.non-root", "exempted"));
        let again = scratch.run(&["replay", &exempted, "--policy", &exempt]);
        assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
        // And what a pod asked for, it asks for again.
        let asked = line("shop", "user.non-root", "mutated").replace(
            "\"mode\":",
            "\"selected_by\":\"annotation palisade.io/profile\",\"profile\":\"restricted\",\"mode\":",
        );
        let asked = scratch.write("asked.jsonl", &asked);
        let baseline = scratch.write("baseline.toml", "profile = \"baseline\"\n");
        let again = scratch.run(&["replay", &asked, "--policy", &baseline]);
        assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
        let new = scratch.write("new.toml", "[[select]]\nnamespace = \"lab\"\nprofile = \"baseline\"\n");
        let output = scratch.run(&["replay", &log, "--policy", &new]);
        assert_eq!(output.status.code(), Some(1));
        let shown = text(&output.stdout);
        assert!(shown.contains("user.non-root /x: mutated -> audited (profile baseline)"), "{shown}");
        assert!(shown.ends_with("3 decisions, 1 would differ\n"), "{shown}");
        fs::write(&log, "no record\n").unwrap();
        assert_eq!(scratch.run(&["replay", &log]).status.code(), Some(2));
    }

    #[test]
    fn completion_and_help_are_there() {
        let scratch = Scratch::new("help");
        assert!(text(&scratch.run(&["completion", "bash"]).stdout).contains("_palisade"));
        let help = text(&scratch.run(&["--help"]).stdout);
        for command in ["check", "explain", "policy", "replay", "completion"] {
            assert!(help.contains(command), "{help}");
        }
    }

    const INTRODUCTION: &str = "# The admin's tool\n\n\
        `scripts/build` makes `palisade` beside the shim. It judges with the shim's own code and changes nothing.\n\n\
        ```console\n\
        # palisade check --offline config.json              # what would be changed or refused, and why\n\
        # palisade check --format sarif bundles/ > out.sarif\n\
        # palisade explain ID                               # what was changed in a container that runs\n\
        # palisade explain ID --format patch                # as an RFC 6902 patch\n\
        # palisade policy validate && palisade policy show --profile restricted\n\
        # palisade policy schema > policy.schema.json       # for an editor: forms, rules and their settings\n\
        # palisade policy diff /etc/palisade/policy.toml new.toml  # exit code 1: looser\n\
        # palisade replay /var/log/palisade/audit.jsonl --policy new.toml  # exit code 1: decided otherwise\n\
        # palisade doctor                                   # what opens the node itself: docs/doctor.md; exit code 0 or 1\n\
        ```\n\n\
        `check` looks at the paths of a specification on the machine that it runs on; with `--offline` it goes by their names, for specifications of\n\
        another machine. Streams, layers, images and runtime options are taken to be in order, since they are not in a specification. `replay` goes by the\n\
        findings that are on record, not by the specification: a rule that was off when the record was written has none, and another list or limit\n\
        may find more or less. `check` on the bundles of containers that still run answers those in full.\n\n\
        `seccomp` resolves a profile as the shim does, less the mitigations that the policy switches on. In its output `a0` to `a5` are a call's arguments,\n\
        `low32` is the lower half of one.\n\n\
        Exit codes: 0 nothing to object to, 1 something was refused, looser or different, 2 something could not be read.\n";

    /// Runs, and gives exit code and output.
    fn ran(scratch: &Scratch, args: &[&str]) -> (i32, String) {
        let output = scratch.run(args);
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    }

    #[test]
    fn a_profile_is_shown_as_a_table_and_as_what_a_runtime_gets() {
        let scratch = Scratch::new("seccomp-show");
        let (code, table) = ran(&scratch, &["seccomp", "show", "strict"]);
        assert_eq!(code, 0, "{table}");
        let line = |name: &str| {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            table.lines().filter(|line| line.starts_with(&format!("{name} "))).map(words).collect::<Vec<_>>()
        };
        assert_eq!(line("read"), ["read allow"]);
        assert_eq!(line("clone"), ["clone allow a0 & 0x7e020000 = 0x0", "clone EPERM"]);
        assert_eq!(line("socketpair"), ["socketpair allow low32(a0) = 0x1", "socketpair EPERM"]);
        assert_eq!(line("chroot"), ["chroot EPERM"]);
        assert_eq!(table.lines().last(), Some("any other call               EPERM"));
        let (_, held) = ran(&scratch, &["seccomp", "show", "strict", "--caps", "sys_chroot,CAP_SYS_NICE"]);
        assert!(held.contains("\nchroot                       allow\n"), "{held}");
        let (code, json) = ran(&scratch, &["seccomp", "show", "strict", "--format", "json"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((code, &json["defaultAction"]), (0, &json!("SCMP_ACT_ERRNO")));
        assert!(json["syscalls"].as_array().unwrap().len() > 10);
        // What is printed can be read again, and says the same.
        let file = scratch.write("again.json", &serde_json::to_string(&json).unwrap());
        let (code, same) = ran(&scratch, &["seccomp", "diff", "strict", &file]);
        assert!(code == 0 && same.ends_with("0 calls differ; A is stricter in 0, B in 0\n"), "{same}");
    }

    #[test]
    fn a_policy_with_fewer_mitigations_or_another_profile_of_the_name_is_looser() {
        let own = "[profiles.restricted.rules.\"linux.seccomp\"]\nprofile = \"mine\"\n";
        let at = |name: &str, head: &str, profile: &str| {
            let scratch = Scratch::new(name);
            let policy = scratch.write("policy.toml", &format!("{head}{own}"));
            scratch.write("seccomp.d/mine.json", profile);
            (scratch, policy)
        };
        let tight = r#"{ "include": ["web-service"], "defaultAction": "SCMP_ACT_ERRNO" }"#;
        let wide = r#"{ "include": ["strict"], "defaultAction": "SCMP_ACT_ERRNO" }"#;
        let (scratch, before) = at("mine-before", "mitigations = [\"dirty-pipe\"]\n", tight);
        let (_same, same) = at("mine-same", "mitigations = [\"dirty-pipe\"]\n", tight);
        let (_fewer, fewer) = at("mine-fewer", "", tight);
        let (_wider, wider) = at("mine-wider", "mitigations = [\"dirty-pipe\"]\n", wide);
        assert_eq!(ran(&scratch, &["policy", "diff", &before, &same]), (0, String::new()));
        let (code, shown) = ran(&scratch, &["policy", "diff", &before, &fewer]);
        assert_eq!(code, 1, "{shown}");
        assert!(shown.contains("mitigations: dirty-pipe -> none\n"), "{shown}");
        assert!(shown.contains("profile restricted: LOOSER, its settings of linux.seccomp allow more"), "{shown}");
        let (code, shown) = ran(&scratch, &["policy", "diff", &before, &wider]);
        assert!(code == 1 && shown.contains("profile restricted: LOOSER"), "{shown}");
        assert_eq!(ran(&scratch, &["policy", "diff", &wider, &before]).0, 0);
        let (_, shown) = ran(&scratch, &["policy", "show", "--policy", &before]);
        assert!(shown.starts_with("mitigations dirty-pipe\n"), "{shown}");
    }

    #[test]
    fn two_profiles_are_compared_call_by_call() {
        let scratch = Scratch::new("seccomp-diff");
        let (code, shown) = ran(&scratch, &["seccomp", "diff", "strict", "runtime-default"]);
        assert_eq!(code, 1);
        assert!(shown.contains("\nptrace                       A EPERM, B allow; A is stricter\n"), "{shown}");
        assert!(
            shown.contains("\nioctl                        A EPERM, B allow; A is stricter; low32(a1) = 0x5412\n"),
            "{shown}"
        );
        assert!(shown.contains("A ENOSYS, B allow; A is stricter") && shown.contains(", B in 0\n"), "{shown}");
        let own = r#"{ "include": ["strict"], "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [
            { "names": ["ptrace"], "action": "SCMP_ACT_ALLOW" }, { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 } ] }"#;
        let file = scratch.write("own.json", own);
        let (code, shown) = ran(&scratch, &["seccomp", "diff", "strict", &file]);
        assert_eq!(code, 1);
        assert!(
            shown.contains("\nany other call               A EPERM, B kill the process; B is stricter\n"),
            "{shown}"
        );
        assert!(shown.contains("\nptrace                       A EPERM, B allow; A is stricter\n"), "{shown}");
        assert!(shown.contains("\nmkdir                        A allow, B ENOSYS; B is stricter\n"), "{shown}");
        assert_eq!(ran(&scratch, &["seccomp", "diff", "strict", "strict"]).0, 0);
    }

    #[test]
    fn a_call_is_tried_and_the_entry_that_decides_is_named() {
        let scratch = Scratch::new("seccomp-test");
        for (args, code, words) in [
            (&["strict", "socket", "1"][..], 0, ["socket(1): allow", "by base-network: AF_UNIX"]),
            (&["strict", "socket", "0x1_0"], 2, ["0x1_0", "no number"]),
            (&["strict", "socket", "16", "3", "12"], 1, ["EPERM", "by the default action of strict"]),
            (&["strict", "clone3"], 1, ["ENOSYS", "by base-threads: clone3"]),
            (&["strict", "kill", "-1", "9"], 0, ["kill(-1, 9): allow", "by base-processes"]),
            (&["strict", "splice", "--mitigation", "dirty-pipe"], 1, ["EPERM", "by mitigation dirty-pipe"]),
            (&["strict", "chroot", "--caps", "SYS_CHROOT"], 0, ["allow", "CAP_SYS_CHROOT"]),
            (&["strict", "no_such_call"], 2, ["no system call", "no_such_call"]),
            (&["strict", "read", "--caps", "SYS_X"], 2, ["CAP_SYS_X", "no capabilities"]),
            (&["strict", "read", "--mitigation", "x"], 2, ["no mitigation", "io-uring"]),
            (&["nosuch", "read"], 2, ["nosuch", "web-service, strict, runtime-default"]),
        ] {
            let (found, shown) = ran(&scratch, &[&["seccomp", "test"], args].concat());
            assert_eq!(found, code, "{args:?}: {shown}");
            assert!(words.iter().all(|word| shown.contains(word)), "{args:?}: {shown}");
        }
    }

    #[test]
    fn the_policys_own_profiles_and_mitigations_count() {
        let scratch = Scratch::new("seccomp-own");
        scratch.write("policy.toml", "mitigations = [\"io-uring\", \"mine\"]\n[profiles.restricted.rules.\"linux.seccomp\"]\nprofile = \"queues\"\n");
        let own = r#"{ "include": ["web-service", "base-ipc"], "defaultAction": "SCMP_ACT_ERRNO" }"#;
        scratch.write("seccomp.d/queues.json", own);
        let mine = r#"{ "id": "mine", "comment": "No mkdir.", "kernels": "all", "denies": [{ "comment": "c", "names": ["mkdir"] }] }"#;
        scratch.write("mitigations.d/mine.json", mine);
        let (code, listed) = ran(&scratch, &["seccomp", "list"]);
        assert_eq!(code, 0, "{listed}");
        assert!(listed.contains("profile queues, of the policy's restricted\n"), "{listed}");
        assert!(
            listed.contains("mitigation mine, on: No mkdir.\n") && listed.contains("mitigation ptrace, off ("),
            "{listed}"
        );
        let (code, shown) = ran(&scratch, &["seccomp", "test", "queues", "mkdir"]);
        assert!(code == 1 && shown.contains("by mitigation mine: c"), "{shown}");
        assert_eq!(ran(&scratch, &["seccomp", "test", "queues", "shmget"]).0, 0);
        // The kernel of this machine decides, with or without a policy.
        let file = r#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            { "names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": { "minKernel": "4.8" } } ] }"#;
        let file = scratch.write("docker.json", file);
        assert_eq!(ran(&scratch, &["seccomp", "test", &file, "read"]).0, 0);
        let set = scratch.write("set.json", r#"{ "syscalls": [] }"#);
        let (code, shown) = ran(&scratch, &["seccomp", "show", &set]);
        assert!(code == 2 && shown.contains("a set to include"), "{shown}");
    }

    fn refused(container: &str, arguments: &Value, count: u64) -> Value {
        json!({
            "v": 1, "event": "seccomp", "namespace": "k8s.io", "container": container,
            "identity": { "pod_namespace": "shop", "pod_name": container },
            "refusals": [{
                "syscall": "socket", "number": 41, "architecture": "x86_64", "arguments": arguments, "errno": 1,
                "count": count, "first": "then", "last": "now", "pid": 77, "command": "a\u{1b}[31m",
            }],
        })
    }

    #[test]
    fn refused_calls_are_listed_with_their_last_count() {
        let scratch = Scratch::new("refusals");
        let (alg, vsock) = (json!({ "0": "0x26" }), json!({ "0": "0x28" }));
        let lines = [
            refused("one", &alg, 1),
            json!({ "v": 1, "event": "decision", "container": "one", "record": {} }),
            refused("one", &alg, 9),
            refused("two", &vsock, 4),
        ];
        let log = scratch.write("log", &lines.map(|line| line.to_string() + "\n").concat());
        let output = text(&scratch.run(&["refusals", "--log", &log]).stdout);
        assert_eq!(output.lines().count(), 2, "{output}");
        assert!(output.contains("one shop/one socket(0=0x26) x86_64 errno 1, 9 times"), "{output}");
        assert!(!output.contains('\u{1b}'), "a process chooses its name");
        for only in ["tw", "shop/two"] {
            let output = json_of(&scratch.run(&["refusals", "--log", &log, "--format", "json", only]));
            assert_eq!((output.as_array().unwrap().len(), &output[0]["count"]), (1, &json!(4)), "{only}");
        }
    }

    #[test]
    fn a_processs_name_steers_no_terminal() {
        let scratch = Scratch::new("names");
        // ESC, the CSI of one character, DEL, and what turns the text beside it.
        let name = "a\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{2028}é\n\"";
        let mut record = refused("one", &json!({}), 1);
        record["refusals"][0]["command"] = json!(name);
        record["identity"]["pod_name"] = json!("\u{85}one");
        let log = scratch.write("log", &(record.to_string() + "\n"));
        for format in ["text", "json"] {
            let output = text(&scratch.run(&["refusals", "--log", &log, "--format", format]).stdout);
            let steers = |c: char| c != '\n' && (c.is_control() || ['\u{202e}', '\u{2028}'].contains(&c));
            assert!(!output.contains(steers), "{output:?}");
            assert!(output.contains('é'), "{output}");
        }
        let output = json_of(&scratch.run(&["refusals", "--log", &log, "--format", "json"]));
        assert_eq!(output[0]["command"], name, "as it was, for a program");
        assert_eq!(output[0]["identity"]["pod_name"], "\u{85}one");
    }

    fn record(container: &str, image: &str, calls: &Value) -> String {
        let identity = json!({
            "kind": "container", "sandbox_id": "s", "pod_namespace": "shop", "pod_name": "web", "pod_uid": "u",
            "container_name": "app", "image_name": image,
        });
        json!({
            "version": 1, "namespace": "k8s.io", "container": container, "identity": identity, "profile": "learner",
            "seccomp": null, "seen": { "calls": calls },
        })
        .to_string()
    }

    #[test]
    fn records_of_an_image_make_one_profile() {
        let scratch = Scratch::new("learn");
        scratch.write("calls/k8s.io:one.json", &record("one", "shop:1", &json!({ "socket": { "values": [2] } })));
        scratch.write(
            "calls/k8s.io:two.json",
            &record("two", "shop:1", &json!({ "socket": { "values": [1] }, "bind": {} })),
        );
        scratch.write("calls/k8s.io:three.json", &record("three", "other", &json!({ "mkdir": {} })));
        scratch.write("calls/.k8s.io:four.json.7", "half of a rec");
        let calls = scratch.0.join("calls").display().to_string();
        let run = |words: &[&str]| scratch.run(&[&["learn"], words, &["--records", &calls]].concat());
        assert_eq!(text(&run(&["list"]).stdout).lines().count(), 3);
        assert_eq!(text(&run(&["show", "shop:1"]).stdout), "bind\nsocket 0x1 0x2\n");
        let profile = json_of(&run(&["write", "shop:1"]));
        assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
        let allowed = profile["syscalls"].to_string();
        assert!(allowed.contains("\"bind\"") && !allowed.contains("\"mkdir\""), "{allowed}");
        assert_eq!(text(&run(&["show", "three"]).stdout), "mkdir\n");
        let none = run(&["write", "nobody"]);
        assert_eq!(none.status.code(), Some(2));
        assert!(text(&none.stderr).contains("no record of \"nobody\""), "{}", text(&none.stderr));
    }

    /// A container as a version without attestation has left it.
    fn unattested(scratch: &Scratch, id: &str, pid: u32) {
        let bundle = &format!("run/io.containerd.runtime.v2.task/k8s.io/{id}/palisade");
        let grant = json!({
            "profile": "restricted",
            "identity": { "kind": "standalone", "sandbox_id": "", "pod_namespace": "shop", "pod_name": "cart", "pod_uid": "",
                "container_name": "", "image_name": "" },
            "state_directory": "/run/containerd", "uid": 7, "gid": 7, "host_uid": 7, "host_gid": 7, "additional_gids": [],
            "user_remapped": false,
            "capabilities": { "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] },
            "no_new_privileges": true, "apparmor_profile": "", "selinux_label": "", "oom_score_adj": null, "rlimits": [],
            "scheduler": null, "io_priority": null, "devices": [], "memory_limit": 0,
        });
        scratch.write(&format!("{bundle}/grant.json"), &grant.to_string());
        let record = json!({ "runtime": "Embedded", "pid": pid, "start_time": 0, "sandbox": "", "socket": "" });
        scratch.write(&format!("{bundle}/container.json"), &record.to_string());
        fs::set_permissions(scratch.0.join(bundle), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn a_container_that_nothing_is_known_of_is_not_verified() {
        let scratch = Scratch::new("verify");
        let state = scratch.0.join("run").display().to_string();
        let run = |args: &[&str]| scratch.run(&[args, &["--state", &state]].concat());
        assert_eq!(run(&["verify", "--all"]).status.code(), Some(0), "there is none");
        assert_eq!(run(&["verify", "c1"]).status.code(), Some(2), "nor one of that id");
        unattested(&scratch, "c1", 1);
        for (args, code) in
            [(&["verify", "c"][..], 1), (&["verify", "--all"], 1), (&["verify", "other"], 2), (&["ps"], 0)]
        {
            let output = run(args);
            assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
            assert_eq!(String::from_utf8_lossy(&output.stdout).contains("unknown"), code != 2, "{args:?}: {output:?}");
        }
        for command in [&["verify", "--all"][..], &["ps"]] {
            let output = run(&[command, &["--format", "json"]].concat());
            let all: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((all[0]["verdict"].as_str(), all[0]["container"].as_str()), (Some("unknown"), Some("c1")));
        }
        assert_eq!(run(&["verify", "--all", "--namespace", "other"]).status.code(), Some(0));
        assert_eq!(run(&["verify"]).status.code(), Some(2), "whose?");
    }

    /// What is wrong with one container hides no other.
    #[test]
    fn containers_are_told_of_one_by_one() {
        let scratch = Scratch::new("verify-all");
        let state = scratch.0.join("run").display().to_string();
        unattested(&scratch, "creating", 0);
        let run = |command: &[&str]| scratch.run(&[command, &["--state", &state, "--format", "json"]].concat());
        assert_eq!(run(&["verify", "--all"]).status.code(), Some(0), "one that is being created is no drift");
        unattested(&scratch, "damaged", 1);
        scratch.write("run/io.containerd.runtime.v2.task/k8s.io/damaged/palisade/container.json", "{");
        for (command, code) in [(&["verify", "--all"][..], 1), (&["ps"], 0)] {
            let output = run(command);
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            let all: Value = serde_json::from_slice(&output.stdout).unwrap();
            let verdicts: Vec<_> = (0..2).map(|at| all[at]["verdict"].as_str().unwrap()).collect();
            assert_eq!(verdicts, ["creating", "unreadable"], "{all}");
            assert!(all[1]["error"].as_str().unwrap().contains("container.json"), "{all}");
        }
        let lines = scratch.run(&["verify", "--all", "--state", &state]);
        assert!(text(&lines.stdout).contains("k8s.io damaged unreadable\n  "), "{lines:?}");
    }

    /// `docs/cli.md` is the help of each command. `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_documentation_is_the_help() {
        let scratch = Scratch::new("docs");
        let mut page = INTRODUCTION.to_owned();
        for command in [
            "",
            "check",
            "explain",
            "policy",
            "policy validate",
            "policy show",
            "policy schema",
            "policy diff",
            "seccomp",
            "seccomp list",
            "seccomp show",
            "seccomp diff",
            "seccomp test",
            "verify",
            "ps",
            "doctor",
            "install",
            "uninstall",
            "replay",
            "refusals",
            "learn",
            "learn list",
            "learn show",
            "learn write",
            "completion",
        ] {
            let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
            let help = text(&scratch.run(&args).stdout);
            let title = format!("palisade {command}");
            page.push_str(&format!("\n## {}\n\n```text\n{help}```\n", title.trim_end()));
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &page).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap(), page, "UPDATE_GOLDEN=1 writes it anew");
    }
}
