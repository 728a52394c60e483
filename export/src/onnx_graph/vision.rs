//! The vision tower's graph.

use super::block::{Surroundings, write_behind_norm, write_block, write_norm_and_row};
use super::builder::{Attribute, GraphBuilder, Size, Value};
use super::experts::output_routing;
use super::graph_form::GraphForm;
use super::proto::tensor_proto::DataType;
use super::token_selection::{
    Candidates, Projection, pick_places, write_both_embeddings, write_patch_scores, write_places,
};
use crate::ExportError;
use crate::geometry::Grid;
use crate::tower::VisionTower;
use descry_model::method::Side;
use ndarray::Axis;

/// Writes `pixels` f32 `[batch, 3, height, width]` → `features` f32 `[batch, dimension]`, not L2-normalised.
pub(crate) fn write_vision(tower: &VisionTower, grid: Grid, form: GraphForm<'_>) -> Result<Vec<u8>, ExportError> {
    let mut graph = GraphBuilder::new(form);
    let sizes = [Size::Dynamic("batch"), Size::Fixed(3), Size::Fixed(grid.height_px), Size::Fixed(grid.width_px)];
    let pixels = graph.input("pixels", DataType::Float, &sizes);
    let batch = graph.size_of(&pixels, 0);
    let mut x = write_patches(&mut graph, tower, &pixels);
    x = graph.layer_norm("visual.ln_pre", &x, &tower.ln_pre);
    let class_token = graph.ints("class_token", &[0]);
    let pick = |graph: &mut GraphBuilder<'_>, x: &Value| {
        graph.node_with("Gather", &[x, &class_token], vec![("axis", Attribute::Int(1))])
    };
    let around = Surroundings { batch: batch.clone(), mask: None, counted: None, pick: &pick };
    let last = tower.blocks.len().saturating_sub(1);
    for (layer, block) in tower.blocks.iter().enumerate() {
        let name = Side::Vision.block(layer).to_string();
        if layer == last
            && let Some(selection) = &tower.selection
        {
            let [normed, row] = write_norm_and_row(&mut graph, &name, block, &x, &around);
            let zero = graph.ints("selection.class", &[0]);
            let one = graph.ints("selection.class.room", &[1]);
            let room = graph.node_with("Concat", &[&batch, &one], vec![("axis", Attribute::Int(0))]);
            let asking = graph.node("Expand", &[&zero, &room]);
            let scores = write_patch_scores(&mut graph, &row, grid.positions());
            let count = graph.ints("selection.count", &[selection.count as i64]);
            let positions: Vec<i64> = (0..grid.positions() as i64).collect();
            let positions = graph.ints("selection.positions", &positions);
            let candidates = Candidates { asking: &asking, positions: &positions, scores: &scores, count: &count };
            let places = write_places(&mut graph, &candidates);
            // They were selected by what the block's attention reads, so the block need not be computed for the others.
            let pick_all = |graph: &mut GraphBuilder<'_>, x: &Value| pick_places(graph, x, &places);
            let around = Surroundings { pick: &pick_all, ..around };
            let mut x = write_behind_norm(&mut graph, &name, block, [&x, &normed], !form.plain, &around);
            if form.plain {
                x = pick_all(&mut graph, &x);
            }
            output_routing(&mut graph);
            let (norm, matrix) = (&tower.ln_post, &tower.projection);
            let projection = Projection { norm_name: "visual.ln_post", norm, name: "visual.proj", matrix };
            let features = write_both_embeddings(&mut graph, Side::Vision, &x, None, &projection, selection);
            graph.output(&features, &[Size::Dynamic("batch"), Size::Fixed(tower.dimension())]);
            return graph.finish("vision");
        }
        x = write_block(&mut graph, &name, block, &x, layer == last && !form.plain, &around);
    }
    if form.plain {
        x = pick(&mut graph, &x);
    }
    output_routing(&mut graph);
    let x = graph.layer_norm("visual.ln_post", &x, &tower.ln_post);
    let projection = graph.floats("visual.proj", &tower.projection);
    let x = graph.node("MatMul", &[&x, &projection]);
    let token_axis = graph.ints("token_axis", &[1]);
    let features = graph.named("features", "Squeeze", &[&x, &token_axis], Vec::new());
    graph.output(&features, &[Size::Dynamic("batch"), Size::Fixed(tower.projection.ncols())]);
    graph.finish("vision")
}

/// Patch embeddings behind the class token, with positions: `[batch, positions, width]`.
fn write_patches(graph: &mut GraphBuilder<'_>, tower: &VisionTower, pixels: &Value) -> Value {
    let (width, _, patch, _) = tower.patch_kernel.dim();
    let kernel = graph.floats("visual.conv1.weight", &tower.patch_kernel);
    let attributes = vec![
        ("kernel_shape", Attribute::Ints(vec![patch as i64; 2])),
        ("strides", Attribute::Ints(vec![tower.stride as i64; 2])),
    ];
    let patches = graph.node_with("Conv", &[pixels, &kernel], attributes);
    let flat = graph.ints("patches.flat", &[0, width as i64, -1]);
    let patches = graph.node("Reshape", &[&patches, &flat]);
    let patches = graph.node_with("Transpose", &[&patches], vec![("perm", Attribute::Ints(vec![0, 2, 1]))]);
    // A row of zeros makes room for the class token, which then arrives with the positions in one addition.
    let room = graph.ints("class_token.room", &[0, 1, 0, 0, 0, 0]);
    let tokens = graph.node("Pad", &[&patches, &room]);
    let mut positions = tower.positional_embedding.clone();
    let mut class_position = positions.index_axis_mut(Axis(0), 0);
    class_position += &tower.class_embedding;
    let positions = graph.floats("visual.positions", &positions);
    graph.node("Add", &[&tokens, &positions])
}
