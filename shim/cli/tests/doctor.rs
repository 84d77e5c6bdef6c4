//! `palisade doctor` as an admin runs it: on a planted tree, and on this machine. As root: trusted files have to be root's.

#[cfg(test)]
mod doctor {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    use serde_json::Value;

    /// A node's tree with little in it.
    struct Planted(PathBuf);

    impl Planted {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("palisade-doctor-cli-{name}-{}", std::process::id()));
            let planted = Self(root);
            planted.write("proc/sys/kernel/osrelease", "6.18.44\n");
            planted.write("proc/sys/kernel/randomize_va_space", "2\n");
            planted.write("proc/sys/kernel/arch", "x86_64\n");
            planted.write("etc/palisade/policy.toml", "");
            fs::set_permissions(&planted.0, fs::Permissions::from_mode(0o755)).unwrap();
            planted
        }

        fn write(&self, path: &str, text: &str) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        fn run(&self, args: &[&str]) -> Output {
            let root = self.0.to_str().unwrap();
            run(&[&["--root", root], args].concat())
        }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn run(args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command.arg("doctor").args(args).env_remove("PALISADE_CONFIG").output().unwrap()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn json_of(output: &Output) -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    }

    #[test]
    fn the_exit_code_goes_by_severity() {
        let planted = Planted::new("code");
        let only = ["--only", "host.kernel.address-space"];
        assert_eq!(planted.run(&only).status.code(), Some(0));
        planted.write("proc/sys/kernel/randomize_va_space", "0\n");
        let failed = planted.run(&only);
        assert_eq!(failed.status.code(), Some(1), "high, as --fail-on is");
        let shown = text(&failed.stdout);
        assert!(
            shown.contains("fail           high     host.kernel.address-space: kernel/randomize_va_space is 0"),
            "{shown}"
        );
        assert!(shown.contains("mend: sysctl -w kernel.randomize_va_space=2"), "{shown}");
        assert!(shown.contains("1 checks: 1 fail, 0 unknown, 0 warn, 0 pass, 0 not-applicable"), "{shown}");
        assert!(!shown.contains('\u{1b}'), "no colour where there is no terminal");
        assert_eq!(planted.run(&[&only[..], &["--fail-on", "critical"]].concat()).status.code(), Some(0));
        // What could not be looked at is no pass.
        planted.write("proc/sys/kernel/randomize_va_space", "none\n");
        assert_eq!(planted.run(&only).status.code(), Some(1));
        for args in
            [vec!["--only", "host.nosuch"], vec!["--fail-on", "x"], vec!["--dry-run"], vec!["--root", "/nonexistent"]]
        {
            let output = run(&args);
            assert_eq!(output.status.code(), Some(2), "{args:?}");
            assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
        }
    }

    #[test]
    fn a_tree_with_nothing_in_it_is_no_good_node() {
        let planted = Planted::new("empty");
        for entry in fs::read_dir(&planted.0).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        let output = planted.run(&["--format", "json"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(json_of(&output)["summary"]["unknown"].as_u64().unwrap() > 10);
    }

    #[test]
    fn checks_are_chosen_and_left_out() {
        let planted = Planted::new("chosen");
        let ids = |args: &[&str]| {
            let found = json_of(&planted.run(&[&["--format", "json"], args].concat()));
            let checks = found["checks"].as_array().unwrap().iter();
            checks.map(|check| check["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let policy = ids(&["--only", "host.policy"]);
        assert!(policy.len() > 3 && policy.iter().all(|id| id.starts_with("host.policy.")), "{policy:?}");
        assert_eq!(ids(&["--only", "host.policy", "--skip", "host.policy.valid"]).len(), policy.len() - 1);
        assert_eq!(ids(&["--skip", "host.policy"]).len() + policy.len(), ids(&[]).len());
    }

    #[test]
    fn json_is_by_its_schema() {
        let planted = Planted::new("json");
        let schema: Value = serde_json::from_str(include_str!("../../../docs/doctor.schema.json")).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for found in [json_of(&planted.run(&["--format", "json"])), json_of(&run(&["--format", "json"]))] {
            let errors: Vec<String> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}");
            let counted: u64 = found["summary"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
            assert_eq!(counted, found["checks"].as_array().unwrap().len() as u64);
        }
    }

    /// The parts of SARIF 2.1.0 (OASIS, §3.13 to §3.27) that are used here, kept by hand: no package of ours has the whole schema.
    const SARIF: &str = include_str!("sarif-2.1.0-part.schema.json");

    #[test]
    fn sarif_has_each_check_once_and_names_its_rule() {
        let planted = Planted::new("sarif");
        let found = json_of(&planted.run(&["--format", "sarif"]));
        let validator = jsonschema::draft202012::new(&serde_json::from_str(SARIF).unwrap()).unwrap();
        let errors: Vec<String> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let run = &found["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), rules.len());
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
        }
        assert!(
            results.iter().any(|result| result["kind"] == "fail" && result["level"] == "error"),
            "no handler is palisade's"
        );
        assert!(results.iter().any(|result| result["kind"] == "open"));
    }

    #[test]
    fn a_fix_says_what_it_does_and_does_it() {
        let planted = Planted::new("fix");
        let policy = planted.0.join("etc/palisade/policy.toml");
        fs::set_permissions(&policy, fs::Permissions::from_mode(0o666)).unwrap();
        planted.write("proc/sys/kernel/randomize_va_space", "0\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let only = ["--only", "host.files.policy,host.kernel.address-space", "--fail-on", "critical"];
        let dry = planted.run(&[&only[..], &["--fix", "--dry-run"]].concat());
        assert_eq!((dry.status.code(), mode(&policy)), (Some(1), 0o666));
        assert!(
            text(&dry.stdout).contains("fix: would run: chmod go-w /etc/palisade/policy.toml"),
            "{}",
            text(&dry.stdout)
        );
        let done = planted.run(&[&only[..], &["--fix"]].concat());
        assert!(
            text(&done.stdout).contains("fix: done: chmod go-w /etc/palisade/policy.toml"),
            "{}",
            text(&done.stdout)
        );
        assert_eq!((done.status.code(), mode(&policy)), (Some(0), 0o644), "it looks again");
        // A tree is not a kernel: neither the planted setting nor this machine's is written.
        assert!(!text(&done.stdout).contains("sysctl -w kernel.randomize_va_space=2\nfix"), "{}", text(&done.stdout));
        assert_eq!(fs::read_to_string(planted.0.join("proc/sys/kernel/randomize_va_space")).unwrap(), "0\n");
        let nothing = planted.run(&[&only[..], &["--fix"]].concat());
        assert!(
            text(&nothing.stdout).contains("fix: nothing that is mended without harm"),
            "{}",
            text(&nothing.stdout)
        );
    }

    /// What is behind a link is somebody else's file: its mode is told, and stays.
    #[test]
    fn a_fix_follows_no_link() {
        let planted = Planted::new("link");
        let target = planted.write("home/file", "");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o666)).unwrap();
        let policy = planted.0.join("etc/palisade/policy.toml");
        fs::remove_file(&policy).unwrap();
        std::os::unix::fs::symlink("/home/file", &policy).unwrap();
        let output = planted.run(&["--only", "host.files.policy", "--fix"]);
        let shown = text(&output.stdout);
        assert!(shown.contains("/home/file is of 0:0 with mode 0666"), "{shown}");
        assert!(shown.contains("fix: nothing"), "{shown}");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o666);
    }

    /// Whatever this machine is, it is looked at, and quickly.
    #[test]
    fn the_machine_itself_is_looked_at() {
        let output = run(&["--all", "--format", "json"]);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
        let found = json_of(&output);
        let of = |id: &str| {
            found["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap()["outcome"].clone()
        };
        assert_ne!(of("host.kernel.version"), "unknown");
        assert_ne!(of("host.kernel.address-space"), "unknown");
        assert_eq!(found["root"], "/");
    }
}
