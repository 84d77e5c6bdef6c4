//! `palisade check --kubernetes`: what the policy would make of pods, from their manifests.
//!
//! A manifest is read ([`reading`], [`objects`], [`pod`]), the kubelet's part is worked out ([`kubelet`]), then containerd's ([`containerd`]), and
//! what the gate would find on the node ([`facts`]); the policy crate judges that as it does in the shim ([`judging`]). Findings go back to the
//! fields that decide them ([`placing`]), and changes that would pass are looked for ([`suggesting`]).

mod cdi;
mod containerd;
mod cri;
mod demands;
mod edit;
mod error;
mod facts;
mod image;
mod judging;
mod kubelet;
mod node;
mod objects;
mod place;
mod placing;
mod pod;
mod printing;
mod quantity;
mod reading;
mod suggesting;

use std::path::PathBuf;

use palisade_policy::Policy;

pub(crate) use error::KubernetesError;

use crate::Verdict;
use crate::arguments::{CheckArguments, CheckFormat, KubernetesArguments};
use crate::error::CliError;
use cdi::Plugins;
use image::Images;
use judging::JudgedPod;
use kubelet::Surroundings;
use node::Node;
use objects::Workload;
use reading::{Content, Found};
use suggesting::Suggestion;

/// An object that makes pods, and what would become of them.
pub(crate) struct Checked {
    found: Found,
    workload: Workload,
    /// The RuntimeClass that it selects instead of palisade's, where it does: then nothing of it is judged.
    elsewhere: Option<String>,
    pod: Option<JudgedPod>,
    suggestion: Option<Suggestion>,
}

/// What was read and not judged.
pub(crate) struct Skipped {
    path: PathBuf,
    line: usize,
    what: String,
}

pub(crate) fn run(arguments: &CheckArguments, policy: &Policy, out: &mut Vec<u8>) -> Result<Verdict, CliError> {
    let given = &arguments.kubernetes;
    let around = Surroundings {
        node: Node::with(&given.node)?,
        images: Images::read(&given.image_config)?,
        plugins: Plugins::read(&given.cdi)?,
        namespace: given.namespace.clone(),
    };
    let mut checked = Vec::new();
    let mut skipped = Vec::new();
    for found in reading::objects(&arguments.paths)? {
        let what = match &found.content {
            Content::Makes(workload) => {
                let workload = workload.as_ref().clone();
                checked.push(check(found, workload, given, &around, policy)?);
                continue;
            }
            Content::Other { kind, name } => format!("{kind} {name:?} makes no pods that are known here"),
            Content::Foreign(reason) => reason.clone(),
        };
        skipped.push(Skipped { path: found.path, line: found.line, what });
    }
    if given.specs {
        printing::specifications(&checked, out)?;
    } else {
        match arguments.format {
            CheckFormat::Text => printing::text(&checked, &skipped, given.suggest, out)?,
            CheckFormat::Json => printing::json(&checked, &skipped, out)?,
            CheckFormat::Sarif => printing::sarif(&checked, out)?,
        }
    }
    let refused = checked.iter().filter_map(|one| one.pod.as_ref()).any(JudgedPod::is_refused);
    Ok(if refused { Verdict::Objections } else { Verdict::Fine })
}

fn check(
    found: Found,
    workload: Workload,
    given: &KubernetesArguments,
    around: &Surroundings,
    policy: &Policy,
) -> Result<Checked, KubernetesError> {
    let class = workload.spec.runtime_class_name.as_deref();
    let windows = workload.spec.os.as_ref().is_some_and(|os| os.name == "windows");
    let elsewhere = match class {
        _ if windows => Some("Windows".to_owned()),
        class if given.assume || class == Some(given.runtime_class.as_str()) => None,
        Some(other) => Some(format!("RuntimeClass {other:?}")),
        None => Some("no RuntimeClass".to_owned()),
    };
    let judged = elsewhere.is_none().then(|| judging::judge(&workload, around, policy)).transpose();
    let pod = judged.map_err(|wrong| found.wrong(wrong))?;
    let refused = pod.as_ref().is_some_and(JudgedPod::is_refused);
    let suggestion = refused.then(|| suggesting::suggest(&found.value, around, policy));
    Ok(Checked { found, workload, elsewhere, pod, suggestion })
}
