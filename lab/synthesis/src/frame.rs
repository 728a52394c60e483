//! Where the camera stands, and which part of what it sees is the picture.

use crate::geometry::{Place, Point, place, point};

/// Nothing closer to the camera than this share of the person's distance is projected; it would grow without bound.
const NEAREST: f32 = 0.75;

/// A camera that looks at the middle of a person from somewhere above.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Projection {
    distance: f32,
    sine: f32,
    cosine: f32,
    aim_height: f32,
}

/// A place as the camera sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) point: Point,
    /// How much closer to the camera than the person's middle, in metres.
    pub(crate) depth: f32,
    /// How much larger than at the person's distance.
    pub(crate) scale: f32,
}

impl Projection {
    /// `distance` in metres, `pitch` in radians downwards, `aim_height` in metres above the ground.
    pub(crate) fn new(distance: f32, pitch: f32, aim_height: f32) -> Self {
        Self { distance, sine: pitch.sin(), cosine: pitch.cos(), aim_height }
    }

    pub(crate) fn see(&self, world: Place) -> Seen {
        let height = world.y - self.aim_height;
        let depth = height * self.sine + world.z * self.cosine;
        let scale = self.distance / (self.distance - depth).max(self.distance * (1.0 - NEAREST));
        let up = height * self.cosine - world.z * self.sine;
        Seen { point: point(world.x * scale, -up * scale), depth, scale }
    }
}

/// A body's own coordinates, and how the camera sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Viewpoint {
    projection: Projection,
    stand: Place,
    sine: f32,
    cosine: f32,
}

impl Viewpoint {
    /// A body that stands at a place and is turned by `yaw` radians from facing the camera, positive towards the right of
    /// the picture.
    pub(crate) fn new(projection: Projection, stand: Place, yaw: f32) -> Self {
        Self { projection, stand, sine: yaw.sin(), cosine: yaw.cos() }
    }

    pub(crate) fn see(&self, body: Place) -> Seen {
        self.projection.see(self.world(body))
    }

    pub(crate) fn point(&self, body: Place) -> Point {
        self.see(body).point
    }

    pub(crate) fn world(&self, body: Place) -> Place {
        let x = body.x * self.cosine + body.z * self.sine;
        let z = body.z * self.cosine - body.x * self.sine;
        self.stand + place(x, body.y, z)
    }

    /// Turned further, about a vertical axis through a place on the body: a head.
    pub(crate) fn turned(&self, about: Place, yaw: f32) -> Self {
        let sine = self.sine * yaw.cos() + self.cosine * yaw.sin();
        let cosine = self.cosine * yaw.cos() - self.sine * yaw.sin();
        Self { projection: self.projection, stand: self.world(about), sine, cosine }
    }

    /// 1 for a body that faces the camera, -1 for one that is seen from behind, 0 from the side.
    pub(crate) fn frontness(&self) -> f32 {
        self.cosine
    }

    /// 1 when the body faces the right of the picture, -1 the left.
    pub(crate) fn rightness(&self) -> f32 {
        self.sine
    }

    /// Angle on the body's own horizontal circle (0 in front, positive to its left) that faces the camera, for an
    /// ellipse of the given half-axes.
    pub(crate) fn facing_angle(&self, half_width: f32, half_depth: f32) -> f32 {
        (-self.sine / half_width.max(1e-4)).atan2(self.cosine / half_depth.max(1e-4))
    }
}

/// How metres on the image plane become pixels of the picture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) pixels_per_metre: Point,
    pub(crate) origin_px: Point,
}

impl Frame {
    pub(crate) fn pixel(&self, plane: Point) -> Point {
        point(
            self.origin_px.x + plane.x * self.pixels_per_metre.x,
            self.origin_px.y + plane.y * self.pixels_per_metre.y,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_above_sees_what_is_near_lower() {
        let projection = Projection::new(8.0, 0.3, 0.9);
        let (near, far) = (projection.see(place(0.0, 0.0, 1.0)), projection.see(place(0.0, 0.0, -1.0)));
        assert!(near.point.y > far.point.y && near.depth > far.depth && near.scale > far.scale);
        assert_eq!(projection.see(place(0.0, 0.9, 0.0)).point, point(0.0, 0.0));
    }

    #[test]
    fn a_body_that_faces_the_camera_has_its_left_on_the_right() {
        let projection = Projection::new(8.0, 0.0, 1.0);
        let front = Viewpoint::new(projection, Place::default(), 0.0);
        assert!(front.point(place(0.2, 1.0, 0.0)).x > 0.0);
        let back = Viewpoint::new(projection, Place::default(), std::f32::consts::PI);
        assert!(back.point(place(0.2, 1.0, 0.0)).x < 0.0);
        let right = Viewpoint::new(projection, Place::default(), std::f32::consts::FRAC_PI_2);
        assert!(right.point(place(0.0, 1.0, 0.3)).x > 0.2 && right.rightness() > 0.99);
        // From the right, the side that faces the camera is the body's right one.
        assert!((right.facing_angle(0.2, 0.1) + std::f32::consts::FRAC_PI_2).abs() < 1e-3);
    }
}
