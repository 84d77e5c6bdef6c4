//! The root, the mount table and what stands at the decided places.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::expected::ExpectedMount;
use super::super::mounts::{Mount, MountTable, Place};
use super::super::options::{Flags, Spread};
use super::{Case, Difference, Outcome, differs, hold, known};

/// What masks a file. Source: the kernel's devices.txt.
const NULL: (u32, u32) = (1, 3);
/// Nodes that runtimes bind where they can't make any, as in a user namespace.
const USUAL_NODES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// What is at a place, with its mount.
fn at<'a>(case: &'a Case<'_>, path: &Path) -> Result<Option<(Place, &'a Mount)>, Difference> {
    let decided = path.display().to_string();
    let places = known(&case.seen.places, &decided)?;
    let Some(place) = places.get(path.as_os_str()).copied().flatten() else { return Ok(None) };
    let table = known(&case.seen.mounts, &decided)?;
    match table.get(place.mount) {
        Some(mount) => Ok(Some((place, mount))),
        None => Err(Difference { decided, seen: "a mount that is not in the container's mount table".into() }),
    }
}

pub(super) fn root(case: &Case<'_>) -> Outcome {
    let decided = &case.expected.root;
    let Some((place, mount)) = at(case, Path::new("/"))? else { return differs("a root", "none") };
    let is_right_file = decided.file.is_none_or(|file| file == place.file) && mount.point == Path::new("/");
    hold(
        is_right_file,
        || "the root filesystem of the bundle".into(),
        || format!("another one, on {}", mount.point.display()),
    )?;
    let lacking = if decided.read_only { mount.flags.lacking(Flags::READ_ONLY) } else { Flags::default() };
    hold(lacking.is_empty(), || "read-only".into(), || "writable".into())?;
    spreads("/", decided.spread, mount.spread)
}

/// A mount may spread less than decided.
fn spreads(name: &str, decided: Spread, seen: Spread) -> Outcome {
    hold(seen <= decided, || format!("{name} {decided:?}"), || format!("{name} {seen:?}"))
        .map_err(|found| Difference { decided: found.decided.to_lowercase(), seen: found.seen.to_lowercase() })
}

/// Whether a later mount stands over it.
fn is_covered(mounts: &[ExpectedMount], at: usize) -> bool {
    let Some(mount) = mounts.get(at) else { return false };
    mounts.iter().skip(at + 1).any(|later| mount.destination.starts_with(&later.destination))
}

pub(super) fn mounts(case: &Case<'_>) -> Outcome {
    let mounts = &case.expected.mounts;
    let visible = mounts.iter().enumerate().filter(|(at, _)| !is_covered(mounts, *at));
    visible.map(|(_, mount)| mount).try_for_each(|mount| one(case, mount))
}

fn one(case: &Case<'_>, decided: &ExpectedMount) -> Outcome {
    let name = decided.destination.display();
    let found = at(case, &decided.destination)?.filter(|(place, _)| place.is_mount);
    let Some((place, mount)) = found else { return differs(format!("a mount on {name}"), "none") };
    match decided.source {
        Some(source) => {
            hold(source == place.file, || format!("the decided source on {name}"), || "another one".into())?
        }
        None if decided.bind => {}
        None => {
            let right = mount.kind == decided.kind || decided.kind == "cgroup" && is_of_cgroups(mount);
            hold(right, || format!("{} on {name}", decided.kind), || mount.kind.clone())?;
        }
    }
    let table = known(&case.seen.mounts, "the mounts")?;
    let hierarchies = decided.kind == "cgroup" && mount.kind == "tmpfs";
    let wanted = if hierarchies { decided.flags.and(Flags::NO_READ_ONLY) } else { decided.flags };
    flags(mount, wanted)?;
    let deep = if hierarchies { decided.flags } else { decided.deep };
    if !deep.is_empty() {
        what_is_below(case, table, mount, deep)?;
    }
    let spread = if decided.spread == Spread::Unsaid && case.expected.root.spread == Spread::Shared {
        Spread::Shared
    } else {
        decided.spread
    };
    spreads(&name.to_string(), spread, mount.spread)
}

/// The kernel says that a mount shows other users, and the file that it begins with says which: it is whose it is on the disk, by the mappings.
/// Once a program runs it may give the file to another one of its users.
pub(super) fn idmapped(case: &Case<'_>) -> Outcome {
    let mounts = &case.expected.mounts;
    let visible = mounts.iter().enumerate().filter(|(at, _)| !is_covered(mounts, *at));
    for (decided, owner) in visible.filter_map(|(_, mount)| Some((mount, mount.idmapped?))) {
        let name = decided.destination.display();
        let Some((place, mount)) = at(case, &decided.destination)? else {
            return differs(format!("{name} idmapped"), "nothing there");
        };
        hold(mount.idmapped, || format!("{name} idmapped"), || "the owners that it has on the disk".into())?;
        let (uid, gid) = place.owner;
        let right = owner.uid.is_none_or(|decided| decided == uid) && owner.gid.is_none_or(|decided| decided == gid);
        let id = |id: Option<u32>| id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        hold(
            right || case.is_running(),
            || format!("{name} of {}:{}", id(owner.uid), id(owner.gid)),
            || format!("{uid}:{gid}"),
        )?;
    }
    Ok(())
}

/// What is mounted below another one, is no decided mount itself, and can be seen.
fn what_is_below(case: &Case<'_>, table: &MountTable, mount: &Mount, wanted: Flags) -> Outcome {
    let below = table.below(mount.id);
    let counts = |mount: &&Mount| below.contains(&mount.id) && !is_decided(case, mount) && !table.is_hidden(mount);
    table.0.iter().filter(counts).try_for_each(|mount| flags(mount, wanted))
}

fn flags(mount: &Mount, wanted: Flags) -> Outcome {
    let name = mount.point.display();
    let lacking = mount.flags.lacking(wanted);
    hold(lacking.is_empty(), || format!("{name} {wanted}"), || format!("{name} without {lacking}"))
}

fn is_of_cgroups(mount: &Mount) -> bool {
    matches!(mount.kind.as_str(), "cgroup" | "cgroup2" | "tmpfs")
}

/// Whether it is one of the decided mounts, which has options of its own.
fn is_decided(case: &Case<'_>, mount: &Mount) -> bool {
    case.expected.mounts.iter().any(|decided| {
        at(case, &decided.destination)
            .ok()
            .flatten()
            .is_some_and(|(place, _)| place.is_mount && place.mount == mount.id)
    })
}

/// Nothing of what is below can be read: a device without contents, or something empty that can't be written.
fn is_masked(place: Place, mount: &Mount) -> bool {
    let hidden = place.is_mount && mount.flags.lacking(Flags::READ_ONLY).is_empty() && mount.kind == "tmpfs";
    hidden || place.character_device == Some(NULL)
}

pub(super) fn masked(case: &Case<'_>) -> Outcome {
    for path in &case.expected.masked {
        // What is not there needs no mask.
        let Some((place, mount)) = at(case, path)? else { continue };
        hold(is_masked(place, mount), || format!("{} masked", path.display()), || "what it is on the host".into())?;
    }
    Ok(())
}

pub(super) fn read_only(case: &Case<'_>) -> Outcome {
    for path in &case.expected.read_only {
        let Some((place, mount)) = at(case, path)? else { continue };
        let right = place.is_mount && mount.flags.lacking(Flags::READ_ONLY).is_empty() || is_masked(place, mount);
        hold(right, || format!("{} read-only", path.display()), || "it is writable".into())?;
    }
    Ok(())
}

/// Every mount must be explained: it is decided, stands under one that is, or comes with one that brings what is mounted below it.
pub(super) fn extra(case: &Case<'_>) -> Outcome {
    // Programs of the host that the policy let in may mount more.
    if case.expected.has_hooks {
        return Ok(());
    }
    let table = known(&case.seen.mounts, "the mounts")?;
    let explained = explained(case, table)?;
    let unexplained = table.0.iter().find(|mount| !explained.contains(&mount.id) && !is_furniture(case, mount));
    unexplained.map_or(Ok(()), |mount| {
        differs("no other mounts", format!("{} on {} as well", mount.kind, mount.point.display()))
    })
}

fn explained(case: &Case<'_>, table: &MountTable) -> Result<BTreeSet<u64>, Difference> {
    let mut explained = BTreeSet::new();
    let expected = case.expected;
    for path in
        expected.masked.iter().chain(&expected.read_only).map(std::path::PathBuf::as_path).chain([Path::new("/")])
    {
        explained.extend(at(case, path)?.filter(|(place, _)| place.is_mount).map(|(place, _)| place.mount));
    }
    for decided in &expected.mounts {
        let Some((place, mount)) = at(case, &decided.destination)? else { continue };
        explained.insert(place.mount);
        // Those that a later one hides stand at the same point.
        explained.extend(table.0.iter().filter(|other| other.point == mount.point).map(|other| other.id));
        if brings_more(decided) {
            explained.extend(table.below(place.mount));
        }
    }
    Ok(explained)
}

fn brings_more(decided: &ExpectedMount) -> bool {
    let receives = matches!(decided.spread, Spread::Slave | Spread::Shared);
    decided.kind == "cgroup" || decided.bind && (decided.recursive || receives)
}

/// What a runtime puts into `/dev` itself.
fn is_furniture(case: &Case<'_>, mount: &Mount) -> bool {
    let is_console =
        case.expected.process.terminal && mount.point == Path::new("/dev/console") && mount.kind == "devpts";
    let same_name = Path::new(&mount.root).file_name() == mount.point.file_name();
    let is_node =
        USUAL_NODES.iter().any(|node| mount.point == Path::new(node)) || case.expected.devices.contains(&mount.point);
    is_console || is_node && same_name
}

/// Source: CVE-2024-21626. A program that has begun may have changed it, but not to a place outside of the container.
pub(super) fn working_directory(case: &Case<'_>) -> Outcome {
    let path = &case.expected.process.cwd;
    let seen = known(&case.seen.cwd, &path.display().to_string())?;
    let inside = known(&case.seen.mounts, "the mounts")?.get(seen.mount).is_some();
    hold(inside, || path.display().to_string(), || "a directory outside of the container".into())?;
    if case.is_running() {
        return Ok(());
    }
    let decided = at(case, path)?.is_some_and(|(place, _)| place.file == seen.file && place.mount == seen.mount);
    hold(decided, || path.display().to_string(), || "another directory".into())
}
