//! Flags that set a recipe.

use descry_trainer::{Method, Preset, Recipe};
use std::path::PathBuf;

/// A preset, a file and single settings; later ones of this list win, flags of their own names before `--set`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingArguments {
    /// Settings to start from: published (the papers') or small (minutes on a processor, for the demo's small models)
    /// [default: published].
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<Preset>,
    /// YAML file with any subset of the settings that --show-recipe prints.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// A single setting, such as optimizer.weight_decay=0; can be given repeatedly and wins over everything else.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_setting)]
    set: Vec<(String, String)>,
    /// Same seed, same run.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Times the training split is gone through.
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Pairs of image and caption in one step.
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Pairs in memory at once; the loss is still the whole batch's.
    #[arg(long, value_name = "N")]
    micro_batch_size: Option<usize>,
    /// Learning rate after the warm-up.
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// What computes: cpu, cuda or cuda:N.
    #[arg(long, value_name = "NAME", value_parser = parse_device)]
    device: Option<Device>,
    /// Threads that compute; 0 for all cores.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// UP-Person without prefixes.
    #[arg(long, conflicts_with = "depth_prefix", help_heading = "Ablations")]
    no_prefix: bool,
    /// UP-Person without LoRA.
    #[arg(long, conflicts_with = "depth_lora", help_heading = "Ablations")]
    no_lora: bool,
    /// UP-Person without adapters.
    #[arg(long, conflicts_with = "depth_adapter", help_heading = "Ablations")]
    no_adapter: bool,
    /// UP-Person with prefixes in the first N blocks only.
    #[arg(long, value_name = "N", help_heading = "Ablations")]
    depth_prefix: Option<usize>,
    /// UP-Person with LoRA in the first N blocks only.
    #[arg(long, value_name = "N", help_heading = "Ablations")]
    depth_lora: Option<usize>,
    /// UP-Person with adapters from block N on, counted from 0.
    #[arg(long, value_name = "N", help_heading = "Ablations")]
    depth_adapter: Option<usize>,
    /// DM-Adapter with N experts beside each MLP.
    #[arg(long, value_name = "N", help_heading = "Ablations")]
    experts: Option<usize>,
    /// DM-Adapter that sends each token to K experts.
    #[arg(long, value_name = "K", help_heading = "Ablations")]
    top_k: Option<usize>,
    /// DM-Adapter whose router looks at the token only.
    #[arg(long, help_heading = "Ablations")]
    no_domain_prompt: bool,
    /// DM-Adapter without the load-balancing loss.
    #[arg(long, help_heading = "Ablations")]
    no_balancing_loss: bool,
}

/// A device as given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    kind: &'static str,
    index: usize,
}

/// A setting as it was asked for.
struct Given {
    /// The flag, or `--set` with the name.
    flag: String,
    setting: String,
    value: String,
}

impl SettingArguments {
    /// Flags and `--set` as settings, in the order in which they win.
    pub(super) fn overrides(&self) -> Vec<(String, String)> {
        self.given().into_iter().map(|given| (given.setting, given.value)).collect()
    }

    /// Refuses what is for another method and would have no effect. Files may hold such settings: whole recipes do.
    pub(super) fn check_method(&self, method: Method) -> anyhow::Result<()> {
        for Given { flag, setting, .. } in self.given() {
            if let Some(known_by) = Recipe::method_of_setting(&setting).filter(|&known_by| known_by != method) {
                anyhow::bail!("{flag} is for {known_by}, not for {method}; leave it out");
            }
        }
        Ok(())
    }

    fn given(&self) -> Vec<Given> {
        let switch = |is_off: bool, value: &str| is_off.then(|| value.to_owned());
        let text = |number: Option<usize>| number.map(|number| number.to_string());
        let flags = [
            ("--seed", "seed", self.seed.map(|seed| seed.to_string())),
            ("--epochs", "epochs", text(self.epochs)),
            ("--batch-size", "batch_size", text(self.batch_size)),
            ("--micro-batch-size", "micro_batch_size", text(self.micro_batch_size)),
            ("--learning-rate", "optimizer.learning_rate", self.learning_rate.map(|rate| rate.to_string())),
            ("--device", "device.kind", self.device.map(|device| device.kind.to_owned())),
            ("--device", "device.index", text(self.device.map(|device| device.index))),
            ("--threads", "device.threads", text(self.threads)),
            ("--no-prefix", "up_person.depth_prefix", switch(self.no_prefix, "0")),
            ("--no-lora", "up_person.depth_lora", switch(self.no_lora, "0")),
            // Adapters are counted from their first block, so none of them is no such block.
            ("--no-adapter", "up_person.depth_adapter", switch(self.no_adapter, "null")),
            ("--depth-prefix", "up_person.depth_prefix", text(self.depth_prefix)),
            ("--depth-lora", "up_person.depth_lora", text(self.depth_lora)),
            ("--depth-adapter", "up_person.depth_adapter", text(self.depth_adapter)),
            ("--experts", "dm_adapter.experts", text(self.experts)),
            ("--top-k", "dm_adapter.top_k", text(self.top_k)),
            ("--no-domain-prompt", "dm_adapter.domain_prompt", switch(self.no_domain_prompt, "false")),
            ("--no-balancing-loss", "loss.balancing_weight", switch(self.no_balancing_loss, "0")),
        ];
        let flags = flags.into_iter().filter_map(|(flag, setting, value)| {
            Some(Given { flag: flag.to_owned(), setting: setting.to_owned(), value: value? })
        });
        let set = self.set.iter().map(|(setting, value)| Given {
            flag: format!("--set {setting}"),
            setting: setting.clone(),
            value: value.clone(),
        });
        flags.chain(set).collect()
    }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(key, _)| !key.trim().is_empty());
    let (key, value) = parts.ok_or("expected KEY=VALUE, such as optimizer.weight_decay=0")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

fn parse_device(text: &str) -> Result<Device, String> {
    let device = match text.split_once(':') {
        None if text == "cpu" => Some(Device { kind: "cpu", index: 0 }),
        None if text == "cuda" => Some(Device { kind: "cuda", index: 0 }),
        Some(("cuda", index)) => index.parse().ok().map(|index| Device { kind: "cuda", index }),
        None | Some(_) => None,
    };
    device.ok_or_else(|| "expected cpu, cuda or cuda:N, such as cuda:1".to_owned())
}
