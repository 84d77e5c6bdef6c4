//! The node: containerd's and palisade's files where a node has them, in namespaces of this test's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Mutex;

use libtest_mimic::Failed;
use nix::mount::{MsFlags, mount};
use palisade_integration::invocation::Invocation;
use palisade_integration::{Assets, Enclosure, Failure, image, poll};

use crate::page::{Command, is_shown};
use crate::root;

/// What a user would pull.
const IMAGE: &str = "docker.io/library/busybox:1.36";
/// Where a user works: what they have checked out, and files of their own.
const WORK: &str = "/var/lib/work";
/// Folders whose files are changed for this node alone.
const CHANGED: &[&str] = &["/etc", "/usr/local", "/opt"];
const SECONDS: u64 = 60;

/// The container that runs.
const RUNNING: &str = "web-1";
/// Words that a reader replaces, and by what.
const REPLACED: &[(&str, &str)] =
    &[("ID", RUNNING), ("IMAGE", IMAGE), ("example/shop:1.2", "learnt-1"), ("/host", "/var/lib/host")];
/// Where a build has put the two programs.
const BUILT: &str = "/var/lib/built";

const POLICY: &str = "/etc/palisade/policy.toml";
const LEARNING: &str = "version = 1\nprofile = \"learner\"\n[audit]\nchain = true\n[profiles.learner]\nextends = \"restricted\"\nlearn = true\n";

/// Commands that go on until they are stopped.
const ENDLESS: &[&str] = &["palisade monitor", "palisade events --follow", "palisade policy sync"];

/// Pages that begin on a node where palisade has never been.
const BARE: &[&str] = &["README.md", "install.md"];

const CONTAINERD: &str = r#"version = 3
imports = ["/etc/containerd/conf.d/*.toml"]

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "PAUSE"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["CNI"]
"#;

const HANDLER: &str = r#"version = 3

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.palisade]
  runtime_type = "io.containerd.palisade.v1"
"#;

/// As systemd would, for the one service that there is.
const SYSTEMCTL: &str = r#"#!/bin/sh
# The node's service manager: containerd alone.
start() { setsid containerd --log-level warn >>/var/log/containerd.log 2>&1 </dev/null & echo $! >/run/containerd.pid; }
stop() { [ -e /run/containerd.pid ] && kill "$(cat /run/containerd.pid)" && while kill -0 "$(cat /run/containerd.pid)" 2>/dev/null; do sleep 0.05; done; rm -f /run/containerd.pid; }
case "$1 $2" in
    "start containerd") start ;;
    "stop containerd") stop ;;
    "restart containerd" | "restart containerd.service") stop; start ;;
    *) exit 0 ;;
esac
"#;

pub(crate) struct Node {
    cli: PathBuf,
    shim: PathBuf,
    /// The pages that were begun.
    is_bare: Mutex<Option<bool>>,
}

impl Node {
    pub(crate) fn start(_: &Enclosure, assets: &Assets) -> Result<Self, Failure> {
        let cli = PathBuf::from(std::env::var_os("PALISADE_CLI").ok_or_else(|| Failure::Missing {
            what: "PALISADE_CLI".to_owned(),
            mend: "scripts/test builds it and sets the variable".to_owned(),
        })?);
        for folder in CHANGED {
            cover(folder)?;
        }
        programs(assets)?;
        write("/etc/systemd/system/containerd.service", "[Service]\nExecStart=/usr/local/sbin/containerd\n")?;
        fs::create_dir_all("/run/systemd/system").map_err(Failure::io("make", Path::new("/run/systemd")))?;
        for (from, name) in [(&cli, "palisade"), (&assets.shim, "containerd-shim-palisade-v1")] {
            let to = Path::new(BUILT).join(name);
            fs::create_dir_all(BUILT).and_then(|()| fs::copy(from, &to)).map_err(Failure::io("copy", from))?;
        }
        work()?;
        let config = CONTAINERD.replace("PAUSE", image::PAUSE).replace("CNI", &assets.cni.display().to_string());
        write("/etc/containerd/config.toml", &config)?;
        fs::create_dir_all("/etc/containerd/conf.d").map_err(Failure::io("make", Path::new("conf.d")))?;
        let node = Self { cli, shim: assets.shim.clone(), is_bare: Mutex::new(None) };
        node.shell("systemctl start containerd")?.success()?;
        await_answer(&node)?;
        let archive = Path::new(WORK).join("busybox.tar");
        image::write_archive(assets, &archive)?;
        node.import(&archive)?;
        image::write_variant(assets, &archive, IMAGE, |_| ())?;
        node.import(&archive)?;
        Ok(node)
    }

    fn import(&self, archive: &Path) -> Result<(), Failure> {
        for namespace in ["default", "k8s.io"] {
            self.shell(&format!("ctr -n {namespace} images import {}", archive.display()))?.success()?;
        }
        Ok(())
    }

    /// The node as the page expects it.
    pub(crate) fn prepare(&self, page: &str) -> Result<(), Failed> {
        let bare = BARE.contains(&page);
        let mut is_bare = self.is_bare.lock().map_err(|_| "an earlier page has failed badly")?;
        if *is_bare == Some(bare) && !bare {
            return Ok(());
        }
        self.sweep()?;
        // A log that is begun under one policy is no chain under another.
        self.shell("rm -rf /var/log/palisade")?.success()?;
        let drop_in = Path::new("/etc/containerd/conf.d/palisade.toml");
        if bare {
            let files = "rm -rf /usr/local/bin/palisade /usr/local/bin/containerd-shim-palisade-v1 /etc/palisade /var/lib/palisade";
            self.shell(files)?.success()?;
            self.shell(&format!("rm -f {}", drop_in.display()))?.success()?;
        } else {
            for (from, name) in [(&self.cli, "palisade"), (&self.shim, "containerd-shim-palisade-v1")] {
                let to = Path::new("/usr/local/bin").join(name);
                fs::remove_file(&to).or_else(absent)?;
                fs::copy(from, &to)?;
            }
            fs::write(drop_in, HANDLER)?;
        }
        self.shell("systemctl restart containerd")?.success()?;
        await_answer(self)?;
        if !bare {
            self.some_work()?;
        }
        *is_bare = Some(bare);
        Ok(())
    }

    /// A container that runs, one that ended, one that was refused.
    fn some_work(&self) -> Result<(), Failed> {
        let run = "ctr -n k8s.io run --runtime io.containerd.palisade.v1";
        write(POLICY, LEARNING)?;
        self.shell(&format!("{run} --rm {IMAGE} learnt-1 true"))?.success()?;
        write(POLICY, "version = 1\nprofile = \"restricted\"\n[audit]\nchain = true\n")?;
        self.shell(&format!("{run} -d {IMAGE} {RUNNING} sleep 600"))?.success()?;
        self.shell(&format!("{run} --rm {IMAGE} job-1 true"))?.success()?;
        self.shell(&format!("{run} --rm --privileged {IMAGE} bad-1 true"))?.refusal()?;
        Ok(())
    }

    /// Runs a command of a page, and compares with what the page says of it.
    pub(crate) fn run(&self, command: &Command) -> Result<(), Failed> {
        let text = replaced(&command.text);
        let endless = ENDLESS.iter().any(|beginning| text.starts_with(beginning)) && !text.contains("--once");
        let text = if endless { format!("timeout -s INT 2 {text}") } else { text };
        let done = self.shell(&text)?;
        let code = done.code();
        let is_stopped = endless && [124, 130].contains(&code);
        if !command.codes.contains(&code) && !is_stopped {
            return Err(format!("ended with {code}, not {:?}: {}{}", command.codes, done.stdout, done.stderr).into());
        }
        let printed = format!("{}{}", done.stdout, done.stderr);
        // What is ended by this test must have done something by then.
        if is_stopped && printed.trim().is_empty() {
            return Err("had said nothing when it was stopped".into());
        }
        for pattern in &command.output {
            let pattern = replaced(pattern);
            if !printed.lines().any(|line| is_shown(&pattern, line)) {
                return Err(format!("does not print {pattern:?}: {printed}").into());
            }
        }
        Ok(())
    }

    fn shell(&self, text: &str) -> Result<Invocation, Failure> {
        let mut bash = Program::new("bash");
        bash.args(["-c", text])
            .current_dir(WORK)
            .env_clear()
            .env("HOME", WORK)
            .env("DIR", BUILT)
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        Invocation::run(&mut bash, b"", SECONDS)
    }

    /// Ends and removes every container.
    fn sweep(&self) -> Result<(), Failed> {
        for namespace in ["default", "k8s.io"] {
            let ctr = format!("ctr -n {namespace}");
            let script = format!(
                "for id in $({ctr} tasks ls -q); do {ctr} tasks kill -s KILL $id; {ctr} tasks delete -f $id; done; \
                 for id in $({ctr} containers ls -q); do {ctr} containers delete $id; done"
            );
            self.shell(&script)?.success()?;
        }
        Ok(())
    }

    pub(crate) fn stop(&self) -> Result<(), Failure> {
        self.sweep().map_err(|failed| Failure::unreadable("what is left", &failed.message().unwrap_or_default()))?;
        self.shell("systemctl stop containerd")?.success().map(drop)
    }
}

/// Whole words alone: between blanks.
fn replaced(text: &str) -> String {
    let by = |word: &str| REPLACED.iter().find(|(known, _)| *known == word).map(|(_, by)| (*by).to_owned());
    text.split(' ').map(|word| by(word).unwrap_or_else(|| word.to_owned())).collect::<Vec<_>>().join(" ")
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Lets a folder be changed without changing the machine's.
fn cover(folder: &str) -> Result<(), Failure> {
    let own = Path::new("/var/lib/changed").join(folder.trim_start_matches('/').replace('/', "-"));
    let (upper, work) = (own.join("upper"), own.join("work"));
    for part in [&upper, &work] {
        fs::create_dir_all(part).map_err(Failure::io("make", part))?;
    }
    let options = format!("lowerdir={folder},upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("changed"), folder, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(Failure::system("cover a folder of the machine"))
}

/// What a distribution installs, before what is there of it.
fn programs(assets: &Assets) -> Result<(), Failure> {
    let folder = Path::new("/usr/local/sbin");
    for (program, name) in [
        (assets.containerd.join("containerd"), "containerd"),
        (assets.containerd.join("ctr"), "ctr"),
        (assets.containerd.join("containerd-shim-runc-v2"), "containerd-shim-runc-v2"),
        (assets.runc.clone(), "runc"),
    ] {
        let link = folder.join(name);
        fs::remove_file(&link).or_else(absent).map_err(Failure::io("replace", &link))?;
        symlink(&program, &link).map_err(Failure::io("link", &link))?;
    }
    let systemctl = folder.join("systemctl");
    write(&systemctl.display().to_string(), SYSTEMCTL)?;
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).map_err(Failure::io("change", &systemctl))
}

/// What a user has at hand: the repository, and a policy that they think of.
fn work() -> Result<(), Failure> {
    fs::create_dir_all(WORK).map_err(Failure::io("make", Path::new(WORK)))?;
    for name in ["deploy", "docs", "scripts"] {
        let (from, to) = (root().join(name), Path::new(WORK).join(name));
        symlink(&from, &to).map_err(Failure::io("link", &to))?;
    }
    let golden = root().join("tests/golden/ctr-default/config.json");
    fs::copy(&golden, format!("{WORK}/config.json")).map_err(Failure::io("copy", &golden))?;
    let bundles = Path::new("/run/containerd/io.containerd.runtime.v2.task/k8s.io");
    symlink(bundles, Path::new(WORK).join("bundles")).map_err(Failure::io("link", bundles))?;
    for folder in ["/var/lib/host", "/var/lib/prometheus/node-exporter"] {
        fs::create_dir_all(folder).map_err(Failure::io("make", Path::new(folder)))?;
    }
    write(&format!("{WORK}/new.toml"), "version = 1\nprofile = \"baseline\"\n")
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    let path = Path::new(path);
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(Failure::io("make", folder))?;
    fs::write(path, text).map_err(Failure::io("write", path))
}

fn await_answer(node: &Node) -> Result<(), Failure> {
    poll::eventually("an answer from containerd", SECONDS, || {
        let answer = node.shell("ctr version").and_then(Invocation::success);
        answer.map(drop).map_err(|failure| failure.to_string())
    })
}
