//! Where labels go: a small deterministic placement that keeps them off each other and off the data.

/// An upright rectangle on the picture, y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    /// A square around a point.
    pub(crate) fn around((x, y): (f64, f64), radius: f64) -> Self {
        Self { left: x - radius, top: y - radius, right: x + radius, bottom: y + radius }
    }

    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    pub(crate) fn center(&self) -> (f64, f64) {
        ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0)
    }

    /// Whether they share more than an edge.
    pub(crate) fn overlaps(&self, other: &Rect) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn contains(&self, other: &Rect) -> bool {
        self.left <= other.left && self.top <= other.top && self.right >= other.right && self.bottom >= other.bottom
    }

    /// The point of the rectangle nearest to another.
    fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }

    /// Whether a straight line between two points touches the inside.
    fn is_crossed(&self, from: (f64, f64), to: (f64, f64)) -> bool {
        // Liang and Barsky's clipping: the part of the line inside all four half-planes.
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let (mut enter, mut leave) = (0.0f64, 1.0f64);
        let sides = [
            (-dx, from.0 - self.left),
            (dx, self.right - from.0),
            (-dy, from.1 - self.top),
            (dy, self.bottom - from.1),
        ];
        for (direction, distance) in sides {
            if direction == 0.0 {
                if distance <= 0.0 {
                    return false;
                }
            } else if direction < 0.0 {
                enter = enter.max(distance / direction);
            } else {
                leave = leave.min(distance / direction);
            }
        }
        enter < leave
    }
}

/// A label that found a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed {
    /// The room of its text.
    pub(crate) rect: Rect,
    /// A thin line from the mark to the label, where the label is too far away to be taken for its own.
    pub(crate) leader: Option<((f64, f64), (f64, f64))>,
}

/// What is to be labelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Labelled {
    /// Middle of the mark.
    pub(crate) at: (f64, f64),
    /// Half the mark's size.
    pub(crate) radius: f64,
    /// Width and height of the label's text.
    pub(crate) size: (f64, f64),
}

/// Distances from the edge of the mark to the label, nearest first.
const DISTANCES: [f64; 8] = [2.0, 7.0, 14.0, 22.0, 32.0, 44.0, 58.0, 74.0];
/// Directions in the order of preference (x, y; y down): below first, because there is no data below a running best.
const DIRECTIONS: [(f64, f64); 8] =
    [(0.0, 1.0), (-0.8, 0.8), (0.8, 0.8), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0), (-0.8, -0.8), (0.8, -0.8)];
/// Further away than this a label gets a leader.
const LEADER_FROM: f64 = 5.0;

/// Finds for each label in turn the first place, near before far, that lies within `bounds` and overlaps no obstacle, no other
/// label, no mark and no leader; its leader crosses no label either. `None` where there is no such place: better no label
/// than one that hides data, since the label's text stands in a list beside the plot as well.
pub(crate) fn place(items: &[Labelled], obstacles: &[Rect], bounds: Rect) -> Vec<Option<Placed>> {
    let mut taken: Vec<Placed> = Vec::new();
    items
        .iter()
        .map(|item| {
            let found = candidates(item).find(|candidate| {
                bounds.contains(&candidate.rect)
                    && !obstacles.iter().any(|obstacle| obstacle.overlaps(&candidate.rect))
                    && !items.iter().any(|other| Rect::around(other.at, other.radius).overlaps(&candidate.rect))
                    && !taken.iter().any(|other| conflict(other, candidate) || conflict(candidate, other))
            });
            taken.extend(found);
            found
        })
        .collect()
}

fn conflict(a: &Placed, b: &Placed) -> bool {
    a.rect.overlaps(&b.rect) || a.leader.is_some_and(|(from, to)| b.rect.is_crossed(from, to))
}

fn candidates(item: &Labelled) -> impl Iterator<Item = Placed> {
    let Labelled { at: (x, y), radius, size: (width, height) } = *item;
    DISTANCES.into_iter().flat_map(move |distance| {
        DIRECTIONS.into_iter().map(move |(dx, dy)| {
            let reach = radius + distance;
            let center = (
                x + dx * reach + dx.signum() * f64::from(dx != 0.0) * width / 2.0,
                y + dy * reach + dy.signum() * f64::from(dy != 0.0) * height / 2.0,
            );
            let rect = Rect {
                left: center.0 - width / 2.0,
                top: center.1 - height / 2.0,
                right: center.0 + width / 2.0,
                bottom: center.1 + height / 2.0,
            };
            let leader = (distance > LEADER_FROM).then(|| {
                let end = rect.nearest((x, y));
                let length = (end.0 - x).hypot(end.1 - y).max(1e-9);
                ((x + (end.0 - x) / length * radius, y + (end.1 - y) / length * radius), end)
            });
            Placed { rect, leader }
        })
    })
}

/// Moves labels that stand in a column apart, so that neighbours are at least `gap` from each other and all within `low..=high`
/// where that is possible. Their order stays. For values beside the right edge of a plot.
pub(crate) fn spread(places: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
    let mut spread = places.to_vec();
    let mut least = low;
    for &i in &order {
        spread[i] = spread[i].max(least);
        least = spread[i] + gap;
    }
    let mut most = high;
    for &i in order.iter().rev() {
        spread[i] = spread[i].min(most);
        most = spread[i] - gap;
    }
    spread
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Rect = Rect { left: 0.0, top: 0.0, right: 720.0, bottom: 540.0 };

    fn assert_apart(items: &[Labelled], obstacles: &[Rect], placed: &[Option<Placed>]) {
        let labels: Vec<&Placed> = placed.iter().flatten().collect();
        for (i, label) in labels.iter().enumerate() {
            assert!(BOUNDS.contains(&label.rect));
            assert!(!obstacles.iter().any(|o| o.overlaps(&label.rect)), "a label covers data");
            assert!(!items.iter().any(|o| Rect::around(o.at, o.radius).overlaps(&label.rect)), "a label covers a mark");
            for (j, other) in labels.iter().enumerate() {
                assert!(i == j || !label.rect.overlaps(&other.rect), "labels {i} and {j} overlap");
                assert!(
                    i == j || !other.leader.is_some_and(|(from, to)| label.rect.is_crossed(from, to)),
                    "the leader of {j} crosses label {i}"
                );
            }
        }
    }

    #[test]
    fn two_hundred_experiments_are_labelled_without_overlap() {
        // A night of 200 in which every fifth is kept, the first ones in a dense row: the running best falls, the rest lie above.
        let mut items = Vec::new();
        let mut obstacles = Vec::new();
        for number in 1..=200 {
            let x = f64::from(number) * 3.6;
            let best = 100.0 + 400.0 * (1.0 - (-f64::from(number) / 60.0).exp());
            if number % 5 == 0 || number < 12 {
                items.push(Labelled { at: (x, best), radius: 6.0, size: (20.0, 14.0) });
            } else {
                obstacles.push(Rect::around((x, best - 10.0 - f64::from(number * 37 % 80)), 3.5));
            }
        }
        let placed = place(&items, &obstacles, BOUNDS);
        assert_apart(&items, &obstacles, &placed);
        let found = placed.iter().flatten().count();
        assert!(found * 10 >= items.len() * 9, "only {found} of {} found a place", items.len());
        assert_eq!(placed, place(&items, &obstacles, BOUNDS));
    }

    #[test]
    fn a_label_without_room_is_left_out() {
        let item = Labelled { at: (50.0, 50.0), radius: 6.0, size: (20.0, 14.0) };
        assert_eq!(place(&[item], &[Rect { left: -9.0, top: -9.0, right: 999.0, bottom: 999.0 }], BOUNDS), [None]);
    }

    #[test]
    fn values_beside_a_plot_move_apart() {
        assert_eq!(spread(&[10.0, 12.0, 90.0], 15.0, 0.0, 100.0), [10.0, 25.0, 90.0]);
        assert_eq!(spread(&[99.0, 98.0], 15.0, 0.0, 100.0), [100.0, 85.0]);
    }

    proptest! {
        #[test]
        fn placed_labels_are_always_apart(
            items in prop::collection::vec((0.0..720.0, 0.0..540.0, 8.0..40.0), 0..60),
            obstacles in prop::collection::vec((0.0..720.0, 0.0..540.0), 0..140),
        ) {
            let items: Vec<Labelled> = items
                .into_iter()
                .map(|(x, y, width)| Labelled { at: (x, y), radius: 6.0, size: (width, 14.0) })
                .collect();
            let obstacles: Vec<Rect> = obstacles.into_iter().map(|at| Rect::around(at, 3.5)).collect();
            assert_apart(&items, &obstacles, &place(&items, &obstacles, BOUNDS));
        }
    }
}
