//! A pod's specification as manifests have it (Kubernetes `core/v1`). Every field of the API is named, so that a misspelt one is an error; those
//! that make no difference to a container's isolation are read past.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What the model does not go by.
type Unread = Option<Value>;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    pub(super) generate_name: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    // Filled in by the API server, in objects that were read from it.
    uid: Unread,
    resource_version: Unread,
    generation: Unread,
    creation_timestamp: Unread,
    deletion_timestamp: Unread,
    deletion_grace_period_seconds: Unread,
    owner_references: Unread,
    finalizers: Unread,
    managed_fields: Unread,
    self_link: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PodTemplate {
    pub(super) metadata: Option<Metadata>,
    pub(super) spec: PodSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PodSpec {
    pub(super) volumes: Vec<Volume>,
    #[serde(rename = "initContainers")]
    pub(super) init_containers: Vec<Container>,
    pub(super) containers: Vec<Container>,
    #[serde(rename = "ephemeralContainers")]
    pub(super) ephemeral_containers: Vec<Container>,
    #[serde(rename = "automountServiceAccountToken")]
    pub(super) automount_service_account_token: Option<bool>,
    #[serde(rename = "serviceAccountName")]
    pub(super) service_account_name: Option<String>,
    #[serde(rename = "serviceAccount")]
    pub(super) service_account: Option<String>,
    #[serde(rename = "nodeName")]
    pub(super) node_name: Option<String>,
    #[serde(rename = "hostNetwork")]
    pub(super) host_network: Option<bool>,
    #[serde(rename = "hostPID")]
    pub(super) host_pid: Option<bool>,
    #[serde(rename = "hostIPC")]
    pub(super) host_ipc: Option<bool>,
    #[serde(rename = "hostUsers")]
    pub(super) host_users: Option<bool>,
    #[serde(rename = "shareProcessNamespace")]
    pub(super) share_process_namespace: Option<bool>,
    #[serde(rename = "securityContext")]
    pub(super) security_context: Option<PodSecurity>,
    pub(super) hostname: Option<String>,
    #[serde(rename = "hostnameOverride")]
    pub(super) hostname_override: Option<String>,
    #[serde(rename = "runtimeClassName")]
    pub(super) runtime_class_name: Option<String>,
    #[serde(rename = "priorityClassName")]
    pub(super) priority_class_name: Option<String>,
    pub(super) overhead: BTreeMap<String, Amount>,
    pub(super) resources: Option<Resources>,
    #[serde(rename = "resourceClaims")]
    pub(super) resource_claims: Vec<Value>,
    pub(super) os: Option<PodOs>,
    #[serde(rename = "restartPolicy")]
    restart_policy: Option<String>,
    #[serde(rename = "terminationGracePeriodSeconds")]
    termination_grace_period_seconds: Unread,
    #[serde(rename = "activeDeadlineSeconds")]
    active_deadline_seconds: Unread,
    #[serde(rename = "dnsPolicy")]
    dns_policy: Unread,
    #[serde(rename = "dnsConfig")]
    dns_config: Unread,
    #[serde(rename = "nodeSelector")]
    node_selector: Unread,
    #[serde(rename = "imagePullSecrets")]
    image_pull_secrets: Unread,
    subdomain: Unread,
    affinity: Unread,
    #[serde(rename = "schedulerName")]
    scheduler_name: Unread,
    tolerations: Unread,
    #[serde(rename = "hostAliases")]
    host_aliases: Unread,
    priority: Unread,
    #[serde(rename = "readinessGates")]
    readiness_gates: Unread,
    #[serde(rename = "enableServiceLinks")]
    enable_service_links: Unread,
    #[serde(rename = "preemptionPolicy")]
    preemption_policy: Unread,
    #[serde(rename = "topologySpreadConstraints")]
    topology_spread_constraints: Unread,
    #[serde(rename = "setHostnameAsFQDN")]
    set_hostname_as_fqdn: Unread,
    #[serde(rename = "schedulingGates")]
    scheduling_gates: Unread,
    #[serde(rename = "workloadRef")]
    workload_ref: Unread,
    #[serde(rename = "schedulingGroup")]
    scheduling_group: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct PodOs {
    pub(super) name: String,
}

/// An amount as a text or a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Amount {
    Text(String),
    Whole(i64),
    Decimal(f64),
}

impl Amount {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(whole) => whole.to_string(),
            Self::Decimal(decimal) => decimal.to_string(),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Resources {
    pub(super) limits: BTreeMap<String, Amount>,
    pub(super) requests: BTreeMap<String, Amount>,
    pub(super) claims: Vec<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: Option<String>,
    pub(super) command: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) working_dir: Option<String>,
    pub(super) ports: Vec<Port>,
    pub(super) env: Vec<Variable>,
    pub(super) env_from: Vec<EnvFrom>,
    pub(super) resources: Option<Resources>,
    pub(super) restart_policy: Option<String>,
    pub(super) volume_mounts: Vec<VolumeMount>,
    pub(super) volume_devices: Vec<VolumeDevice>,
    pub(super) security_context: Option<Security>,
    pub(super) termination_message_path: Option<String>,
    pub(super) tty: Option<bool>,
    pub(super) target_container_name: Option<String>,
    restart_policy_rules: Unread,
    resize_policy: Unread,
    liveness_probe: Unread,
    readiness_probe: Unread,
    startup_probe: Unread,
    lifecycle: Unread,
    termination_message_policy: Unread,
    image_pull_policy: Unread,
    stdin: Unread,
    stdin_once: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Port {
    name: Option<String>,
    container_port: i64,
    host_port: Option<i64>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    protocol: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) value_from: Option<ValueFrom>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ValueFrom {
    pub(super) field_ref: Option<FieldRef>,
    pub(super) resource_field_ref: Option<Value>,
    pub(super) config_map_key_ref: Option<KeyRef>,
    pub(super) secret_key_ref: Option<KeyRef>,
    pub(super) file_key_ref: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FieldRef {
    pub(super) field_path: String,
    api_version: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KeyRef {
    pub(super) name: Option<String>,
    pub(super) key: String,
    optional: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct EnvFrom {
    pub(super) config_map_ref: Option<NameRef>,
    pub(super) secret_ref: Option<NameRef>,
    prefix: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NameRef {
    pub(super) name: Option<String>,
    optional: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct VolumeMount {
    pub(super) name: String,
    pub(super) mount_path: String,
    pub(super) read_only: Option<bool>,
    pub(super) recursive_read_only: Option<String>,
    pub(super) sub_path: Option<String>,
    pub(super) sub_path_expr: Option<String>,
    pub(super) mount_propagation: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct VolumeDevice {
    pub(super) name: String,
    pub(super) device_path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Security {
    pub(super) capabilities: Option<Capabilities>,
    pub(super) privileged: Option<bool>,
    pub(super) se_linux_options: Option<SeLinux>,
    pub(super) run_as_user: Option<i64>,
    pub(super) run_as_group: Option<i64>,
    pub(super) run_as_non_root: Option<bool>,
    pub(super) read_only_root_filesystem: Option<bool>,
    pub(super) allow_privilege_escalation: Option<bool>,
    pub(super) proc_mount: Option<String>,
    pub(super) seccomp_profile: Option<ConfinementProfile>,
    pub(super) app_armor_profile: Option<ConfinementProfile>,
    windows_options: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Capabilities {
    pub(super) add: Vec<String>,
    pub(super) drop: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SeLinux {
    pub(super) user: Option<String>,
    pub(super) role: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) level: Option<String>,
}

/// A seccomp or an AppArmor profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ConfinementProfile {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) localhost_profile: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PodSecurity {
    pub(super) se_linux_options: Option<SeLinux>,
    pub(super) run_as_user: Option<i64>,
    pub(super) run_as_group: Option<i64>,
    pub(super) run_as_non_root: Option<bool>,
    pub(super) supplemental_groups: Vec<i64>,
    pub(super) supplemental_groups_policy: Option<String>,
    pub(super) fs_group: Option<i64>,
    pub(super) sysctls: Vec<Sysctl>,
    pub(super) seccomp_profile: Option<ConfinementProfile>,
    pub(super) app_armor_profile: Option<ConfinementProfile>,
    fs_group_change_policy: Unread,
    se_linux_change_policy: Unread,
    windows_options: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Sysctl {
    pub(super) name: String,
    pub(super) value: String,
}

/// A volume: a name and one source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) host_path: Option<HostPath>,
    pub(super) empty_dir: Option<Value>,
    pub(super) config_map: Option<Value>,
    pub(super) secret: Option<Value>,
    pub(super) projected: Option<Projected>,
    #[serde(rename = "downwardAPI")]
    pub(super) downward_api: Option<Value>,
    pub(super) persistent_volume_claim: Option<Claim>,
    pub(super) ephemeral: Option<Value>,
    pub(super) csi: Option<Csi>,
    pub(super) image: Option<ImageVolume>,
    pub(super) nfs: Option<Value>,
    pub(super) iscsi: Option<Value>,
    pub(super) fc: Option<Value>,
    pub(super) cephfs: Option<Value>,
    pub(super) rbd: Option<Value>,
    pub(super) glusterfs: Option<Value>,
    pub(super) cinder: Option<Value>,
    pub(super) azure_disk: Option<Value>,
    pub(super) azure_file: Option<Value>,
    pub(super) aws_elastic_block_store: Option<Value>,
    pub(super) gce_persistent_disk: Option<Value>,
    pub(super) vsphere_volume: Option<Value>,
    pub(super) flex_volume: Option<Value>,
    pub(super) flocker: Option<Value>,
    pub(super) git_repo: Option<Value>,
    pub(super) photon_persistent_disk: Option<Value>,
    pub(super) portworx_volume: Option<Value>,
    pub(super) quobyte: Option<Value>,
    #[serde(rename = "scaleIO")]
    pub(super) scale_io: Option<Value>,
    pub(super) storageos: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HostPath {
    pub(super) path: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Projected {
    pub(super) sources: Vec<Value>,
    default_mode: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Claim {
    claim_name: String,
    pub(super) read_only: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Csi {
    driver: String,
    pub(super) read_only: Option<bool>,
    fs_type: Unread,
    volume_attributes: Unread,
    node_publish_secret_ref: Unread,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ImageVolume {
    reference: Option<String>,
    pull_policy: Option<String>,
}
