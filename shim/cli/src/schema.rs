//! `palisade policy schema`: the policy file's format as a JSON Schema, for editors and for checks before a file reaches a node.
//!
//! Made from the table of rules, so it names just those that this version has, each with the keys that it takes. It describes
//! forms; what only the whole file can show (a profile that extends itself, a selector that loosens) `policy validate` tells.

use palisade_policy::{RULES, Rule, Setting};
use serde_json::{Map, Value, json};

/// The number of Kubernetes' and OCI's user and group ids that are neither root nor negative as 32 bits.
const LAST_ID: i32 = i32::MAX;

/// Draft 2020-12.
pub(crate) fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "palisade policy file",
        "description": "The file itself is TOML; docs/policy.md explains it.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "version": described("The format's version.", &json!({"const": 1})),
            "profile": described("The profile of containers that no selector covers; restricted if absent.", &name()),
            "mitigations": described("What is taken from every system call profile.", &list(&file_name())),
            "runtime": runtime(),
            "audit": audit(),
            "seccomp": seccomp(),
            "node": node(),
            "images": images(),
            "profiles": {"type": "object", "additionalProperties": profile()},
            "select": {"type": "array", "items": select()},
            "exempt": {"type": "array", "items": exempt()},
        },
    })
}

fn table(properties: Value) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn with(mut schema: Value, key: &str, value: Value) -> Value {
    if let Some(keys) = schema.as_object_mut() {
        keys.insert(key.to_owned(), value);
    }
    schema
}

fn described(text: &str, schema: &Value) -> Value {
    with(schema.clone(), "description", json!(text))
}

fn name() -> Value {
    json!({"type": "string", "minLength": 1})
}

/// The name of a file without its extension.
fn file_name() -> Value {
    json!({"type": "string", "pattern": r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"})
}

/// Absolute, without `.` and `..`, and not the root.
fn path() -> Value {
    path_after("")
}

fn path_after(beginning: &str) -> Value {
    json!({"type": "string", "pattern": format!(r"^{beginning}(/(?!\.{{1,2}}(/|$))[^/]+)+$")})
}

fn list(item: &Value) -> Value {
    json!({"type": "array", "items": item})
}

fn bytes() -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]*[1-9][0-9]*[KMGT]iB?$"}]})
}

fn cpus() -> Value {
    json!({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9]*[1-9][0-9]*m$"}]})
}

fn runtime() -> Value {
    table(json!({
        "binary": described("An OCI runtime in place of the embedded one.", &path()),
        "deadline": described(
            "Seconds that it may take for one call; 60 if absent.",
            &json!({"type": "integer", "minimum": 1, "maximum": 600}),
        ),
    }))
}

fn audit() -> Value {
    table(json!({
        "path": described("The audit log.", &path()),
        "max_bytes": described("Size at which it is rotated; 64MiB if absent.", &bytes()),
        "keep": described(
            "How many rotated files are kept; 4 if absent.",
            &json!({"type": "integer", "minimum": 1, "maximum": 100}),
        ),
        "sink": described("Where records go; file if absent.", &json!({"enum": ["file", "journald", "both"]})),
        "chain": described("Whether each line holds the digest of the one before it.", &json!({"type": "boolean"})),
        "sync": described("Whether each line is on disk before anything is done.", &json!({"type": "boolean"})),
        "attested": described("Whether what is as it was decided is recorded as well.", &json!({"type": "boolean"})),
    }))
}

fn seccomp() -> Value {
    table(json!({
        "report": described("Whether refused system calls are reported; true if absent.", &json!({"type": "boolean"})),
        "records": described("The directory of what containers of a profile that learns were seen to call.", &path()),
    }))
}

fn node() -> Value {
    table(json!({
        "containerd_roots": described("containerd's root and state directories.", &list(&path())),
        "kubelet_roots": described("The kubelet's directories.", &list(&path())),
    }))
}

fn images() -> Value {
    let flag = |text: &str| described(text, &json!({"type": "boolean"}));
    table(json!({
        "record": flag("Whether images are looked up and put on record where no rule asks for them."),
        "resolver": described("The program that asks containerd; /usr/local/bin/palisade if absent.", &path()),
        "deadline": described(
            "Seconds that it may take; 2 if absent.",
            &json!({"type": "integer", "minimum": 1, "maximum": 30}),
        ),
        "on_error": described("What becomes of an image that could not be looked at; deny if absent.", &json!({"enum": ["deny", "audit"]})),
        "denied": described("A file of denied digests.", &path()),
        "allowed": described("A file of allowed digests.", &path()),
        "verdicts": described("A directory of scanners' verdicts.", &path()),
        "signatures": described("A directory of signatures.", &path()),
        "signed_repository": flag("Whether a signature must name the repository; true if absent."),
        "verifier": described("The profile that containerd's image verifier goes by.", &name()),
        "keys": {"type": "object", "maxProperties": 16, "additionalProperties": described(
            "A public key in PEM.",
            &json!({"type": "string", "pattern": "^\\s*-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]*\n-----END PUBLIC KEY-----\\s*$"}),
        )},
    }))
}

fn profile() -> Value {
    let rules: Map<String, Value> = RULES.iter().map(|rule| (rule.id.as_str().to_owned(), rule_table(rule))).collect();
    table(json!({
        "extends": described("A built-in profile with its version (restricted@1), or another one of this policy.", &name()),
        "mode": described("Whether decisions are carried out, or only recorded.", &json!({"enum": ["enforce", "audit"]})),
        "learn": described("Whether its containers' system calls are recorded.", &json!({"type": "boolean"})),
        "rules": table(Value::Object(rules)),
    }))
}

fn rule_table(rule: &Rule) -> Value {
    let actions: &[&str] = match (rule.essential, rule.mutable) {
        (true, _) => &["deny"],
        (false, true) => &["deny", "mutate", "audit", "off"],
        (false, false) => &["deny", "audit", "off"],
    };
    let mut properties = Map::from_iter([("action".to_owned(), json!({"enum": actions}))]);
    properties.extend(rule.settings.iter().map(|setting| (setting.key().to_owned(), setting_of(rule, *setting))));
    described(rule.source, &table(Value::Object(properties)))
}

fn setting_of(rule: &Rule, setting: Setting) -> Value {
    match setting {
        Setting::Allow => list(&allowed(rule)),
        Setting::Uid | Setting::Gid => json!({"type": "integer", "minimum": 1, "maximum": LAST_ID}),
        Setting::Capabilities => list(&json!({"type": "string", "pattern": "^CAP_[A-Z_]+$"})),
        Setting::Default | Setting::Max => amount(rule),
        // The admin's own are named as their files are.
        Setting::Profile => file_name(),
        Setting::High => json!({"anyOf": [{"type": "string", "pattern": "^(0*[1-9][0-9]?|0*100)%$"}, bytes()]}),
        Setting::OomGroup => json!({"type": "boolean"}),
        Setting::Cpus | Setting::Mems => {
            json!({"type": "string", "pattern": r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"})
        }
        Setting::Limits => list(&described(
            "A disk, or * for every other one, and its rates in a second, such as \"8:0 rbps=10MiB wiops=200\".",
            &json!({"type": "string", "pattern": disk_limit()}),
        )),
        Setting::Severity => json!({"enum": ["unknown", "negligible", "low", "medium", "high", "critical"]}),
        Setting::Ignore | Setting::Labels => list(&json!({"type": "string", "pattern": r"^(?!\*$)\S+$"})),
        Setting::MaxAge => {
            json!({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 36_500}, {"type": "string", "pattern": "^0*[1-9][0-9]{0,4}d$"}]})
        }
        Setting::Weight => json!({"type": "integer", "minimum": 10, "maximum": 1000}),
        // A setting of a later version: `policy validate` knows it.
        _ => json!({}),
    }
}

fn amount(rule: &Rule) -> Value {
    match rule.id.as_str() {
        "res.cpu" => cpus(),
        "res.hugepages" => json!({"anyOf": [{"type": "integer", "minimum": 0}, bytes()]}),
        "res.pids" => json!({"type": "integer", "minimum": 1}),
        _ => bytes(),
    }
}

fn disk_limit() -> String {
    const AMOUNT: &str = "[0-9]*[1-9][0-9]*";
    format!(r"^(\*|[0-9]+:[0-9]+)( ([rw]bps={AMOUNT}([KMGT]iB?)?|[rw]iops={AMOUNT}))+$")
}

fn allowed(rule: &Rule) -> Value {
    match rule.id.as_str() {
        "task.rootfs" | "hooks" => path(),
        "task.stdio" => {
            described("A directory, or a logging program with binary:// before its path.", &path_after("(binary://)?"))
        }
        "mount.host-path" => described("A path, with :ro at its end for read-only mounts alone.", &path()),
        "linux.devices" => json!({
            "type": "string",
            "pattern": "^(/dev/(fuse|kvm|net/tun|vhost-net)|/[^ ]+ [bc] [0-9]+:[0-9]+)$",
            "description": "Path, type and numbers, such as \"/dev/nvidia0 c 195:0\".",
        }),
        "image.registry" => described(
            "Registry and repository in full, or with /* at its end all below.",
            &json!({"type": "string", "pattern": r"^[a-z0-9.:\[\]-]+(/[a-z0-9._-]+)*(/\*|/[a-z0-9._-]+)$"}),
        ),
        "linux.seccomp.arch" => json!({"enum": ["x86", "x32", "arm"]}),
        _ => json!({"type": "string", "pattern": r"^(?!\*$)\S+$"}),
    }
}

fn conditions() -> Map<String, Value> {
    let pattern = || json!({"type": "string", "pattern": r"^[^*]*\*?$", "minLength": 1});
    let texts = ["namespace", "pod", "container", "image"]
        .map(|key| (key.to_owned(), described("The whole name, or its beginning and *.", &pattern())));
    let sandbox = ("sandbox".to_owned(), json!({"type": "boolean"}));
    texts.into_iter().chain([sandbox]).collect()
}

fn select() -> Value {
    let mut properties = conditions();
    properties.insert("profile".to_owned(), name());
    let select = with(table(Value::Object(properties)), "required", json!(["profile"]));
    // A condition beside the profile.
    with(select, "minProperties", json!(2))
}

fn exempt() -> Value {
    let rules: Vec<&str> = RULES.iter().filter(|rule| rule.is_exemptable()).map(|rule| rule.id.as_str()).collect();
    let mut properties = conditions();
    properties.insert("rule".to_owned(), json!({"enum": rules}));
    properties.insert("reason".to_owned(), json!({"type": "string", "pattern": r"\S"}));
    properties.insert("expires".to_owned(), json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}));
    let exempt = with(table(Value::Object(properties)), "required", json!(["rule", "reason", "expires"]));
    // Pod, container and image are names that a pod's author chooses.
    let beyond_author = json!([
        {"required": ["namespace"]},
        {"required": ["sandbox"], "properties": {"sandbox": {"const": true}}},
    ]);
    with(exempt, "anyOf", beyond_author)
}
