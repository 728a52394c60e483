//! Flags that set a recipe.

use descry_trainer::{Method, Preset};
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

/// A flag that was given, the setting it stands for, and the method that knows it.
struct Given {
    flag: &'static str,
    setting: &'static str,
    value: String,
    method: Option<Method>,
}

impl SettingArguments {
    /// The flags as settings, in the order in which they win.
    pub(super) fn overrides(&self, method: Method) -> anyhow::Result<Vec<(String, String)>> {
        let mut overrides = Vec::new();
        for given in self.general().into_iter().chain(self.of_up_person()).chain(self.of_dm_adapter()) {
            if let Some(known_by) = given.method.filter(|&known_by| known_by != method) {
                anyhow::bail!("{} is for {known_by}, not for {method}; leave it out", given.flag);
            }
            overrides.push((given.setting.to_owned(), given.value));
        }
        overrides.extend(self.set.iter().cloned());
        Ok(overrides)
    }

    fn general(&self) -> Vec<Given> {
        let given =
            |flag, setting, value: Option<String>| value.map(|value| Given { flag, setting, value, method: None });
        let text = |number: Option<usize>| number.map(|number| number.to_string());
        [
            given("--seed", "seed", self.seed.map(|seed| seed.to_string())),
            given("--epochs", "epochs", text(self.epochs)),
            given("--batch-size", "batch_size", text(self.batch_size)),
            given("--micro-batch-size", "micro_batch_size", text(self.micro_batch_size)),
            given("--learning-rate", "optimizer.learning_rate", self.learning_rate.map(|rate| rate.to_string())),
            given("--device", "device.kind", self.device.map(|device| device.kind.to_owned())),
            given("--device", "device.index", text(self.device.map(|device| device.index))),
            given("--threads", "device.threads", text(self.threads)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn of_up_person(&self) -> Vec<Given> {
        let given = |flag, setting, value: Option<String>| {
            value.map(|value| Given { flag, setting, value, method: Some(Method::UpPerson) })
        };
        let switch = |is_off: bool, value: &str| is_off.then(|| value.to_owned());
        let text = |number: Option<usize>| number.map(|number| number.to_string());
        [
            given("--no-prefix", "up_person.depth_prefix", switch(self.no_prefix, "0")),
            given("--no-lora", "up_person.depth_lora", switch(self.no_lora, "0")),
            // Adapters are counted from their first block, so none of them is no such block.
            given("--no-adapter", "up_person.depth_adapter", switch(self.no_adapter, "null")),
            given("--depth-prefix", "up_person.depth_prefix", text(self.depth_prefix)),
            given("--depth-lora", "up_person.depth_lora", text(self.depth_lora)),
            given("--depth-adapter", "up_person.depth_adapter", text(self.depth_adapter)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn of_dm_adapter(&self) -> Vec<Given> {
        let given = |flag, setting, value: Option<String>| {
            value.map(|value| Given { flag, setting, value, method: Some(Method::DmAdapter) })
        };
        let switch = |is_off: bool, value: &str| is_off.then(|| value.to_owned());
        let text = |number: Option<usize>| number.map(|number| number.to_string());
        [
            given("--experts", "dm_adapter.experts", text(self.experts)),
            given("--top-k", "dm_adapter.top_k", text(self.top_k)),
            given("--no-domain-prompt", "dm_adapter.domain_prompt", switch(self.no_domain_prompt, "false")),
            given("--no-balancing-loss", "loss.balancing_weight", switch(self.no_balancing_loss, "0")),
        ]
        .into_iter()
        .flatten()
        .collect()
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
