//! `palisade install` on planted nodes, whose containerd is said and not run: what real ones make of it is tested in the suite. As root: what is
//! installed has to be root's.

#[cfg(test)]
mod install {
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output, Stdio};
    use std::time::{Duration, Instant};

    use serde_json::Value;
    use sha2::{Digest as _, Sha256};

    const TWO: &str = "2.1.9";
    const LATER: &str = "2.2.1";
    const ONE: &str = "1.7.24";
    const CONFIG: &str = "etc/containerd/config.toml";
    const DROP_IN: &str = "etc/containerd/conf.d/palisade.toml";
    const RECORD: &str = "var/lib/palisade/install/record.json";
    const SHIM: &str = "usr/local/bin/containerd-shim-palisade-v1";

    /// What it is called, what is planted, and what the refusal says.
    type Hindrance = (&'static str, fn(&Planted), &'static str);

    /// A node's tree, and beside it the programs to be installed: scripts that say the version.
    struct Planted {
        root: PathBuf,
        from: PathBuf,
    }

    impl Planted {
        fn new(name: &str) -> Self {
            let base = std::env::temp_dir().join(format!("palisade-install-{name}-{}", std::process::id()));
            let planted = Self { root: base.join("node"), from: base.join("from") };
            for directory in ["usr/local/bin", "etc", "var/lib", "run"] {
                fs::create_dir_all(planted.root.join(directory)).unwrap();
            }
            fs::create_dir_all(&planted.from).unwrap();
            planted.build("first");
            planted
        }

        /// Programs of this version, with something in them that tells one build from another.
        fn build(&self, what: &str) {
            for name in ["containerd-shim-palisade-v1", "palisade"] {
                let text = format!("#!/bin/sh\n# {what}\necho {name} {}\n", env!("CARGO_PKG_VERSION"));
                let path = self.from.join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        }

        fn read(&self, path: &str) -> String {
            fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
        }

        fn has(&self, path: &str) -> bool {
            fs::symlink_metadata(self.root.join(path)).is_ok()
        }

        fn command(&self, verb: &str, version: &str, args: &[&str]) -> Command {
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.arg(verb).arg("--root").arg(&self.root).args(["--containerd-version", version]);
            if verb == "install" && !args.contains(&"--rollback") {
                command.arg("--from").arg(&self.from);
            }
            command.args(args).env_remove("PALISADE_CONFIG");
            command
        }

        fn install(&self, version: &str, args: &[&str]) -> Output {
            self.command("install", version, args).output().unwrap()
        }

        fn uninstall(&self, version: &str, args: &[&str]) -> Output {
            self.command("uninstall", version, args).output().unwrap()
        }

        /// Everything that is there: kind, mode, owner and content.
        fn all(&self) -> BTreeMap<PathBuf, String> {
            let mut found = BTreeMap::new();
            let mut todo = vec![self.root.clone()];
            while let Some(directory) = todo.pop() {
                for entry in fs::read_dir(directory).unwrap() {
                    let path = entry.unwrap().path();
                    let meta = fs::symlink_metadata(&path).unwrap();
                    let content = if meta.is_dir() {
                        todo.push(path.clone());
                        String::new()
                    } else if meta.is_symlink() {
                        fs::read_link(&path).unwrap().display().to_string()
                    } else {
                        String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
                    };
                    let line = format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid());
                    found.insert(path.strip_prefix(&self.root).unwrap().to_owned(), line);
                }
            }
            found
        }
    }

    impl Drop for Planted {
        fn drop(&mut self) {
            fs::remove_dir_all(self.root.parent().unwrap()).unwrap();
        }
    }

    fn said(output: &Output) -> String {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Ended with this code; what it said.
    fn ended(output: &Output, code: i32) -> String {
        let said = said(output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    /// Handlers of a configuration, by whichever section it has.
    fn handlers(text: &str) -> Vec<String> {
        let table: toml::Table = text.trim_start_matches('\u{feff}').parse().unwrap();
        let plugins = table.get("plugins").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let runtimes = plugins.values().filter_map(|plugin| plugin.get("containerd")?.get("runtimes")?.as_table());
        runtimes.flat_map(|table| table.keys().cloned()).collect()
    }

    #[test]
    fn a_node_without_a_configuration_gets_a_small_one_and_loses_it_again() {
        for (version, kind) in
            [(TWO, "io.containerd.runc.v2"), (LATER, "io.containerd.palisade.v1"), (ONE, "io.containerd.runc.v2")]
        {
            let planted = Planted::new(&format!("none-{version}"));
            let before = planted.all();
            let plan = ended(&planted.install(version, &["--dry-run"]), 1);
            assert!(plan.contains("nothing was done: this is the plan"), "{plan}");
            assert_eq!(planted.all(), before, "a dry run changes nothing");
            // Done, and containerd has still to be restarted.
            let done = ended(&planted.install(version, &[]), 1);
            assert!(done.contains("containerd has to be restarted"), "{done}");
            let told = if version == ONE { planted.read(CONFIG) } else { planted.read(DROP_IN) };
            assert!(told.contains(kind), "{version}: {told}");
            assert_eq!(planted.read(CONFIG).contains("imports"), version != ONE);
            if version == ONE {
                assert_eq!(handlers(&told), ["palisade", "runc"], "1.7 forgets its own runc otherwise");
            }
            let installed = planted.all();
            assert_eq!(installed[Path::new(SHIM)].split(' ').take(2).collect::<Vec<_>>(), ["100755", "0:0"]);
            for directory in ["var/lib/palisade", "var/log/palisade", "var/lib/palisade/install"] {
                assert!(installed[Path::new(directory)].starts_with("40700 "), "{directory}");
            }
            let again = ended(&planted.install(version, &[]), 1);
            assert!(again.contains("nothing to do"), "{again}");
            assert_eq!(planted.all(), installed, "a second run changes nothing");
            ended(&planted.uninstall(version, &["--dry-run"]), 1);
            assert_eq!(planted.all(), installed);
            ended(&planted.uninstall(version, &[]), 1);
            let after = planted.all();
            let left: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
            // Directories above what was put there, which containerd has itself on a node.
            assert!(left.iter().all(|path| !path.to_string_lossy().contains("palisade")), "{left:?}");
        }
    }

    /// Configurations that admins have, each with its name, for containerd 2.x.
    const ODD_TWO: &[(&str, &str)] = &[
        (
            "plain",
            "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n",
        ),
        (
            "crlf",
            "# mine\r\nversion = 3\r\nroot = \"/var/lib/containerd\" # x\r\n[grpc]\r\naddress = \"/run/c.sock\"\r\n",
        ),
        ("no newline at the end", "version = 3"),
        ("version last", "root = '/x'\nstate = '/y'\nversion = 2\n\n[debug]\nlevel = 'info'\n"),
        ("version with a comment", "version = 2 # do not touch\n"),
        ("a quoted key", "\"version\" = 3\n'root' = '/x'\n"),
        (
            "an inline table",
            "version = 3\ngrpc = { address = '/run/c.sock' }\nplugins = { 'io.containerd.cri.v1.runtime' = { enable_cdi = true } }\n",
        ),
        ("imports empty", "version = 3\nimports = []\n"),
        ("imports of others", "version = 3\nimports = ['/etc/other/own-*.toml', \"x.toml\"] # two\n"),
        ("imports over lines", "version = 3\nimports = [ # a list\n  '/etc/other/own-*.toml', # one\n]\n"),
        ("imports last", "version = 3\nroot = '/x'\nimports = ['/etc/other/own-*.toml']"),
        ("a quoted import", "version = 3\n\"imports\" = ['/etc/other/own-*.toml']\n"),
        (
            "dotted keys",
            "version = 3\ngrpc.address = '/run/c.sock'\nplugins.'io.containerd.cri.v1.runtime'.enable_cdi = true\n",
        ),
        ("only comments", "# nothing yet\n\n"),
        ("nothing", ""),
        ("a string with the word", "version = 3\nroot = '''\nversion = 9\nimports = [\n'''\n"),
    ];

    #[test]
    fn an_odd_configuration_gets_one_line_and_is_byte_for_byte_itself_again() {
        for (name, text) in ODD_TWO {
            let planted = Planted::new(&format!("odd-two-{}", name.replace(' ', "-")));
            planted.write(CONFIG, text);
            planted.write("etc/containerd/x.toml", "version = 3\n");
            let before = planted.all();
            let refused = ended(&planted.install(TWO, &[]), 2);
            assert!(refused.contains("imports = [\"/etc/containerd/conf.d/*.toml\"]"), "{name}: {refused}");
            assert_eq!(planted.all(), before, "{name}: a refusal changes nothing");
            ended(&planted.install(TWO, &["--edit-config"]), 1);
            let edited = planted.read(CONFIG);
            let record: Value = serde_json::from_str(&planted.read(RECORD)).unwrap();
            let inserted = record["files"][format!("/{CONFIG}")]["inserted"].as_str().unwrap();
            assert_eq!(edited.replacen(inserted, "", 1), *text, "{name}: nothing but the addition");
            let table: toml::Table = edited.parse().unwrap();
            assert_eq!(table["imports"][0].as_str(), Some("/etc/containerd/conf.d/*.toml"), "{name}");
            // Read in the format of the file that imports it, or that file would be lost.
            let own: toml::Table = planted.read(DROP_IN).parse().unwrap();
            assert_eq!(own["version"], table["version"], "{name}");
            ended(&planted.uninstall(TWO, &[]), 1);
            assert_eq!(planted.read(CONFIG), *text, "{name}");
        }
    }

    #[test]
    fn a_later_change_of_the_admins_stays_when_the_line_goes() {
        let planted = Planted::new("later");
        planted.write(CONFIG, "version = 3\n");
        ended(&planted.install(TWO, &["--edit-config"]), 1);
        planted.write(CONFIG, &format!("{}[debug]\nlevel = 'warn'\n", planted.read(CONFIG)));
        let again = ended(&planted.install(TWO, &[]), 1);
        assert!(again.contains("nothing to do"), "{again}");
        // Somebody else has put a drop-in where ours is: the line is theirs as well by now.
        planted.write("etc/containerd/conf.d/gpu.toml", "version = 3\n");
        let left = ended(&planted.uninstall(TWO, &[]), 1);
        assert!(left.contains("left: ") && left.contains("/etc/containerd/conf.d/gpu.toml"), "{left}");
        assert!(planted.read(CONFIG).contains("imports") && !planted.has(DROP_IN));
        fs::remove_file(planted.root.join("etc/containerd/conf.d/gpu.toml")).unwrap();
        planted.write(CONFIG, "version = 3\n[debug]\nlevel = 'warn'\n");
        ended(&planted.install(TWO, &["--edit-config"]), 1);
        ended(&planted.uninstall(TWO, &[]), 1);
        assert_eq!(planted.read(CONFIG), "version = 3\n[debug]\nlevel = 'warn'\n");
    }

    const ODD_ONE: &[(&str, &str)] = &[
        ("plain", "version = 2\n"),
        ("cri without handlers", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"x/y:1\""),
        (
            "crlf and handlers",
            "version = 2\r\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\r\nruntime_type = \"io.containerd.runc.v2\"\r\n",
        ),
        ("nothing", ""),
        (
            "single quotes",
            "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd]\ndefault_runtime_name = 'kata'\n[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.kata]\nruntime_type = 'x'\n",
        ),
    ];

    #[test]
    fn in_the_older_containerd_the_file_itself_is_added_to_and_never_replaced_by_a_drop_in() {
        for (name, text) in ODD_ONE {
            let planted = Planted::new(&format!("odd-one-{}", name.replace(' ', "-")));
            planted.write(CONFIG, text);
            let before = planted.all();
            let refused = ended(&planted.install(ONE, &[]), 2);
            assert!(
                refused.contains("containerd.runtimes.palisade]") && refused.contains("--edit-config"),
                "{refused}"
            );
            assert_eq!(planted.all(), before, "{name}");
            ended(&planted.install(ONE, &["--edit-config"]), 1);
            let edited = planted.read(CONFIG);
            assert!(edited.starts_with(text), "{name}: {edited}");
            let mut names = handlers(text);
            names.retain(|name| name != "runc");
            names.push("palisade".to_owned());
            if handlers(text).is_empty() {
                names.push("runc".to_owned());
            }
            names.sort();
            let mut found = handlers(&edited);
            found.sort();
            assert_eq!(found, names, "{name}: {edited}");
            assert!(!planted.has("etc/containerd/conf.d"), "no drop-in");
            // Wishes that change are written in place of the old ones, and not beside them.
            ended(&planted.install(ONE, &["--edit-config", "--form", "type"]), 1);
            let edited = planted.read(CONFIG);
            assert!(edited.contains("io.containerd.palisade.v1") && !edited.contains("runtime_path"), "{edited}");
            ended(&planted.uninstall(ONE, &[]), 1);
            assert_eq!(planted.read(CONFIG), *text, "{name}");
        }
    }

    #[test]
    fn in_the_older_containerd_the_file_whose_section_counts_is_added_to() {
        let planted = Planted::new("counts");
        planted.write(CONFIG, "version = 2\nimports = ['/etc/containerd/own.d/*.toml']\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'a'\n");
        let theirs = "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'b'\n";
        planted.write("etc/containerd/own.d/cri.toml", theirs);
        ended(&planted.install(ONE, &["--edit-config"]), 1);
        assert!(planted.read("etc/containerd/own.d/cri.toml").starts_with(theirs));
        assert!(planted.read("etc/containerd/own.d/cri.toml").contains("runtimes.palisade]"));
        assert!(!planted.read(CONFIG).contains("runtimes.palisade]"));
    }

    #[test]
    fn what_is_not_understood_or_not_ours_is_refused_and_nothing_is_changed() {
        let runc = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.palisade]\nruntime_type = 'io.containerd.runc.v2'\n";
        let old = "io.containerd.grpc.v1.cri";
        let covered = "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n";
        let with: &[(&str, &str, String, &[&str], &str)] = &[
            ("version 1", TWO, "version = 1\n[plugins.cri]\n".into(), &[], "config migrate"),
            ("no version", TWO, "[plugins.cri]\n".into(), &["--edit-config"], "config migrate"),
            ("no version, 1.7", ONE, "root = '/x'\n".into(), &["--edit-config"], "config migrate"),
            ("a version to come", TWO, "version = 4\n".into(), &[], "is of version 4"),
            ("version 3 in 1.7", ONE, "version = 3\n".into(), &["--edit-config"], "is of version 3"),
            ("no TOML", TWO, "version = 3\n[plugins\n".into(), &["--edit-config"], "no TOML"),
            ("a handler of that name", TWO, format!("version = 3\n{runc}"), &["--edit-config"], "--handler"),
            (
                "an inline table in 1.7",
                ONE,
                format!("version = 2\nplugins = {{ '{old}' = {{ enable_cdi = true }} }}\n"),
                &["--edit-config"],
                "by hand",
            ),
            ("a name that is none", TWO, covered.into(), &["--handler", "Palisade"], "no name for a handler"),
            ("runc's name", TWO, covered.into(), &["--handler", "runc"], "no name for a handler"),
            ("too old", "1.6.38", "version = 2\n".into(), &[], "too old"),
            ("a version that is none", "new", "version = 2\n".into(), &[], "no version"),
            ("no programs", TWO, covered.into(), &["--from", "/nonexistent"], "scripts/build"),
        ];
        for (name, version, text, args, why) in with {
            let planted = Planted::new(&format!("refused-{}", name.replace([' ', ',', '.'], "-")));
            planted.write(CONFIG, text);
            let before = planted.all();
            let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
            command.arg("install").arg("--root").arg(&planted.root).args(["--containerd-version", version]);
            if !args.contains(&"--from") {
                command.arg("--from").arg(&planted.from);
            }
            let refused = ended(&command.args(*args).output().unwrap(), 2);
            assert!(refused.contains(why), "{name}: {refused}");
            assert_eq!(planted.all(), before, "{name}");
        }
    }

    #[test]
    fn a_tree_that_is_in_the_way_is_refused_and_nothing_is_changed() {
        let covered = "version = 3\nimports = ['conf.d/*.toml']\n";
        let plant: &[Hindrance] = &[
            ("somebody-elses-drop-in", |planted| planted.write(DROP_IN, "version = 3\n"), "move it away"),
            ("directory-for-a-file", |planted| fs::create_dir_all(planted.root.join(DROP_IN)).unwrap(), ""),
            (
                "link-to-nowhere",
                |planted| {
                    fs::create_dir_all(planted.root.join("etc/containerd/conf.d")).unwrap();
                    symlink("/nowhere", planted.root.join(DROP_IN)).unwrap();
                },
                "leads nowhere",
            ),
            (
                "others-write-the-directory",
                |planted| {
                    let directory = planted.root.join("usr/local/bin");
                    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
                },
                "root's alone",
            ),
            (
                "another-build",
                |planted| {
                    fs::write(planted.from.join("containerd-shim-palisade-v1"), "#!/bin/sh\necho shim 0.0.1\n")
                        .unwrap();
                },
                "can't be installed",
            ),
            (
                "no-program",
                |planted| fs::write(planted.from.join("palisade"), "not run").unwrap(),
                "can't be installed",
            ),
            ("a-record-of-a-later-version", |planted| planted.write(RECORD, "{\"format\": 2}"), "restore it"),
        ];
        for (name, make, why) in plant {
            let planted = Planted::new(&format!("way-{name}"));
            planted.write(CONFIG, covered);
            make(&planted);
            let before = planted.all();
            let refused = ended(&planted.install(TWO, &[]), 2);
            assert!(refused.contains(why), "{name}: {refused}");
            let mut after = planted.all();
            if *name == "a-record-of-a-later-version" {
                after.retain(|path, _| !path.ends_with("lock") && !path.ends_with("kept"));
            }
            assert_eq!(after, before, "{name}");
        }
    }

    #[test]
    fn links_modes_and_owners_of_the_admins_stay() {
        let planted = Planted::new("links");
        planted.write("etc/rancher/containerd.toml", "version = 3\n");
        let target = planted.root.join("etc/rancher/containerd.toml");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o440)).unwrap();
        chown(&target, Some(0), Some(44)).unwrap();
        fs::create_dir_all(planted.root.join("etc/containerd")).unwrap();
        // Absolute, as within the node: not of the machine that this runs on.
        symlink("/etc/rancher/containerd.toml", planted.root.join(CONFIG)).unwrap();
        ended(&planted.install(TWO, &["--edit-config"]), 1);
        assert!(fs::symlink_metadata(planted.root.join(CONFIG)).unwrap().is_symlink());
        assert!(planted.read("etc/rancher/containerd.toml").contains("imports"));
        let meta = fs::metadata(&target).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o440, 0, 44));
        ended(&planted.uninstall(TWO, &[]), 1);
        assert_eq!(planted.read("etc/rancher/containerd.toml"), "version = 3\n");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o440);
    }

    #[test]
    fn a_glob_of_the_admins_is_made_use_of_whatever_else_is_imported() {
        let planted = Planted::new("glob");
        // Relative, and one that leads back to the file itself.
        planted.write(CONFIG, "version = 2\nimports = ['own.d/../own.d/pal*.toml', 'own.d/z.toml']\n");
        planted.write("etc/containerd/own.d/z.toml", "version = 2\nimports = ['config.toml', 'own.d/z.toml']\n");
        let before = planted.read(CONFIG);
        ended(&planted.install(TWO, &[]), 1);
        assert_eq!(planted.read(CONFIG), before, "nothing of the admin's is changed");
        let own = planted.read("etc/containerd/own.d/palisade.toml");
        assert!(own.contains("version = 2") && own.contains("io.containerd.grpc.v1.cri"), "{own}");
    }

    #[test]
    fn k3s_is_found_and_its_own_file_is_not_changed() {
        let planted = Planted::new("k3s");
        let config = "var/lib/rancher/k3s/agent/etc/containerd/config.toml";
        planted.write(config, "version = 3\n");
        let refused = ended(&planted.install(TWO, &["--edit-config"]), 2);
        assert!(refused.contains("written by k3s") && refused.contains("config-v3.toml.tmpl"), "{refused}");
        planted.write(
            config,
            "version = 3\nimports = ['/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d/*.toml']\n",
        );
        ended(&planted.install(TWO, &[]), 1);
        assert!(planted.has("var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d/palisade.toml"));
    }

    #[test]
    fn cgroups_by_systemd_are_taken_over_from_runc() {
        for (version, section) in [(3, "io.containerd.cri.v1.runtime"), (2, "io.containerd.grpc.v1.cri")] {
            let planted = Planted::new(&format!("systemd-{version}"));
            let text = format!(
                "version = {version}\nimports = ['/etc/containerd/conf.d/*']\n[plugins.'{section}'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n[plugins.'{section}'.containerd.runtimes.runc.options]\nSystemdCgroup = true\n"
            );
            planted.write(CONFIG, &text);
            ended(&planted.install(TWO, &[]), 1);
            let own: toml::Table = planted.read(DROP_IN).parse().unwrap();
            let handler = &own["plugins"][section]["containerd"]["runtimes"]["palisade"];
            assert_eq!(handler["options"]["SystemdCgroup"].as_bool(), Some(true));
        }
    }

    #[test]
    fn a_handler_that_the_admin_has_made_is_left_and_keeps_its_shim() {
        let planted = Planted::new("own");
        let text = "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.palisade]\nruntime_type = 'io.containerd.palisade.v1'\n";
        planted.write(CONFIG, text);
        let done = ended(&planted.install(TWO, &[]), 0);
        assert!(done.contains("by the admin's own hand"), "{done}");
        assert_eq!(planted.read(CONFIG), text);
        assert!(planted.has(SHIM) && !planted.has(DROP_IN));
        let refused = ended(&planted.uninstall(TWO, &[]), 2);
        assert!(refused.contains("handler palisade is palisade's as well"), "{refused}");
        assert!(planted.has(SHIM));
        ended(&planted.uninstall(TWO, &["--force"]), 0);
        assert!(!planted.has(SHIM));
    }

    fn covered(name: &str) -> Planted {
        let planted = Planted::new(name);
        planted.write(CONFIG, "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n");
        planted
    }

    #[test]
    fn an_upgrade_can_be_gone_back_from_and_forward_again() {
        let planted = covered("upgrade");
        let none = ended(&planted.install(TWO, &["--rollback"]), 2);
        assert!(none.contains("nothing was installed here"), "{none}");
        ended(&planted.install(TWO, &[]), 1);
        let first = ended(&planted.install(TWO, &["--rollback"]), 2);
        assert!(first.contains("no version to go back to"), "{first}");
        let old = planted.read(SHIM);
        let running = File::open(planted.root.join(SHIM)).unwrap();
        planted.build("second");
        let upgraded = ended(&planted.install(TWO, &[]), 1);
        assert!(upgraded.contains("replace   /usr/local/bin/palisade"), "{upgraded}");
        let new = planted.read(SHIM);
        assert!(old.contains("# first") && new.contains("# second"));
        // Who has the old one open keeps it.
        assert_eq!(std::io::read_to_string(running).unwrap(), old);
        ended(&planted.install(TWO, &["--rollback"]), 1);
        assert_eq!(planted.read(SHIM), old);
        ended(&planted.install(TWO, &["--rollback"]), 1);
        assert_eq!(planted.read(SHIM), new);
        // One that somebody has changed is left.
        planted.write(SHIM, "mine");
        let left = ended(&planted.install(TWO, &["--rollback"]), 1);
        assert!(left.contains("left: /usr/local/bin/containerd-shim-palisade-v1"), "{left}");
        let left = ended(&planted.uninstall(TWO, &[]), 1);
        assert!(left.contains("left: /usr/local/bin/containerd-shim-palisade-v1"), "{left}");
        assert_eq!(planted.read(SHIM), "mine");
        assert!(!planted.has("usr/local/bin/palisade") && !planted.has("var/lib/palisade"));
    }

    #[test]
    fn what_was_there_before_is_put_back() {
        let planted = covered("before");
        planted.write(SHIM, "one of the admin's own");
        planted.write("etc/palisade/policy.toml", "version = 1\nprofile = \"baseline\"\n");
        planted.write("etc/systemd/system/palisade-monitor.service", "[Service]\nExecStart=/bin/true\n");
        let before = planted.all();
        let done = ended(&planted.install(TWO, &[]), 1);
        for note in ["/etc/palisade/policy.toml is there", "/etc/systemd/system/palisade-monitor.service is there"] {
            assert!(done.contains(note), "{done}");
        }
        planted.build("second");
        ended(&planted.install(TWO, &[]), 1);
        ended(&planted.uninstall(TWO, &[]), 1);
        let mut after = planted.all();
        after.retain(|path, _| !path.ends_with("conf.d") && !path.ends_with("log"));
        assert_eq!(after, before);
    }

    #[test]
    fn the_policy_to_begin_with_is_one_that_the_shim_takes() {
        let planted = covered("policy");
        ended(&planted.install(TWO, &[]), 1);
        let policy = planted.root.join("etc/palisade/policy.toml");
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        ended(&command.args(["policy", "validate", "--policy"]).arg(&policy).output().unwrap(), 0);
        // Everything that is commented out in it is right as well.
        let text = fs::read_to_string(&policy).unwrap();
        let keys = |line: &str| {
            line.strip_prefix("# ").filter(|line| line.contains(" = ") || line.starts_with('[')).map(str::to_owned)
        };
        let all: Vec<String> = text.lines().map(|line| keys(line).unwrap_or_else(|| line.to_owned())).collect();
        fs::write(&policy, all.join("\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        ended(&command.args(["policy", "validate", "--policy"]).arg(&policy).output().unwrap(), 0);
        assert!(all.len() > 20 && all.iter().any(|line| line == "mode = \"audit\""), "{all:?}");
    }

    #[test]
    fn containers_that_run_keep_it_from_being_taken_away() {
        let planted = covered("used");
        ended(&planted.install(TWO, &[]), 1);
        planted.write("run/containerd/io.containerd.runtime.v2.task/k8s.io/web/palisade/grant.json", "{}");
        planted.write("run/containerd/io.containerd.runtime.v2.task/k8s.io/others/config.json", "{}");
        let before = planted.all();
        let refused = ended(&planted.uninstall(TWO, &[]), 2);
        assert!(refused.contains("1 container,") && refused.contains("k8s.io/web"), "{refused}");
        assert!(!refused.contains("others"), "{refused}");
        assert_eq!(planted.all(), before);
        // What containerd needs to go on with them stays, and nothing else.
        let forced = ended(&planted.uninstall(TWO, &["--force"]), 1);
        assert!(forced.contains("left: /usr/local/bin/containerd-shim-palisade-v1"), "{forced}");
        assert!(planted.has(SHIM) && !planted.has(DROP_IN) && !planted.has("etc/palisade/policy.toml"));
        fs::remove_dir_all(planted.root.join("run/containerd")).unwrap();
        ended(&planted.uninstall(TWO, &[]), 1);
        assert!(!planted.has(SHIM) && !planted.has("var/lib/palisade"));
    }

    #[test]
    fn two_runs_at_once_are_one_too_many() {
        let planted = covered("lock");
        ended(&planted.install(TWO, &[]), 1);
        let lock = File::open(planted.root.join("var/lib/palisade/install/lock")).unwrap();
        lock.lock().unwrap();
        for refused in [planted.install(TWO, &[]), planted.uninstall(TWO, &[])] {
            assert!(ended(&refused, 2).contains("under way on this node"));
        }
        drop(lock);
        ended(&planted.install(TWO, &[]), 1);
    }

    /// A containerd of scripts, run in the node's tree: `dump` is run when it is asked for its configuration, `restart` in place of a restart.
    fn with_scripts(planted: &Planted, dump: &str, restart: &str) -> Command {
        let listed = Command::new("ldd").arg("/bin/sh").output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
        for path in libraries.chain(["/bin/sh"]) {
            let to = planted.root.join(path.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(path, to).unwrap();
        }
        let dump =
            format!("case \"$*\" in --version) echo containerd x {TWO} x;; *dump) {dump}; echo version = 3;; esac");
        for (name, text) in [("usr/local/bin/containerd", dump.as_str()), ("usr/local/bin/restart", restart)] {
            planted.write(name, &format!("#!/bin/sh\n{text}\n"));
            fs::set_permissions(planted.root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
        command.args(["install", "--edit-config", "--wait", "30", "--restart-command", "/usr/local/bin/restart"]);
        command.arg("--root").arg(&planted.root).arg("--from").arg(&planted.from).env_remove("PALISADE_CONFIG");
        command
    }

    const MANAGED: &str = "version = 3\n# managed\n";
    const MANAGE: &str = "printf 'version = 3\\n# managed\\n' > /etc/containerd/config.toml";

    /// Between the plan and the first change, and between the change and its being undone.
    #[test]
    fn what_somebody_else_writes_meanwhile_is_left_and_told() {
        for (name, dump, restart, told) in [
            ("planned", MANAGE, "exit 0", "was changed by somebody else while palisade was about to"),
            (
                "undone",
                ":",
                &format!("{MANAGE}; exit 1"),
                "apart from /etc/containerd/config.toml, which somebody else",
            ),
        ] {
            let planted = Planted::new(&format!("meanwhile-{name}"));
            planted.write(CONFIG, "version = 3\n");
            let mut command = with_scripts(&planted, dump, restart);
            let before = planted.all();
            let said = ended(&command.output().unwrap(), 2);
            assert!(said.contains(told), "{name}: {said}");
            assert_eq!(planted.read(CONFIG), MANAGED, "{name}");
            planted.write(CONFIG, "version = 3\n");
            assert_eq!(planted.all(), before, "{name}: all else is as it was");
        }
    }

    /// What was done is undone, and containerd is started once more: nobody else begins meanwhile.
    #[test]
    fn the_lock_is_held_until_nothing_more_is_done() {
        let planted = Planted::new("lock-end");
        planted.write(CONFIG, "version = 3\n");
        let restart = "if [ -e /again ]; then echo > /here; read word < /go; fi; : > /again; exit 1";
        let mut command = with_scripts(&planted, ":", restart);
        for name in ["here", "go"] {
            let path = planted.root.join(name);
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        fs::read(planted.root.join("here")).unwrap();
        let other = planted.install(TWO, &["--edit-config"]);
        fs::write(planted.root.join("go"), "on\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(2));
        assert!(ended(&other, 2).contains("under way on this node"));
        assert!(!planted.has("var/lib/palisade"), "and it leaves nothing");
    }

    /// Its file was opened, went with the run that had it, and another run has made it anew: that one has the lock.
    #[test]
    fn a_lock_whose_file_has_gone_is_no_lock() {
        let planted = Planted::new("lock-gone");
        let directory = planted.root.join("var/lib/palisade/install");
        fs::create_dir_all(&directory).unwrap();
        let run = planted.command("install", TWO, &["--edit-config"]);
        let trace = planted.from.join("trace");
        assert!(Command::new("mkfifo").arg(&trace).status().unwrap().success());
        let mut traced = Command::new("strace");
        // Held up between its opening the file and its locking it; that it opened it is told before.
        traced
            .args(["-qq", "-e", "trace=openat,openat2,flock", "-e", "inject=flock:delay_enter=3000000", "-o"])
            .arg(&trace);
        traced.arg(run.get_program()).args(run.get_args()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = traced.spawn().expect("strace is there");
        let mut lines = BufReader::new(File::open(&trace).unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("\"lock\"")));
        fs::remove_file(directory.join("lock")).unwrap();
        let other = File::create(directory.join("lock")).unwrap();
        other.lock().unwrap();
        lines.for_each(drop);
        let refused = ended(&child.wait_with_output().unwrap(), 2);
        assert!(refused.contains("under way on this node"), "{refused}");
    }

    /// Killed at moments all over its run: the next one mends what it left, and all of it can be taken away again.
    #[test]
    fn a_run_that_is_killed_leaves_what_the_next_one_mends() {
        let planted = Planted::new("killed");
        planted.write(CONFIG, "version = 3\r\n# mine\r\n");
        let before = planted.all();
        let start = Instant::now();
        ended(&planted.install(TWO, &["--edit-config"]), 1);
        let whole = start.elapsed();
        let installed = planted.all();
        ended(&planted.uninstall(TWO, &[]), 1);
        let contents = |all: &BTreeMap<PathBuf, String>| {
            let mut all = all.clone();
            all.retain(|path, _| !path.starts_with("var/lib/palisade/install"));
            all
        };
        let mut cut_short = 0;
        for part in 0..24_u32 {
            let mut command = planted.command("install", TWO, &["--edit-config"]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let moment = Instant::now() + whole * part / 24;
            while Instant::now() < moment && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            child.kill().ok();
            cut_short += usize::from(child.wait().unwrap().code().is_none());
            if part % 2 == 0 {
                ended(&planted.install(TWO, &["--edit-config"]), 1);
                assert_eq!(contents(&planted.all()), contents(&installed), "part {part}");
            } else if planted.has(RECORD) {
                // Or it is taken away from there.
                ended(&planted.uninstall(TWO, &[]), 1);
                assert_eq!(planted.read(CONFIG), "version = 3\r\n# mine\r\n", "part {part}");
            }
            if planted.has(RECORD) {
                ended(&planted.uninstall(TWO, &[]), 1);
            }
            assert_eq!(planted.read(CONFIG), "version = 3\r\n# mine\r\n", "part {part}");
            assert!(!planted.has(SHIM) && !planted.has("etc/palisade"), "part {part}");
        }
        assert!(cut_short > 8, "{cut_short} of 24 were killed before their end");
        let left: Vec<PathBuf> = planted.all().into_keys().filter(|path| !before.contains_key(path)).collect();
        assert!(left.iter().all(|path| !path.to_string_lossy().contains("palisade-install")), "{left:?}");
    }

    /// The same of runs that change what is installed, and that take it away.
    #[test]
    fn a_change_or_an_uninstallation_that_is_killed_is_taken_up_by_the_next_run() {
        let planted = Planted::new("killed-later");
        planted.write(CONFIG, "version = 3\n");
        let kill_at = |verb: &str, args: &[&str], micros: u64| {
            let mut child =
                planted.command(verb, TWO, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let moment = Instant::now() + Duration::from_micros(micros);
            while Instant::now() < moment && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            child.kill().ok();
            usize::from(child.wait().unwrap().code().is_none())
        };
        let start = Instant::now();
        ended(&planted.install(TWO, &["--edit-config"]), 1);
        let whole = u64::try_from(start.elapsed().as_micros()).unwrap();
        let mut cut_short = 0;
        for part in 0..10_u64 {
            ended(&planted.install(TWO, &["--edit-config"]), 1);
            cut_short += kill_at("install", &["--edit-config", "--handler", "other"], whole * part / 10);
            ended(&planted.install(TWO, &["--edit-config", "--handler", "other"]), 1);
            assert_eq!(handlers(&planted.read(DROP_IN)), ["other"], "part {part}");
            cut_short += kill_at("uninstall", &[], whole * part / 10);
            if planted.has(RECORD) {
                ended(&planted.uninstall(TWO, &[]), 1);
            }
            assert_eq!(planted.read(CONFIG), "version = 3\n", "part {part}");
            assert!(!planted.has(SHIM) && !planted.has("etc/palisade") && !planted.has(DROP_IN), "part {part}");
        }
        assert!(cut_short > 6, "{cut_short} of 20 were killed before their end");
    }

    /// Killed between a record and a file: what the file still is belongs to palisade as well.
    #[test]
    fn a_file_that_a_killed_run_was_about_to_replace_is_still_its_own() {
        for again in ["install", "uninstall"] {
            let planted = covered(&format!("about-{again}"));
            ended(&planted.install(TWO, &[]), 1);
            let old = planted.read(DROP_IN);
            ended(&planted.install(TWO, &["--handler", "other"]), 1);
            let mut record: Value = serde_json::from_str(&planted.read(RECORD)).unwrap();
            let path = format!("/{DROP_IN}");
            let entry = record["files"][&path]["written"].clone();
            record["unfinished"] = true.into();
            let digest = Sha256::digest(old.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let mut replacing = entry;
            replacing["sha256"] = digest.into();
            record["replacing"] = serde_json::json!({ path: replacing });
            planted.write(RECORD, &record.to_string());
            planted.write(DROP_IN, &old);
            let args: &[&str] = if again == "install" { &["--handler", "other"] } else { &[] };
            ended(&planted.command(again, TWO, args).output().unwrap(), 1);
            assert_eq!(planted.has(DROP_IN), again == "install");
        }
    }

    /// Killed while it wrote: what it had written by then lies beside the place.
    #[test]
    fn what_a_killed_run_has_half_written_goes_with_the_next_one() {
        for again in ["install", "uninstall"] {
            let planted = covered(&format!("half-{again}"));
            ended(&planted.install(TWO, &[]), 1);
            let mut record: Value = serde_json::from_str(&planted.read(RECORD)).unwrap();
            record["unfinished"] = true.into();
            planted.write(RECORD, &record.to_string());
            fs::remove_file(planted.root.join("etc/palisade/policy.toml")).unwrap();
            let half = ["etc/palisade/.palisade-install.policy.toml", "usr/local/bin/.palisade-install.palisade"];
            for path in half {
                planted.write(path, "half");
            }
            ended(&planted.command(again, TWO, &[]).output().unwrap(), 1);
            assert!(half.iter().all(|path| !planted.has(path)), "{again}");
            assert_eq!(planted.has("etc/palisade"), again == "install");
        }
    }

    #[test]
    fn the_plan_is_told_to_programs_as_well() {
        let planted = covered("json");
        let output = planted.install(TWO, &["--dry-run", "--format", "json"]);
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (plan["format"].as_u64(), plan["restart"].as_str(), plan["dry_run"].as_bool()),
            (Some(1), Some("due"), Some(true))
        );
        let changes = plan["changes"].as_array().unwrap();
        let of = |path: &str| changes.iter().find(|change| change["path"] == path).unwrap();
        assert_eq!(of("/etc/containerd/conf.d/palisade.toml")["part"], "configuration");
        assert_eq!(of("/usr/local/bin/palisade")["action"], "write");
        assert_eq!(of("/usr/local/bin/palisade")["sha256"].as_str().map(str::len), Some(64));
    }

    /// What is asked for on the command line goes together, or is refused before anything is looked at.
    #[test]
    fn a_version_that_is_said_goes_with_no_restart() {
        let planted = covered("flags");
        for args in [&["--restart"][..], &["--restart-command", "true"], &["--rollback", "--handler", "x"]] {
            ended(&planted.install(TWO, args), 2);
            assert!(!planted.has(SHIM));
        }
    }

    /// systemd reads the unit, where its checker is here.
    #[test]
    fn the_units_keys_are_known_to_systemd() {
        let planted = covered("unit");
        ended(&planted.install(TWO, &["--bin-dir", "/opt/palisade/bin"]), 1);
        let unit = planted.root.join("etc/systemd/system/palisade-monitor.service");
        assert!(fs::read_to_string(&unit).unwrap().contains("ExecStart=/opt/palisade/bin/palisade monitor\n"));
        // systemd keeps to it by taking openat2 away, without which nothing of the node can be looked at.
        assert!(!planted.read("etc/systemd/system/palisade-monitor.service").contains("RestrictSUIDSGID="));
        let verify = || {
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().map(|output| said(&output))
        };
        // Without systemd there is nothing that could check it.
        let Ok(first) = verify() else { return };
        assert!(!first.contains("Unknown") && !first.contains("ignoring"), "{first}");
        let text = fs::read_to_string(&unit).unwrap();
        fs::write(&unit, text.replace("[Service]", "[Service]\nNosuchKey=yes")).unwrap();
        assert!(verify().unwrap().contains("Unknown key"), "the checker tells of a key that is none");
    }
}
