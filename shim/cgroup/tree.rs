//! Walking the cgroups below a cgroup, however deep and broad somebody has made the tree.
//!
//! A container that can write to its cgroup makes sub-cgroups as it likes: their paths outgrow what a path may have (4096 bytes),
//! and a descriptor for each level outgrows the shim's limit. So the walk keeps no path, and the descriptors of a few levels: the way
//! back up is `..`, which leads to the parent since no cgroup can be moved to another one.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use rustix::fs::FileType;

use super::CgroupError;
use super::directory::Directory;

/// Levels whose descriptors are kept. Only below them a cgroup that vanishes takes the rest of its level out of the walk.
const KEPT: usize = 32;

/// A cgroup whose sub-cgroups are being visited.
struct Level {
    /// `None` for the top, which the caller has, and for a level that is opened again on the way back.
    here: Option<Directory>,
    /// Those that are still to come.
    names: Vec<OsString>,
}

type Enter<'a> = &'a mut dyn FnMut(&Directory) -> Result<(), CgroupError>;
type Leave<'a> = &'a mut dyn FnMut(&Directory, &OsStr) -> Result<(), CgroupError>;

impl Directory {
    /// Calls `visit` for this cgroup and then for every one below it. One below that is removed meanwhile is passed over:
    /// only this cgroup's own end is an end.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Self) -> Result<(), CgroupError>) -> Result<(), CgroupError> {
        visit(self)?;
        self.traverse(visit, &mut |_, _| Ok(()))
    }

    /// Calls `leave` with each cgroup below this one, as its parent and its name, once all below it were left.
    pub(super) fn climb(&self, leave: Leave<'_>) -> Result<(), CgroupError> {
        self.traverse(&mut |_| Ok(()), leave)
    }

    fn traverse(&self, enter: Enter<'_>, leave: Leave<'_>) -> Result<(), CgroupError> {
        let mut levels = vec![Level { here: None, names: self.names(FileType::Directory)? }];
        // The names of those that were entered, from the top down.
        let mut entered: Vec<OsString> = Vec::new();
        while let Some(level) = levels.last_mut() {
            let here = level.here.as_ref().unwrap_or(self);
            let Some(name) = level.names.pop() else {
                let below = levels.pop().and_then(|level| level.here);
                let (Some(below), Some(name)) = (below, entered.pop()) else { return Ok(()) };
                if !reopen(&mut levels, &mut entered, &below)? {
                    continue;
                }
                let parent = levels.last().and_then(|level| level.here.as_ref()).unwrap_or(self);
                leave(parent, &name)?;
                continue;
            };
            let Some(child) = here.child(&name)? else { continue };
            match enter(&child).and_then(|()| child.names(FileType::Directory)) {
                Ok(names) => {
                    if levels.len() > KEPT
                        && let Some(level) = levels.last_mut()
                    {
                        level.here = None;
                    }
                    levels.push(Level { here: Some(child), names });
                    entered.push(name);
                }
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Opens the last level again from the one that was below it. Where that one is gone, the walk goes on at the deepest level that is
/// still open, and the answer is false.
fn reopen(levels: &mut Vec<Level>, entered: &mut Vec<OsString>, below: &Directory) -> Result<bool, CgroupError> {
    let is_open = |at: usize, level: &Level| at == 0 || level.here.is_some();
    let last = levels.len().saturating_sub(1);
    if levels.last().is_none_or(|level| is_open(last, level)) {
        return Ok(true);
    }
    if let Some(parent) = below.parent()? {
        if let Some(level) = levels.last_mut() {
            level.here = Some(parent);
        }
        return Ok(true);
    }
    let open = levels.iter().enumerate().rposition(|(at, level)| is_open(at, level)).unwrap_or(0);
    levels.truncate(open + 1);
    entered.truncate(open);
    Ok(false)
}

/// The processes of a cgroup and of all below it. A cgroup that is not there has none.
///
/// # Errors
///
/// [`CgroupError`].
pub(crate) fn processes(top: &Path) -> Result<Vec<i32>, CgroupError> {
    let mut pids = Vec::new();
    let listed = Directory::open(top.to_owned()).and_then(|top| {
        top.walk(&mut |directory| {
            let file = directory.read("cgroup.procs")?;
            pids.extend(file.iter().flat_map(|file| file.text().lines()).filter_map(|line| line.parse::<i32>().ok()));
            Ok(())
        })
    });
    match listed {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(pids),
    }
}

/// Removes the cgroups below a cgroup, the deepest first, but for those that are in use.
///
/// # Errors
///
/// [`CgroupError`].
pub(crate) fn remove_below(top: &Path) -> Result<(), CgroupError> {
    match Directory::open(top.to_owned()).and_then(|top| top.climb(&mut |parent, name| parent.remove_child(name))) {
        Err(error) if !error.is_gone() => Err(error),
        _ => Ok(()),
    }
}
