//! The comparison as a whole: what is exactly as decided passes, and each thing that is otherwise is told by its own check.

use std::path::Path;

use super::checks::CHECKS;
use super::descriptors::Descriptor;
use super::expected::Expected;
use super::identities::{Baseline, FileId, Identities};
use super::mounts::TableMark;
use super::options::{Flags, Spread};

use super::{Seen, Stage, attest};
use crate::cgroup::{DeviceFilter, LimitDifference, Standing};

const DECIDED: &str = include_str!("../../tests/golden/cri-app/hardened.json");
const CREATED: Stage = Stage::Created { embedded: false, before: None };

fn expected() -> Expected {
    let document = serde_json::from_str(DECIDED).unwrap();
    let root = Some(FileId(7, 7));
    let sources = (6..13).map(|mount| (mount, FileId(8, mount as u64))).collect();
    let namespaces = [("net", 77), ("ipc", 78), ("uts", 79)].into();
    let files = Identities { sources, namespaces, root, ..Identities::default() };
    Expected::of_document(&document, &files, &Baseline::imagined()).unwrap()
}

/// The ids of the checks that tell.
fn told(expected: &Expected, seen: &Seen, stage: Stage) -> Vec<&'static str> {
    attest(expected, seen, stage)
        .err()
        .map_or_else(Vec::new, |found| found.mismatches().iter().map(|one| one.check).collect())
}

type Change = fn(&mut Seen);

fn status(seen: &mut Seen) -> &mut super::status::Status {
    seen.status.as_mut().unwrap()
}

/// The mount at a place, by the place.
fn mount<'a>(seen: &'a mut Seen, at: &str) -> &'a mut super::mounts::Mount {
    seen.mounts.as_mut().unwrap().0.iter_mut().find(|mount| mount.point == Path::new(at)).unwrap()
}

fn place<'a>(seen: &'a mut Seen, at: &str) -> &'a mut super::mounts::Place {
    seen.places.as_mut().unwrap().get_mut(std::ffi::OsStr::new(at)).unwrap().as_mut().unwrap()
}

/// Each changes one thing; the check that has to tell.
const CHANGES: &[(&str, Change)] = &[
    ("user", |seen| status(seen).uids[1] = 0),
    ("user", |seen| status(seen).uids[3] = 0),
    ("user", |seen| status(seen).gids[2] = 0),
    ("groups", |seen| status(seen).groups.push(4242)),
    ("groups", |seen| status(seen).groups.retain(|gid| *gid != 2000)),
    ("capabilities.inheritable", |seen| status(seen).capabilities[0] = 1),
    ("capabilities.permitted", |seen| status(seen).capabilities[1] = 1),
    ("capabilities.effective", |seen| status(seen).capabilities[2] = 1 << 21),
    ("capabilities.bounding", |seen| status(seen).capabilities[3] = 1),
    ("capabilities.ambient", |seen| status(seen).capabilities[4] = 1),
    ("no-new-privs", |seen| status(seen).no_new_privs = false),
    ("seccomp", |seen| (status(seen).seccomp, status(seen).filters) = (0, 0)),
    ("seccomp", |seen| status(seen).filters = 0),
    ("seccomp", |seen| status(seen).seccomp = 0),
    ("namespace.network", |seen| seen.namespaces.as_mut().unwrap().set("net", 76)),
    ("namespace.pid", |seen| seen.namespaces.as_mut().unwrap().set("pid", 5)),
    ("namespace.mount", |seen| seen.namespaces.as_mut().unwrap().set("mnt", 3)),
    ("namespace.cgroup", |seen| seen.namespaces.as_mut().unwrap().set("cgroup", 1)),
    ("namespace.user", |seen| seen.namespaces.as_mut().unwrap().set("user", 99)),
    ("root", |seen| place(seen, "/").file = FileId(1, 2)),
    ("root", |seen| mount(seen, "/").flags = Flags::default()),
    ("root", |seen| mount(seen, "/").spread = Spread::Shared),
    ("mounts", |seen| place(seen, "/data").file = FileId(9, 9)),
    ("mounts", |seen| place(seen, "/data").is_mount = false),
    ("mounts", |seen| mount(seen, "/data").flags = Flags::default()),
    ("mounts", |seen| mount(seen, "/data").spread = Spread::Slave),
    ("mounts", |seen| mount(seen, "/proc").kind = "ext4".into()),
    ("mounts", |seen| {
        seen.places.as_mut().unwrap().insert("/sys".into(), None);
    }),
    ("masked-paths", |seen| place(seen, "/proc/kcore").is_mount = false),
    ("masked-paths", |seen| mount(seen, "/proc/kcore").flags = Flags::default()),
    ("masked-paths", |seen| mount(seen, "/proc/kcore").kind = "proc".into()),
    ("read-only-paths", |seen| mount(seen, "/proc/sys").flags = Flags::default()),
    ("read-only-paths", |seen| place(seen, "/proc/sys").is_mount = false),
    ("extra-mounts", |seen| {
        let table = seen.mounts.as_mut().unwrap();
        let extra = super::mounts::Mount { id: 999, point: "/extra".into(), ..table.0.first().unwrap().clone() };
        table.0.push(extra);
    }),
    ("working-directory", |seen| seen.cwd.as_mut().unwrap().mount = 4_000),
    ("oom-score", |seen| seen.oom_score_adj = Ok(-998)),
    ("rlimits", |seen| seen.rlimits.as_mut().unwrap()[0].2 = 1),
    ("rlimits", |seen| seen.rlimits = Ok(Vec::new())),
    ("descriptors", |seen| {
        let leaked = Descriptor { number: 3, target: "/etc".into(), closed_at_execve: false, mount: 4_000 };
        seen.descriptors.as_mut().unwrap().push(leaked);
    }),
    ("cgroup", |seen| seen.cgroup = Ok(Standing::only("/elsewhere"))),
    ("limits", |seen| {
        let raised = LimitDifference { file: "memory.max".into(), decided: "1".into(), found: "2".into() };
        seen.limits.as_mut().unwrap().push(raised);
    }),
    ("devices", |seen| seen.devices = Ok(DeviceFilter::Programs(0))),
    ("devices", |seen| seen.devices = Ok(DeviceFilter::Rules(vec!["a *:* rwm".into()]))),
];

#[test]
fn what_is_exactly_as_decided_passes_at_every_stage() {
    let expected = expected();
    let seen = Seen::exactly(&expected, false);
    for stage in [CREATED, Stage::Begun, Stage::Running] {
        assert_eq!(told(&expected, &seen, stage), [""; 0], "{stage:?}");
    }
    let late = Seen::exactly(&expected, true);
    assert_eq!(told(&expected, &late, Stage::Created { embedded: true, before: None }), [""; 0]);
    assert_eq!(told(&expected, &late, CREATED), ["seccomp"]);
    assert_eq!(told(&expected, &late, Stage::Begun), ["seccomp"]);
    let mut of_crun = late;
    status(&mut of_crun).name = "crun".into();
    assert!(of_crun.waits_for_start(&expected));
    assert_eq!(told(&expected, &of_crun, CREATED), [""; 0], "crun loads it after the start signal");
    assert_eq!(told(&expected, &of_crun, Stage::Begun), ["seccomp"], "and no later");
}

/// A name proves nothing: whoever is waited for has a binary that is none of the container's.
#[test]
fn a_process_of_runc_is_known_until_its_execve() {
    let expected = expected();
    let mut seen = Seen::exactly(&expected, false);
    assert!(!seen.is_runcs());
    status(&mut seen).name = "runc:[2:INIT]".into();
    assert!(seen.is_runcs());
    seen.program.as_mut().unwrap().mount = 1;
    assert!(!seen.is_runcs(), "a program of the container's with that name");
}

#[test]
fn each_change_is_told_by_its_check() {
    let expected = expected();
    for (number, (id, change)) in CHANGES.iter().enumerate() {
        let mut seen = Seen::exactly(&expected, false);
        change(&mut seen);
        assert_eq!(told(&expected, &seen, CREATED).first(), Some(id), "change {number}");
    }
}

#[test]
fn nothing_that_cannot_be_read_passes() {
    let expected = expected();
    let seen = Seen::of_ended(Err("gone"));
    let seen = Seen { status: Seen::exactly(&expected, false).status, ..seen };
    let found = told(&expected, &seen, CREATED);
    let credentials = ["user", "groups", "capabilities", "no-new-privs", "seccomp", "lsm-label"];
    let others = CHECKS.iter().map(|check| check.id).filter(|id| !credentials.iter().any(|one| id.starts_with(one)));
    // The check of the maps begins like that of the user, and no mount of this container is idmapped.
    let others: Vec<_> = others.filter(|id| !["user-maps", "idmapped-mounts"].contains(id)).collect();
    assert_eq!(found.iter().copied().filter(|id| *id != "user-maps").collect::<Vec<_>>(), others);
}

#[test]
fn of_a_process_that_has_ended_its_credentials_count() {
    let expected = expected();
    let ended = |uid: &str| {
        format!(
            "Name:\tx\nState:\tZ (zombie)\nThreads:\t1\nUid:\t{uid}\nGid:\t1000\t1000\t1000\t1000\nGroups:\t1000 2000\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"
        )
    };
    let seen = |text: &str| Seen::of_ended(Ok(text));
    assert_eq!(told(&expected, &seen(&ended("1000\t1000\t1000\t1000")), Stage::Begun), [""; 0]);
    assert_eq!(told(&expected, &seen(&ended("0\t0\t0\t0")), Stage::Begun), ["user"]);
    assert!(told(&expected, &Seen::of_ended(Err("too many open files")), Stage::Begun).contains(&"seccomp"));
}

#[test]
fn a_program_that_runs_may_lower_what_it_was_given() {
    let expected = expected();
    let lower: [Change; 5] = [
        |seen| status(seen).filters += 1,
        |seen| seen.oom_score_adj = Ok(1000),
        |seen| {
            seen.descriptors.as_mut().unwrap().push(Descriptor {
                number: 9,
                target: "/data/file".into(),
                closed_at_execve: false,
                mount: 2,
            })
        },
        |seen| {
            seen.cgroup = Ok(Standing::only(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod4d6d1f5e_8f5b_4f0c_9a3e_3a4f0f1b2c3d.slice/cri-containerd-a1b2c3d4e5f60718293a4b5c6d7e8f905f2c8a1d9b3e4f60718293a4b5c6d7e8.scope/below",
            ))
        },
        |seen| seen.cwd.as_mut().unwrap().file = FileId(3, 3),
    ];
    for (number, change) in lower.into_iter().enumerate() {
        let mut seen = Seen::exactly(&expected, false);
        change(&mut seen);
        assert_eq!(told(&expected, &seen, Stage::Begun), [""; 0], "change {number}");
        assert_ne!(told(&expected, &seen, CREATED), [""; 0], "change {number}");
    }
}

/// What a program may have done before anybody could look is not held against its runtime.
#[test]
fn a_program_that_has_begun_may_use_its_capabilities() {
    let moved: Change = |seen| seen.namespaces.as_mut().unwrap().set("mnt", 12_345);
    let lowered: Change = |seen| seen.oom_score_adj = Ok(-1000);
    for (change, capability, id) in [(moved, 1 << 21, "namespace.mount"), (lowered, 1 << 24, "oom-score")] {
        let mut expected = expected();
        let mut seen = Seen::exactly(&expected, false);
        expected = seen.settle(expected);
        change(&mut seen);
        assert_eq!(told(&expected, &seen, Stage::Begun), [id]);
        expected.process.capabilities[3] |= capability;
        assert_eq!(told(&expected, &seen, Stage::Begun), [""; 0]);
        status(&mut seen).capabilities[3] |= capability;
        assert_eq!(told(&expected, &seen, CREATED), [id], "a runtime may not");
    }
}

/// A runtime that ignores mappings, and one that takes others.
#[test]
fn an_idmapped_mount_is_known_by_the_kernels_word_and_by_an_owner() {
    let mut document: serde_json::Value = serde_json::from_str(DECIDED).unwrap();
    let map = serde_json::json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let mounts = document["mounts"].as_array().unwrap();
    let at = mounts.iter().position(|mount| mount["destination"] == "/data").unwrap();
    document["mounts"][at]["uidMappings"] = map.clone();
    document["mounts"][at]["gidMappings"] = map;
    let document = serde_json::from_value(document).unwrap();
    let root = Some(FileId(7, 7));
    let sources = (6..13).map(|mount| (mount, FileId(8, mount as u64))).collect();
    let namespaces = [("net", 77), ("ipc", 78), ("uts", 79)].into();
    for (owner, shown) in [((5, 70_000), (100_005, 65_534)), ((0, 0), (100_000, 100_000))] {
        let files = Identities {
            sources: std::collections::BTreeMap::clone(&sources),
            owners: [(at, owner)].into(),
            namespaces: std::collections::BTreeMap::clone(&namespaces),
            root,
        };
        let expected = Expected::of_document(&document, &files, &Baseline::imagined()).unwrap();
        let exact = Seen::exactly(&expected, false);
        assert_eq!(told(&expected, &exact, CREATED), [""; 0]);
        let mut seen = Seen::exactly(&expected, false);
        place(&mut seen, "/data").owner = shown;
        assert_eq!(told(&expected, &seen, CREATED), [""; 0], "whom nobody is mapped to says nothing");
        let gone = Seen::of_ended(Err("gone"));
        let gone = Seen { status: Seen::exactly(&expected, false).status, ..gone };
        assert!(told(&expected, &gone, CREATED).contains(&"idmapped-mounts"), "what can't be read");
        mount(&mut seen, "/data").idmapped = false;
        assert_eq!(told(&expected, &seen, CREATED), ["idmapped-mounts"], "ignored");
        let mut seen = Seen::exactly(&expected, false);
        place(&mut seen, "/data").owner.0 = owner.0;
        assert_eq!(told(&expected, &seen, CREATED), ["idmapped-mounts"], "other mappings");
        assert_eq!(told(&expected, &seen, Stage::Running), [""; 0], "its program may have changed the owner");
    }
}

/// A walk can fail for what others on the machine do.
#[test]
fn places_do_not_count_once_a_program_has_begun() {
    let expected = expected();
    let mut seen = Seen::exactly(&expected, false);
    seen.places = Err(super::Unreadable::new("/var/run".into(), "permission denied"));
    assert_eq!(told(&expected, &seen, Stage::Begun), [""; 0]);
    assert!(told(&expected, &seen, CREATED).contains(&"working-directory"));
}

/// nvidia's hook lists devices itself.
#[test]
fn a_hook_may_allow_devices_but_not_all() {
    let mut expected = expected();
    expected.has_hooks = true;
    let mut seen = Seen::exactly(&expected, false);
    seen.devices = Ok(DeviceFilter::Rules(vec!["c 195:255 rw".into()]));
    assert_eq!(told(&expected, &seen, CREATED), [""; 0]);
    seen.devices = Ok(DeviceFilter::Rules(vec!["a *:* rwm".into()]));
    assert_eq!(told(&expected, &seen, CREATED), ["devices"]);
}

#[test]
fn new_limits_take_the_place_of_old_ones() {
    let updated = expected().updated(br#"{"pids":{"limit":7},"memory":{"limit":4096}}"#).unwrap();
    assert_eq!(updated.resources.pids().unwrap().limit(), 7);
    let memory = updated.resources.memory().unwrap();
    assert_eq!((memory.limit(), memory.swap()), (Some(4096), Some(268_435_456)), "what an update does not say stays");
    let updated = updated
        .updated(
            br#"{"hugepageLimits":[{"pageSize":"2MB","limit":4},{"pageSize":"1GB","limit":0}],"cpu":{"cpus":"0"}}"#,
        )
        .unwrap();
    let updated = updated.updated(br#"{"hugepageLimits":[{"pageSize":"2MB","limit":2}],"cpu":{"cpus":""}}"#).unwrap();
    let pages = updated.resources.hugepage_limits().clone().unwrap();
    let mut pages: Vec<_> = pages.iter().map(|page| (page.page_size().as_str(), page.limit())).collect();
    pages.sort_unstable();
    assert_eq!(pages, [("1GB", 0), ("2MB", 2)], "a limit of one size is none of another");
    assert_eq!(updated.resources.cpu().as_ref().unwrap().cpus().as_deref(), Some("0"), "an empty list says nothing");
}

#[test]
fn what_is_kept_reads_back() {
    let expected = expected();
    let text = serde_json::to_string(&expected).unwrap();
    assert_eq!(serde_json::from_str::<Expected>(&text).unwrap(), expected);
}

/// A look reads what the checks of its stage ask for.
#[test]
fn nothing_that_counts_is_left_out_of_a_look() {
    let (process, expected) = (super::ProcDir::own().unwrap(), expected());
    for stage in [CREATED, Stage::Begun, Stage::Running] {
        let seen = Seen::of(&process, &expected, stage);
        let found = attest(&expected, &seen, stage).unwrap_err();
        assert!(found.mismatches().iter().all(|one| !one.seen.contains("not looked at")), "{found:?}");
        assert_eq!(seen.places.is_ok(), stage.asks_for_container(), "{stage:?}");
        assert_eq!(seen.descriptors.is_ok(), stage.asks_for_openings(), "{stage:?}");
    }
    // As long as the mount table is the one that was attested, what stands in it is not walked through again.
    let whole = Seen::of(&process, &expected, CREATED);
    let again = Stage::Created { embedded: false, before: whole.table() };
    let seen = Seen::of(&process, &expected, again);
    let (before, now) = (told(&expected, &whole, CREATED), told(&expected, &seen, again));
    assert!(seen.places.is_err() && before.contains(&"root") && before.contains(&"user"), "{before:?}");
    assert!(now.contains(&"user") && now.contains(&"limits") && before.contains(&"working-directory"), "{now:?}");
    assert!(
        !now.iter().any(|check| ["root", "mounts", "working-directory", "namespace.pid"].contains(check)),
        "{now:?}"
    );
    let seen =
        Seen::of(&process, &expected, Stage::Created { embedded: false, before: Some(TableMark::of("another")) });
    assert!(told(&expected, &seen, again).contains(&"root"));
    let seen = Seen::of(&process, &expected, Stage::Begun);
    assert!(told(&expected, &seen, CREATED).contains(&"masked-paths"), "a look for another stage is no look");
}
