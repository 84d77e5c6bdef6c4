//! `docs/cri.md`, which is made from the table. `UPDATE_GOLDEN=1` writes it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::scenario::{Needs, Restricted, Scenario, Shown};
use super::{TABLE, scenarios};
use crate::support::Check;

const HEAD: &str = "# CRI, behaviour by behaviour

Made from the table of `integration/tests/suite/cri` by a test of the suite, which with `UPDATE_GOLDEN=1` writes it anew. Each behaviour is asked for as the
kubelet asks, on real containerd. Under a profile that allows all, both ways to configure palisade have to show what plain runc shows, in all that the scenario
looks at; the column says what is demanded of runc beside that. `critest` is the public validation suite of CRI (kubernetes-sigs/cri-tools).

";

/// What the validation suite has beside these, and why it is not asked here.
const OTHERS: &[(&str, &str)] = &[
    (
        "Image Manager, Image Consistency, Image Identifier Consistency",
        "images are containerd's own matter; no shim has a part in them",
    ),
    ("Networking: port mapping with host port", "the CNI plugin makes it, whatever the handler"),
    ("AppArmor with a loaded profile", "the kernel at hand has no AppArmor; what containerd answers then is compared"),
    ("SELinux labels", "the kernel at hand has no SELinux; that options for it do no harm is compared"),
    (
        "NRI: hooks that fail or take long, synchronization",
        "what containerd does then happens before or after the shim is called",
    ),
    ("Streaming over SPDY", "what lies between containerd and its client; the streams are asked for over WebSocket"),
    ("Windows", "palisade is for Linux"),
];

/// Fails unless the file says what the table says.
pub(super) fn is_up_to_date() -> Check {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/cri.md");
    let wanted = page()?;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &wanted)?;
    }
    let now = fs::read_to_string(&file).unwrap_or_default();
    expect!(now == wanted, "{} is not what the table says: UPDATE_GOLDEN=1 writes it", file.display());
    Ok(())
}

fn page() -> Result<String, std::fmt::Error> {
    let mut page = HEAD.to_owned();
    let refused = scenarios().filter(|scenario| matches!(scenario.restricted, Restricted::Refused(_))).count();
    writeln!(page, "{} behaviours, {refused} of them refused under `restricted`.", scenarios().count())?;
    for (heading, scenarios) in TABLE {
        write!(
            page,
            "\n## {heading}\n\n| behaviour | critest | all allowed: as runc, that is | `restricted` |\n|---|---|---|---|\n"
        )?;
        scenarios.iter().try_for_each(|scenario| row(&mut page, scenario))?;
    }
    page.push_str("\n## Not asked, and why\n\n");
    OTHERS.iter().try_for_each(|(what, why)| writeln!(page, "- **{what}**: {why}"))?;
    Ok(page)
}

fn row(page: &mut String, scenario: &Scenario) -> std::fmt::Result {
    let restricted = match &scenario.restricted {
        Restricted::Same => "the same".to_owned(),
        Restricted::Shows(shown) => list(shown),
        Restricted::Refused(rule) => format!("refused: `{rule}`"),
    };
    let mut what = scenario.what.to_owned();
    if let Needs::Two(why) = scenario.needs {
        write!(what, " (containerd 2 only: {why})")?;
    }
    if let Some(why) = scenario.by_path {
        write!(what, " (`PalisadeByPath` only: {why})")?;
    }
    let mut alike = list(scenario.shows);
    for (name, why) in scenario.differs {
        write!(alike, "; {name} differs: {why}")?;
    }
    let critest = if scenario.critest.is_empty() { "–" } else { scenario.critest };
    writeln!(page, "| {what} | {critest} | {alike} | {restricted} |")
}

fn list(shown: Shown) -> String {
    let entry = |(name, value): &(&str, &str)| match *value {
        "" => format!("{name}: nothing"),
        value => format!("{name}: `{}`", value.replace('|', "\\|").replace('\n', " ")),
    };
    shown.iter().map(entry).collect::<Vec<_>>().join(", ")
}
