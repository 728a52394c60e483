//! What is around a person.

mod furniture;
mod ground;
pub(crate) mod occluder;
mod walls;

use crate::canvas::{Canvas, Ink};
use crate::color::Rgb;
use crate::frame::Projection;
use crate::geometry::{Place, Point, place};
use crate::light::Light;
use crate::randomness::Randomness;
use crate::shapes;
use tiny_skia::Path;

/// Kinds of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SceneKind {
    Street,
    Alley,
    Park,
    ShopFront,
    Crossing,
    Platform,
    Corridor,
    Hall,
    Shelves,
    CarPark,
    Lawn,
    Square,
}

/// A place that is being drawn. Everything is in the world's metres, with the person at the origin.
pub(crate) struct Stage<'a> {
    pub(crate) canvas: &'a mut Canvas,
    pub(crate) projection: Projection,
    pub(crate) light: Light,
    /// The camera's own: the same place looks the same in all of its pictures.
    pub(crate) fixed: Randomness,
    /// How far along the place the person is, in metres.
    pub(crate) along: f32,
}

impl Stage<'_> {
    /// Draws all that is behind the person.
    pub(crate) fn draw(&mut self, kind: SceneKind) {
        match kind {
            SceneKind::Street => {
                ground::pavement(self);
                walls::facade(self, -6.5);
                furniture::car(self, -4.6);
            }
            SceneKind::Alley => {
                ground::pavement(self);
                walls::brick(self, -2.6);
            }
            SceneKind::Park => {
                ground::lawn(self, -1.3);
                furniture::trees(self);
            }
            SceneKind::ShopFront => {
                ground::tiles(self, 0.6);
                walls::shop(self, -3.2);
            }
            SceneKind::Crossing => ground::crossing(self),
            SceneKind::Platform => {
                ground::platform(self);
                walls::train(self, -4.4);
            }
            SceneKind::Corridor => {
                ground::polished(self);
                walls::corridor(self, -2.4);
            }
            SceneKind::Hall => ground::tiles(self, 0.9),
            SceneKind::Shelves => {
                ground::polished(self);
                walls::shelves(self, -1.6);
            }
            SceneKind::CarPark => {
                ground::parking(self);
                furniture::car(self, -3.4);
            }
            SceneKind::Lawn => ground::lawn(self, -30.0),
            SceneKind::Square => ground::tiles(self, 0.5),
        }
    }

    pub(crate) fn point(&self, world: Place) -> Point {
        self.projection.see(world).point
    }

    /// An area between corners in the world.
    pub(crate) fn area(&self, corners: &[Place]) -> Option<Path> {
        let points: Vec<Point> = corners.iter().map(|corner| self.point(*corner)).collect();
        shapes::polygon(&points)
    }

    /// An upright rectangle at a depth: left and right, bottom and top, in metres.
    pub(crate) fn upright(&mut self, depth: f32, across: [f32; 2], heights: [f32; 2], color: Rgb) {
        let [left, right] = across;
        let [bottom, top] = heights;
        let corners = [(left, bottom), (right, bottom), (right, top), (left, top)].map(|(x, y)| place(x, y, depth));
        let path = self.area(&corners);
        self.canvas.fill(path, Ink::Flat(color, 1.0));
    }

    /// A rectangle on the ground: left and right, back and front, in metres.
    pub(crate) fn flat(&mut self, across: [f32; 2], depths: [f32; 2], color: Rgb, opacity: f32) {
        let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(x, z)| place(across[x], 0.0, depths[z]));
        let path = self.area(&corners);
        self.canvas.fill(path, Ink::Flat(color, opacity));
    }

    /// A line between places in the world, of a width in metres.
    pub(crate) fn line(&mut self, ends: [Place; 2], width: f32, color: Rgb, opacity: f32) {
        let points = ends.map(|end| self.point(end));
        self.canvas.stroke(shapes::curve(&points), width, color, opacity);
    }
}

/// The shadow below a body that stands at a place.
pub(crate) fn contact_shadow(canvas: &mut Canvas, projection: &Projection, stand: Place, light: &Light) {
    let center = projection.see(stand).point;
    let depth = projection.see(stand + place(0.0, 0.0, 0.17)).point.y - center.y;
    let black = crate::color::rgb(0.0, 0.0, 0.0);
    // Many faint layers: the edge of a shadow under a wide sky is soft.
    for layer in 0..9 {
        let size = 1.55 - layer as f32 * 0.14;
        let cast = crate::geometry::point(-light.from * 0.14 * size, 0.0);
        let radii = [0.25 * size, depth.abs().max(0.03) * size];
        canvas.fill(shapes::ellipse(center + cast, radii, 0.0), Ink::Flat(black, light.shadow * 0.15));
    }
}
