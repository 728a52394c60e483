//! The cameras of each domain.

use crate::domain::Domain;
use crate::scene::SceneKind;

/// A camera that hangs somewhere. Its pictures share place, height, colours and quality.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Camera {
    pub(crate) scene: SceneKind,
    /// Downwards, in degrees.
    pub(crate) pitch_degrees: f32,
    /// To the person, in metres.
    pub(crate) distance: f32,
    /// Above 0 its pictures are warm, below 0 cool.
    pub(crate) warmth: f32,
    /// Factor on brightness.
    pub(crate) exposure: f32,
    /// Factor on differences of brightness.
    pub(crate) contrast: f32,
    /// Standard deviation of the sensor's noise, of 255.
    pub(crate) noise: f32,
    /// Standard deviation of the lens's blur, in pixels of a picture that is 384 high.
    pub(crate) blur: f32,
    /// Share of the picture's pixels along each side that the camera resolves.
    pub(crate) resolution: f32,
    /// How hard the light is, 0 to 1.
    pub(crate) hardness: f32,
    /// Whether it sees infrared light: no colours.
    pub(crate) is_infrared: bool,
}

/// What a table's row leaves unsaid.
const PLAIN: Camera = Camera {
    scene: SceneKind::Street,
    pitch_degrees: 8.0,
    distance: 8.0,
    warmth: 0.0,
    exposure: 1.12,
    contrast: 1.0,
    noise: 2.2,
    blur: 0.5,
    resolution: 0.85,
    hardness: 0.5,
    is_infrared: false,
};

const STREET: [Camera; 6] = [
    Camera { pitch_degrees: 7.0, hardness: 0.75, warmth: 0.25, ..PLAIN },
    Camera { scene: SceneKind::Park, pitch_degrees: 5.0, distance: 7.0, resolution: 1.0, ..PLAIN },
    Camera { scene: SceneKind::ShopFront, pitch_degrees: 11.0, exposure: 1.2, warmth: -0.15, noise: 3.0, ..PLAIN },
    Camera {
        scene: SceneKind::Crossing,
        pitch_degrees: 19.0,
        distance: 11.0,
        resolution: 0.6,
        blur: 0.7,
        hardness: 0.8,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Platform,
        pitch_degrees: 13.0,
        exposure: 1.02,
        contrast: 0.9,
        warmth: -0.35,
        noise: 4.0,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Alley,
        pitch_degrees: 9.0,
        distance: 6.0,
        exposure: 0.95,
        hardness: 0.25,
        blur: 0.8,
        ..PLAIN
    },
];

const MALL: [Camera; 6] = [
    Camera { scene: SceneKind::Corridor, pitch_degrees: 20.0, distance: 6.0, warmth: 0.1, hardness: 0.3, ..PLAIN },
    Camera {
        scene: SceneKind::ShopFront,
        pitch_degrees: 24.0,
        distance: 6.5,
        warmth: 0.4,
        hardness: 0.25,
        exposure: 1.1,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Hall,
        pitch_degrees: 30.0,
        distance: 9.0,
        resolution: 0.65,
        contrast: 0.88,
        hardness: 0.2,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Corridor,
        pitch_degrees: 27.0,
        distance: 5.0,
        warmth: -0.4,
        noise: 5.0,
        hardness: 0.35,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Hall,
        pitch_degrees: 17.0,
        distance: 7.0,
        warmth: 0.25,
        exposure: 1.15,
        hardness: 0.4,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Shelves,
        pitch_degrees: 23.0,
        distance: 5.5,
        exposure: 1.08,
        blur: 0.7,
        hardness: 0.25,
        ..PLAIN
    },
];

const NIGHT: [Camera; 6] = [
    Camera { pitch_degrees: 9.0, warmth: 0.95, exposure: 0.52, contrast: 1.15, noise: 9.0, hardness: 0.9, ..PLAIN },
    Camera {
        scene: SceneKind::CarPark,
        pitch_degrees: 14.0,
        exposure: 0.85,
        noise: 8.0,
        hardness: 0.7,
        is_infrared: true,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::ShopFront,
        pitch_degrees: 10.0,
        warmth: 0.5,
        exposure: 0.6,
        noise: 8.0,
        hardness: 0.8,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Platform,
        pitch_degrees: 13.0,
        warmth: -0.5,
        exposure: 0.58,
        noise: 10.0,
        resolution: 0.65,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Alley,
        pitch_degrees: 12.0,
        exposure: 0.8,
        noise: 11.0,
        blur: 0.9,
        hardness: 0.85,
        is_infrared: true,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::CarPark,
        pitch_degrees: 17.0,
        warmth: 0.7,
        exposure: 0.55,
        noise: 9.0,
        distance: 10.0,
        ..PLAIN
    },
];

const DRONE: [Camera; 5] = [
    Camera { scene: SceneKind::Crossing, pitch_degrees: 38.0, distance: 16.0, resolution: 0.5, hardness: 0.9, ..PLAIN },
    Camera {
        scene: SceneKind::Lawn,
        pitch_degrees: 34.0,
        distance: 14.0,
        resolution: 0.6,
        hardness: 0.85,
        warmth: 0.2,
        ..PLAIN
    },
    Camera { scene: SceneKind::Square, pitch_degrees: 42.0, distance: 18.0, resolution: 0.45, hardness: 0.8, ..PLAIN },
    Camera {
        scene: SceneKind::CarPark,
        pitch_degrees: 36.0,
        distance: 15.0,
        resolution: 0.55,
        exposure: 1.2,
        hardness: 0.9,
        ..PLAIN
    },
    Camera {
        scene: SceneKind::Square,
        pitch_degrees: 31.0,
        distance: 13.0,
        resolution: 0.6,
        contrast: 0.85,
        warmth: -0.2,
        ..PLAIN
    },
];

/// A domain's cameras; a camera's number is its index.
pub(crate) fn cameras(domain: Domain) -> &'static [Camera] {
    match domain {
        Domain::Street => &STREET,
        Domain::Mall => &MALL,
        Domain::Night => &NIGHT,
        Domain::Drone => &DRONE,
    }
}
