use std::collections::BTreeSet;

use oci_spec::runtime::Capabilities;

use super::file::ProfileFile;
use super::{BuiltinProfile, FILES, ProfileError, profile_for};

const TOP: &str = r#""comment": "c", "defaultAction": "SCMP_ACT_ERRNO""#;

fn load(syscalls: &str) -> Result<ProfileFile<'static>, ProfileError> {
    let file = ProfileFile::load("x", &[("x", format!(r#"{{ {TOP}, "syscalls": [{syscalls}] }}"#).leak())])?;
    file.check().map(|()| file)
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
        let file = ProfileFile::load(profile.name(), &FILES).unwrap();
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
        for names in ProfileFile::load(profile.name(), &FILES).unwrap().groups() {
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
        r#""names": ["read"], "includes": { "minKernel": "4.8" }"#,
        r#""names": ["read"], "includes": { "caps": ["CAP_NO_SUCH"] }"#,
        r#""names": ["read"], "low32": { "index": 0, "in": ["1"], "out": [] }"#,
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
        r#""names": ["socket"], "low32": { "index": 0 }"#,
        r#""names": ["socket"], "low32": { "index": 0, "in": ["1"], "except": ["2"] }"#,
        r#""names": ["socket"], "low32": { "index": 6, "in": ["1"] }"#,
        r#""names": ["socket"], "low32": { "index": 0, "in": ["2-1"] }"#,
        r#""names": ["socket"], "low32": { "index": 0, "in": ["0x100000000"] }"#,
        r#""names": ["socket"], "low32": { "index": 0, "in": ["1"] }, "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }]"#,
        r#""names": ["socket"], "args": [{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }]"#,
        r#""names": ["socket"], "errnoRet": 1"#,
    ] {
        let result = load(&entry(rest)).and_then(|file| file.resolve(&Capabilities::new()).map(drop));
        assert!(result.is_err(), "{rest}");
    }
}

#[test]
fn a_profile_must_stop_what_it_does_not_name() {
    let allow_all = r#"{ "comment": "c", "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [] }"#;
    assert!(ProfileFile::load("x", &[("x", allow_all)]).is_err());
    assert!(ProfileFile::load("x", &[("x", r#"{ "comment": "c", "syscalls": [] }"#)]).is_err());
}

#[test]
fn includes_are_one_level_deep_and_must_exist() {
    let top = |include: &str| format!(r#"{{ {TOP}, "include": ["{include}"], "syscalls": [] }}"#);
    let (good, missing) = (top("part"), top("nothing"));
    let part = r#"{ "comment": "c", "syscalls": [] }"#;
    assert!(ProfileFile::load("x", &[("x", &good), ("part", part)]).is_ok());
    assert!(matches!(ProfileFile::load("x", &[("x", &missing)]), Err(ProfileError::Include { .. })));
    assert!(ProfileFile::load("x", &[("x", &good), ("part", &good)]).is_err());
}

#[test]
fn the_built_in_files_resolve() {
    for profile in BuiltinProfile::ALL {
        let written = profile_for(profile, &Capabilities::new()).unwrap();
        assert!(written.syscalls().as_ref().is_some_and(|entries| entries.len() < 100));
    }
}
