//! Recipes to start from: the papers', and one for the small models of the demo.

use super::{
    AugmentationSettings, CheckpointSettings, DeviceKind, DeviceSettings, DmAdapterSettings, EvaluationSettings,
    InputSettings, LoadingSettings, LossSettings, MatchingLoss, OptimizerSettings, Recipe, SamplerSettings,
    ScheduleSettings, TowerSettings, TrainingPrecision, UpPersonSettings,
};
use crate::TrainError;
use descry_evaluation::DatasetLayout;
use descry_model::method::{IMAGE_SIZE_PX, Method, clip, dm_adapter, up_person};
use std::fmt;
use std::str::FromStr;

/// A recipe to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preset {
    /// What the papers and their published code say.
    #[default]
    Published,
    /// Small images, few epochs: for the small models of the demo, on a processor.
    Small,
}

impl Preset {
    /// Every preset, for help texts.
    pub const ALL: [Self; 2] = [Self::Published, Self::Small];

    /// Name on the command line; [`FromStr`] reads it back.
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Small => "small",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == text);
        found.ok_or_else(|| {
            let given: String = text.chars().take(40).collect();
            let reason = format!("is {given:?}, expected {}", Self::ALL.map(Self::name).join(", "));
            TrainError::Setting { name: "preset".to_owned(), reason }
        })
    }
}

impl Recipe {
    /// The recipe that a preset names.
    pub fn preset(preset: Preset, method: Method, dataset: DatasetLayout) -> Self {
        match preset {
            Preset::Published => Self::published(method, dataset),
            Preset::Small => Self::small(method, dataset),
        }
    }

    /// What the papers say and, where they say nothing, the published code, which both took from IRRA (CVPR 2023).
    /// Plain CLIP has no such recipe: it gets the same images and captions with CLIP's own optimizer settings.
    pub fn published(method: Method, dataset: DatasetLayout) -> Self {
        let (height_px, width_px) = IMAGE_SIZE_PX;
        Self {
            method,
            dataset,
            // IRRA's `set_seed(1)`.
            seed: 1,
            epochs: 60,
            batch_size: 128,
            micro_batch_size: None,
            input: InputSettings { height_px, width_px, stride_px: None, context_length: clip::CONTEXT_LENGTH },
            optimizer: published_optimizer(method, dataset),
            schedule: ScheduleSettings {
                warmup_epochs: 5.0,
                warmup_factor: 0.1,
                final_learning_rate: 0.0,
                every_step: method == Method::Clip,
            },
            loss: published_loss(method),
            augmentation: AugmentationSettings {
                flip_probability: 0.5,
                pad_px: 10,
                erase_probability: 0.5,
                erase_area: (0.02, 0.4),
                erase_aspect: (0.3, 3.3),
                mask_probability: 0.15,
            },
            sampler: SamplerSettings::Random,
            dm_adapter: DmAdapterSettings {
                experts: dm_adapter::EXPERTS,
                top_k: dm_adapter::TOP_K,
                reduction: dm_adapter::REDUCTION,
                domain_prompt: true,
            },
            up_person: published_up_person(dataset),
            towers: SMALL_TOWERS,
            // The published code chooses the best epoch on the test split itself.
            evaluation: EvaluationSettings { every_epochs: 1, split: "test".to_owned(), batch_size: 512 },
            checkpoint: CheckpointSettings { every_steps: 200, half_weights: false },
            device: DeviceSettings {
                kind: DeviceKind::Cpu,
                index: 0,
                precision: TrainingPrecision::Float32,
                threads: 0,
            },
            loading: LoadingSettings {
                threads: 2,
                batches_ahead: 4,
                cache_mib: 2_048,
                max_unreadable_images: 16,
                max_image_pixels: 64_000_000,
            },
        }
    }

    /// For towers of 128 values on 128 × 48 pixels: minutes on a processor instead of days on a GPU.
    pub fn small(method: Method, dataset: DatasetLayout) -> Self {
        let published = Self::published(method, dataset);
        let is_clip = method == Method::Clip;
        Self {
            // A CLIP from nothing learns what its fine-tuning builds upon, and takes longer for it.
            epochs: if is_clip { 30 } else { 8 },
            input: InputSettings { height_px: 128, width_px: 48, stride_px: None, context_length: 56 },
            optimizer: OptimizerSettings { learning_rate: if is_clip { 1e-3 } else { 2e-3 }, ..published.optimizer },
            schedule: ScheduleSettings {
                warmup_epochs: if is_clip { 1.0 } else { 0.0 },
                every_step: true,
                ..published.schedule
            },
            loss: LossSettings { balance_padding: false, ..published.loss },
            augmentation: AugmentationSettings {
                // The published 10 of 384 pixels, at a third of the size.
                pad_px: 3,
                erase_probability: 0.0,
                mask_probability: 0.0,
                ..published.augmentation
            },
            up_person: UpPersonSettings { rank: 16, prefix_length: 6, ..published.up_person },
            ..published
        }
    }
}

/// The sizes of the demo's models.
const SMALL_TOWERS: TowerSettings = TowerSettings {
    patch_px: 16,
    vision_width: 128,
    vision_layers: 5,
    text_width: 128,
    text_layers: 3,
    embedding_dimension: 128,
};

fn published_optimizer(method: Method, dataset: DatasetLayout) -> OptimizerSettings {
    let adapters = OptimizerSettings {
        learning_rate: 3e-4,
        bias_learning_rate_factor: 2.0,
        weight_decay: 4e-5,
        weight_decay_bias: 0.0,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-3,
        gradient_clip_norm: None,
    };
    match method {
        Method::DmAdapter => adapters,
        Method::UpPerson => OptimizerSettings {
            // `run_irra_sdm.sh`: 1e-3, for RSTPReid 1e-4.
            learning_rate: match dataset {
                DatasetLayout::CuhkPedes | DatasetLayout::IcfgPedes => 1e-3,
                DatasetLayout::RstpReid => 1e-4,
            },
            // Its `build_optimizer` computes a rate for biases and then overwrites it with the rate of all others.
            bias_learning_rate_factor: 1.0,
            ..adapters
        },
        Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => OptimizerSettings {
            learning_rate: 1e-3,
            bias_learning_rate_factor: 1.0,
            weight_decay: 0.0,
            // CLIP's paper (2021), table 18, for vision transformers; its epsilon is 1e-6, which changes nothing here.
            beta2: 0.98,
            epsilon: 1e-8,
            gradient_clip_norm: Some(1.0),
            ..adapters
        },
    }
}

fn published_loss(method: Method) -> LossSettings {
    let sdm =
        LossSettings { matching: MatchingLoss::Sdm, temperature: 0.02, balancing_weight: 0.0, balance_padding: true };
    match method {
        Method::UpPerson => sdm,
        Method::DmAdapter => LossSettings { balancing_weight: dm_adapter::BALANCING_WEIGHT, ..sdm },
        // Softer than the fine-tuning's: from nothing, a cosine is not worth much at first.
        Method::Clip | Method::Irra | Method::Rde | Method::TbpsClip => {
            LossSettings { matching: MatchingLoss::Itc, temperature: 0.05, ..sdm }
        }
    }
}

fn published_up_person(dataset: DatasetLayout) -> UpPersonSettings {
    let sizes = match dataset {
        DatasetLayout::CuhkPedes => up_person::CUHK_PEDES,
        DatasetLayout::IcfgPedes => up_person::ICFG_PEDES,
        DatasetLayout::RstpReid => up_person::RSTPREID,
    };
    UpPersonSettings {
        rank: sizes.lora_rank,
        prefix_length: sizes.prefix_length,
        reduction: up_person::REDUCTION,
        depth_lora: None,
        depth_prefix: None,
        depth_adapter: Some(0),
        prefix_scale: up_person::PREFIX_ATTENTION_SCALE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_numbers() {
        let dm_adapter = Recipe::published(Method::DmAdapter, DatasetLayout::CuhkPedes);
        assert_eq!((dm_adapter.optimizer.learning_rate, dm_adapter.loss.balancing_weight), (3e-4, 0.5));
        let up_person = |dataset| {
            let recipe = Recipe::published(Method::UpPerson, dataset);
            (recipe.optimizer.learning_rate, recipe.up_person.rank, recipe.up_person.prefix_length)
        };
        assert_eq!(up_person(DatasetLayout::CuhkPedes), (1e-3, 32, 10));
        assert_eq!(up_person(DatasetLayout::IcfgPedes), (1e-3, 32, 14));
        assert_eq!(up_person(DatasetLayout::RstpReid), (1e-4, 16, 2));
    }

    #[test]
    fn every_preset_is_valid() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse::<Preset>().unwrap(), preset);
            for method in Method::TRAINABLE {
                for dataset in DatasetLayout::ALL {
                    Recipe::preset(preset, method, dataset).validate().unwrap();
                }
            }
        }
        assert!("tiny".parse::<Preset>().unwrap_err().to_string().contains("published, small"));
    }
}
