//! OOM kills of a v2 cgroup that is removed before its count can be read, as systemd removes a scope.

use std::fs;
use std::sync::Arc;

use super::{Fixture, opened};
use crate::cgroup::{OomWatch, Version};

const NONE: &str = "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n";
const PRESSED: &str = "low 0\nhigh 0\nmax 1\noom 0\noom_kill 0\n";
const ONE: &str = "low 0\nhigh 0\nmax 1\noom 1\noom_kill 1\n";

/// A pod's cgroup with a container's in it, and a watch of that one.
fn watched(asked: impl FnOnce(&Fixture, &OomWatch)) {
    let pod = Fixture::new(&[("memory.events", NONE), ("c/memory.events", NONE), ("c/cgroup.procs", "")]);
    pod.write("c/cgroup.events", "populated 1\nfrozen 0\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cgroup = Arc::new(opened(Version::V2, "", &pod.path.join("c")));
    let watch = runtime.block_on(async { OomWatch::start(cgroup).unwrap() });
    asked(&pod, &watch);
}

/// Files go with a cgroup without being deleted one by one.
fn remove(pod: &Fixture) {
    fs::rename(pod.path.join("c"), pod.path.join("gone")).unwrap();
    fs::remove_file(pod.path.join("gone/cgroup.procs")).unwrap();
    fs::remove_file(pod.path.join("gone/memory.events")).unwrap();
}

#[test]
fn the_count_above_tells_of_a_kill_in_a_cgroup_that_is_gone() {
    watched(|pod, watch| {
        assert_eq!(watch.unreported().unwrap(), 0);
        pod.write("c/memory.events", ONE);
        pod.write("memory.events", ONE);
        remove(pod);
        assert_eq!(watch.unreported().unwrap(), 1);
        assert!(watch.unreported().unwrap_err().is_gone(), "once");
    });
}

/// A neighbour that is the host's root may have used up what the user has of inotify; plain files, as here, can't be polled either.
#[test]
fn without_any_notices_a_kill_is_told_when_it_is_asked_for() {
    let pod = Fixture::new(&[("memory.events", NONE), ("c/memory.events", NONE), ("c/cgroup.procs", "")]);
    pod.write("c/cgroup.events", "populated 1\nfrozen 0\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cgroup = Arc::new(opened(Version::V2, "", &pod.path.join("c")));
        let watch = OomWatch::start_by(cgroup, || Err(rustix::io::Errno::MFILE)).unwrap();
        assert_eq!(watch.next().await.unwrap(), None, "nobody would tell");
        pod.write("c/memory.events", ONE);
        assert_eq!(watch.unreported().unwrap(), 1);
        assert_eq!(watch.unreported().unwrap(), 0, "once");
    });
    let cgroup = Arc::new(opened(Version::V2, "", &pod.path.join("c")));
    let other = runtime.block_on(async { OomWatch::start_by(cgroup, || Err(rustix::io::Errno::PERM)) });
    assert!(other.is_err(), "what is no shortage is an error");
}

#[test]
fn a_kill_that_was_told_is_not_told_again() {
    watched(|pod, watch| {
        pod.write("c/memory.events", ONE);
        pod.write("memory.events", ONE);
        assert_eq!(watch.unreported().unwrap(), 1);
        remove(pod);
        assert!(watch.unreported().unwrap_err().is_gone());
    });
}

#[test]
fn a_neighbours_kill_is_none_of_the_containers() {
    watched(|pod, watch| {
        pod.write("memory.events", ONE);
        remove(pod);
        assert!(watch.unreported().unwrap_err().is_gone());
    });
}

/// The kernel leaves out notices that follow each other within 10 ms.
#[test]
fn a_kill_without_a_notice_is_told_of_a_container_that_was_at_its_limit() {
    watched(|pod, watch| {
        pod.write("c/memory.events", PRESSED);
        pod.write("memory.events", PRESSED);
        assert_eq!(watch.unreported().unwrap(), 0);
        pod.write("memory.events", ONE);
        remove(pod);
        assert_eq!(watch.unreported().unwrap(), 1);
    });
}

#[test]
fn a_neighbours_kill_that_was_seen_before_is_none_of_the_containers() {
    watched(|pod, watch| {
        pod.write("c/memory.events", PRESSED);
        pod.write("memory.events", ONE);
        assert_eq!(watch.unreported().unwrap(), 0, "its own count can still be read");
        remove(pod);
        assert!(watch.unreported().unwrap_err().is_gone());
    });
}

#[test]
fn a_change_of_the_count_above_wakes_the_watch() {
    let pod = Fixture::new(&[("memory.events", NONE), ("c/memory.events", PRESSED), ("c/cgroup.procs", "")]);
    pod.write("c/cgroup.events", "populated 1\nfrozen 0\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cgroup = Arc::new(opened(Version::V2, "", &pod.path.join("c")));
    runtime.block_on(async {
        let watch = OomWatch::start(cgroup).unwrap();
        let looking = async { tokio::time::timeout(std::time::Duration::from_millis(300), watch.next()).await };
        let changing = async { pod.write("memory.events", ONE) };
        let (looked, ()) = tokio::join!(looking, changing);
        assert!(looked.is_err(), "no kill of its own: {looked:?}");
        remove(&pod);
        assert!(
            watch.unreported().unwrap_err().is_gone(),
            "the neighbour's kill was seen while the container was there"
        );
    });
}

/// A change of the container's own counts, and of nothing else, says that it may have met a limit.
#[test]
fn a_limit_that_is_met_is_noticed_while_the_container_runs() {
    for (file, text, noticed) in [
        ("c/pids.events", "max 3\n", true),
        ("c/memory.events", PRESSED, true),
        ("c/cgroup.events", "populated 1\nfrozen 1\n", false),
        ("memory.events", PRESSED, false),
    ] {
        let pod = Fixture::new(&[("memory.events", NONE), ("c/memory.events", NONE), ("c/pids.events", "max 0\n")]);
        pod.write("c/cgroup.events", "populated 1\nfrozen 0\n");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cgroup = Arc::new(opened(Version::V2, "", &pod.path.join("c")));
        let met = runtime.block_on(async {
            let watch = OomWatch::start(cgroup).unwrap();
            let looking = async {
                tokio::select! {
                    kills = watch.next() => panic!("{kills:?}"),
                    () = watch.limit_met() => true,
                    () = tokio::time::sleep(std::time::Duration::from_millis(if noticed { 10_000 } else { 300 })) => false,
                }
            };
            tokio::join!(looking, async { pod.write(file, text) }).0
        });
        assert_eq!(met, noticed, "{file}");
    }
}

#[test]
fn a_limit_that_was_hit_without_a_kill_is_no_kill() {
    watched(|pod, watch| {
        pod.write("c/memory.events", PRESSED);
        pod.write("memory.events", PRESSED);
        remove(pod);
        assert!(watch.unreported().unwrap_err().is_gone());
    });
}
