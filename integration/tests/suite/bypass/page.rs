//! `docs/bypasses.md` and the count in the README, which are made from the table. `UPDATE_GOLDEN=1` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;

use super::untested::REASONS;
use super::{Bypass, Control, Stop, entries, open};
use crate::support::Check;

const HEAD: &str = "# Bypasses

Made from the table of `integration/tests/suite/bypass` by a test of the suite, which with `UPDATE_GOLDEN=1` writes it anew. Each entry is tried on
real containerd, under the profile `restricted`, and the same is asked of plain runc to show that the way is there. §6 is the catalogue of bypasses that
the shim was designed against, controls §3 its list of escapes and hardening controls; PSS = Pod Security Standards, CDK = the names of that toolkit.

";

/// Fails unless both files say what the table says.
pub(super) fn is_up_to_date() -> Check {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme)?;
    for (file, wanted) in [(root.join("docs/bypasses.md"), page()?), (readme, counted(&text)?)] {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &wanted)?;
        }
        let now = fs::read_to_string(&file).unwrap_or_default();
        expect!(now == wanted, "{} is not what the table says: UPDATE_GOLDEN=1 writes it", file.display());
    }
    Ok(())
}

const COUNT_ENDS: &str = " ways around such a policy";

/// The README with the number before its one sentence about the suite.
fn counted(readme: &str) -> Result<String, Failed> {
    let end = readme.find(COUNT_ENDS).ok_or("the README does not mention the bypass suite")?;
    let (before, after) = readme.split_at(end);
    let start = before.trim_end_matches(|digit: char| digit.is_ascii_digit());
    Ok(format!("{start}{}{after}", entries().count()))
}

fn page() -> Result<String, std::fmt::Error> {
    let (privileged, plain): (Vec<_>, Vec<_>) = entries()
        .filter(|entry| matches!(entry.control, Control::Through))
        .partition(|entry| entry.way.needs_privilege());
    let mut page = HEAD.to_owned();
    let (all, plain, privileged) = (entries().count(), plain.len(), privileged.len());
    writeln!(
        page,
        "{all} entries. Plain runc lets {plain} of them through, and {privileged} more in a privileged container, where the kernel has what they are about.\n"
    )?;
    page.push_str("| id | from | what is tried | how | what stops it | plain runc |\n|---|---|---|---|---|---|\n");
    for entry in entries() {
        row(&mut page, entry)?;
    }
    page.push_str(
        "\n## Known to be open\n\nNot in the count. `--ignored bypass` runs those with a name, which fail today.\n\n",
    );
    for (entry, why) in open::ENTRIES {
        writeln!(page, "- **`{}`, {}: {}** ({}): {why}", entry.id, entry.source, entry.what, entry.way.how())?;
    }
    list(&mut page, open::OTHERS)?;
    page.push_str("\n## Not tried, and why\n\n");
    list(&mut page, REASONS)?;
    Ok(page)
}

fn row(page: &mut String, entry: &Bypass) -> std::fmt::Result {
    let stop = match entry.stop {
        Stop::Rule(rule) => format!("refused: `{rule}`"),
        Stop::Means(means) => means.to_owned(),
    };
    let control = match entry.control {
        Control::Through if entry.way.needs_privilege() => "lets it through in a privileged container".to_owned(),
        Control::Through => "lets it through".to_owned(),
        Control::StopsToo(why) => format!("stops it as well: {why}"),
        Control::Untried(why) => format!("not asked: {why}"),
    };
    writeln!(page, "| `{}` | {} | {} | {} | {stop} | {control} |", entry.id, entry.source, entry.what, entry.way.how())
}

fn list(page: &mut String, items: &[(&str, &str)]) -> std::fmt::Result {
    items.iter().try_for_each(|(what, why)| writeln!(page, "- **{what}**: {why}"))
}
