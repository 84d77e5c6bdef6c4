use serde_json::json;

use super::*;

const SMALL: &str = r#"{"ociVersion":"1.2.1","process":{"user":{"uid":1},"cwd":"/",
    "capabilities":{"bounding":["CAP_KILL"]}},"root":{"path":"rootfs"},
    "mounts":[{"destination":"/a","type":"bind","source":"/b"},{"destination":"/c","options":["rbind"],"source":"/d"},
              {"destination":"/t","type":"tmpfs"}],
    "linux":{"namespaces":[{"type":"pid"},{"type":"network","path":"/n"}]}}"#;

/// `SMALL` with one piece of text replaced.
fn parse(from: &str, to: &str) -> Result<ParsedSpec, SpecError> {
    assert!(SMALL.contains(from), "{from}");
    ParsedSpec::parse(SMALL.replacen(from, to, 1).as_bytes())
}

#[test]
fn a_plain_specification_is_read() {
    let spec = ParsedSpec::parse(SMALL.as_bytes()).unwrap();
    assert_eq!(spec.bind_sources(), [(0, Path::new("/b")), (1, Path::new("/d"))]);
    assert_eq!(spec.namespace_paths(), [(LinuxNamespaceType::Network, Path::new("/n"))]);
    assert!(spec.hook_paths().is_empty());
}

#[test]
fn hooks_are_found_at_every_stage() {
    for stage in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let hooks = format!(r#""hooks":{{"{stage}":[{{"path":"/h"}}]}},"root""#);
        let spec = parse("\"root\"", &hooks).unwrap();
        assert_eq!(spec.hook_paths(), [(format!("/hooks/{stage}/0"), Path::new("/h"))], "{stage}");
    }
}

#[test]
fn a_key_that_the_type_would_drop_is_refused_where_it_stands() {
    for (from, to, pointer) in [
        (r#""uid":1"#, r#""uid":1,"setuid":0"#, "/process/user/setuid"),
        (r#""type":"tmpfs""#, r#""type":"tmpfs","x/y":1"#, "/mounts/2/x~1y"),
        (r#""ociVersion""#, r#""future":{"a":1},"ociVersion""#, "/future"),
        (r#""namespaces""#, r#""Namespaces":[1],"namespaces""#, "/linux/Namespaces"),
    ] {
        let error = parse(from, to).unwrap_err();
        assert!(matches!(error, SpecError::UnknownKey { .. }), "{error}");
        assert_eq!(error.pointer(), pointer);
    }
}

/// oci-spec takes it, Go's reader does not.
#[test]
fn a_negative_limit_of_huge_pages_is_refused() {
    let section = |limit: &str| format!(r#"{{"hugepageLimits":[{{"pageSize":"2MB","limit":{limit}}}]}}"#);
    for (limit, refused) in [("0", false), ("9223372036854775807", false), ("-1", true), ("-9223372036854775808", true)]
    {
        let section = section(limit);
        let whole = parse(r#""linux":{"#, &format!(r#""linux":{{"resources":{section},"#)).map(|_| ());
        let alone = parse_section::<oci::LinuxResources>(section.as_bytes(), RESOURCES).map(|_| ());
        for read in [whole, alone] {
            let pointer = read.as_ref().err().map(SpecError::pointer);
            assert_eq!(pointer, refused.then_some("/linux/resources/hugepageLimits/0/limit"), "{limit}");
            assert!(read.err().is_none_or(|error| matches!(error, SpecError::Negative { .. })));
        }
    }
}

#[test]
fn null_and_empty_are_absent_as_in_go() {
    for to in [r#""uid":1,"umask":null"#, r#""uid":1,"additionalGids":null"#] {
        parse(r#""uid":1"#, to).unwrap();
    }
    parse(r#""linux":{"#, r#""linux":{"maskedPaths":null,"#).unwrap();
}

#[test]
fn only_the_exact_name_of_a_capability_is_read() {
    for odd in ["sys_admin", "SYS_ADMIN", "CAP_CAP_SYS_ADMIN", "cap_sys_admin"] {
        let error = parse("CAP_KILL", odd).unwrap_err();
        assert!(matches!(&error, SpecError::CapabilityName { name, .. } if name == odd), "{error}");
        assert_eq!(error.pointer(), "/process/capabilities/bounding/0");
    }
    let unknown = parse("CAP_KILL", "CAP_NOPE").unwrap_err();
    assert_eq!(unknown.pointer(), "/process/capabilities");
    parse(r#""CAP_KILL""#, r#""CAP_KILL","CAP_CHOWN","CAP_KILL""#).unwrap();
}

#[test]
fn other_platforms_are_refused() {
    for (from, to, pointer) in [
        (r#""root""#, r#""windows":{"layerFolders":[]},"root""#, "/windows"),
        (r#""root""#, r#""vm":{"kernel":{"path":"/k"}},"root""#, "/vm"),
        (r#""uid":1"#, r#""uid":1,"username":"x""#, "/process/user/username"),
        (r#""cwd""#, r#""commandLine":"x","cwd""#, "/process/commandLine"),
        (r#""root""#, r#""uidMappings":[{"containerID":0,"hostID":0,"size":1}],"root""#, "/uidMappings"),
    ] {
        let error = parse(from, to).unwrap_err();
        assert!(matches!(error, SpecError::Foreign { .. }), "{error}");
        assert_eq!(error.pointer(), pointer);
    }
}

#[test]
fn a_wrong_value_is_told_with_its_section() {
    for (from, to, pointer) in [
        (r#""uid":1"#, r#""uid":-1"#, "/process/user"),
        (r#""uid":1"#, r#""uid":"0""#, "/process/user"),
        (r#""uid":1"#, r#""uid":4294967296"#, "/process/user"),
        (r#""type":"pid""#, r#""type":"pids""#, "/linux/namespaces/0"),
        (r#""destination":"/c""#, r#""destination":1"#, "/mounts/1"),
        (r#""uid":1"#, r#""uid":1.0"#, "/process/user/uid"),
        (r#""uid":1"#, r#""uid":1,"uid":0"#, "/process/user/uid"),
    ] {
        assert_eq!(parse(from, to).unwrap_err().pointer(), pointer, "{to}");
    }
}

#[test]
fn the_three_sections_must_be_there() {
    for (from, to, pointer) in [
        (r#""root":{"path":"rootfs"}"#, r#""hostname":"x""#, "/root"),
        (r#""linux":{"#, r#""annotations":{},"linux":null,"hooks":{},"x":{"#, "/x"),
    ] {
        assert_eq!(parse(from, to).unwrap_err().pointer(), pointer);
    }
}

#[test]
fn the_size_is_bounded() {
    let padded = format!("{SMALL}{}", " ".repeat(MAX_SPEC_BYTES));
    assert!(matches!(ParsedSpec::parse(padded.as_bytes()), Err(SpecError::TooLarge { .. })));
}

#[test]
fn the_number_of_mounts_is_bounded() {
    // Two are there before.
    let with = |count: usize| {
        let mounts = vec![r#"{"destination":"/x"}"#; count - 2].join(",");
        parse(r#"{"destination":"/t","type":"tmpfs"}"#, &mounts).err().map(|error| error.pointer().to_owned())
    };
    assert_eq!((with(MAX_MOUNTS), with(MAX_MOUNTS + 1)), (None, Some("/mounts".to_owned())));
}

/// What no type of oci-spec does today: it would be seen.
#[test]
fn what_comes_back_otherwise_than_it_went_in_is_refused() {
    for (raw, typed, pointer) in [
        (json!({"a": 1}), json!({"a": 2}), Some("/x/a")),
        (json!({"a": [1, 2]}), json!({"a": [1]}), Some("/x/a")),
        (json!({"a": [1, 2]}), json!({"a": [1, 3]}), Some("/x/a/1")),
        (json!({"a": 1}), json!({"a": "1"}), Some("/x/a")),
        (json!({"a": 1}), json!({}), Some("/x/a")),
        (json!({"a": [1, {"b": "c"}]}), json!({"a": [1, {"b": "c", "d": 0}], "e": null}), None),
        (json!({"a": null, "b": null}), json!({"a": []}), None),
    ] {
        let error = closed::compare(&raw, &typed, "/x").err();
        assert_eq!(error.as_ref().map(SpecError::pointer), pointer, "{raw} {typed}");
    }
}
