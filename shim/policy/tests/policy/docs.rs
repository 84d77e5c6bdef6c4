//! docs/policy.md says of every rule what the code does.

use palisade_policy::{Policy, RULES, Rule};

fn text() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/policy.md");
    std::fs::read_to_string(path).unwrap()
}

fn row(rule: &Rule) -> String {
    let settings: Vec<String> = rule.settings.iter().map(|setting| format!("`{}`", setting.key())).collect();
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} |",
        rule.id,
        rule.restricted,
        rule.baseline,
        if rule.essential { "deny" } else { "off" },
        if rule.mutable { "yes" } else { "no" },
        settings.join(", "),
        rule.source,
    )
}

#[test]
fn every_rule_has_its_row_and_no_row_is_left_over() {
    let text = text();
    for rule in RULES {
        assert!(text.contains(&row(rule)), "missing: {}", row(rule));
    }
    let table = text.split("| rule | restricted | baseline |").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, RULES.len());
}

#[test]
fn the_examples_are_policies() {
    let text = text();
    let examples: Vec<&str> =
        text.split("```toml").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        assert_eq!(Policy::from_toml(example).unwrap().profile(), "restricted");
    }
}

/// `docs/controls.md` is made of the table. `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_page_of_controls_is_the_table() {
    let mut page = include_str!("controls_head.md").to_owned();
    page.push_str("| rule | judged at | restricted | baseline | in every profile | a change helps | settings | what it demands, and who asks for it |\n");
    page.push_str("|---|---|---|---|---|---|---|---|\n");
    for rule in RULES {
        let settings: Vec<&str> = rule.settings.iter().map(|setting| setting.key()).collect();
        let yes = |is: bool| if is { "yes" } else { "" };
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |\n",
            rule.id,
            rule.judged_at(),
            rule.restricted,
            rule.baseline,
            yes(rule.essential),
            yes(rule.mutable),
            settings.join(", "),
            rule.source,
        ));
    }
    page.push_str(include_str!("controls_tail.md"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/controls.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "UPDATE_GOLDEN=1 writes it anew");
}
