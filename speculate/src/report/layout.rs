//! Where the boxes of an element graph go: in layers, dependencies to the left, with few crossings.

use crate::graph::Graph;

/// The width of a box.
pub(super) const BOX_WIDTH: usize = 170;
/// The height of a box.
pub(super) const BOX_HEIGHT: usize = 26;
/// From one box to the next below it.
const PITCH: usize = 36;
/// What a line takes that passes a layer.
const LINE_PITCH: usize = 12;
/// From one layer to the next.
const LAYER_WIDTH: usize = BOX_WIDTH + 70;
/// Around everything.
const MARGIN: usize = 10;
/// How often the layers are ordered by their neighbours.
const SWEEPS: usize = 12;

/// A line from one box to another, by way of all layers in between.
pub(super) struct Line {
    /// What its ends are: element and dependency.
    pub(super) ends: (usize, usize),
    /// From the dependency's right side to the element's left side.
    pub(super) points: Vec<(usize, usize)>,
}

/// A drawing.
pub(super) struct Layout {
    /// The upper left corner of each element's box.
    pub(super) boxes: Vec<(usize, usize)>,
    /// Lines for dependencies that do not follow from others.
    pub(super) lines: Vec<Line>,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Something that takes a place in a layer.
struct Spot {
    layer: usize,
    /// A box; else a line passes.
    is_box: bool,
    left: Vec<usize>,
    right: Vec<usize>,
}

/// Lays out a graph, whose elements stand after those that they depend on.
pub(super) fn layout(graph: &Graph) -> Layout {
    let mut spots = boxes(graph);
    let mut chains = Vec::new();
    for element in 0..graph.elements().len() {
        for below in direct(graph, element) {
            let chain = connect(&mut spots, below, element);
            chains.push(((element, below), chain));
        }
    }
    let layers = order(&spots);
    let heights: Vec<usize> = layers.iter().map(|layer| height(layer, &spots)).collect();
    let tallest = heights.iter().copied().max().unwrap_or(0);
    let mut places = vec![(0, 0); spots.len()];
    for (number, layer) in layers.iter().enumerate() {
        // In the middle of the tallest.
        let mut y = MARGIN + (tallest - heights[number]) / 2;
        for spot in layer {
            places[*spot] = (MARGIN + number * LAYER_WIDTH, y);
            y += pitch(&spots[*spot]);
        }
    }
    let lines = chains
        .into_iter()
        .map(|(ends, chain)| Line { ends, points: points(&chain, &spots, &places) });
    Layout {
        lines: lines.collect(),
        boxes: places[..graph.elements().len()].to_vec(),
        width: 2 * MARGIN + layers.len().saturating_sub(1) * LAYER_WIDTH + BOX_WIDTH,
        height: 2 * MARGIN + tallest,
    }
}

fn boxes(graph: &Graph) -> Vec<Spot> {
    let mut spots: Vec<Spot> = Vec::with_capacity(graph.elements().len());
    for element in graph.elements() {
        let layer = element.depends.iter().map(|below| spots[*below].layer + 1).max().unwrap_or(0);
        spots.push(Spot { layer, is_box: true, left: Vec::new(), right: Vec::new() });
    }
    spots
}

/// The dependencies of an element, without those that others of them have.
fn direct(graph: &Graph, element: usize) -> Vec<usize> {
    let depends = &graph.elements()[element].depends;
    let follows = |below: &usize| depends.iter().any(|other| graph.below(*other).contains(below));
    let mut direct: Vec<usize> = depends.iter().copied().filter(|below| !follows(below)).collect();
    direct.sort_unstable();
    direct.dedup();
    direct
}

/// Connects two boxes; answers with the spots on the way, both ends among them.
fn connect(spots: &mut Vec<Spot>, from: usize, to: usize) -> Vec<usize> {
    let mut chain = vec![from];
    for layer in spots[from].layer + 1..spots[to].layer {
        spots.push(Spot { layer, is_box: false, left: Vec::new(), right: Vec::new() });
        chain.push(spots.len() - 1);
    }
    chain.push(to);
    for pair in chain.windows(2) {
        spots[pair[0]].right.push(pair[1]);
        spots[pair[1]].left.push(pair[0]);
    }
    chain
}

/// The spots of each layer from top to bottom, so that each is near to its neighbours.
fn order(spots: &[Spot]) -> Vec<Vec<usize>> {
    let count = spots.iter().map(|spot| spot.layer + 1).max().unwrap_or(0);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (index, spot) in spots.iter().enumerate() {
        layers[spot.layer].push(index);
    }
    let mut place = vec![0.0_f64; spots.len()];
    let settle = |layer: &[usize], place: &mut [f64]| {
        for (row, spot) in layer.iter().enumerate() {
            place[*spot] = (row as f64 + 0.5) / layer.len() as f64;
        }
    };
    layers.iter().for_each(|layer| settle(layer, &mut place));
    for sweep in 0..SWEEPS {
        let to_the_right = sweep % 2 == 0;
        for step in 0..count {
            let layer = if to_the_right { step } else { count - 1 - step };
            let middle = |spot: &usize| {
                let spot_ = &spots[*spot];
                let near = if to_the_right { &spot_.left } else { &spot_.right };
                match near.len() {
                    0 => place[*spot],
                    many => near.iter().map(|other| place[*other]).sum::<f64>() / many as f64,
                }
            };
            let mut row: Vec<(f64, usize)> =
                layers[layer].iter().map(|spot| (middle(spot), *spot)).collect();
            // Stable, so that equal ones stay as they were.
            row.sort_by(|left, right| left.0.total_cmp(&right.0));
            layers[layer] = row.into_iter().map(|(_, spot)| spot).collect();
            settle(&layers[layer], &mut place);
        }
    }
    layers
}

fn pitch(spot: &Spot) -> usize {
    if spot.is_box { PITCH } else { LINE_PITCH }
}

fn height(layer: &[usize], spots: &[Spot]) -> usize {
    layer.iter().map(|spot| pitch(&spots[*spot])).sum()
}

fn points(chain: &[usize], spots: &[Spot], places: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut points = Vec::new();
    for (number, spot) in chain.iter().enumerate() {
        let (x, y) = places[*spot];
        let y = y + if spots[*spot].is_box { BOX_HEIGHT / 2 } else { LINE_PITCH / 2 };
        if number > 0 {
            points.push((x, y));
        }
        if number + 1 < chain.len() {
            points.push((x + BOX_WIDTH, y));
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Element;

    fn graph(depends: &[&[usize]]) -> Graph {
        let element = |(index, depends): (usize, &&[usize])| Element {
            name: index.to_string(),
            depends: depends.to_vec(),
            ..Element::default()
        };
        Graph::new(depends.iter().enumerate().map(element).collect()).expect("no cycle")
    }

    #[test]
    fn no_two_boxes_overlap() {
        // A base, ten libraries on it, an application on all of them and on the base.
        let mut depends: Vec<Vec<usize>> = vec![Vec::new()];
        depends.extend((0..10).map(|_| vec![0]));
        depends.push((0..11).collect());
        let depends: Vec<&[usize]> = depends.iter().map(Vec::as_slice).collect();
        let drawing = layout(&graph(&depends));
        for (index, (x, y)) in drawing.boxes.iter().enumerate() {
            assert!(x + BOX_WIDTH <= drawing.width && y + BOX_HEIGHT <= drawing.height);
            for (other_x, other_y) in &drawing.boxes[..index] {
                assert!(x.abs_diff(*other_x) >= BOX_WIDTH || y.abs_diff(*other_y) >= BOX_HEIGHT);
            }
        }
        // That the application needs the base follows from the libraries.
        assert_eq!(drawing.lines.len(), 20);
        assert!(drawing.lines.iter().all(|line| line.ends != (11, 0)));
    }

    #[test]
    fn lines_go_around_boxes() {
        // 0 - 1 - 2, and 3 needs 2 and 4; 4 needs nothing, so its line passes two layers.
        let drawing = layout(&graph(&[&[], &[0], &[1], &[2, 4], &[]]));
        let long = drawing.lines.iter().map(|line| line.points.len()).max();
        assert_eq!(long, Some(6));
        for line in &drawing.lines {
            for pair in line.points.chunks(2).skip(1).filter(|pair| pair.len() == 2) {
                // Where it passes a layer, there is no box.
                let inside = |(x, y): &(usize, usize)| {
                    *x == pair[0].0 && (*y..*y + BOX_HEIGHT).contains(&pair[0].1)
                };
                let ends = [line.ends.0, line.ends.1];
                let hit = drawing.boxes.iter().position(inside);
                assert!(hit.is_none_or(|hit| ends.contains(&hit)), "{:?}", line.points);
            }
        }
        let nothing = layout(&graph(&[]));
        assert!(nothing.boxes.is_empty() && nothing.lines.is_empty());
    }

    #[test]
    fn crossings_are_avoided() {
        // Two chains that the order of the elements would cross.
        let drawing = layout(&graph(&[&[], &[], &[1], &[0]]));
        let row = |element: usize| drawing.boxes[element].1;
        assert_eq!(row(0) < row(1), row(3) < row(2));
    }
}
