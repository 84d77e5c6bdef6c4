//! A private containerd: started, restarted and stopped by its own process id.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::assets::{Assets, Form, Generation};
use crate::cri::Cri;
use crate::invocation::Invocation;
use crate::policy::PolicyFile;
use crate::{Enclosure, Failure, containerd_config, image, poll};

/// The runtime that a container is given to. With [`Form::Path`] the two of palisade's change places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// containerd's own shim with runc.
    Runc,
    /// The same with a runc that idmaps mounts. In CRI alone.
    NewRunc,
    /// palisade as `io.containerd.palisade.v1`, found through containerd's `PATH`.
    Palisade,
    /// palisade by the absolute path of its binary; in CRI as `io.containerd.runc.v2` with a `runtime_path`.
    PalisadeByPath,
}

impl Runtime {
    /// The name of the CRI runtime handler.
    #[must_use]
    pub fn handler(self) -> &'static str {
        let [runc, palisade, by_path] = containerd_config::HANDLERS;
        match self {
            Self::Runc => runc,
            Self::NewRunc => containerd_config::NEW_RUNC,
            Self::Palisade => palisade,
            Self::PalisadeByPath => by_path,
        }
    }
}

/// containerd's root, state and socket are where they are on a node; the enclosure makes them private.
pub(crate) const ROOT: &str = "/var/lib/containerd";
pub(crate) const STATE: &str = "/run/containerd";
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";

/// The files of one run.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The run's own folder: programs, configuration, logs, policy.
    pub base: PathBuf,
}

impl Layout {
    /// The API socket.
    #[must_use]
    pub fn socket(&self) -> &'static Path {
        Path::new(SOCKET)
    }

    /// The shim, in the first folder of containerd's `PATH`.
    #[must_use]
    pub fn shim(&self) -> PathBuf {
        self.base.join("bin/containerd-shim-palisade-v1")
    }

    /// The shims' bundles.
    #[must_use]
    pub fn bundles(&self) -> PathBuf {
        Path::new(STATE).join("io.containerd.runtime.v2.task")
    }

    /// containerd's log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.base.join("containerd.log")
    }

    /// palisade's policy file, which `PALISADE_CONFIG` names.
    #[must_use]
    pub fn policy(&self) -> PathBuf {
        self.base.join("policy.toml")
    }

    /// The audit log that the policy file names.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.base.join("audit.jsonl")
    }
}

/// A running containerd with the images of [`image`] in both of its namespaces.
#[derive(Debug)]
pub struct Containerd {
    assets: Assets,
    layout: Layout,
    tag: String,
    workload_chain: String,
    daemon: Mutex<Child>,
}

const START_SECONDS: u64 = 60;

impl Containerd {
    /// Starts one under `/run` of the enclosure and imports the images.
    ///
    /// # Errors
    /// A file that cannot be written, or a containerd that does not answer; its log is in the failure.
    pub fn start(enclosure: &Enclosure, assets: Assets, policy: &PolicyFile) -> Result<Self, Failure> {
        Self::start_telling(enclosure, assets, policy, "debug")
    }

    /// The same with another level of its log, which the shims take over: what they tell costs them time.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_telling(
        _enclosure: &Enclosure,
        assets: Assets,
        policy: &PolicyFile,
        level: &str,
    ) -> Result<Self, Failure> {
        let tag = format!("palisade-test-{}", std::process::id());
        let layout = Layout { base: Path::new("/run").join(&tag) };
        prepare(&assets, &layout)?;
        policy.write(&layout)?;
        let daemon = spawn(&layout, level)?;
        let workload_chain = image::workload_chain_id(&assets)?;
        let containerd = Self { assets, layout, tag, workload_chain, daemon: Mutex::new(daemon) };
        containerd.await_answer()?;
        containerd.import_images()?;
        Ok(containerd)
    }

    /// Stops containerd, not the shims, and starts it again on the same state.
    ///
    /// # Errors
    /// It does not end, or does not answer again.
    pub fn restart(&self) -> Result<(), Failure> {
        self.without(Signal::SIGTERM, || Ok(()))
    }

    /// Ends containerd with a signal, does something while it is away, and starts it again on the same state.
    ///
    /// # Errors
    /// It does not end, or does not answer again; or what was done meanwhile failed.
    pub fn without<T>(&self, signal: Signal, meanwhile: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        end(&mut daemon, signal)?;
        let done = meanwhile();
        // Only then does it tell of every event that it takes from a shim.
        *daemon = spawn(&self.layout, "trace")?;
        drop(daemon);
        self.await_answer()?;
        done
    }

    /// Stops it. Its files go with the enclosure.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self) -> Result<(), Failure> {
        end(&mut self.daemon.lock().unwrap_or_else(PoisonError::into_inner), Signal::SIGTERM)
    }

    /// The snapshot of the workload image's layer.
    #[must_use]
    pub fn workload_chain(&self) -> &str {
        &self.workload_chain
    }

    /// Its files.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The programs that it was made from.
    #[must_use]
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// The word in the names of all that belongs to this run: containerd namespace, cgroup parent, folder.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Whether task API v2 is spoken.
    #[must_use]
    pub fn is_one_seven(&self) -> bool {
        self.assets.generation == Generation::OneSeven
    }

    /// The runtime's name as `ctr --runtime` and the container API take it.
    #[must_use]
    pub fn runtime_name(&self, runtime: Runtime) -> String {
        match (runtime, self.assets.form) {
            (Runtime::Runc | Runtime::NewRunc, _) => "io.containerd.runc.v2".to_owned(),
            (Runtime::Palisade, Form::Type) | (Runtime::PalisadeByPath, Form::Path) => {
                "io.containerd.palisade.v1".to_owned()
            }
            (Runtime::PalisadeByPath, Form::Type) | (Runtime::Palisade, Form::Path) => {
                self.layout.shim().display().to_string()
            }
        }
    }

    /// The daemon's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner).id()
    }

    fn await_answer(&self) -> Result<(), Failure> {
        let answer = poll::eventually("an answer from containerd", START_SECONDS, || {
            let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(Some(status)) = daemon.try_wait() {
                return Ok(Err(status));
            }
            let answered =
                self.ctr(&["version"]).and_then(Invocation::success).and_then(|_| Cri::connect(self)?.ready());
            answered.map(Ok).map_err(|failure| failure.to_string())
        });
        let log = || fs::read_to_string(self.layout.log()).unwrap_or_default();
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => {
                Err(Failure::Command { command: "containerd".to_owned(), ending: status.to_string(), output: log() })
            }
            Err(late) => {
                Err(Failure::Command { command: "containerd".to_owned(), ending: late.to_string(), output: log() })
            }
        }
    }

    fn import_images(&self) -> Result<(), Failure> {
        let archive = self.layout.base.join("images.tar");
        image::write_archive(&self.assets, &archive)?;
        let archive = archive.display().to_string();
        for namespace in [self.tag.as_str(), "k8s.io"] {
            self.ctr_in(namespace, &["images", "import", &archive])?.success()?;
        }
        Ok(())
    }
}

impl Drop for Containerd {
    /// A test program that ends early must not leave a daemon behind. Its shims keep their own life and are counted, not killed.
    fn drop(&mut self) {
        let daemon = self.daemon.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to tell.
        daemon.kill().and_then(|()| daemon.wait()).ok();
    }
}

fn prepare(assets: &Assets, layout: &Layout) -> Result<(), Failure> {
    for folder in ["", "bin", "cni", "tmp"] {
        let folder = layout.base.join(folder);
        fs::create_dir_all(&folder).map_err(Failure::io("make", &folder))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).map_err(Failure::io("change", &folder))?;
    }
    let bin = layout.base.join("bin");
    let programs = [
        (assets.containerd.join("containerd"), "containerd"),
        (assets.containerd.join("ctr"), "ctr"),
        (assets.containerd.join("containerd-shim-runc-v2"), "containerd-shim-runc-v2"),
        (assets.runc.clone(), "runc"),
    ];
    for (program, name) in programs {
        symlink(&program, bin.join(name)).map_err(Failure::io("link", &program))?;
    }
    fs::copy(&assets.shim, layout.shim()).map_err(Failure::io("copy", &assets.shim))?;
    let network = containerd_config::NETWORK.replace("DATA", &layout.base.join("ipam").display().to_string());
    write(&layout.base.join("cni/10-palisade.conflist"), &network)?;
    let config = containerd_config::render(assets, layout, &assets.cni.display().to_string());
    write(&layout.base.join("config.toml"), &config)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(Failure::io("write", path))
}

fn spawn(layout: &Layout, level: &str) -> Result<Child, Failure> {
    let log =
        File::options().create(true).append(true).open(layout.log()).map_err(Failure::io("open", &layout.log()))?;
    let errors = log.try_clone().map_err(Failure::io("share", &layout.log()))?;
    let path =
        format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", layout.base.join("bin").display());
    Command::new(layout.base.join("bin/containerd"))
        .args(["--log-level", level, "--config"])
        .arg(layout.base.join("config.toml"))
        .env_clear()
        .env("PATH", path)
        .env("TMPDIR", layout.base.join("tmp"))
        .env("PALISADE_CONFIG", layout.policy())
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(Failure::io("start", &layout.base.join("bin/containerd")))
}

fn end(daemon: &mut Child, signal: Signal) -> Result<(), Failure> {
    let pid = i32::try_from(daemon.id()).map_err(|error| Failure::unreadable("containerd's process id", &error))?;
    kill(Pid::from_raw(pid), signal).map_err(Failure::system("signal containerd"))?;
    poll::eventually("the end of containerd", 30, || match daemon.try_wait() {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("still running".to_owned()),
        Err(error) => Err(error.to_string()),
    })
}
