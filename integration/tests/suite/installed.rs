//! `palisade install` on a node with a real containerd: what it makes of a configuration that an admin wrote, and what becomes of a pod that
//! runs meanwhile. `PALISADE_CLI` names the program; `scripts/test` builds it.
//!
//! The node is this enclosure with an /etc and a /usr/local of its own laid over the machine's. containerd is started anew by a thread here,
//! which a script asks for it: as a node without systemd would have it.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};

use libtest_mimic::{Failed, Trial};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use palisade_integration::assets::Generation;
use palisade_integration::containerd::Runtime;
use palisade_integration::cri::{self, Cri};
use palisade_integration::invocation::Invocation;
use palisade_integration::poll;
use sha2::{Digest as _, Sha256};

use crate::support::{Check, World, trial};

const CONFIG: &str = "/etc/containerd/config.toml";
const SHIM: &str = "/usr/local/bin/containerd-shim-palisade-v1";
const SECONDS: u64 = 90;

pub(crate) fn trials(world: &'static World) -> Vec<Trial> {
    if program().is_none() {
        println!("PALISADE_CLI names no program: nothing is installed");
        return Vec::new();
    }
    vec![
        trial(world, "installer: odd configurations, as containerd itself reads them", odd),
        trial(world, "installer: a node's life with it, and a pod that outlives every step", life),
        trial(world, "installer: its image does the same from a container with four capabilities", by_image),
    ]
}

fn program() -> Option<PathBuf> {
    std::env::var_os("PALISADE_CLI").map(PathBuf::from)
}

/// A directory that is laid over one of the machine's.
struct Over(&'static str);

impl Over {
    fn lay(base: &Path, place: &'static str) -> Result<Self, Failed> {
        let (upper, work) = (base.join(format!("upper{place}")), base.join(format!("work{place}")));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))?;
        let options = format!("lowerdir={place},upperdir={},workdir={}", upper.display(), work.display());
        mount(Some("node"), place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
        Ok(Self(place))
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        // Nobody is left to tell.
        umount2(self.0, MntFlags::MNT_DETACH).ok();
    }
}

/// The node: its files, its containerd, and who starts it anew.
struct Node<'a> {
    world: &'a World,
    base: PathBuf,
    agent: Option<JoinHandle<()>>,
    /// The admin's configuration.
    config: String,
    _over: [Over; 2],
}

impl<'a> Node<'a> {
    fn start(world: &'a World) -> Result<Self, Failed> {
        let base = world.containerd.layout().base.join("installed");
        fs::create_dir_all(&base)?;
        let over = [Over::lay(&base, "/etc")?, Over::lay(&base, "/usr/local")?];
        let config = admins(world)?;
        fs::create_dir_all("/etc/containerd")?;
        fs::create_dir_all("/usr/local/bin")?;
        fs::write(CONFIG, &config)?;
        symlink(world.containerd.assets().containerd.join("containerd"), "/usr/local/bin/containerd")?;
        for build in ["first", "second"] {
            programs(world, &base.join(build), build)?;
        }
        let script = "#!/bin/sh\necho restart > BASE/ask && read -r answer < BASE/done && [ \"$answer\" = ok ]\n";
        fs::write(base.join("restart"), script.replace("BASE", &base.display().to_string()))?;
        let pipes = [base.join("ask"), base.join("done")];
        Invocation::run(Command::new("mkfifo").args(&pipes), b"", 10)?.success()?;
        let agent = Agent {
            base: base.clone(),
            policy: world.containerd.layout().policy(),
            programs: world.containerd.layout().base.join("bin"),
        };
        let agent = Some(thread::spawn(move || agent.run()));
        let node = Self { world, base, agent, config, _over: over };
        node.restart()?;
        Ok(node)
    }

    fn restart(&self) -> Check {
        Invocation::run(Command::new("sh").arg(self.base.join("restart")), b"", SECONDS)?.success()?;
        Ok(())
    }

    fn asked(&self) -> String {
        format!("sh {}", self.base.join("restart").display())
    }

    fn palisade(&self, args: &[&str]) -> Result<Invocation, Failed> {
        let mut command = Command::new(program().ok_or("no program")?);
        command.args(args).args(["--containerd-config", CONFIG]).env_clear();
        Ok(Invocation::run(&mut command, b"", SECONDS)?)
    }

    /// Installs a build; containerd 1.7 has no other way than that the file is added to.
    fn install(&self, build: &str, args: &[&str], code: i32) -> Result<String, Failed> {
        let from = self.base.join(build).display().to_string();
        let edit: &[&str] = if self.world.containerd.is_one_seven() { &["--edit-config"] } else { &[] };
        ended(self.palisade(&[&["install", "--from", &from], edit, args].concat())?, code)
    }

    fn cri(&self) -> Result<Cri, Failed> {
        let cri = poll::eventually("CRI", 30, || {
            let cri = self.world.cri().map_err(|failure| failure.to_string())?;
            cri.ready().map(|()| cri).map_err(|failure| failure.to_string())
        });
        Ok(cri?)
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        fs::write(self.base.join("ask"), "stop\n").ok();
        self.agent.take().map(JoinHandle::join);
    }
}

fn ended(ran: Invocation, code: i32) -> Result<String, Failed> {
    let said = format!("{}{}", ran.stdout, ran.stderr);
    expect_eq!(ran.code(), code, "exit code of {}: {said}", ran.command);
    Ok(said)
}

/// Shim and tool; a build differs from another one by a byte behind its end, which no loader looks at.
fn programs(world: &World, directory: &Path, build: &str) -> Check {
    fs::create_dir_all(directory)?;
    for (from, name) in [
        (world.containerd.assets().shim.clone(), "containerd-shim-palisade-v1"),
        (program().ok_or("no program")?, "palisade"),
    ] {
        let mut bytes = fs::read(from)?;
        bytes.extend_from_slice(build.as_bytes());
        fs::write(directory.join(name), bytes)?;
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The suite's configuration as an admin may have it: without palisade's handlers, with remarks, from an editor of another system.
fn admins(world: &World) -> Result<String, Failed> {
    let text = fs::read_to_string(world.containerd.layout().base.join("config.toml"))?;
    let at = text.find(".containerd.runtimes.palisade").and_then(|at| text.get(..at)?.rfind('['));
    let text = text.get(..at.ok_or("the suite's configuration has no handler")?).unwrap_or_default();
    let imports = match world.containerd.assets().generation {
        Generation::Two => "'imports' = [ # ours\n  \"conf.d/*.toml\",\n]\n",
        Generation::OneSeven => "",
    };
    let (version, rest) = text.split_once('\n').ok_or("no lines")?;
    Ok(format!("# Written by hand; do not touch.\n{version} # the format\n{imports}{rest}\n# The end.")
        .replace('\n', "\r\n"))
}

/// Starts containerd anew whenever the script asks for it.
struct Agent {
    base: PathBuf,
    policy: PathBuf,
    programs: PathBuf,
}

impl Agent {
    fn run(self) {
        let mut daemon: Option<Child> = None;
        while fs::read_to_string(self.base.join("ask")).is_ok_and(|asked| asked.trim() == "restart") {
            end(&mut daemon);
            daemon = self.spawn().ok();
            let answer = if daemon.is_some() { "ok\n" } else { "no\n" };
            fs::write(self.base.join("done"), answer).ok();
        }
        end(&mut daemon);
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(self.base.join("containerd.log"))?;
        let path = format!("/usr/local/bin:{}:/usr/sbin:/usr/bin:/sbin:/bin", self.programs.display());
        let mut command = Command::new(self.programs.join("containerd"));
        command.args(["--log-level", "debug", "--config", CONFIG]).env_clear().env("PATH", path);
        command.env("PALISADE_CONFIG", &self.policy).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log).spawn()
    }
}

fn end(daemon: &mut Option<Child>) {
    if let Some(mut daemon) = daemon.take() {
        let pid = i32::try_from(daemon.id()).unwrap_or_default();
        // One that has ended already is waited for all the same.
        kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        daemon.wait().ok();
    }
}

/// With the suite's own containerd out of the way.
fn on_a_node(world: &World, test: impl FnOnce(&Node<'_>) -> Check) -> Check {
    let checked = world.containerd.without(Signal::SIGTERM, || {
        let tested = Node::start(world).and_then(|node| {
            let tested = test(&node);
            let log = fs::read_to_string(node.base.join("containerd.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(15).collect();
            tested.map_err(|failed| {
                let why = failed.message().unwrap_or_default().to_owned();
                Failed::from(format!("{why}\ncontainerd's last words, from behind:\n{}", last.join("\n")))
            })
        });
        Ok(tested)
    });
    fs::remove_dir_all(world.containerd.layout().base.join("installed"))?;
    checked?
}

/// Configurations as admins have them.
const ODD: &[&str] = &[
    "version = VERSION",
    "# mine\r\nversion = VERSION # so\r\n[plugins.'CRI'.containerd.runtimes.kata]\r\nruntime_type = 'io.containerd.kata.v2'\r\n",
    "version = VERSION\n[plugins.\"CRI\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n[plugins.\"CRI\".containerd.runtimes.runc.options]\nSystemdCgroup = true",
    "'version' = VERSION\n[ plugins . 'CRI' . containerd ]\ndefault_runtime_name = 'own'\n[plugins.'CRI'.containerd.runtimes.own]\nruntime_type = 'io.containerd.runc.v2'\n",
    "oom_score = -1\nversion = VERSION\nimports = [\n  # nothing yet\n]\ngrpc = { max_recv_message_size = 16777217 }\n",
    "version = VERSION\nimports = [ 'own-*.toml', ] # ours\n[debug]\nlevel = \"info\"\n",
    "# nothing\n",
    "",
];

/// containerd reads what becomes of each, and nothing that the admin set is lost: the installer itself compares, and this with it.
fn odd(world: &World) -> Check {
    let base = world.containerd.layout().base.join("installed");
    fs::create_dir_all(&base)?;
    let over = [Over::lay(&base, "/etc")?, Over::lay(&base, "/usr/local")?];
    let tested = odd_ones(world, &base);
    drop(over);
    fs::remove_dir_all(&base)?;
    tested
}

fn odd_ones(world: &World, base: &Path) -> Check {
    let said = Invocation::run(Command::new(program().ok_or("no program")?).arg("--version"), b"", 10)?.success()?;
    for name in ["containerd-shim-palisade-v1", "palisade"] {
        fs::write(base.join(name), format!("#!/bin/sh\necho {said}"))?;
        fs::set_permissions(base.join(name), fs::Permissions::from_mode(0o755))?;
    }
    let (version, section) = match world.containerd.assets().generation {
        Generation::Two => ("3", "io.containerd.cri.v1.runtime"),
        Generation::OneSeven => ("2", "io.containerd.grpc.v1.cri"),
    };
    let from = base.display().to_string();
    fs::create_dir_all("/etc/containerd")?;
    // Done, and containerd has still to be restarted, which is not needed to ask it.
    let palisade = |args: &[&str]| -> Result<String, Failed> {
        let mut command = Command::new(program().ok_or("no program")?);
        command.args(args).args(["--containerd-config", CONFIG]).env_clear();
        ended(Invocation::run(&mut command, b"", SECONDS)?, 1)
    };
    for text in ODD {
        let text = text.replace("VERSION", version).replace("CRI", section);
        fs::write(CONFIG, &text)?;
        let mut wanted = handlers(world)?;
        palisade(&["install", "--from", &from, "--edit-config", "--no-monitor"])?;
        wanted.push("palisade".to_owned());
        wanted.sort();
        expect_eq!(handlers(world)?, wanted, "handlers with {text:?}");
        palisade(&["uninstall"])?;
        expect_eq!(fs::read_to_string(CONFIG)?, text, "the admin's file");
    }
    Ok(())
}

/// The handlers that containerd makes of its configuration, sorted.
fn handlers(world: &World) -> Result<Vec<String>, Failed> {
    let mut command = Command::new(world.containerd.assets().containerd.join("containerd"));
    let dump = Invocation::run(command.args(["--config", CONFIG, "config", "dump"]), b"", 10)?.success()?;
    let name = |line: &str| line.trim().strip_suffix(']')?.rsplit_once(".runtimes.").map(|(_, name)| name.to_owned());
    let mut names: Vec<String> = dump.lines().filter_map(name).filter(|name| !name.contains('.')).collect();
    names.sort();
    Ok(names)
}

fn sha(path: impl AsRef<Path>) -> Result<Vec<u8>, Failed> {
    Ok(Sha256::digest(fs::read(path)?).to_vec())
}

fn life(world: &World) -> Check {
    on_a_node(world, |node| {
        let asked = node.asked();
        let restart = ["--restart-command", asked.as_str()];
        // What other tests have put there is not the installer's.
        let had_state = fs::exists("/var/lib/palisade")?;
        let done = node.install("first", &restart, 0)?;
        expect!(done.contains("containerd was restarted and answers"), "{done}");
        let installed = fs::read(CONFIG)?;
        expect_eq!(installed == node.config.as_bytes(), !world.containerd.is_one_seven(), "the admin's file untouched");

        let cri = node.cri()?;
        let pod = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
        let container = cri.start(&pod, cri::sleeper())?;
        expect_eq!(cri.exec(&container, &["echo", "here"])?.stdout, "here\n", "exec");

        // Again, and to another build: containerd is left alone, and the old shim runs on.
        let again = node.install("first", &["--restart-command", "false"], 0)?;
        expect!(again.contains("nothing to do"), "{again}");
        let inode = fs::metadata(SHIM)?.ino();
        let upgraded = node.install("second", &["--restart-command", "false"], 0)?;
        expect!(upgraded.contains("replace   /usr/local/bin/containerd-shim-palisade-v1"), "{upgraded}");
        expect!(fs::metadata(SHIM)?.ino() != inode, "the file is another one");
        expect_eq!(sha(SHIM)?, sha(node.base.join("second/containerd-shim-palisade-v1"))?, "the new build");
        expect_eq!(cri.exec(&container, &["echo", "upgraded"])?.stdout, "upgraded\n", "exec");
        let other = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
        other.remove()?;
        let back = ended(node.palisade(&["install", "--rollback"])?, 0)?;
        expect_eq!(sha(SHIM)?, sha(node.base.join("first/containerd-shim-palisade-v1"))?, "the old build: {back}");
        expect_eq!(cri.exec(&container, &["echo", "back"])?.stdout, "back\n", "exec");

        broken(node)?;
        expect_eq!(node.cri()?.exec(&container, &["echo", "still"])?.stdout, "still\n", "exec");

        let refused = ended(node.palisade(&["uninstall"])?, 2)?;
        expect!(refused.contains(&container) && refused.contains("--force"), "{refused}");
        let gone = ended(node.palisade(&[&["uninstall", "--force"], &restart[..]].concat())?, 1)?;
        expect!(gone.contains("left: ") && fs::exists(SHIM)?, "the shim stays while it is needed: {gone}");
        expect_eq!(fs::read_to_string(CONFIG)?, node.config, "the admin's file");
        let cri = node.cri()?;
        // CRI asks for the handler before it lets anybody exec; the container and its shim don't need it.
        let alone = ["task", "exec", "--exec-id", "alone", &container, "true"];
        world.containerd.ctr_in("k8s.io", &alone)?.success()?;
        expect!(cri.run_pod(Runtime::Palisade, cri.pod_config()).is_err(), "the handler is gone");
        let pod = pod.under(&cri);
        cri.stop(&container, 1)?;
        pod.remove()?;
        ended(node.palisade(&[&["uninstall"], &restart[..]].concat())?, 0)?;
        expect_eq!(fs::read_to_string(CONFIG)?, node.config, "the admin's file");
        let state = if had_state { "/var/lib/palisade/install" } else { "/var/lib/palisade" };
        let left = ["/etc/palisade", state, "/etc/containerd/conf.d", SHIM];
        let left: Vec<&&str> = left.iter().filter(|path| fs::exists(path).unwrap_or(true)).collect();
        expect!(left.is_empty(), "left: {left:?}");
        Ok(())
    })
}

/// A containerd that is not started anew, and one that would lose a setting: everything is put back.
fn broken(node: &Node<'_>) -> Check {
    let all = || -> Result<Vec<Vec<u8>>, Failed> {
        let drop_in = fs::read("/etc/containerd/conf.d/palisade.toml").unwrap_or_default();
        Ok(vec![fs::read(CONFIG)?, drop_in, fs::read("/var/lib/palisade/install/record.json")?])
    };
    let before = all()?;
    let failed = node.install("first", &["--form", "type", "--restart-command", "false"], 2)?;
    expect!(failed.contains("everything is as it was before"), "{failed}");
    expect_eq!(all()?, before, "after a restart that failed");
    // It comes back, and CRI does not: the handler's name is in use for the untrusted sandbox of an old setting, say. Here: it is never started anew.
    let failed = node.install("first", &["--handler", "other", "--restart-command", "true", "--wait", "1"], 2)?;
    expect!(failed.contains("show the handler other"), "{failed}");
    expect_eq!(all()?, before, "after a restart that changed nothing");
    Ok(())
}

fn by_image(world: &World) -> Check {
    on_a_node(world, |node| {
        let archives = [node.base.join("a.tar"), node.base.join("b.tar")];
        for archive in &archives {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/image");
            let mut command = Command::new(script);
            command.arg("-o").arg(archive).arg("-d").arg(node.base.join("first"));
            command.args(["-t", "palisade.test/installer:1"]);
            Invocation::run(&mut command, b"", SECONDS)?.success()?;
        }
        expect_eq!(sha(&archives[0])?, sha(&archives[1])?, "two images of the same programs");
        node.cri()?;
        world.containerd.ctr(&["images", "import", &archives[0].display().to_string()])?.success()?;
        let asked = node.asked();
        let edit: &[&str] = if world.containerd.is_one_seven() { &["--edit-config"] } else { &[] };
        // Not attached: containerd goes while it runs.
        let run = |name: &str, words: &[&str]| -> Check {
            let log = node.base.join(format!("{name}.log"));
            let uri = format!("file://{}", log.display());
            let dropped = DROPPED.iter().flat_map(|name| ["--cap-drop", *name]);
            let mut all: Vec<&str> = vec!["run", "--detach", "--log-uri", &uri, "--read-only", "--seccomp"];
            all.extend(dropped);
            all.extend(["--runtime", "io.containerd.runc.v2"]);
            all.extend(["--mount", "type=bind,src=/,dst=/host,options=rbind:rw", "palisade.test/installer:1", name]);
            all.extend(["/palisade"].iter().chain(words));
            all.extend(["--root", "/host", "--restart-command", &asked]);
            world.containerd.ctr(&all)?.success()?;
            let ended = poll::eventually("the installer's end", 60, || {
                let tasks = world.tasks().map_err(|failure| failure.to_string())?;
                tasks.wait(name, "").map_err(|failure| failure.to_string())
            });
            let said = fs::read_to_string(&log).unwrap_or_default();
            expect_eq!(ended?, 0, "exit status of {words:?}: {said}");
            world.containerd.ctr(&["task", "rm", name])?.success()?;
            world.containerd.ctr(&["containers", "rm", name])?.success()?;
            Ok(())
        };
        run("installer-1", &[&["install"], edit].concat())?;
        expect_eq!(sha(SHIM)?, sha(node.base.join("first/containerd-shim-palisade-v1"))?, "the shim");
        expect_eq!(fs::metadata(SHIM)?.mode() & 0o7777, 0o755, "its mode");
        let cri = node.cri()?;
        let pod = cri.run_pod(Runtime::Palisade, cri.pod_config())?;
        let container = cri.start(&pod, cri::sleeper())?;
        run("installer-2", &[&["install"], edit].concat())?;
        expect_eq!(cri.exec(&container, &["echo", "here"])?.stdout, "here\n", "exec");
        pod.remove()?;
        run("installer-3", &["uninstall"])?;
        expect_eq!(fs::read_to_string(CONFIG)?, node.config, "the admin's file");
        world.containerd.ctr(&["images", "rm", "palisade.test/installer:1"])?.success()?;
        Ok(())
    })
}

/// What `ctr` gives a container beside CHOWN, DAC_OVERRIDE, FOWNER and SYS_CHROOT.
const DROPPED: &[&str] = &[
    "CAP_FSETID",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];
