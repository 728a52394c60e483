//! Makes data sets of drawn pedestrians with captions, in CUHK-PEDES' layout.
//!
//! [`synthesize`] invents people, dresses them, lets cameras of a [`Domain`] see them, draws every image from outlines,
//! and describes in free sentences what that image shows. Nobody in it exists, so such sets can be shown, shared and
//! measured on without a licence, and a model that was trained in one domain can be tried in another.
//!
//! Equal [`SynthesisSettings`] give equal files, whatever the number of threads: every identity, image and caption has
//! its own stream of random numbers. This crate runs no model and reads no image.

mod camera;
mod canvas;
mod caption;
mod cloth;
mod color;
mod domain;
mod error;
mod facts;
mod figure;
mod frame;
mod geometry;
mod lens;
mod light;
mod person;
mod pose;
mod randomness;
mod scene;
mod settings;
mod shapes;
mod shot;
mod skeleton;
mod writer;

pub use domain::Domain;
pub use error::SynthesisError;
pub use settings::SynthesisSettings;
pub use writer::{SynthesisSummary, synthesize};
