//! Which recipes make sense.

use super::{
    AugmentationSettings, DeviceKind, DeviceSettings, DmAdapterSettings, InputSettings, LoadingSettings, LossSettings,
    Method, OptimizerSettings, Recipe, SamplerSettings, ScheduleSettings, TowerSettings, TrainingPrecision,
    UpPersonSettings,
};
use crate::TrainError;
use descry_model::method::clip::HEAD_WIDTH;
use std::ops::RangeInclusive;

/// Smallest divisor and step: below, float32 loses what is added or divided.
const TINY: f64 = 1e-12;

impl Recipe {
    /// Checks each number and their combinations; what the checkpoint decides is checked when it is read.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first that makes no sense.
    pub fn validate(&self) -> Result<(), TrainError> {
        count("epochs", self.epochs, 1..=100_000)?;
        count("batch_size", self.batch_size, 1..=65_536)?;
        if let Some(pairs) = self.micro_batch_size {
            count("micro_batch_size", pairs, 1..=self.batch_size)?;
        }
        if !Method::TRAINABLE.contains(&self.method) {
            let known = Method::TRAINABLE.map(Method::name).join(", ");
            return refuse("method", format!("is {}, whose losses are not here; give one of {known}", self.method));
        }
        self.input.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate(self.optimizer.learning_rate)?;
        self.loss.validate()?;
        self.augmentation.validate()?;
        self.validate_sampler()?;
        self.dm_adapter.validate()?;
        self.up_person.validate()?;
        self.towers.validate()?;
        count("evaluation.every_epochs", self.evaluation.every_epochs, 1..=100_000)?;
        count("evaluation.batch_size", self.evaluation.batch_size, 1..=65_536)?;
        if self.evaluation.split.is_empty() || self.evaluation.split.chars().count() > 80 {
            return refuse("evaluation.split", "must name a split of the data set, such as test or val".to_owned());
        }
        count("checkpoint.every_steps", self.checkpoint.every_steps, 1..=1_000_000)?;
        self.device.validate()?;
        self.loading.validate()?;
        if self.method == Method::UpPerson && self.up_person.trains_nothing() {
            let reason = "is 0 as is depth_lora, and depth_adapter is null, so nothing is left to train; keep one part";
            return refuse("up_person.depth_prefix", reason.to_owned());
        }
        Ok(())
    }

    fn validate_sampler(&self) -> Result<(), TrainError> {
        let SamplerSettings::Identity { instances } = self.sampler else { return Ok(()) };
        count("sampler.instances", instances, 1..=self.batch_size)?;
        if !self.batch_size.is_multiple_of(instances) {
            let reason = format!("is {instances}, which does not divide batch_size {}", self.batch_size);
            return refuse("sampler.instances", reason);
        }
        Ok(())
    }
}

impl InputSettings {
    fn validate(&self) -> Result<(), TrainError> {
        count("input.height_px", self.height_px, 8..=2_048)?;
        count("input.width_px", self.width_px, 8..=2_048)?;
        if let Some(stride) = self.stride_px {
            count("input.stride_px", stride, 1..=256)?;
        }
        // A start and an end mark, and one token between them.
        count("input.context_length", self.context_length, 3..=1_024)
    }
}

impl OptimizerSettings {
    fn validate(&self) -> Result<(), TrainError> {
        number("optimizer.learning_rate", self.learning_rate, TINY..=10.0)?;
        number("optimizer.bias_learning_rate_factor", self.bias_learning_rate_factor, 0.0..=1_000.0)?;
        number("optimizer.weight_decay", self.weight_decay, 0.0..=1.0)?;
        number("optimizer.weight_decay_bias", self.weight_decay_bias, 0.0..=1.0)?;
        // At 1 a mean never moves, and its correction divides by zero.
        number("optimizer.beta1", self.beta1, 0.0..=0.999_999)?;
        number("optimizer.beta2", self.beta2, 0.0..=0.999_999)?;
        number("optimizer.epsilon", self.epsilon, TINY..=1.0)?;
        self.gradient_clip_norm.map_or(Ok(()), |norm| number("optimizer.gradient_clip_norm", norm, 1e-6..=1e6))
    }
}

impl ScheduleSettings {
    fn validate(&self, learning_rate: f64) -> Result<(), TrainError> {
        number("schedule.warmup_epochs", self.warmup_epochs, 0.0..=100_000.0)?;
        number("schedule.warmup_factor", self.warmup_factor, 0.0..=1.0)?;
        number("schedule.final_learning_rate", self.final_learning_rate, 0.0..=learning_rate)
    }
}

impl LossSettings {
    fn validate(&self) -> Result<(), TrainError> {
        number("loss.temperature", self.temperature, 1e-4..=100.0)?;
        number("loss.balancing_weight", self.balancing_weight, 0.0..=1_000.0)
    }
}

impl AugmentationSettings {
    fn validate(&self) -> Result<(), TrainError> {
        number("augmentation.flip_probability", self.flip_probability, 0.0..=1.0)?;
        count("augmentation.pad_px", self.pad_px, 0..=512)?;
        number("augmentation.erase_probability", self.erase_probability, 0.0..=1.0)?;
        span("augmentation.erase_area", self.erase_area, 1e-6..=1.0)?;
        span("augmentation.erase_aspect", self.erase_aspect, 0.01..=100.0)?;
        number("augmentation.mask_probability", self.mask_probability, 0.0..=1.0)
    }
}

impl DmAdapterSettings {
    fn validate(&self) -> Result<(), TrainError> {
        count("dm_adapter.experts", self.experts, 1..=256)?;
        count("dm_adapter.top_k", self.top_k, 1..=self.experts)?;
        count("dm_adapter.reduction", self.reduction, 1..=256)
    }
}

impl UpPersonSettings {
    fn validate(&self) -> Result<(), TrainError> {
        count("up_person.rank", self.rank, 1..=1_024)?;
        // No prefix is `depth_prefix` 0: an empty one has no key to give.
        count("up_person.prefix_length", self.prefix_length, 1..=1_024)?;
        count("up_person.reduction", self.reduction, 1..=256)?;
        let depths = [
            ("up_person.depth_lora", self.depth_lora),
            ("up_person.depth_prefix", self.depth_prefix),
            ("up_person.depth_adapter", self.depth_adapter),
        ];
        for (name, depth) in depths {
            count(name, depth.unwrap_or(0), 0..=256)?;
        }
        number("up_person.prefix_scale", self.prefix_scale, 0.0..=1e6)
    }

    fn trains_nothing(&self) -> bool {
        self.depth_lora == Some(0) && self.depth_prefix == Some(0) && self.depth_adapter.is_none()
    }
}

impl TowerSettings {
    fn validate(&self) -> Result<(), TrainError> {
        count("towers.patch_px", self.patch_px, 1..=256)?;
        count("towers.vision_layers", self.vision_layers, 1..=256)?;
        count("towers.text_layers", self.text_layers, 1..=256)?;
        count("towers.embedding_dimension", self.embedding_dimension, 1..=8_192)?;
        for (name, width) in [("towers.vision_width", self.vision_width), ("towers.text_width", self.text_width)] {
            count(name, width, HEAD_WIDTH..=8_192)?;
            if !width.is_multiple_of(HEAD_WIDTH) {
                let reason = format!("is {width}, expected a multiple of {HEAD_WIDTH}, the width of a head");
                return refuse(name, reason);
            }
        }
        Ok(())
    }
}

impl DeviceSettings {
    fn validate(&self) -> Result<(), TrainError> {
        count("device.index", self.index, 0..=255)?;
        count("device.threads", self.threads, 0..=1_024)?;
        if self.kind == DeviceKind::Cpu && self.precision == TrainingPrecision::Bfloat16 {
            let reason = "is bfloat16, which needs device.kind cuda; the cpu has float32";
            return refuse("device.precision", reason.to_owned());
        }
        Ok(())
    }
}

impl LoadingSettings {
    fn validate(&self) -> Result<(), TrainError> {
        count("loading.threads", self.threads, 1..=256)?;
        count("loading.batches_ahead", self.batches_ahead, 1..=256)?;
        count("loading.cache_mib", self.cache_mib, 0..=1 << 22)?;
        if self.max_image_pixels == 0 || self.max_image_pixels > 1 << 32 {
            let reason = format!("is {}, expected 1 to {}", self.max_image_pixels, 1_u64 << 32);
            return refuse("loading.max_image_pixels", reason);
        }
        Ok(())
    }
}

fn count(name: &str, value: usize, range: RangeInclusive<usize>) -> Result<(), TrainError> {
    if range.contains(&value) {
        return Ok(());
    }
    refuse(name, format!("is {value}, expected {} to {}", range.start(), range.end()))
}

/// NaN is in no range.
fn number(name: &str, value: f64, range: RangeInclusive<f64>) -> Result<(), TrainError> {
    if range.contains(&value) {
        return Ok(());
    }
    refuse(name, format!("is {value}, expected {} to {}", range.start(), range.end()))
}

fn span(name: &str, (least, most): (f64, f64), range: RangeInclusive<f64>) -> Result<(), TrainError> {
    number(name, least, range.clone())?;
    number(name, most, range)?;
    if least > most {
        return refuse(name, format!("is from {least} to {most}; give the smaller number first"));
    }
    Ok(())
}

fn refuse(name: &str, reason: String) -> Result<(), TrainError> {
    Err(TrainError::Setting { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests;
