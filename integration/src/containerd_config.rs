//! The configuration of the private containerd, in the two formats.

use crate::assets::{Assets, Form, Generation};
use crate::containerd::{Layout, ROOT, SOCKET, STATE};
use crate::image;

/// Handlers as CRI knows them: plain runc, palisade by its type (A), palisade by runc's type and a path (B); with [`Form::Path`] B, then A.
pub(crate) const HANDLERS: [&str; 3] = ["runc", "palisade", "palisade-path"];

/// And a runc that idmaps mounts.
pub(crate) const NEW_RUNC: &str = "runc-new";

pub(crate) fn render(assets: &Assets, layout: &Layout, cni_plugins: &str) -> String {
    let base = layout.base.display();
    let generation = assets.generation;
    let common = format!(
        "root = \"{ROOT}\"\nstate = \"{STATE}\"\n\
         disabled_plugins = [\"io.containerd.internal.v1.tracing\", \"io.containerd.tracing.processor.v1.otlp\"]\n\
         [grpc]\naddress = \"{SOCKET}\"\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = \"{base}/opt\"\n\
         [plugins.\"io.containerd.nri.v1.nri\"]\ndisable = false\nsocket_path = \"{base}/nri.sock\"\n\
         plugin_path = \"{base}/nri/plugins\"\nplugin_config_path = \"{base}/nri/conf.d\"\n"
    );
    let cri = match generation {
        Generation::Two => "io.containerd.cri.v1.runtime",
        Generation::OneSeven => "io.containerd.grpc.v1.cri",
    };
    let (version, sandbox_image, bin) = match generation {
        Generation::Two => {
            let images = format!(
                "[plugins.\"io.containerd.image-verifier.v1.bindir\"]\nbin_dir = \"{base}/verifiers\"\n\
                 [plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"{base}/registries\"\n\
                 [plugins.\"io.containerd.cri.v1.images\".pinned_images]\nsandbox = \"{}\"\n",
                image::PAUSE
            );
            (3, images, format!("bin_dirs = [\"{cni_plugins}\"]"))
        }
        Generation::OneSeven => {
            let images = format!("[plugins.\"{cri}\"]\nsandbox_image = \"{}\"\n", image::PAUSE);
            (2, images, format!("bin_dir = \"{cni_plugins}\""))
        }
    };
    let table = match generation {
        Generation::Two => format!("{sandbox_image}[plugins.\"{cri}\"]\n"),
        Generation::OneSeven => sandbox_image,
    };
    format!(
        "version = {version}\n{common}{table}restrict_oom_score_adj = true\nnetns_mounts_under_state_dir = true\nenable_cdi = true\ncdi_spec_dirs = [\"{base}/cdi\"]\n\
         [plugins.\"{cri}\".cni]\n{bin}\nconf_dir = \"{base}/cni\"\n\
         [plugins.\"{cri}\".containerd]\ndefault_runtime_name = \"runc\"\n{}",
        runtimes(cri, layout, assets)
    )
}

fn runtimes(cri: &str, layout: &Layout, assets: &Assets) -> String {
    let [runc, first, second] = HANDLERS;
    let (by_type, by_path) = match assets.form {
        Form::Type => (first, second),
        Form::Path => (second, first),
    };
    let table = |name: &str| format!("[plugins.\"{cri}\".containerd.runtimes.{name}]\n");
    format!(
        "{}runtime_type = \"io.containerd.runc.v2\"\n{}runtime_type = \"io.containerd.palisade.v1\"\n\
         {}runtime_type = \"io.containerd.runc.v2\"\nruntime_path = \"{}\"\n\
         {}runtime_type = \"io.containerd.runc.v2\"\n[plugins.\"{cri}\".containerd.runtimes.{NEW_RUNC}.options]\nBinaryName = \"{}\"\n",
        table(runc),
        table(by_type),
        table(by_path),
        layout.shim().display(),
        table(NEW_RUNC),
        assets.new_runc.display()
    )
}

/// A network with addresses of its own and no way out: no gateway, no masquerading, so nothing on the machine is switched on for it.
pub(crate) const NETWORK: &str = r#"{
  "cniVersion": "0.4.0", "name": "palisade-test",
  "plugins": [{ "type": "bridge", "bridge": "palisade0", "isGateway": false, "ipMasq": false,
    "ipam": { "type": "host-local", "dataDir": "DATA", "ranges": [[{ "subnet": "10.213.77.0/24" }]] } }]
}
"#;
