//! `palisade policy sync` as a DaemonSet's container runs it, on a directory that changes as a mounted ConfigMap does.

#[cfg(test)]
mod sync {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::{BufRead as _, BufReader, Lines};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};
    use std::process::{Child, ChildStderr, Command, Output, Stdio};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use palisade::gate::PolicySource;
    use rustix::process::{Pid, Signal, kill_process};
    use serde_json::Value;

    /// A set's policy: the name of the profile in one file, the profile in another, so that half of one and half of another is no policy.
    fn set(name: &str) -> Vec<(String, String)> {
        let own = r#"{ "include": ["base"], "defaultAction": "SCMP_ACT_ERRNO" }"#;
        let uses = format!(
            "[profiles.{name}]\nextends = \"restricted@1\"\n[profiles.{name}.rules.\"linux.seccomp\"]\nprofile = \"{name}\"\n"
        );
        vec![
            ("policy.toml".to_owned(), format!("profile = \"{name}\"\n")),
            (format!("policy.{name}.toml"), uses),
            (format!("seccomp.{name}.json"), own.to_owned()),
        ]
    }

    struct Node {
        dir: PathBuf,
        versions: std::cell::Cell<u32>,
    }

    impl Node {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("palisade-sync-{name}-{}", std::process::id()));
            for made in ["etc/policy.d", "configmap"] {
                fs::create_dir_all(dir.join(made)).unwrap();
            }
            for closed in ["", "etc", "etc/policy.d"] {
                fs::set_permissions(dir.join(closed), fs::Permissions::from_mode(0o755)).unwrap();
            }
            // As the kubelet makes it, which only it can write all the same.
            fs::set_permissions(dir.join("configmap"), fs::Permissions::from_mode(0o777)).unwrap();
            Self { dir, versions: std::cell::Cell::new(0) }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.join(name)
        }

        /// As the kubelet does: the new version beside the old one, a link to it by one rename, links for the keys, then the old one goes.
        fn mount(&self, files: &[(String, String)]) {
            let number = self.versions.replace(self.versions.get() + 1) + 1;
            let (from, version) = (self.path("configmap"), format!("..2026_{number}"));
            fs::create_dir(from.join(&version)).unwrap();
            for (key, text) in files {
                fs::write(from.join(&version).join(key), text).unwrap();
            }
            let before = fs::read_link(from.join("..data")).ok();
            symlink(&version, from.join("..data_tmp")).unwrap();
            fs::rename(from.join("..data_tmp"), from.join("..data")).unwrap();
            for (key, _) in files {
                drop(symlink(Path::new("..data").join(key), from.join(key)));
            }
            if let Some(before) = before {
                fs::remove_dir_all(from.join(before)).unwrap();
            }
        }

        fn command(&self, args: &[&str]) -> Command {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.args(["policy", "sync", "--from"]).arg(self.path("configmap")).arg("--to").arg(self.path("etc"));
            command.arg("--status").arg(self.path("var/status.json")).args(args);
            command
        }

        fn once(&self) -> Output {
            self.command(&["--once"]).output().unwrap()
        }

        /// What the shim goes by: the default profile, and the digest as in records.
        fn in_force(&self) -> (String, String) {
            let loaded = PolicySource::of_node(self.path("etc/policy.toml"), PathBuf::from("/")).load().unwrap();
            (loaded.policy().profile().to_owned(), loaded.sha256().to_owned())
        }

        fn status(&self) -> Value {
            serde_json::from_slice(&fs::read(self.path("var/status.json")).unwrap()).unwrap()
        }

        fn sets(&self) -> usize {
            let entries = fs::read_dir(self.path("etc/cluster")).unwrap().flatten();
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("set-")).count()
        }

        /// The one that stays, and what it says.
        fn start(&self, args: &[&str]) -> Running {
            let mut child = self.command(args).stderr(Stdio::piped()).spawn().unwrap();
            let said = BufReader::new(child.stderr.take().unwrap()).lines();
            Running { child, said }
        }
    }

    impl Drop for Node {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }

    struct Running {
        child: Child,
        said: Lines<BufReader<ChildStderr>>,
    }

    impl Running {
        /// Waits for a line with these words.
        fn says(&mut self, words: &str) -> String {
            loop {
                let line = self.said.next().expect("it ended").unwrap();
                if line.contains(words) {
                    return line;
                }
            }
        }

        fn end(&mut self) {
            kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
            assert!(self.child.wait().unwrap().success());
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    #[test]
    fn what_the_configmap_holds_comes_into_force_and_the_digests_say_which() {
        let node = Node::new("once");
        assert_eq!(node.in_force().0, "restricted");
        node.mount(&set("one"));
        let output = node.once();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(node.in_force().0, "one");
        let status = node.status();
        let outcome = &status["outcome"];
        assert_eq!(outcome["policy"], node.in_force().1.as_str());
        assert_eq!((&outcome["wanted"], &outcome["error"]), (&outcome["in_force"], &Value::Null));
        assert_eq!(status["looked"], status["succeeded"]);
        // As an admin can work it out.
        let listed = Command::new("sh")
            .args([
                "-c",
                "cd etc/cluster/current/ && find . -type f | sed 's,^./,,' | sort | xargs sha256sum | sha256sum",
            ])
            .current_dir(&node.dir)
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert_eq!(outcome["wanted"].as_str(), listed.split(' ').next());
        let check = node.command(&["--check"]).output().unwrap();
        assert!(check.status.success() && serde_json::from_slice::<Value>(&check.stdout).unwrap() == status);
        // Again, and nothing is laid anew.
        let link = fs::read_link(node.path("etc/cluster/current")).unwrap();
        assert!(node.once().status.success());
        assert_eq!(fs::read_link(node.path("etc/cluster/current")).unwrap(), link);
        // Without a key there is no such file any more.
        node.mount(&[]);
        assert!(node.once().status.success());
        assert_eq!(node.in_force().0, "restricted");
    }

    /// Anybody may lock what they can open for reading.
    #[test]
    fn nobody_holds_it_up_by_a_lock_and_what_hangs_is_not_ready() {
        let node = Node::new("locked");
        node.mount(&set("one"));
        assert!(node.once().status.success());
        let directory = fs::File::open(node.path("etc/cluster")).unwrap();
        directory.lock().unwrap();
        node.mount(&set("two"));
        assert!(node.once().status.success());
        assert_eq!(node.in_force().0, "two");
        let mode = fs::metadata(node.path("etc/cluster/lock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // A look of long ago says nothing of today.
        let mut status = node.status();
        assert!(node.command(&["--check"]).output().unwrap().status.success());
        status["looked"] = (status["looked"].as_u64().unwrap() - 121).into();
        fs::write(node.path("var/status.json"), status.to_string()).unwrap();
        assert_eq!(node.command(&["--check"]).output().unwrap().status.code(), Some(1));
        assert!(node.command(&["--check", "--interval", "60"]).output().unwrap().status.success());
    }

    #[test]
    fn what_the_shim_would_not_go_by_leaves_the_old_in_force_and_is_told() {
        let node = Node::new("invalid");
        let before = node.command(&["--check"]).output().unwrap();
        assert_eq!(before.status.code(), Some(2), "nothing was looked at yet");
        node.mount(&set("one"));
        assert!(node.once().status.success());
        let one = node.in_force();
        let wanted = node.status()["outcome"]["wanted"].clone();
        let with = |key: &str, text: &str| [set("two"), vec![(key.to_owned(), text.to_owned())]].concat();
        let large = " ".repeat((1 << 20) + 1);
        for (files, word) in [
            (with("policy.x.toml", "profle = 1\n"), "profle"),
            (with("policy.x.toml", "profile = \"two\"\n"), "profile"),
            (with("seccomp.x.json", "{ \"defaultActoin\": 1 }"), "defaultActoin"),
            (with("mitigations.x.json", "{}"), "missing field"),
            (with("policy.x.toml", "[runtime]\nbinary = \"/usr/sbin/none\"\n"), "none"),
            (with("policy.x.toml", "[images.keys]\nk = \"no key\"\n"), "public key"),
            (with("policy.x.toml", &large), "larger"),
            (with("notes.md", "x"), "notes.md"),
        ] {
            node.mount(&files);
            let output = node.once();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert_eq!(node.in_force(), one);
            let status = node.status();
            let error = status["outcome"]["error"].as_str().unwrap();
            assert!(error.contains(word) && said(&output).contains(error), "{error} {}", said(&output));
            assert_eq!(status["outcome"]["in_force"], wanted);
            assert_ne!(status["outcome"]["wanted"], wanted);
            let check = node.command(&["--check"]).output().unwrap();
            assert_eq!(check.status.code(), Some(1), "{check:?}");
            assert_eq!(node.sets(), 1, "what was refused is not left behind");
        }
        fs::remove_dir_all(node.path("configmap")).unwrap();
        assert_eq!(node.once().status.code(), Some(1));
        assert_eq!((node.in_force(), &node.status()["outcome"]["wanted"]), (one, &Value::Null));
    }

    #[test]
    fn what_the_nodes_admin_put_there_stays_and_what_contradicts_it_is_refused() {
        let node = Node::new("own");
        let own = [
            ("etc/policy.toml", "version = 1\n"),
            ("etc/policy.d/own.toml", "[audit]\nkeep = 9\n"),
            ("etc/cluster/notes", "mine"),
            ("etc/cluster/set-of-mine/file", "mine"),
        ];
        for (name, text) in own {
            fs::create_dir_all(node.path(name).parent().unwrap()).unwrap();
            fs::write(node.path(name), text).unwrap();
        }
        fs::set_permissions(node.path("etc/cluster"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["one", "two", "three"] {
            node.mount(&set(name));
            assert!(node.once().status.success());
            assert_eq!(node.in_force().0, name);
        }
        assert_eq!(node.sets(), 3, "one in force, the one before, and the admin's");
        node.mount(&[("policy.toml".to_owned(), "[audit]\nkeep = 5\n".to_owned())]);
        let refused = node.once();
        assert!(refused.status.code() == Some(1) && said(&refused).contains("keep"), "{refused:?}");
        // And where they make the policy wrong afterwards, that is told although nothing else is wanted.
        node.mount(&set("three"));
        assert!(node.once().status.success());
        fs::write(node.path("etc/policy.d/own.toml"), "profile = \"restricted\"\n").unwrap();
        let wrong = node.once();
        assert!(wrong.status.code() == Some(1) && said(&wrong).contains("in force, and wrong"), "{wrong:?}");
        assert_eq!(node.status()["outcome"]["policy"], Value::Null);
        fs::write(node.path("etc/policy.d/own.toml"), own[1].1).unwrap();
        for (name, text) in own {
            assert_eq!(fs::read_to_string(node.path(name)).unwrap(), text);
        }
    }

    #[test]
    fn the_policy_that_an_installation_begins_with_leaves_every_key_to_the_cluster() {
        let node = Node::new("skeleton");
        fs::write(node.path("etc/policy.toml"), include_str!("../src/install/policy.toml")).unwrap();
        let all = "version = 1\nprofile = \"baseline\"\n[audit]\nkeep = 5\n[profiles.restricted.rules.\"res.pids\"]\nmax = 300\n";
        node.mount(&[("policy.toml".to_owned(), all.to_owned())]);
        let output = node.once();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(node.in_force().0, "baseline");
    }

    #[test]
    fn every_example_comes_into_force_beside_the_policy_that_an_installation_begins_with() {
        let node = Node::new("examples");
        fs::write(node.path("etc/policy.toml"), include_str!("../src/install/policy.toml")).unwrap();
        let mut policies = BTreeSet::new();
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/examples")).unwrap() {
            let path = entry.unwrap().path().join("policy.toml");
            node.mount(&[("policy.toml".to_owned(), fs::read_to_string(&path).unwrap())]);
            let output = node.once();
            assert!(output.status.success(), "{path:?} {output:?}");
            let outcome = &node.status()["outcome"];
            assert_eq!(outcome["wanted"], outcome["in_force"], "{path:?}");
            policies.insert(node.in_force().1);
        }
        assert!(policies.len() > 5, "{policies:?}");
    }

    #[test]
    fn what_a_newer_policy_loosens_is_told() {
        let node = Node::new("looser");
        node.mount(&[("policy.toml".to_owned(), "version = 1\n".to_owned())]);
        assert!(node.once().status.success());
        let looser = "[profiles.restricted.rules.\"res.pids\"]\nmax = 30000\n";
        node.mount(&[("policy.toml".to_owned(), looser.to_owned())]);
        let output = node.once();
        assert!(output.status.success());
        assert!(
            said(&output).contains("profile restricted: LOOSER") && said(&output).contains("4096 -> 30000"),
            "{output:?}"
        );
    }

    #[test]
    fn a_change_is_seen_at_once_a_restart_takes_up_what_is_there_and_sigterm_ends_it() {
        let node = Node::new("stays");
        node.mount(&set("one"));
        // An interval that never comes: what is seen is seen because it changed.
        let mut running = node.start(&["--interval", "100000"]);
        running.says("is in force");
        assert_eq!(node.in_force().0, "one");
        node.mount(&set("two"));
        running.says("is in force");
        assert_eq!(node.in_force().0, "two");
        node.mount(&[("policy.toml".to_owned(), "profle = 1\n".to_owned())]);
        running.says("is refused");
        assert_eq!(node.in_force().0, "two");
        let begun = Instant::now();
        running.end();
        assert!(begun.elapsed() < Duration::from_secs(2));
        node.mount(&set("three"));
        let mut running = node.start(&["--interval", "1"]);
        running.says("is in force");
        assert_eq!(node.in_force().0, "three");
        // Idle, it removes the set before.
        let until = Instant::now() + Duration::from_secs(20);
        while node.sets() > 1 {
            assert!(Instant::now() < until, "the set before is still there");
            std::thread::sleep(Duration::from_millis(50));
        }
        // What a node's admin mends is seen without a change of the ConfigMap.
        fs::write(node.path("etc/policy.d/own.toml"), "profile = \"restricted\"\n").unwrap();
        running.says("in force, and wrong");
        fs::remove_file(node.path("etc/policy.d/own.toml")).unwrap();
        running.says("in force again");
        running.end();
    }

    #[test]
    fn whoever_reads_meanwhile_has_one_set_as_a_whole() {
        let node = Node::new("readers");
        let over = AtomicBool::new(false);
        let mut sets = BTreeSet::new();
        node.mount(&set("n0"));
        assert!(node.once().status.success());
        sets.insert(node.in_force());
        let seen = std::thread::scope(|scope| {
            let read = || {
                let mut seen = BTreeSet::new();
                while !over.load(Ordering::Relaxed) {
                    // A mixture is no policy, and this fails.
                    seen.insert(node_in_force(&node.dir));
                }
                seen
            };
            let readers = [scope.spawn(read), scope.spawn(read)];
            let swapped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                for number in 1..40 {
                    node.mount(&set(&format!("n{number}")));
                    let output = node.once();
                    assert!(output.status.success(), "{output:?}");
                    sets.insert(node.in_force());
                }
            }));
            over.store(true, Ordering::Relaxed);
            let seen: BTreeSet<_> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
            swapped.unwrap();
            seen
        });
        assert!(seen.is_subset(&sets), "{seen:?}");
        assert!(seen.len() > 3, "the readers saw no swap");
    }

    fn node_in_force(dir: &Path) -> (String, String) {
        let loaded = PolicySource::of_node(dir.join("etc/policy.toml"), PathBuf::from("/")).load();
        let loaded = loaded.unwrap_or_else(|error| panic!("{error} {:?}", std::error::Error::source(&error)));
        (loaded.policy().profile().to_owned(), loaded.sha256().to_owned())
    }

    /// strace ends it at each of its calls that change something, one after the other.
    #[test]
    fn killed_at_any_step_it_leaves_the_old_or_the_new_and_the_next_one_goes_on() {
        let node = Node::new("killed");
        node.mount(&set("n0"));
        assert!(node.once().status.success());
        let calls = "mkdir,openat,write,fchmod,chmod,fsync,symlink,symlinkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,flock";
        let (mut killed, mut news) = (0, 0);
        for step in 1.. {
            let old = node.in_force();
            node.mount(&set(&format!("n{step}")));
            let once = node.command(&["--once"]);
            let mut traced = Command::new("strace");
            traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
            // Programs are loaded by `openat` as well; none of what follows the last call of a run is ever met.
            traced.args(["-e", &format!("inject={calls}:signal=KILL:when={step}")]);
            traced.arg(once.get_program()).args(once.get_args()).stdout(Stdio::null()).stderr(Stdio::null());
            let ended = traced.status().expect("strace is there");
            let now = node.in_force();
            assert!(now == old || now.0 == format!("n{step}"), "step {step}: {now:?}");
            let is_new = now != old;
            let after = node.once();
            assert!(after.status.success(), "step {step}: {after:?}");
            assert_eq!(node.in_force().0, format!("n{step}"));
            assert!(node.sets() <= 2, "step {step}: {} sets", node.sets());
            if ended.success() {
                break;
            }
            killed += 1;
            news += usize::from(is_new);
        }
        assert!(killed > 30 && news > 0, "{killed} {news}");
    }
}
