use super::*;
use descry_evaluation::DatasetLayout;

fn recipe() -> Recipe {
    Recipe::published(Method::UpPerson, DatasetLayout::CuhkPedes)
}

#[track_caller]
fn refused(name: &str, change: impl FnOnce(&mut Recipe)) {
    let mut recipe = recipe();
    change(&mut recipe);
    let Err(TrainError::Setting { name: found, .. }) = recipe.validate() else {
        panic!("{name} was not refused");
    };
    assert_eq!(found, name);
}

#[test]
fn numbers_out_of_range_are_named() {
    refused("epochs", |recipe| recipe.epochs = 0);
    refused("batch_size", |recipe| recipe.batch_size = 0);
    refused("micro_batch_size", |recipe| recipe.micro_batch_size = Some(129));
    refused("micro_batch_size", |recipe| recipe.micro_batch_size = Some(0));
    refused("input.context_length", |recipe| recipe.input.context_length = 2);
    refused("optimizer.learning_rate", |recipe| recipe.optimizer.learning_rate = 0.0);
    refused("optimizer.learning_rate", |recipe| recipe.optimizer.learning_rate = f64::NAN);
    refused("optimizer.beta2", |recipe| recipe.optimizer.beta2 = 1.0);
    refused("optimizer.gradient_clip_norm", |recipe| recipe.optimizer.gradient_clip_norm = Some(0.0));
    refused("schedule.final_learning_rate", |recipe| recipe.schedule.final_learning_rate = 1.0);
    refused("loss.temperature", |recipe| recipe.loss.temperature = f64::INFINITY);
    refused("augmentation.erase_area", |recipe| recipe.augmentation.erase_area = (0.4, 0.02));
    refused("augmentation.mask_probability", |recipe| recipe.augmentation.mask_probability = 15.0);
    refused("up_person.prefix_length", |recipe| recipe.up_person.prefix_length = 0);
    refused("evaluation.split", |recipe| recipe.evaluation.split.clear());
    refused("checkpoint.every_steps", |recipe| recipe.checkpoint.every_steps = 0);
    refused("loading.threads", |recipe| recipe.loading.threads = 0);
    refused("loading.max_image_pixels", |recipe| recipe.loading.max_image_pixels = 0);
}

/// What `descry export` reads beyond what is trained here: a run would quietly train plain CLIP instead.
#[test]
fn methods_without_their_losses_are_refused() {
    for method in [Method::Irra, Method::Rde, Method::TbpsClip] {
        let message = Recipe::published(method, DatasetLayout::CuhkPedes).validate().unwrap_err().to_string();
        let expected =
            format!("method: is {method}, whose losses are not here; give one of clip, dm-adapter, up-person");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn numbers_that_do_not_fit_together_are_named() {
    refused("dm_adapter.top_k", |recipe| recipe.dm_adapter.top_k = 7);
    refused("sampler.instances", |recipe| recipe.sampler = SamplerSettings::Identity { instances: 3 });
    refused("sampler.instances", |recipe| recipe.sampler = SamplerSettings::Identity { instances: 0 });
    refused("towers.text_width", |recipe| recipe.towers.text_width = 100);
    refused("device.precision", |recipe| recipe.device.precision = TrainingPrecision::Bfloat16);
    refused("up_person.depth_prefix", |recipe| {
        recipe.up_person.depth_lora = Some(0);
        recipe.up_person.depth_prefix = Some(0);
        recipe.up_person.depth_adapter = None;
    });
}

#[test]
fn a_shorter_run_than_its_warm_up_is_allowed() {
    let mut recipe = recipe();
    recipe.epochs = 1;
    recipe.sampler = SamplerSettings::Identity { instances: 4 };
    recipe.validate().unwrap();
}
