use std::collections::BTreeSet;

use oci_spec::runtime::{Capabilities, Capability};

use super::file::{ProfileFile, Reader};
use super::{BuiltinProfile, FILES, KernelVersion, ProfileError, filter_for, profile_for, shipped_text};

const TOP: &str = r#""comment": "c", "defaultAction": "SCMP_ACT_ERRNO""#;

fn load(syscalls: &str) -> Result<ProfileFile, ProfileError> {
    let file = among(&[("x", &format!(r#"{{ {TOP}, "syscalls": [{syscalls}] }}"#))])?;
    file.check().map(|()| file)
}

/// The first of these files.
fn among(files: &[(&str, &str)]) -> Result<ProfileFile, ProfileError> {
    let text = |name: &str| files.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    let kernel = KernelVersion::of_release("6.1");
    let file = Reader { text: &text, kernel }.read(files[0].0)?;
    file.default()?;
    Ok(file)
}

fn shipped(profile: BuiltinProfile) -> &'static ProfileFile {
    profile.file().unwrap()
}

fn entry(rest: &str) -> String {
    format!(r#"{{ "comment": "c", "action": "SCMP_ACT_ALLOW", {rest} }}"#)
}

/// Every call of the table has a group that allows it or a reason why it is refused, and no name is misspelt.
#[cfg(target_arch = "x86_64")]
#[test]
fn every_call_is_either_named_or_refused_with_a_reason() {
    use std::str::FromStr as _;
    use syscalls::Sysno;

    // `iter` leaves out the last one.
    let table: BTreeSet<&str> = Sysno::iter().chain([Sysno::last()]).map(|syscall| syscall.name()).collect();
    for profile in BuiltinProfile::ALL {
        let file = shipped(profile);
        let listed: BTreeSet<&str> = file.named().chain(file.refused()).collect();
        let unknown: Vec<_> = listed.iter().filter(|name| Sysno::from_str(name).is_err()).collect();
        assert!(unknown.is_empty(), "{profile} names calls that do not exist: {unknown:?}");
        let missing: Vec<_> = table.difference(&listed).collect();
        assert!(missing.is_empty(), "{profile} says nothing about {missing:?}");
    }
}

#[test]
fn names_are_sorted_within_each_group() {
    for profile in BuiltinProfile::ALL {
        for names in shipped(profile).groups() {
            assert!(names.is_sorted(), "{profile}: {names:?}");
        }
    }
}

#[test]
fn a_well_formed_file_loads() {
    let file = load(&entry(r#""names": ["read", "write"]"#)).unwrap();
    assert!(file.resolve(&Capabilities::new()).is_ok());
}

#[test]
fn unknown_and_repeated_keys_are_errors() {
    for rest in [
        r#""names": ["read"], "arg": []"#,
        r#""names": ["read"], "names": ["write"]"#,
        r#""names": ["read"], "includes": { "maxKernel": "4.8" }"#,
        r#""names": ["read"], "includes": { "caps": ["CAP_NO_SUCH"] }"#,
        r#""names": ["read"], "low32": [{ "index": 0, "in": ["1"], "out": [] }]"#,
    ] {
        let error = load(&entry(rest)).unwrap_err();
        assert!(matches!(error, ProfileError::Json { .. }), "{rest}: {error:?}");
    }
}

#[test]
fn a_second_entry_that_voids_the_first_is_an_error() {
    let masked = r#""names": ["clone"], "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]"#;
    let gated = r#""names": ["clone"], "includes": { "caps": ["CAP_SYS_ADMIN"] }"#;
    let whole = r#""names": ["clone"]"#;
    for (first, second) in [(masked, whole), (whole, masked), (whole, gated), (gated, gated), (whole, whole)] {
        let error = load(&format!("{}, {}", entry(first), entry(second))).unwrap_err();
        assert!(matches!(&error, ProfileError::Duplicate { syscall, .. } if syscall == "clone"), "{error:?}");
    }
    for (first, second) in [(masked, masked), (masked, gated)] {
        let both = load(&format!("{}, {}", entry(first), entry(second)));
        assert_eq!(both.is_err(), (first, second) == (masked, gated), "{first} {second}");
    }
}

#[test]
fn entries_that_contradict_themselves_are_errors() {
    for rest in [
        r#""names": []"#,
        r#""names": ["socket"], "low32": [{ "index": 0 }]"#,
        r#""names": ["socket"], "low32": [{ "index": 0, "in": ["1"], "except": ["2"] }]"#,
        r#""names": ["socket"], "low32": [{ "index": 6, "in": ["1"] }]"#,
        r#""names": ["socket"], "low32": [{ "index": 0, "in": ["2-1"] }]"#,
        r#""names": ["socket"], "low32": [{ "index": 0, "in": ["0x100000000"] }]"#,
        r#""names": ["socket"], "low32": [{ "index": 0, "in": ["1"] }], "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]"#,
        r#""names": ["socket"], "args": [{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }]"#,
        r#""names": ["socket"], "errnoRet": 1"#,
    ] {
        let result = load(&entry(rest)).and_then(|file| file.resolve(&Capabilities::new()).map(drop));
        assert!(result.is_err(), "{rest}");
    }
}

#[test]
fn the_shipped_files_say_why_and_void_nothing() {
    for profile in BuiltinProfile::ALL {
        shipped(profile).check().unwrap();
    }
}

#[test]
fn the_shipped_profiles_are_allow_lists_and_the_sets_are_no_profiles() {
    let profiles = BuiltinProfile::ALL.map(BuiltinProfile::name);
    for (name, _) in FILES {
        let file = Reader { text: &shipped_text, kernel: None }.read(name).unwrap();
        match file.default() {
            Ok(default) => assert!(!default.runs() && profiles.contains(&name), "{name}"),
            Err(error) => {
                assert!(!profiles.contains(&name), "{name}");
                assert!(error.to_string().contains("a set to include"), "{error}");
            }
        }
    }
}

#[test]
fn includes_add_up_once_each_and_must_exist_and_not_lead_back() {
    let top = |include: &str| format!(r#"{{ {TOP}, "include": [{include}], "syscalls": [] }}"#);
    let part = |include: &str, call: &str| {
        let entry = entry(&format!(r#""names": ["{call}"]"#));
        format!(r#"{{ "comment": "c", "include": [{include}], "syscalls": [{entry}] }}"#)
    };
    let (a, b, c) = (top(r#""b", "c""#), part(r#""c""#, "read"), part("", "write"));
    let file = among(&[("a", &a), ("b", &b), ("c", &c)]).unwrap();
    assert_eq!(file.named().collect::<Vec<_>>(), ["read", "write"], "c is included once");
    let missing = top(r#""nothing""#);
    assert!(matches!(among(&[("a", &missing)]), Err(ProfileError::Include { .. })));
    let (a, b) = (top(r#""b""#), part(r#""a""#, "read"));
    let error = among(&[("a", &a), ("b", &b)]).unwrap_err();
    assert!(error.to_string().contains("leads back"), "{error}");
    let itself = top(r#""a""#);
    assert!(among(&[("a", &itself)]).is_err());
}

#[test]
fn a_file_may_widen_what_it_includes_and_its_denials_win() {
    let wide = format!(
        r#"{{ {TOP}, "include": ["part"], "syscalls": [{}, {{ "action": "SCMP_ACT_ERRNO", "names": ["kill"] }}] }}"#,
        entry(r#""names": ["socket"]"#)
    );
    let part = format!(
        r#"{{ "syscalls": [{}, {}] }}"#,
        entry(r#""names": ["socket"], "low32": [{ "index": 0, "in": ["1"] }]"#),
        entry(r#""names": ["kill"]"#)
    );
    let file = among(&[("x", &wide), ("part", &part)]).unwrap();
    let filter = file.resolve(&Capabilities::new()).unwrap();
    assert!(filter.verdict("socket", [17, 0, 0, 0, 0, 0]).runs());
    assert!(!filter.verdict("kill", [0; 6]).runs());
}

#[test]
fn several_low32_conditions_must_all_hold() {
    let file = load(&entry(
        r#""names": ["socket"], "low32": [{ "index": 0, "in": ["16"] }, { "index": 2, "except": ["6", "12"] }]"#,
    ))
    .unwrap();
    let filter = file.resolve(&Capabilities::new()).unwrap();
    let runs = |family: u64, protocol: u64| filter.verdict("socket", [family, 3, protocol, 0, 0, 0]).runs();
    assert!(runs(16, 0) && runs(16, 7) && runs(0xffff_0000_0000_0010, 0));
    assert!(!runs(16, 6) && !runs(16, 12) && !runs(16, 0x1_0000_0006) && !runs(2, 0));
}

#[test]
fn the_built_in_files_resolve() {
    for profile in BuiltinProfile::ALL {
        let written = profile_for(profile, &Capabilities::new()).unwrap();
        assert!(written.syscalls().as_ref().is_some_and(|entries| entries.len() < 100));
    }
}

/// The last filter is kept for all containers that differ in other capabilities only.
#[test]
fn what_a_file_lets_run_depends_on_what_it_asks_for_alone() {
    for profile in BuiltinProfile::ALL {
        let (file, none) = (shipped(profile), Capabilities::new());
        for capability in [Capability::SysChroot, Capability::NetBindService, Capability::SysTime, Capability::Chown] {
            let with = Capabilities::from([capability]);
            let same = file.resolve(&with).unwrap() == file.resolve(&none).unwrap();
            assert_eq!(same, !file.asks_for(capability), "{profile:?} {capability:?}");
            assert_eq!(
                *filter_for(profile, &with, &[]).unwrap(),
                file.resolve(&with).unwrap(),
                "{profile:?} {capability:?}"
            );
        }
    }
    assert!(shipped(BuiltinProfile::Strict).asks_for(Capability::SysTime));
    assert!(!shipped(BuiltinProfile::Strict).asks_for(Capability::NetBindService));
}
