//! Points in the world and on the image plane, in metres.

use std::ops::{Add, Mul, Sub};

/// A place on the image plane: x to the right, y downwards, in metres at the person's distance.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Point {
    pub(crate) x: f32,
    pub(crate) y: f32,
}

pub(crate) const fn point(x: f32, y: f32) -> Point {
    Point { x, y }
}

impl Point {
    pub(crate) fn length(self) -> f32 {
        self.x.hypot(self.y)
    }

    /// Of length 1; straight down for a point at the origin.
    pub(crate) fn direction(self) -> Self {
        let length = self.length();
        if length < 1e-6 { point(0.0, 1.0) } else { self * (1.0 / length) }
    }

    /// Turned by a right angle.
    pub(crate) fn normal(self) -> Self {
        point(-self.y, self.x)
    }

    pub(crate) fn towards(self, other: Self, share: f32) -> Self {
        self + (other - self) * share
    }
}

impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        point(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        point(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for Point {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        point(self.x * factor, self.y * factor)
    }
}

/// A place in space. On a body: x to its left, y up from the ground, z forwards. In the world: x to the right of the
/// picture, y up, z towards the camera.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Place {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) z: f32,
}

pub(crate) const fn place(x: f32, y: f32, z: f32) -> Place {
    Place { x, y, z }
}

impl Place {
    pub(crate) fn towards(self, other: Self, share: f32) -> Self {
        self + (other - self) * share
    }

    pub(crate) fn length(self) -> f32 {
        (self.x * self.x + self.y * self.y + self.z * self.z).sqrt()
    }

    /// Of length 1; straight down for the origin.
    pub(crate) fn direction(self) -> Self {
        let length = self.length();
        if length < 1e-6 { place(0.0, -1.0, 0.0) } else { self * (1.0 / length) }
    }
}

impl Add for Place {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        place(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Place {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        place(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul<f32> for Place {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        place(self.x * factor, self.y * factor, self.z * factor)
    }
}
