//! What is measured: names, words of explanation, kinds.
//!
//! Names by Prometheus' conventions: the tool's name first, base units, `_total` for what only grows. No label holds what a
//! workload chooses freely, and none a container's or a pod's name.

/// What a family's values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// Its value is 1; the labels tell.
    Info,
    Histogram,
}

/// One family of series.
#[derive(Debug)]
pub(super) struct Family {
    /// Without `_total` and `_info`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

const fn family(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind, help, labels }
}

pub(super) const BUILD: &str = "palisade_build";
pub(super) const POLICY: &str = "palisade_policy";
pub(super) const POLICY_VALID: &str = "palisade_policy_valid";
pub(super) const SYNC: &str = "palisade_policy_sync";
pub(super) const SYNC_CURRENT: &str = "palisade_policy_sync_current";
pub(super) const SYNC_TIME: &str = "palisade_policy_sync_timestamp_seconds";
pub(super) const SYNC_SUCCESS: &str = "palisade_policy_sync_success_timestamp_seconds";
pub(super) const POLICY_LOADS: &str = "palisade_policy_loads";
pub(super) const POLICY_LOAD_ERRORS: &str = "palisade_policy_load_errors";
pub(super) const DECISIONS: &str = "palisade_decisions";
pub(super) const DECISION_SECONDS: &str = "palisade_decision_duration_seconds";
pub(super) const CREATE_SECONDS: &str = "palisade_create_duration_seconds";
pub(super) const FINDINGS: &str = "palisade_rule_findings";
pub(super) const EXEMPTIONS: &str = "palisade_exemptions_used";
pub(super) const EXEMPTION_END: &str = "palisade_exemption_end_timestamp_seconds";
pub(super) const EXECS: &str = "palisade_execs";
pub(super) const ATTESTATION_FAILURES: &str = "palisade_attestation_failures";
pub(super) const ATTESTED: &str = "palisade_attestations";
pub(super) const REFUSED_CALLS: &str = "palisade_seccomp_refusals";
pub(super) const OOM_KILLS: &str = "palisade_oom_kills";
pub(super) const RECORDS: &str = "palisade_audit_records";
pub(super) const NO_RECORDS: &str = "palisade_audit_unreadable_lines";
pub(super) const MISSED: &str = "palisade_audit_gaps";
pub(super) const CONTAINERS: &str = "palisade_containers";
pub(super) const MEMORY: &str = "palisade_container_memory_bytes";
pub(super) const MEMORY_MAX: &str = "palisade_memory_max_hits";
pub(super) const MEMORY_HIGH: &str = "palisade_memory_high_hits";
pub(super) const PIDS_REFUSED: &str = "palisade_pids_max_hits";
pub(super) const THROTTLED_PERIODS: &str = "palisade_cpu_throttled_periods";
pub(super) const THROTTLED_SECONDS: &str = "palisade_cpu_throttled_seconds";
pub(super) const PRESSURE: &str = "palisade_pressure_waiting_seconds";
pub(super) const SHIMS: &str = "palisade_shims";
pub(super) const SHIM_MEMORY: &str = "palisade_shim_resident_memory_bytes";
pub(super) const DOCTOR: &str = "palisade_doctor_check";
pub(super) const DOCTOR_TIME: &str = "palisade_doctor_timestamp_seconds";

/// All of them, in the order in which they are shown.
pub(super) const FAMILIES: &[Family] = &[
    family(BUILD, Kind::Info, &["version"], "Version of the monitor."),
    family(POLICY, Kind::Info, &["sha256", "profile"], "The policy in force: its digest and default profile."),
    family(POLICY_VALID, Kind::Gauge, &[], "1 if the policy file can be read, 0 if nothing is created because of it."),
    family(
        SYNC,
        Kind::Info,
        &["wanted", "in_force"],
        "What the cluster wants on this node and what is in force of it, by their digests.",
    ),
    family(SYNC_CURRENT, Kind::Gauge, &[], "1 if what the cluster wants is in force, 0 if it was refused."),
    family(SYNC_TIME, Kind::Gauge, &[], "When that was last looked at."),
    family(SYNC_SUCCESS, Kind::Gauge, &[], "When what the cluster wants was last found in force."),
    family(POLICY_LOADS, Kind::Counter, &[], "Policies that shims have read."),
    family(POLICY_LOAD_ERRORS, Kind::Counter, &[], "Policies that shims could not read any more."),
    family(DECISIONS, Kind::Counter, &["operation", "decision", "mode", "profile"], "Requests that were judged."),
    family(DECISION_SECONDS, Kind::Histogram, &["operation"], "Time that judging and hardening took."),
    family(
        CREATE_SECONDS,
        Kind::Histogram,
        &["profile"],
        "Time from a container's admission until it was made, of those that were there when looked at.",
    ),
    family(FINDINGS, Kind::Counter, &["rule", "action", "profile"], "What rules have found, and what became of it."),
    family(EXEMPTIONS, Kind::Counter, &["rule", "entry"], "Decisions that made use of an exemption."),
    family(EXEMPTION_END, Kind::Gauge, &["rule", "entry"], "When an exemption of the policy ends."),
    family(EXECS, Kind::Counter, &["terminal"], "Requests for a further process in a container."),
    family(ATTESTATION_FAILURES, Kind::Counter, &["check"], "Processes that were not what was decided."),
    family(ATTESTED, Kind::Counter, &["stage"], "Processes that were what was decided, where that is on record."),
    family(REFUSED_CALLS, Kind::Counter, &["syscall"], "System calls that a filter refused, where that is reported."),
    family(OOM_KILLS, Kind::Counter, &["profile"], "Processes killed for want of memory."),
    family(RECORDS, Kind::Counter, &["event"], "Lines of the audit log that were read."),
    family(NO_RECORDS, Kind::Counter, &[], "Lines of the audit log that are no records."),
    family(MISSED, Kind::Counter, &[], "Times that lines were rotated away before they were read."),
    family(CONTAINERS, Kind::Gauge, &["profile"], "Containers that there are."),
    family(MEMORY, Kind::Gauge, &["profile"], "Memory that containers use."),
    family(PIDS_REFUSED, Kind::Counter, &["profile"], "Forks that were refused because of the limit of tasks."),
    family(MEMORY_MAX, Kind::Counter, &["profile"], "Times that the memory of containers met its limit."),
    family(MEMORY_HIGH, Kind::Counter, &["profile"], "Times that it was reclaimed above memory.high (v2)."),
    family(THROTTLED_PERIODS, Kind::Counter, &["profile"], "Periods in which containers had used up their CPU quota."),
    family(
        THROTTLED_SECONDS,
        Kind::Counter,
        &["profile"],
        "Time that containers were stopped because of their CPU quota.",
    ),
    family(
        PRESSURE,
        Kind::Counter,
        &["profile", "resource"],
        "Time in which some of a container waited for a resource.",
    ),
    family(SHIMS, Kind::Gauge, &[], "Processes of palisade's shim."),
    family(SHIM_MEMORY, Kind::Gauge, &[], "Memory of the shims that is resident."),
    family(
        DOCTOR,
        Kind::Gauge,
        &["check", "severity", "outcome"],
        "1 for each check of the node: what it came to when the monitor started.",
    ),
    family(DOCTOR_TIME, Kind::Gauge, &[], "When the node was checked."),
];

impl Family {
    /// The one of that name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of the documentation.
    fn row(family: &Family) -> String {
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}{suffix}` | {} | {} |", family.name, labels.join(", "), family.help)
    }

    #[test]
    fn the_documentation_has_every_metric() {
        let page = include_str!("../../../../docs/monitoring.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `palisade_")).collect();
        assert_eq!(rows, FAMILIES.iter().map(row).collect::<Vec<_>>());
    }
}
