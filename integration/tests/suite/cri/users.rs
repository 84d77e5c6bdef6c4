//! Whom a container runs as, and in which groups.

use k8s_cri::v1 as api;
use palisade_integration::image;

use super::scenario::{Scenario, scenario};
use super::seen::Seen;
use super::stage::{Container, Fault, Stage, secured};

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario(
        "the user that is asked for",
        "Security Context: RunAsUser",
        by_number,
        &[("Uid", "1001 1001 1001 1001"), ("Gid", "0 0 0 0"), ("id", "uid=1001 gid=0(root) groups=0(root)")],
    )
    .restricted(&[
        ("Uid", "1001 1001 1001 1001"),
        ("Gid", "65532 65532 65532 65532"),
        ("id", "uid=1001 gid=65532"),
    ]),
    scenario(
        "the user that is named",
        "Security Context: RunAsUserName",
        by_name,
        &[
            ("Uid", "1000 1000 1000 1000"),
            ("Gid", "1000 1000 1000 1000"),
            ("id", "uid=1000(user) gid=1000(user) groups=6(disk),1000(user)"),
        ],
    )
    .restricted(&[("Uid", "1000 1000 1000 1000"), ("Gid", "1000 1000 1000 1000"), ("Groups", "1000")]),
    scenario("a user that the image does not have", "", unknown_name, &[("create", "refused, no users found")]),
    scenario(
        "user and group that are asked for",
        "Security Context: RunAsGroup",
        by_group,
        &[("Uid", "1001 1001 1001 1001"), ("Gid", "2001 2001 2001 2001")],
    ),
    scenario(
        "a group without a user is refused by containerd",
        "Security Context: RunAsGroup without RunAsUser",
        group_alone,
        &[("create", "refused")],
    ),
    scenario("the image's user", "", of_image, &[("Uid", "1000 1000 1000 1000"), ("Gid", "1000 1000 1000 1000")]),
    scenario("root by number", "", root, &[("Uid", "0 0 0 0"), ("Groups", "0 4000")]).restricted(&[
        ("Uid", "65532 65532 65532 65532"),
        ("Gid", "65532 65532 65532 65532"),
        ("Groups", "4000"),
    ]),
    scenario("supplemental groups", "Security Context: SupplementalGroups", supplemental, &[("Groups", "0 1234 5678")])
        .restricted(&[("Groups", "1234 5678")]),
    scenario(
        "groups of the image are merged",
        "SupplementalGroupsPolicy: Merge",
        merged,
        &[("Groups", "6 1000 1234"), ("status", "1000 1000 [6, 1000, 1234]")],
    )
    .since_two("1.7 does not know the policy")
    .restricted(&[("Groups", "1000 1234")]),
    scenario(
        "groups of the image are left out",
        "SupplementalGroupsPolicy: Strict",
        strict,
        &[("Groups", "1000 1234"), ("status", "1000 1000 [1000, 1234]")],
    )
    .since_two("1.7 does not know the policy"),
];

fn by_number(stage: &Stage<'_>) -> Result<Seen, Fault> {
    as_user(stage, |security| security.run_as_user = number(1001))
}

fn by_name(stage: &Stage<'_>) -> Result<Seen, Fault> {
    as_user(stage, |security| "user".clone_into(&mut security.run_as_username))
}

fn unknown_name(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mut seen = Seen::new();
    let created = stage
        .created(&pod, |config| secured(config, |security| "no-such-user".clone_into(&mut security.run_as_username)));
    match created {
        Ok(_) => seen.note("create", "done"),
        Err(Fault::Refused(failure)) => {
            let says = failure.to_string().contains("no users found");
            seen.note("create", if says { "refused, no users found".to_owned() } else { failure.to_string() });
        }
        Err(broken) => return Err(broken),
    }
    pod.remove()?;
    Ok(seen)
}

fn by_group(stage: &Stage<'_>) -> Result<Seen, Fault> {
    as_user(stage, |security| {
        security.run_as_user = number(1001);
        security.run_as_group = number(2001);
    })
}

fn group_alone(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let pod = stage.pod(|_| ())?;
    let mut seen = Seen::new();
    match stage.created(&pod, |config| secured(config, |security| security.run_as_group = number(2001))) {
        Ok(_) => seen.note("create", "done"),
        Err(Fault::Refused(failure)) => {
            seen.note("create", "refused");
            seen.note("words", failure);
        }
        Err(broken) => return Err(broken),
    }
    pod.remove()?;
    Ok(seen)
}

fn of_image(stage: &Stage<'_>) -> Result<Seen, Fault> {
    let change = |config: &mut api::ContainerConfig| {
        config.image = Some(api::ImageSpec { image: image::USER.to_owned(), ..Default::default() });
    };
    stage.one(change, identity)
}

fn root(stage: &Stage<'_>) -> Result<Seen, Fault> {
    as_user(stage, |security| {
        security.run_as_user = number(0);
        security.run_as_group = number(0);
        security.supplemental_groups = vec![0, 4000];
    })
}

fn supplemental(stage: &Stage<'_>) -> Result<Seen, Fault> {
    as_user(stage, |security| security.supplemental_groups = vec![1234, 5678])
}

fn merged(stage: &Stage<'_>) -> Result<Seen, Fault> {
    under_policy(stage, api::SupplementalGroupsPolicy::Merge)
}

fn strict(stage: &Stage<'_>) -> Result<Seen, Fault> {
    under_policy(stage, api::SupplementalGroupsPolicy::Strict)
}

/// User 1000 of the image is in its group 6.
fn under_policy(stage: &Stage<'_>, policy: api::SupplementalGroupsPolicy) -> Result<Seen, Fault> {
    as_user(stage, |security| {
        security.run_as_user = number(1000);
        security.supplemental_groups = vec![1234];
        security.supplemental_groups_policy = policy.into();
    })
}

fn as_user(stage: &Stage<'_>, change: impl FnOnce(&mut api::LinuxContainerSecurityContext)) -> Result<Seen, Fault> {
    stage.one(|config| secured(config, change), identity)
}

/// Init's identity, that of a further process, and what the status says.
fn identity(container: &Container<'_>, seen: &mut Seen) -> Result<(), Fault> {
    super::look::status(&format!("/proc/{}", container.pid()?), &["Uid", "Gid", "Groups"], seen)?;
    container.note(seen, "id", "id")?;
    container.note(seen, "home", "echo $HOME")?;
    if let Some(user) = container.status()?.user.and_then(|user| user.linux) {
        seen.note("status", format!("{} {} {:?}", user.uid, user.gid, user.supplemental_groups));
    }
    Ok(())
}

fn number(value: i64) -> Option<api::Int64Value> {
    Some(api::Int64Value { value })
}
