//! Tensors as views into storages: PyTorch saves a transposed or sliced tensor as offset, shape and strides over the
//! storage it shares with others.

use ndarray::{ArrayD, IxDyn};

/// Where a tensor's elements lie in its storage, in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

impl Layout {
    /// Number of elements of the tensor; None when it overflows.
    pub(crate) fn element_count(&self) -> Option<usize> {
        // A zero anywhere makes the tensor empty, whatever overflows before it.
        if self.shape.contains(&0) {
            return Some(0);
        }
        self.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
    }

    /// Number of elements a storage must have to contain the tensor; None when it overflows or the layout is malformed.
    pub(crate) fn storage_end(&self) -> Option<usize> {
        if self.shape.len() != self.strides.len() {
            return None;
        }
        if self.element_count()? == 0 {
            return Some(0);
        }
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |position, (&size, &stride)| {
            position.checked_add((size - 1).checked_mul(stride)?)
        })?;
        last.checked_add(1)
    }

    /// Copies the tensor out of its storage in row-major order; None when it does not fit.
    pub(crate) fn gather(&self, storage: &[f32]) -> Option<ArrayD<f32>> {
        let count = self.element_count()?;
        if self.storage_end()? > storage.len() {
            return None;
        }
        let values = if self.is_contiguous() {
            storage.get(self.offset..)?.get(..count)?.to_vec()
        } else {
            self.gather_strided(storage, count)?
        };
        ArrayD::from_shape_vec(IxDyn(&self.shape), values).ok()
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            // Empty tensors may name any sizes beside their zero.
            expected = expected.saturating_mul(size);
            fits
        })
    }

    fn gather_strided(&self, storage: &[f32], count: usize) -> Option<Vec<f32>> {
        let mut values = Vec::with_capacity(count);
        let mut index = vec![0; self.shape.len()];
        let mut position = self.offset;
        for _ in 0..count {
            values.push(*storage.get(position)?);
            // Counts up like an odometer, the last axis fastest.
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                position += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                position -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
        }
        Some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(offset: usize, shape: &[usize], strides: &[usize]) -> Layout {
        Layout { offset, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    fn check(layout: &Layout, expected: &[f32]) {
        let storage: Vec<f32> = (0..30).map(|number| number as f32).collect();
        let tensor = layout.gather(&storage).unwrap();
        assert_eq!(tensor.shape(), layout.shape);
        assert_eq!(tensor.iter().copied().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn views_are_copied_out() {
        check(&layout(4, &[2, 3], &[3, 1]), &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
        check(&layout(0, &[3, 2], &[1, 3]), &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        check(&layout(1, &[2, 2, 2], &[10, 1, 5]), &[1.0, 6.0, 2.0, 7.0, 11.0, 16.0, 12.0, 17.0]);
        check(&layout(7, &[3], &[0]), &[7.0; 3]);
        check(&layout(29, &[], &[]), &[29.0]);
        check(&layout(99, &[2, 0, 3], &[3, 3, 1]), &[]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (offset, shape, strides) in [
            (30, vec![], vec![]),
            (0, vec![31], vec![1]),
            (0, vec![2], vec![1, 1]),
            (usize::MAX, vec![2], vec![usize::MAX]),
            (0, vec![usize::MAX, usize::MAX], vec![0, 0]),
            (0, vec![usize::MAX, 2], vec![2, 1]),
        ] {
            assert_eq!(layout(offset, &shape, &strides).gather(&[0.0; 30]), None, "{offset} {shape:?} {strides:?}");
        }
    }

    proptest! {
        #[test]
        fn gathering_agrees_with_indexing(
            offset in 0usize..20, axes in proptest::collection::vec((0usize..4, 0usize..9), 0..4), length in 0usize..80
        ) {
            let (shape, strides): (Vec<usize>, Vec<usize>) = axes.into_iter().unzip();
            let storage: Vec<f32> = (0..length).map(|number| number as f32).collect();
            let layout = Layout { offset, shape, strides };
            if let Some(tensor) = layout.gather(&storage) {
                for (index, &value) in tensor.indexed_iter() {
                    let steps = (0..layout.shape.len()).map(|axis| index[axis] * layout.strides[axis]);
                    prop_assert_eq!(value, storage[layout.offset + steps.sum::<usize>()]);
                }
            }
        }
    }
}
