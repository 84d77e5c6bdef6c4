//! `create`: everything up to the moment where the container's program would run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::Spec;

use super::arguments::CreateRequest;
use super::causes::Causes;
use super::cgroup::{ContainerCgroup, Hierarchy};
use super::credentials::Credentials;
use super::error::RuntimeFailure;
use super::executor::ContainerExecutor;
use super::filter::{Filter, Listener};
use super::init_process::InitProcess;
use super::program::Program;
use super::spec::{self, EnforceableSpec};
use super::state::{Record, StateDir, write_private};
use super::{
    cgroup_mounts, clock, devices, execve, joined_pid_cgroup_mounts, mount_namespace, propagation, report,
    systemd_unit, update,
};

/// Longest wait for the processes of a failed create to die.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(5);

/// Creates a container. On failure nothing of it is left: no state, no cgroup, no process.
pub(super) fn create(root: &Path, request: CreateRequest, hook_limit: Duration) -> Result<(), RuntimeFailure> {
    let bundle = request.bundle.canonicalize().map_err(RuntimeFailure::file("open the bundle", &request.bundle))?;
    let (spec, seccomp) = EnforceableSpec::read(&bundle)?;
    let credentials = Credentials::of(spec.process())?;
    let filter = Filter::of(seccomp.as_ref(), request.filter.as_deref())?;
    drop(seccomp);
    let hierarchy = Hierarchy::of_machine()?;
    let cgroup = hierarchy.cgroup(spec.linux().cgroups_path().as_deref(), request.id.as_str())?;
    cgroup.refuse_if_in_use()?;
    set_oom_score(spec.process().oom_score_adj())?;

    let listener = request.listening.as_ref().map(Listener::connect).transpose();
    let listener = listener.map_err(RuntimeFailure::kernel("connect to the socket for the seccomp listener"))?;

    let state = StateDir::create(root, &request.id)?;
    let container = NewContainer { spec, credentials, filter, listener, cgroup, bundle, request, hook_limit };
    match container.build(&state) {
        Ok(()) => Ok(()),
        Err(failure) => {
            container.take_back(state);
            Err(failure)
        }
    }
}

/// Says why it can't be done where libcontainer says only `io error`. The container inherits the value.
pub(super) fn set_oom_score(wanted: Option<i32>) -> Result<(), RuntimeFailure> {
    let Some(wanted) = wanted else { return Ok(()) };
    let file = "/proc/self/oom_score_adj";
    match fs::write(file, wanted.to_string()) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(RuntimeFailure::OomScore { wanted, source })
        }
        Err(source) => Err(RuntimeFailure::file("write process.oomScoreAdj to", file)(source)),
    }
}

struct NewContainer {
    spec: EnforceableSpec,
    credentials: Credentials,
    filter: Filter,
    listener: Option<Listener>,
    cgroup: ContainerCgroup,
    bundle: PathBuf,
    request: CreateRequest,
    hook_limit: Duration,
}

impl NewContainer {
    fn build(&self, state: &StateDir) -> Result<(), RuntimeFailure> {
        let mut record = self.record();
        state.save(&record)?;
        self.filter.save(&state.filter())?;
        let program =
            Program::new(self.spec.process(), self.credentials, self.filter.clone()).asking(self.listener.clone());
        self.write_specs(state, &program)?;
        let until_execve = execve::make(&state.execve_fifo()).map_err(RuntimeFailure::kernel("make a FIFO"))?;
        self.cgroup.enter_bare()?;
        let pid = self.run_libcontainer(state, ContainerExecutor::new(program))?;
        drop(until_execve);
        let init = InitProcess::observe(pid).map_err(RuntimeFailure::kernel("look at the init process"))?;
        self.limit(init)?;
        if joined_pid_cgroup_mounts::are_ours(self.spec.spec(), &self.cgroup) {
            joined_pid_cgroup_mounts::make(pid, self.spec.spec(), &self.cgroup)
                .map_err(RuntimeFailure::kernel("mount the cgroup"))?;
        }
        self.finish_mounts(pid)?;
        record.init = Some(init);
        state.save(&record)?;
        self.request.pid_file.as_deref().map_or(Ok(()), |file| write_pid_file(file, pid))
    }

    fn record(&self) -> Record {
        let spec = self.spec.spec();
        let hooks = spec.hooks().clone().map(|mut hooks| {
            spec::limit_hooks(&mut hooks, self.hook_limit);
            hooks
        });
        Record {
            oci_version: spec.version().clone(),
            bundle: self.bundle.clone(),
            rootfs: self.spec.rootfs().to_owned(),
            created: clock::now(),
            annotations: spec.annotations().clone().unwrap_or_default(),
            cgroup: self.cgroup.clone(),
            poststart: hooks.as_ref().and_then(|hooks| hooks.poststart().clone()).unwrap_or_default(),
            poststop: hooks.as_ref().and_then(|hooks| hooks.poststop().clone()).unwrap_or_default(),
            init: None,
        }
    }

    fn write_specs(&self, state: &StateDir, program: &Program) -> Result<(), RuntimeFailure> {
        let mut process = self.spec.process().clone();
        self.credentials.write_out(&mut process, program.loads_with_privilege());
        let rules = self.spec.linux().resources().as_ref().and_then(|resources| resources.devices().as_ref());
        let cgroup = self.cgroup.spec_path();
        let for_init = self.spec.for_init(process, cgroup, devices::starting_from_nothing(rules), self.hook_limit);
        let for_init = match joined_pid_cgroup_mounts::are_ours(self.spec.spec(), &self.cgroup) {
            true => joined_pid_cgroup_mounts::without(for_init),
            false => for_init,
        };
        write_spec(state.path(), &for_init)?;
        let exec = state.exec_bundle();
        fs::create_dir(&exec).map_err(RuntimeFailure::file("make", &exec))?;
        write_spec(&exec, &self.spec.for_exec())
    }

    fn run_libcontainer(&self, state: &StateDir, executor: ContainerExecutor) -> Result<i32, RuntimeFailure> {
        let causes = Causes::keep();
        let container = ContainerBuilder::new(self.request.id.as_str().to_owned(), SyscallType::default())
            .with_root_path(state.libcontainer_root())
            .map_err(RuntimeFailure::step("open the state directory"))?
            .with_console_socket(self.request.console_socket.as_deref())
            .with_executor(executor)
            .as_init(state.path())
            .with_systemd(self.cgroup.is_systemd())
            .with_detach(true)
            .build()
            .map_err(|error| causes.of(&error))?;
        let pid = container
            .pid()
            .ok_or_else(|| RuntimeFailure::kernel("find the init process")(io::ErrorKind::NotFound.into()))?;
        Ok(pid.as_raw())
    }

    /// What libcontainer leaves out of mounts and of what it makes on them. One thread goes into their namespace for all of it.
    fn finish_mounts(&self, init: i32) -> Result<(), RuntimeFailure> {
        let options = cgroup_mounts::lacking(init, self.spec.spec())
            .map_err(RuntimeFailure::kernel("read the mounts of the init process"))?;
        let directories = devices::directories::of(self.spec.linux());
        let asking = propagation::asking(self.spec.spec());
        if options.is_empty() && directories.is_empty() && asking.is_empty() {
            return Ok(());
        }
        let finish = || {
            cgroup_mounts::put_in_force(&options)
                .map_err(RuntimeFailure::kernel("set the options of the cgroup mounts"))?;
            devices::directories::close(&directories)
                .map_err(RuntimeFailure::kernel("close the directories of device nodes"))?;
            propagation::put_in_force(&asking)
        };
        mount_namespace::within(init, finish)
            .map_err(RuntimeFailure::kernel("enter the container's mount namespace"))?
    }

    /// What libcontainer leaves out: the device program of v2, and every limit that it does not write. On v2 it takes
    /// "no swap" (swap equal to memory) for "swap without limit".
    fn limit(&self, init: InitProcess) -> Result<(), RuntimeFailure> {
        let Some(mut resources) = self.spec.linux().resources().clone() else {
            return Ok(devices::limit(&self.cgroup, None)?);
        };
        devices::limit(&self.cgroup, resources.devices().as_ref())?;
        // Network classes are set by libcontainer on v1, and do not exist on v2.
        resources.set_network(None).set_devices(None);
        if self.cgroup.is_systemd() {
            systemd_unit::settle(self.cgroup.spec_path(), &self.request.id)?;
        }
        update::limit(init, self.cgroup.spec_path(), &resources).map_err(RuntimeFailure::Limits)
    }

    /// Removes what a failed create has made. What can't be removed is told beside the failure itself.
    fn take_back(&self, state: StateDir) {
        for taken in [self.cgroup.leave_bare(), self.cgroup.remove(TAKE_BACK_LIMIT)] {
            if let Err(error) = taken {
                report::note(&format!("after the failed create: {error}"));
            }
        }
        systemd_unit::end(&self.cgroup, &self.request.id);
        if let Err(error) = state.remove() {
            report::note(&format!("after the failed create: {error}"));
        }
    }
}

fn write_spec(directory: &Path, spec: &Spec) -> Result<(), RuntimeFailure> {
    let path = directory.join("config.json");
    let text = serde_json::to_vec(spec).map_err(|source| RuntimeFailure::Json { what: "the spec", source })?;
    // It holds the environment.
    write_private(&path, &text).map_err(RuntimeFailure::file("write", &path))
}

/// Writes the pid in one step, so that whoever waits for the file never reads half of it.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<(), RuntimeFailure> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let written = write_private(&new, pid.to_string().as_bytes());
    written.and_then(|()| fs::rename(&new, path)).map_err(RuntimeFailure::file("write the pid file", path))
}
