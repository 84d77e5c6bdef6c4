//! OCI runtimes with known ways out.

use super::check::Severity::{Critical, Medium};
use super::check::{Check, Found, Look, Outcome, check as row};
use super::node::{Node, Program};
use super::version::{Flaw, Verdict};

const WHY: &str = "A container gets out of it, or writes to the node, when it is made or entered. The embedded runtime of palisade is not concerned; every handler that runs this one is.";

const fn check(
    id: &'static str,
    demand: &'static str,
    reference: &'static str,
    mend: &'static str,
    look: fn(&Node) -> Found,
) -> Check {
    row(id, Critical, demand, WHY, reference, mend, look)
}

pub(super) const CHECKS: &[Check] = &[
    check(
        "host.runtime.runc",
        "runc has the fixes of known escapes",
        "CVE-2019-5736, CVE-2021-30465, CVE-2024-21626, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579 and others",
        "install runc 1.3.6, 1.4.3, 1.5.0 or newer",
        |node| of(node, "runc", RUNC),
    ),
    check(
        "host.runtime.crun",
        "crun has the fixes of known escapes",
        "CVE-2022-27650, CVE-2025-24965, CVE-2026-30892, CVE-2026-47766",
        "install crun 1.28 or newer",
        |node| of(node, "crun", CRUN),
    ),
    check(
        "host.runtime.youki",
        "youki has the fixes of known escapes",
        "CVE-2025-27612, CVE-2025-54867, CVE-2025-62161, CVE-2025-62596",
        "install youki 0.5.7 or newer",
        |node| of(node, "youki", YOUKI),
    ),
    Check {
        id: "host.runtime.chosen",
        severity: Medium,
        demand: "The runtime that the policy names is there",
        why: "Without it no container is created.",
        reference: "docs/policy.md, runtime.binary",
        mend: "install it, or remove runtime.binary from the policy",
        look: Look::At(chosen),
    },
];

const fn flaw(id: &'static str, what: &'static str, since: &'static str, fixed: &'static [&'static str]) -> Flaw {
    Flaw { id, what, since, fixed }
}

/// Sources: the advisories of opencontainers/runc.
pub(super) const RUNC: &[Flaw] = &[
    flaw("CVE-2019-5736", "overwrites runc", "", &["1.0.0-rc7"]),
    flaw("CVE-2019-16884", "labels through a volume over /proc", "", &["1.0.0-rc9"]),
    flaw("CVE-2019-19921", "race of shared volumes", "", &["1.0.0-rc10"]),
    flaw("CVE-2021-30465", "mount destination by a link", "", &["1.0.0-rc95"]),
    flaw("CVE-2022-29162", "inheritable capabilities of exec", "", &["1.1.2"]),
    flaw("CVE-2023-27561, CVE-2023-28642", "/proc by a link", "", &["1.1.5"]),
    flaw("CVE-2024-21626", "working directory by a leaked descriptor", "1.0.0-rc93", &["1.1.12"]),
    flaw("CVE-2024-45310", "files on the node by a race", "", &["1.1.14", "1.2.0-rc.3"]),
    flaw(
        "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881",
        "masked paths, /dev/console and /proc by races",
        "",
        &["1.2.8", "1.3.3", "1.4.0-rc.3"],
    ),
    flaw("CVE-2026-41579", "/dev by a link of the image", "", &["1.3.6", "1.4.3", "1.5.0-rc.3"]),
];
/// Sources: the advisories of containers/crun.
pub(super) const CRUN: &[Flaw] = &[
    flaw("CVE-2022-27650", "inheritable capabilities of exec", "", &["1.4.4"]),
    flaw("CVE-2025-24965", "files on the node by the krun handler", "", &["1.20"]),
    flaw("CVE-2026-30892", "exec as another user", "", &["1.27"]),
    flaw("CVE-2026-47766", "/dev by a link of the image", "", &["1.28"]),
];
/// Sources: the advisories of youki-dev/youki.
pub(super) const YOUKI: &[Flaw] = &[
    flaw("CVE-2025-27612", "inheritable capabilities of exec", "", &["0.5.3"]),
    flaw("CVE-2025-54867", "/proc and /sys by links of the image", "", &["0.5.5"]),
    flaw("CVE-2025-62161, CVE-2025-62596", "masked paths and labels by races", "", &["0.5.7"]),
];

fn of(node: &Node, name: &str, flaws: &[Flaw]) -> Found {
    let judged = node.runtimes.iter().filter(|(own, _)| *own == name).map(|(_, program)| judge(program, flaws));
    // The worst of them, by the order in which a reader wants to know.
    let order = [Outcome::Fail, Outcome::Unknown, Outcome::Warn, Outcome::Pass];
    let rank = |found: &Found| order.iter().position(|outcome| *outcome == found.outcome);
    judged.min_by_key(rank).unwrap_or_else(|| Found::none(format!("no {name}")))
}

/// A version against a table. A packager may have carried a fix over, which no number shows.
pub(super) fn judge(program: &Program, flaws: &[Flaw]) -> Found {
    let version = match &program.version {
        Ok(version) => version,
        Err(why) => return Found::unknown(why.clone()),
    };
    let named = |verdicts: &[Verdict]| {
        let flaws = flaws.iter().filter(|flaw| verdicts.contains(&flaw.of(version)));
        flaws.map(|flaw| format!("{} ({})", flaw.id, flaw.what)).collect::<Vec<_>>().join(", ")
    };
    // A line that is older than all with a fix has ended without one.
    let (open, not_listed) = (named(&[Verdict::Open, Verdict::Older]), named(&[Verdict::NotListed]));
    let path = &program.path;
    match (open.as_str(), not_listed.as_str()) {
        ("", "") => Found::pass(format!("{path} is {version}")),
        ("", flaws) => {
            Found::warn(format!("{path} is {version}: whether its line has the fix is not known here of {flaws}"))
        }
        (flaws, _) if version.packaged => Found::warn(format!(
            "{path} is {version}: by its number it has {flaws}; the packager may have carried the fix over"
        )),
        (flaws, _) => Found::fail(format!("{path} is {version}, which has {flaws}")),
    }
}

fn chosen(node: &Node) -> Found {
    let policy = match &node.policy {
        Ok(policy) => policy,
        Err(why) => return Found::unknown(why.clone()),
    };
    let Some(path) = &policy.runtime else { return Found::pass("the embedded one") };
    match node.stat(path) {
        Ok(Some(_)) => Found::pass(path.clone()),
        Ok(None) => Found::fail(format!("no {path}")),
        Err(why) => Found::unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::Version;
    use super::*;

    #[test]
    fn versions_are_judged() {
        for (flaws, text, outcome) in [
            (RUNC, "1.0.0-rc6", Outcome::Fail),
            (RUNC, "1.1.11", Outcome::Fail),
            (RUNC, "1.1.15", Outcome::Fail),
            (RUNC, "1.2.8", Outcome::Fail),
            (RUNC, "1.3.5", Outcome::Fail),
            (RUNC, "1.3.6", Outcome::Pass),
            (RUNC, "1.4.2", Outcome::Fail),
            (RUNC, "1.4.3", Outcome::Pass),
            (RUNC, "1.5.0", Outcome::Pass),
            (RUNC, "1.1.5+ds1-1+deb12u1", Outcome::Warn),
            (CRUN, "1.27", Outcome::Fail),
            (CRUN, "1.28", Outcome::Pass),
            (CRUN, "1.21-1", Outcome::Warn),
            (YOUKI, "0.5.6", Outcome::Fail),
            (YOUKI, "0.6.0", Outcome::Pass),
        ] {
            let program = Program { path: "/x".into(), version: Ok(Version::parse(text).unwrap()) };
            assert_eq!(judge(&program, flaws).outcome, outcome, "{text}");
        }
        let program = Program { path: "/x".into(), version: Err("no".into()) };
        assert_eq!(judge(&program, RUNC).outcome, Outcome::Unknown);
    }
}
